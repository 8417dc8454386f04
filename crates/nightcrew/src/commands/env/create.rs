//! `nightcrew env create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::automation::{
    Command, EnvironmentDefinition, ExecDefinition, InlineRecipe, IsolationDefinition,
    LimitsDefinition, RecipeDefinition,
};
use model::exec::ExecMode;
use model::fence::Fence;
use model::isolation::{RootEvidence, RootKind};
use model::network::{BUNDLES, HostRule, NetworkDefinition, NetworkEntry, NetworkLimits};
use runner::root::{self, Ready, RootError, Roots};
use sandbox::storage::SetUpError;
use sandbox::{Supervisor, SupervisorOptions};
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
    arguments: &CreateArguments,
) -> Result<u8, Failure> {
    let workspace = arguments.workspace.as_deref().map(folder).transpose()?;
    let definition = definition(arguments)?;
    let registries = config.registry.read()?;
    let repository = workspace.as_ref().map(|path| path.display().to_string());
    let context = root::Context {
        repository: repository.unwrap_or_default(),
        default_registry: registries.default_host.clone(),
    };
    let (recipe, notes) = root::recipe_of(&definition, workspace.as_deref(), &context)
        .doing("understand what the environment is made of")?;
    let life = arguments.limits.life.map_or(LIFE, |life| life.0);
    let mut spec = Spec {
        fence: fence(config, &arguments.fence)?,
        network: network(&arguments.network)?,
        limits: limits(&arguments.limits),
        variables: arguments.env.iter().cloned().collect(),
        life_s: life.as_secs().max(1),
        ..plain(config)
    };
    let home = homes.create(arguments.name.as_deref())?;
    let mut make = || {
        let roots = homes.roots(registries.clone());
        let ready = ready(&roots, &recipe, workspace.as_deref())?;
        for note in notes.iter().chain(&ready.notes) {
            print::note(clean(note, 300));
        }
        let services = ready
            .services
            .iter()
            .map(|service| format!("service {}", service.name));
        for left in services {
            print::warning(&format!("left to you: {}", clean(&left, 300)));
        }
        take_root(&mut spec, ready, named(arguments));
        let _bases = homes.hold_bases()?;
        if let Some(source) = &workspace {
            spec.base = Some(base(homes, source)?);
        }
        spec.workspace.clone_from(&workspace);
        homes
            .storage()
            .create_disk(home.name(), spec.origin())
            .doing("make a place for what it writes")?;
        home.write_spec(&spec)?;
        process::start(&home)
    };
    let status = match make() {
        Ok(status) => status,
        Err(failure) => {
            // Nothing of what could not be made stays.
            let _ = home.write_spec(&plain(config));
            let _ = homes.remove(home.name());
            return Err(failure);
        }
    };
    say(&home, &status, "stands")?;
    Ok(0)
}

/// An empty environment over this host's programs, fenced as the configuration says.
pub(super) fn plain(config: &Config) -> Spec {
    Spec {
        v: VERSION,
        created_at: clock::now(),
        root: Root {
            evidence: RootEvidence {
                kind: RootKind::Host,
                digest: None,
                recipe: None,
                reproducible: false,
                toolchains: Vec::new(),
            },
            named: "host".to_owned(),
            tree: None,
            layers: Vec::new(),
            folders: Vec::new(),
            home: None,
            caches: Vec::new(),
        },
        base: None,
        workspace: None,
        from: None,
        fence: config.fence(),
        network: NetworkDefinition::default(),
        outside: config.network.outside.clone(),
        limits: LimitsDefinition::default(),
        workspace_also: None,
        workdir: None,
        fresh: true,
        prepare: Vec::new(),
        start: Vec::new(),
        variables: BTreeMap::new(),
        life_s: LIFE.as_secs(),
    }
}

/// What is asked for, in the words of the automation file.
fn definition(arguments: &CreateArguments) -> Result<EnvironmentDefinition, Failure> {
    let text = |path: &Path| folder(path).map(|path| path.display().to_string());
    let inline = InlineRecipe {
        image: arguments.image.clone(),
        digest: arguments.digest.clone(),
        folder: arguments.root.as_deref().map(text).transpose()?,
        devcontainer: arguments.devcontainer.clone(),
        setup: arguments
            .setup
            .iter()
            .map(|line| Command::Line(line.clone()))
            .collect(),
        ..InlineRecipe::default()
    };
    let folders = arguments.folder.iter().map(|path| text(path));
    Ok(EnvironmentDefinition {
        recipe: if inline == InlineRecipe::default() {
            RecipeDefinition::Default
        } else {
            RecipeDefinition::Inline(Box::new(inline))
        },
        folders: folders.collect::<Result<_, _>>()?,
        ..EnvironmentDefinition::default()
    })
}

/// What may be reached: names of bundles, and hosts.
fn network(wanted: &[String]) -> Result<NetworkDefinition, Failure> {
    let entry = |text: &String| match BUNDLES.contains(&text.as_str()) {
        true => NetworkEntry::Bundle(text.clone()),
        false => NetworkEntry::Host(Box::new(HostRule {
            host: text.clone(),
            ..HostRule::default()
        })),
    };
    let limits = NetworkLimits {
        allow_only: Some(wanted.to_vec()),
        ..NetworkLimits::default()
    };
    if let Err(message) = engine::network::check_limits(&limits) {
        let message = message.replace("network.allow_only: ", "--network: ");
        return Err(Failure::usage(message).hint(format!("bundles are {}", BUNDLES.join(", "))));
    }
    Ok(NetworkDefinition(wanted.iter().map(entry).collect()))
}

fn named(arguments: &CreateArguments) -> String {
    let root = arguments
        .root
        .as_ref()
        .map(|path| path.display().to_string());
    let from = arguments.image.clone().or(root);
    from.or(arguments.devcontainer.clone())
        .unwrap_or_else(|| "host".to_owned())
}

/// Unpacks the image and runs set-up, as far as that is not done.
fn ready(
    roots: &Roots,
    recipe: &recipe::Recipe,
    workspace: Option<&Path>,
) -> Result<Ready, Failure> {
    let program = std::env::current_exe().doing("find this program")?;
    let supervisor =
        Supervisor::start(SupervisorOptions::new(program)).doing("start the supervisor")?;
    let bar = print::spinner("making the root ready");
    // A person who asks again has changed something, or wants to see it fail again.
    let made = roots.ready(&supervisor, recipe, workspace, true);
    bar.finish_and_clear();
    made.map_err(|error| {
        let output = match &error {
            RootError::SetUp(SetUpError::Failed { output, .. }) => output.clone(),
            _ => String::new(),
        };
        for line in output
            .lines()
            .rev()
            .take(20)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            print::note(clean(line, 300));
        }
        Err::<(), _>(error)
            .doing("make the root ready")
            .err()
            .unwrap_or_else(|| Failure::new("the root is not ready"))
    })
}

fn take_root(spec: &mut Spec, ready: Ready, named: String) {
    spec.root = Root {
        evidence: ready.evidence,
        named,
        tree: ready.root.tree,
        layers: ready.root.layers,
        folders: ready.root.extra,
        home: ready.home,
        caches: ready
            .caches
            .into_iter()
            .map(|cache| (cache.name, cache.source, cache.target))
            .collect(),
    };
    spec.workspace_also = ready.workspace;
    spec.workdir = ready.workdir;
    spec.prepare = ready.prepare;
    spec.start = ready.start;
    let own = std::mem::replace(&mut spec.variables, ready.env);
    spec.variables.extend(own);
}

/// The tree underneath `/work`. An ordinary user's files can be shown as they are; as root,
/// environments execute as another user, who needs a copy that is theirs.
pub(super) fn base(homes: &Homes, source: &Path) -> Result<PathBuf, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(source.to_owned());
    }
    let base = homes.new_base()?;
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
pub(super) fn folder(path: &Path) -> Result<PathBuf, Failure> {
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
            "notes": status.notes,
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
            "programs: {}, {} {}, policy {}",
            exec.mode,
            exec.rules,
            if exec.rules == 1 { "rule" } else { "rules" },
            exec.policy.get(..12).unwrap_or(&exec.policy)
        )),
        None => print::note("programs: not judged"),
    }
    for sentence in isolation.weaker.iter().chain(&status.notes) {
        print::warning(&clean(sentence, 300));
    }
    print::hint(&format!("nightcrew env exec {} -- COMMAND", home.name()));
    Ok(())
}
