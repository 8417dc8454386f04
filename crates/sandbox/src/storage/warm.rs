//! Roots after set-up: what a recipe's commands wrote, kept so that they run once.
//!
//! `<cache>/<key>/` holds two layers, `root` and `home`, and `outcome.json`, written last. A failure
//! is kept with its output until somebody asks to try again.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Backend, StorageError, at, backend, files};
use crate::client::Supervisor;
use crate::error::SandboxError;
use crate::layer::{Hold, UPPER};
use crate::spec::{
    EnvironmentSpec, ExecSpec, ExitStatus, FolderMount, Limits, RootRecipe, Workspace,
};

/// Bytes of output that are kept of commands that failed.
const TAIL: usize = 16 * 1024;
/// Where the files of a command appear.
const FILES: &str = "/nightcrew/setup";
/// Where commands begin unless they say otherwise.
const HOME: &str = "/home/agent";

/// Set-up commands and what they run over.
#[derive(Clone, Debug)]
pub struct SetUp {
    /// Digest of all this: 1 to 128 of `a-z 0-9 -`. The same digest is the same set-up.
    pub key: String,
    /// The root. With a tree, what the commands write to it is kept; without, only what they write
    /// to the home is. Its `writable` is set here.
    pub root: RootRecipe,
    /// What runs, one after the other.
    pub commands: Vec<SetUpCommand>,
    /// Variables of all commands.
    pub env: Vec<(String, String)>,
    /// Folders such as caches.
    pub mounts: Vec<FolderMount>,
    /// What the environment of the commands may use.
    pub limits: Limits,
    /// Time for all commands together.
    pub deadline: Duration,
    /// Runs the commands although they failed before.
    pub retry: bool,
}

/// One command of a set-up.
#[derive(Clone, Debug, Default)]
pub struct SetUpCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables of this command alone; they win over those of all.
    pub env: Vec<(String, String)>,
    /// Where it begins; `/home/agent` when absent.
    pub cwd: Option<String>,
    /// What appears read-only at `/nightcrew/setup`, for this command alone.
    pub files: Option<SetUpFiles>,
}

/// Lays out the files of a command in a folder that is empty. Called only when the command runs.
#[derive(Clone)]
pub struct SetUpFiles(LayOut);

type LayOut = Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

impl SetUpFiles {
    /// Files that this function lays out.
    #[must_use]
    pub fn new(lay_out: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lay_out))
    }
}

impl fmt::Debug for SetUpFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SetUpFiles").finish_non_exhaustive()
    }
}

/// A root after set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warm {
    /// The recipe with what the commands wrote, for environments.
    pub root: RootRecipe,
    /// What they wrote to the home: below the home of disks and environments.
    pub home: PathBuf,
    /// Whether the commands ran now, and not earlier.
    pub fresh: bool,
}

/// Why a root is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// A command failed, now or earlier.
    #[error("set-up command `{command}` {how}")]
    Failed {
        /// The command, its words joined by spaces.
        command: String,
        /// How it ended.
        how: String,
        /// The end of what it printed, control characters included.
        output: String,
        /// Whether this is remembered from an earlier time.
        remembered: bool,
    },
    /// The key is not acceptable.
    #[error("`{0}` cannot name a set-up: 1 to 128 characters of a-z 0-9 - are needed")]
    Key(String),
    /// An environment for the commands cannot be made.
    #[error(transparent)]
    Environment(#[from] SandboxError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] StorageError),
}

/// How set-up ended.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Done,
    Failed {
        command: String,
        how: String,
        output: String,
    },
}

/// Runs set-up commands, unless they ran before. Where several ask at once, in one process or in
/// several, one runs them and the others wait.
///
/// # Errors
/// [`SetUpError::Failed`] when a command did not exit with 0 or time was over: it is kept, and
/// returned again until [`SetUp::retry`] is set. All else is not kept.
pub fn prepare_root(
    supervisor: &Supervisor,
    cache: &Path,
    wanted: &SetUp,
) -> Result<Warm, SetUpError> {
    let key = &wanted.key;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if key.is_empty() || key.len() > 128 || !key.bytes().all(allowed) {
        return Err(SetUpError::Key(key.clone()));
    }
    crate::layer::private_folder(cache).map_err(at("protect", cache))?;
    let cache = std::path::absolute(cache).map_err(at("find", cache))?;
    let folder = cache.join(key);
    let _lock = lock(&cache.join(format!("{key}.lock")))?;
    let file = folder.join("outcome.json");
    match files::load(&file).map_err(at("read", &file))? {
        Some(outcome @ Outcome::Done) => {
            // Anew, so that its time is that of its last use.
            files::save(&file, &outcome).map_err(at("write", &file))?;
            return Ok(warm(wanted, &folder, false));
        }
        Some(Outcome::Failed {
            command,
            how,
            output,
        }) if !wanted.retry => {
            return Err(SetUpError::Failed {
                command,
                how,
                output,
                remembered: true,
            });
        }
        _ => {}
    }
    // A set-up that failed, or that a process that died has begun.
    remove(&folder)?;
    fs::create_dir(&folder).map_err(at("make", &folder))?;
    let outcome = match run(supervisor, wanted, &folder) {
        Ok(outcome) => outcome,
        Err(error) => {
            remove(&folder)?;
            return Err(error);
        }
    };
    let done = matches!(outcome, Outcome::Done);
    for layer in ["root", "home", "workspace", "files"] {
        if !done || matches!(layer, "workspace" | "files") {
            remove(&folder.join(layer))?;
        }
    }
    files::save(&file, &outcome).map_err(at("write", &file))?;
    match outcome {
        Outcome::Done => Ok(warm(wanted, &folder, true)),
        Outcome::Failed {
            command,
            how,
            output,
        } => Err(SetUpError::Failed {
            command,
            how,
            output,
            remembered: false,
        }),
    }
}

/// Removes set-ups that `keep` is false for and that nobody asked for since `before`; how many. One that
/// is being made stays.
///
/// # Errors
/// [`StorageError`]. What was not removed by then is removed the next time.
pub fn forget_set_ups(
    cache: &Path,
    keep: impl Fn(&str) -> bool,
    before: SystemTime,
) -> Result<usize, StorageError> {
    let mut removed = 0;
    let listing = match fs::read_dir(cache) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        listing => listing.map_err(at("list", cache))?,
    };
    for entry in listing {
        let folder = entry.map_err(at("list", cache))?.path();
        let key = folder.file_name().unwrap_or_default().to_string_lossy();
        // Locks stay: another process may wait for one, and it must be the same for all.
        if !folder.is_dir() || keep(&key) {
            continue;
        }
        let path = cache.join(format!("{key}.lock"));
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(at("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => continue,
            Err(fs::TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
        }
        let outcome = folder.join("outcome.json");
        let used = fs::metadata(&outcome).or_else(|_| fs::metadata(&folder));
        let used = used.and_then(|meta| meta.modified());
        if used.map_err(at("look at", &folder))? < before {
            remove(&folder)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    backend::remove(path).map_err(at("remove", path))
}

fn lock(path: &Path) -> Result<Hold, StorageError> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(path);
    let file = file.map_err(at("open", path))?;
    Hold::wait(file).map_err(at("lock", path))
}

fn warm(wanted: &SetUp, folder: &Path, fresh: bool) -> Warm {
    let mut root = wanted.root.clone();
    root.writable = None;
    if root.tree.is_some() {
        root.layers.push(folder.join("root"));
    }
    Warm {
        root,
        home: folder.join("home").join(UPPER),
        fresh,
    }
}

fn run(supervisor: &Supervisor, wanted: &SetUp, folder: &Path) -> Result<Outcome, SetUpError> {
    let place = |name: &str| -> Result<PathBuf, StorageError> {
        let layer = folder.join(name);
        Backend::Stack.make(&layer).map_err(at("make", &layer))?;
        Ok(layer)
    };
    let tree = |layer| Workspace {
        base: None,
        frozen: Vec::new(),
        layer,
    };
    let id = format!("setup-{:.12}", wanted.key);
    let mut spec = EnvironmentSpec::new(id, tree(place("workspace")?));
    spec.home = Some(tree(place("home")?));
    spec.root = wanted.root.clone();
    let root = place("root")?;
    spec.root.writable = spec.root.tree.is_some().then_some(root);
    spec.mounts.clone_from(&wanted.mounts);
    let files = folder.join("files");
    if wanted
        .commands
        .iter()
        .any(|command| command.files.is_some())
    {
        clear(&files)?;
        // The folder itself is shown, so that what is laid out later is seen as well.
        spec.mounts.push(FolderMount {
            source: files.clone(),
            target: FILES.into(),
            writable: false,
            upper: None,
        });
    }
    spec.limits = wanted.limits.clone();
    spec.limits.wall = spec.limits.wall.max(wanted.deadline);
    let environment = supervisor.create(&spec)?;
    let end = Instant::now() + wanted.deadline;
    for command in &wanted.commands {
        let (read, write) = io::pipe().map_err(at("make a pipe for", folder))?;
        let stderr = write.try_clone().map_err(at("make a pipe for", folder))?;
        let tail = std::thread::spawn(move || tail_of(read));
        lay_out(command.files.as_ref(), &files)?;
        let own = |name: &str| command.env.iter().any(|(own, _)| own == name);
        let env = wanted.env.iter().filter(|(name, _)| !own(name));
        let running = environment.exec(ExecSpec {
            argv: command.argv.clone(),
            env: env.chain(&command.env).cloned().collect(),
            cwd: Some(command.cwd.clone().unwrap_or_else(|| HOME.to_owned())),
            stdin: None,
            stdout: write.into(),
            stderr: stderr.into(),
            terminal: None,
            timeout: Some(end.saturating_duration_since(Instant::now())),
        })?;
        let exit = running.wait()?;
        let output = tail.join().unwrap_or_default();
        let how = match exit.status {
            ExitStatus::Code(0) => continue,
            ExitStatus::Code(code) => format!("exited with {code}"),
            ExitStatus::Signal(signal) => format!("was killed by signal {signal}"),
            ExitStatus::TimedOut => format!(
                "was not done when the {} seconds for set-up were over",
                wanted.deadline.as_secs()
            ),
            // Nobody's fault inside: try again.
            ExitStatus::EnvironmentGone => {
                return Err(SetUpError::Environment(SandboxError::Gone {
                    id: spec.id.clone(),
                }));
            }
        };
        return Ok(Outcome::Failed {
            command: command.argv.join(" "),
            how,
            output,
        });
    }
    environment.destroy()?;
    Ok(Outcome::Done)
}

/// Replaces the files of the last command, of which nothing runs any more, by those of the next.
fn lay_out(wanted: Option<&SetUpFiles>, folder: &Path) -> Result<(), SetUpError> {
    if folder.exists() {
        clear(folder)?;
    }
    if let Some(SetUpFiles(lay_out)) = wanted {
        lay_out(folder).map_err(at("lay out", folder))?;
        crate::layer::prepare_base(folder)?;
    }
    Ok(())
}

/// An empty folder. One that is there stays the same folder: it may be mounted.
fn clear(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(at("make", folder))?;
    for entry in fs::read_dir(folder).map_err(at("list", folder))? {
        let path = entry.map_err(at("list", folder))?.path();
        if path.is_symlink() || !path.is_dir() {
            fs::remove_file(&path).map_err(at("remove", &path))?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The end of what comes out of a pipe.
fn tail_of(mut pipe: io::PipeReader) -> String {
    let mut tail: VecDeque<u8> = VecDeque::new();
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        tail.extend(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    String::from_utf8_lossy(tail.make_contiguous()).into_owned()
}
