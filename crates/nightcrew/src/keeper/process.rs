//! The keeper itself: a detached process with one environment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use model::isolation::Isolation;
use runner::fencing;
use sandbox::{Environment, SandboxError, Supervisor, SupervisorOptions};

use super::channel::{Listener, either};
use super::commands;
use super::home::Home;
use super::message::Answer;
use super::reach::Reach;
use super::serve;
use crate::failure::{Doing, Failure};

/// The hidden command.
const ARGUMENT: &str = "env-keeper";
/// How often a keeper looks whether its environment is still there.
const LOOK: Duration = Duration::from_secs(5);

/// How long a keeper lets be when it cannot hear a command.
const BREATH: Duration = Duration::from_millis(100);

/// What the conversations of a keeper share.
pub(super) struct Keeper {
    /// Absent once it is destroyed.
    pub(super) environment: RwLock<Option<Arc<Environment>>>,
    pub(super) isolation: Isolation,
    /// What went wrong with commands of the recipe.
    pub(super) notes: Vec<String>,
    /// Where programs begin, unless in `/work`.
    pub(super) workdir: Option<String>,
    pub(super) supervisor: u32,
    pub(super) busy: AtomicBool,
    pub(super) denied: AtomicU64,
    pub(super) unknown: AtomicU64,
    /// Dropping it wakes the keeper to its end.
    pub(super) end: Mutex<Option<io::PipeWriter>>,
    pub(super) variables: Vec<(String, String)>,
}

/// If this process was started as a keeper, is one until its environment ends.
pub(crate) fn run_if_requested() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let folder = arguments.next().map(PathBuf::from);
    let outcome = match folder.and_then(Home::of_folder) {
        Some(home) => keep(&home),
        None => Err(Failure::usage(
            "a keeper needs the folder of its environment",
        )),
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&Answer::failed(&failure));
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    })
}

/// Starts a keeper and waits until its environment stands.
pub(crate) fn start(home: &Home) -> Result<super::message::Status, Failure> {
    let program = std::env::current_exe().doing("find this program")?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(home.log())
        .doing(format_args!("open {}", home.log().display()))?;
    let mut command = Command::new(program);
    command
        .arg0("nightcrew-keeper")
        .arg(ARGUMENT)
        .arg(home.folder())
        .current_dir("/")
        .env_clear()
        .envs(kept_variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().doing("start the environment's keeper")?;
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said)
            .doing("hear the environment's keeper")?;
    }
    match serde_json::from_str(&said) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(Answer::Failed { message, hint }) => {
            let _ = child.wait();
            let failure = Failure::new(message);
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        _ => {
            let _ = child.wait();
            Err(Failure::new(format!(
                "the environment's keeper ended without a word: {}",
                home.last_words()
            ))
            .hint("`nightcrew doctor` names what this host refuses, and the cure"))
        }
    }
}

/// Variables of the command that a keeper needs as well.
fn kept_variables() -> Vec<(OsString, OsString)> {
    ["PATH", "HOME", "TMPDIR", "NIGHTCREW_LOG"]
        .iter()
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect()
}

fn keep(home: &Home) -> Result<(), Failure> {
    // A session of its own: signals for the terminal of the command are not for the keeper.
    let _ = rustix::process::setsid();
    let Some(_lock) = home.lock().doing("take the environment's lock")? else {
        return Err(Failure::new(format!(
            "the environment `{}` is running already",
            home.name()
        )));
    };
    let mut spec = home.spec()?;
    let program = std::env::current_exe().doing("find this program")?;
    let supervisor =
        Supervisor::start(SupervisorOptions::new(program)).doing("start the supervisor")?;
    let mut asked = spec.environment(home)?;
    let reach = Reach::prepare(&spec, &mut asked)?;
    let environment = match supervisor.create(&asked) {
        Err(SandboxError::Weaker { missing, .. }) => return Err(too_weak(&missing)),
        made => made.doing("make the environment").map_err(|failure| {
            failure.hint("`nightcrew doctor` names what this host refuses, and the cure")
        })?,
    };
    let missing = fencing::missing(environment.report(), &spec.fence);
    if !missing.is_empty() {
        return Err(too_weak(&missing));
    }
    let mut notes = Vec::new();
    if std::mem::take(&mut spec.fresh) {
        notes = commands::compare_toolchains(&environment, &spec);
        spec.root.evidence.toolchains.clone_from(&notes);
        home.write_spec(&spec)?;
    }
    notes.extend(commands::run(&environment, &spec));
    if !spec.prepare.is_empty() {
        spec.prepare.clear();
        home.write_spec(&spec)?;
    }
    let mut variables = match &reach {
        Some(reach) => reach.open(&environment)?,
        None => Vec::new(),
    };
    // What a person says wins.
    variables.extend(spec.variables.clone());
    let listener = Listener::bind(&home.socket()).doing("listen for commands")?;
    let (ending, end) = io::pipe().doing("make a pipe")?;
    let keeper = Keeper {
        isolation: fencing::evidence(
            environment.report(),
            &spec.fence,
            Some(spec.root.evidence.clone()),
            reach.as_ref().map(Reach::evidence),
        ),
        notes,
        workdir: spec.workdir,
        environment: RwLock::new(Some(Arc::new(environment))),
        supervisor: supervisor.process_id(),
        busy: AtomicBool::new(false),
        denied: AtomicU64::new(0),
        unknown: AtomicU64::new(0),
        end: Mutex::new(Some(end)),
        variables,
    };
    tell(&Answer::Status(Box::new(keeper.status())));
    let served = std::thread::scope(|scope| -> Result<(), Failure> {
        loop {
            let (wanted, ended) =
                either(&listener, &ending, Some(LOOK)).doing("wait for commands")?;
            if ended || !is_there(keeper.supervisor) {
                return Ok(());
            }
            if !wanted {
                continue;
            }
            match listener.accept() {
                Ok(Some(channel)) => {
                    let (keeper, ending) = (&keeper, &ending);
                    scope.spawn(move || serve::converse(keeper, &channel, ending));
                }
                Ok(None) => {}
                // Descriptors or memory may be short for a while. The environment is worth more than
                // a command, which can be given again.
                Err(error) => {
                    tracing::warn!("a command was not heard: {error}");
                    either(&ending, &ending, Some(BREATH)).doing("wait for commands")?;
                }
            }
        }
    });
    let _ = std::fs::remove_file(home.socket());
    // Ends the environment if nobody did.
    drop(keeper);
    drop(supervisor);
    served
}

fn too_weak(missing: &[String]) -> Failure {
    Failure::new(format!("{}; nothing ran", missing.join("; "))).hint(
        "`nightcrew doctor` names the cause and the cure; --accept-weaker goes on without what you asked for yourself",
    )
}

/// Whether the supervisor still has the environment's first process. Where the kernel does not list
/// children, the next command finds out.
fn is_there(supervisor: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")) {
        Ok(children) => !children.trim().is_empty(),
        Err(_) => std::path::Path::new(&format!("/proc/{supervisor}")).exists(),
    }
}

/// Tells the command that started this keeper how it went, once, and lets go of it.
fn tell(answer: &Answer) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout();
    let _ = serde_json::to_writer(&mut out, answer);
    let _ = out.flush();
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
