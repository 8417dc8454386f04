//! `nightcrew env create`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::automation::{ExecDefinition, IsolationDefinition, LimitsDefinition};
use model::exec::ExecMode;
use model::fence::Fence;
use model::isolation::{RootEvidence, RootKind};
use serde_json::json;

use crate::cli::env::{CreateArguments, FenceArguments, LimitArguments};
use crate::clock;
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::keeper::home::{Home, Homes};
use crate::keeper::message::Status;
use crate::keeper::process;
use crate::keeper::spec::{Root, Spec, VERSION};
use crate::print;
use crate::table::clean;

/// Life of an environment unless it is given another.
const LIFE: Duration = Duration::from_hours(30 * 24);

pub(super) fn execute(
    config: &Config,
    homes: &Homes,
    arguments: CreateArguments,
) -> Result<u8, Failure> {
    let workspace = arguments.workspace.as_deref().map(folder).transpose()?;
    let root = root(&arguments)?;
    let fence = fence(config, &arguments.fence)?;
    let home = homes.create(arguments.name.as_deref())?;
    let made = make(&home, &arguments, workspace, root, fence);
    let status = match made {
        Ok(status) => status,
        Err(failure) => {
            // Nothing of what could not be made stays.
            let _ = home.remove();
            return Err(failure);
        }
    };
    say(&home, &status, "stands")?;
    Ok(0)
}

fn make(
    home: &Home,
    arguments: &CreateArguments,
    workspace: Option<PathBuf>,
    root: Root,
    fence: Fence,
) -> Result<Status, Failure> {
    let base = match &workspace {
        Some(source) => Some(base(home, source)?),
        None => None,
    };
    let life = arguments.limits.life.map_or(LIFE, |life| life.0);
    let spec = Spec {
        v: VERSION,
        created_at: clock::now(),
        root,
        base,
        frozen: Vec::new(),
        workspace,
        from: None,
        fence,
        limits: limits(&arguments.limits),
        variables: arguments.env.iter().cloned().collect(),
        life_s: life.as_secs().max(1),
    };
    home.write_spec(&spec)?;
    process::start(home)
}

/// The tree underneath `/work`. An ordinary user's files can be shown as they are; as root,
/// environments execute as another user, who needs a copy that is theirs.
fn base(home: &Home, source: &Path) -> Result<PathBuf, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(source.to_owned());
    }
    let base = home.base();
    let bar = print::spinner(&format!("copying {}", source.display()));
    let copied = std::process::Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory", "--"])
        .arg(source)
        .arg(&base)
        .output()
        .doing("copy the workspace")?;
    bar.finish_and_clear();
    if !copied.status.success() {
        let text = String::from_utf8_lossy(&copied.stderr);
        return Err(Failure::new(format!(
            "the workspace cannot be copied: {}",
            clean(text.trim(), 300)
        ))
        .hint("as root, an environment works on a copy, because what runs in it is another user"));
    }
    sandbox::prepare_base(&base).doing("give the copy to the environment's user")?;
    Ok(base)
}

fn root(arguments: &CreateArguments) -> Result<Root, Failure> {
    let folders = arguments
        .folder
        .iter()
        .map(|path| folder(path))
        .collect::<Result<_, _>>()?;
    let evidence = |kind| RootEvidence {
        kind,
        digest: None,
        recipe: None,
        reproducible: false,
    };
    Ok(match &arguments.root {
        None => Root {
            evidence: evidence(RootKind::Host),
            named: "host".to_owned(),
            tree: None,
            layers: Vec::new(),
            folders,
        },
        Some(path) => {
            let path = folder(path)?;
            Root {
                evidence: evidence(RootKind::Folder),
                named: path.display().to_string(),
                tree: Some(path),
                layers: Vec::new(),
                folders,
            }
        }
    })
}

/// The strictest of configuration and command line.
pub(super) fn fence(config: &Config, wanted: &FenceArguments) -> Result<Fence, Failure> {
    let exec = ExecDefinition {
        mode: wanted.exec,
        deny: wanted.deny.clone(),
        allow: wanted.allow.clone(),
        ..ExecDefinition::default()
    };
    if wanted.exec == Some(ExecMode::Off) && !wanted.deny.is_empty() {
        return Err(
            Failure::usage("--exec off judges nothing, and something is denied")
                .hint("leave --exec out, or give observe, deny-list, allow-list or strict"),
        );
    }
    if !wanted.allow.is_empty() && exec.effective_mode().permits_unknown() {
        return Err(
            Failure::usage("--allow says what may execute beside the root's programs")
                .hint("only --exec allow-list and strict refuse the rest; add one of them"),
        );
    }
    let isolation = IsolationDefinition {
        level: wanted.level,
        layers: wanted.layer.clone(),
        accept_weaker: config.isolation.accept_weaker,
    };
    let own = engine::fence::of(&isolation, &exec);
    Ok(engine::fence::strictest(&config.fence(), &own))
}

fn limits(wanted: &LimitArguments) -> LimitsDefinition {
    LimitsDefinition {
        memory: wanted.memory,
        cpu: wanted.cpu,
        disk: wanted.disk,
        files: wanted.files,
        processes: wanted.processes,
        ..LimitsDefinition::default()
    }
}

/// A folder of this host by its whole path.
fn folder(path: &Path) -> Result<PathBuf, Failure> {
    let whole = path
        .canonicalize()
        .doing(format_args!("find the folder {}", path.display()))?;
    if whole.is_dir() {
        return Ok(whole);
    }
    Err(Failure::usage(format!("{} is no folder", path.display())))
}

/// Tells of an environment that stands.
pub(super) fn say(home: &Home, status: &Status, what: &str) -> Result<(), Failure> {
    if print::is_json() {
        print::json(&json!({
            "name": home.name(),
            "state": if status.busy { "busy" } else { "ready" },
            "folder": home.folder(),
            "keeper": status.keeper,
            "isolation": status.isolation,
        }));
        return Ok(());
    }
    let isolation = &status.isolation;
    print::line(format!(
        "{}  {what}: {}, {} probes held",
        print::bold(home.name()),
        isolation.level,
        isolation.probes
    ));
    match &isolation.exec {
        Some(exec) => print::note(format!(
            "programs: {}, {} rules, policy {}",
            exec.mode,
            exec.rules,
            exec.policy.get(..12).unwrap_or(&exec.policy)
        )),
        None => print::note("programs: not judged"),
    }
    for sentence in &isolation.weaker {
        print::warning(&clean(sentence, 300));
    }
    print::hint(&format!("nightcrew env exec {} -- COMMAND", home.name()));
    Ok(())
}
