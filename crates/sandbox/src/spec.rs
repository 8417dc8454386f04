//! What a caller asks for: the environment, its workspace, its limits, and the steps in it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::exec_policy::ExecPolicy;
use crate::network::NetworkSpec;
use crate::report::IsolationLevel;

/// An environment to make.
#[derive(Clone, Debug)]
pub struct EnvironmentSpec {
    /// Names the environment in process lists and errors: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
    pub id: String,
    /// What is mounted at `/work`, where steps start.
    pub workspace: Workspace,
    /// A second place where the workspace appears, for programs that expect it there.
    pub workspace_also: Option<PathBuf>,
    /// A folder of the host shown read-only at `/nightcrew/in`. The environment's user must be
    /// able to read it: see [`prepare_base`](crate::prepare_base).
    pub inputs: Option<PathBuf>,
    /// A folder of the host shown writable at `/nightcrew/out`. As root, the folder itself (not
    /// what is in it) is given to the environment's user.
    pub outputs: Option<PathBuf>,
    /// The running `nightcrew` executable, shown at `/nightcrew/bin/nightcrew` and first in PATH.
    pub program: Option<PathBuf>,
    /// Where everything else comes from.
    pub root: RootRecipe,
    /// What the environment may use.
    pub limits: Limits,
    /// Host name inside: 1 to 63 of `a-z 0-9 -`.
    pub hostname: String,
    /// Which programs may execute.
    pub exec: ExecPolicy,
    /// What must be enforced; a host that cannot is refused.
    pub required: Required,
    /// Keeps `/home/agent` beyond the environment's life; absent: it is in memory.
    pub home: Option<Workspace>,
    /// Further folders, such as caches.
    pub mounts: Vec<FolderMount>,
    /// A network that somebody outside answers for, by
    /// [`Environment::take_network`](crate::Environment::take_network). Absent: nothing can be
    /// reached.
    pub network: Option<NetworkSpec>,
}

/// What must be enforced. The default accepts any host that can make environments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// The least isolation level.
    pub level: Option<IsolationLevel>,
    /// Layers that must be in force, by the names of [`IsolationReport`](crate::IsolationReport).
    pub layers: Vec<String>,
}

/// A folder of the host shown in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FolderMount {
    /// The host's folder: never written when `upper` is given or `writable` is not.
    pub source: PathBuf,
    /// Where it is shown: an absolute path inside.
    pub target: PathBuf,
    /// Whether the environment may write to it.
    pub writable: bool,
    /// Receives what is written, as the layer of a workspace does; `source` stays as it is.
    pub upper: Option<PathBuf>,
}

impl EnvironmentSpec {
    /// An environment with this name and workspace and defaults for the rest.
    #[must_use]
    pub fn new(id: impl Into<String>, workspace: Workspace) -> Self {
        Self {
            id: id.into(),
            workspace,
            workspace_also: None,
            inputs: None,
            outputs: None,
            program: None,
            root: RootRecipe::default(),
            limits: Limits::default(),
            hostname: DEFAULT_HOSTNAME.to_owned(),
            exec: ExecPolicy::default(),
            required: Required::default(),
            home: None,
            mounts: Vec::new(),
            network: None,
        }
    }
}

/// Host name of an environment unless the spec says otherwise.
pub(crate) const DEFAULT_HOSTNAME: &str = "environment";

/// The tree at `/work`, or another one that is kept in the same way.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The tree underneath, never written; many environments may share it. Absent: an empty tree.
    pub base: Option<PathBuf>,
    /// Frozen layers over the base, lowest first; never written, many environments may share them.
    /// At most 64.
    pub frozen: Vec<PathBuf>,
    /// The folder that receives everything the environment writes. Made if absent; if it has
    /// content from an earlier environment over the same base, the new one resumes from it.
    ///
    /// Where layers come and go quickly, tmpfs, xfs and btrfs are better places than ext4, which
    /// takes ever longer to make files for half a minute after many were deleted.
    ///
    /// Writes are not forced to disk (the overlay is mounted `volatile`): a layer outlives any
    /// crash of this program, but not a crash of the machine.
    pub layer: PathBuf,
}

/// Most frozen layers of one tree: what the kernel takes in one mount call. See
/// [`MAX_DEPTH`](crate::storage::MAX_DEPTH) for how many are good.
pub(crate) const MAX_FROZEN: usize = 64;

/// The root of an environment: an allow-list of the host, or a tree of its own; never the host's `/`.
///
/// From the host, `/usr` is shown read-only; `/bin`, `/sbin` and `/lib*` are as on the host; of
/// `/etc` only a fixed list of public files is copied, and account files are generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RootRecipe {
    /// An unpacked image or folder that takes the place of the host's `/usr`, `/bin`, `/lib*`,
    /// `/etc`, `/opt`, `/var` ….
    ///
    /// Inside, every file of the environment's user shows as user 0's and every other one as
    /// nobody's: give the tree to the environment's user once, by
    /// [`prepare_base`](crate::prepare_base), and all of it can be read. Its own `/dev`, `/proc`,
    /// `/sys`, `/run`, `/tmp`, `/home`, `/mnt`, `/work`, `/nightcrew` and `/etc/shadow` are hidden,
    /// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` replaced, and user 0 of its
    /// `/etc/passwd` is the agent.
    pub tree: Option<PathBuf>,
    /// Layers over the root, lowest first: what set-up commands wrote.
    pub layers: Vec<PathBuf>,
    /// A layer that receives what is written to the root: for set-up commands. Absent: the root is
    /// read-only. This and `layers` need a `tree`: nothing can be laid over parts of the host.
    pub writable: Option<PathBuf>,
    /// Further folders of the host (toolchains), shown read-only under the same path. A folder that
    /// does not exist is an error, and so is one below a folder that the environment has of its own
    /// (`/tmp`, `/run`, `/dev`, `/proc`, `/sys`, `/etc`, `/work`, `/nightcrew`, `/home/agent`).
    pub extra: Vec<PathBuf>,
}

/// What an environment may use. Per-process limits hold for each process of each step.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open files per process.
    pub open_files: u64,
    /// Processes and threads in the environment, its init included.
    pub processes: u64,
    /// Largest file a process may write, in bytes.
    pub file_size: u64,
    /// Address space per process, in bytes.
    pub address_space: Option<u64>,
    /// CPU time per process, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Bytes that `/tmp`, `/home/agent`, `/dev/shm` and `/run` hold together; at most half of
    /// `memory`.
    pub tmp_bytes: u64,
    /// Life of the whole environment; it is killed when this is over.
    pub wall: Duration,
    /// Memory of the whole environment in bytes, scratch space included; needs a cgroup.
    pub memory: Option<u64>,
    /// CPU of the whole environment in thousandths of a core; needs a cgroup.
    pub cpu_milli: Option<u64>,
    /// Bytes that workspace, home, outputs, the `upper` of each mount and a writable root may add on
    /// disk to what they stand on; hard where the host can (for workspace and home), else supervised:
    /// see [`quota_kind`](crate::storage::quota_kind).
    pub disk_bytes: Option<u64>,
    /// Files and folders that they may add.
    pub disk_inodes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_files: 4096,
            processes: 512,
            file_size: 4 << 30,
            address_space: None,
            cpu_seconds: None,
            tmp_bytes: 512 << 20,
            wall: Duration::from_hours(1),
            memory: None,
            cpu_milli: None,
            disk_bytes: None,
            disk_inodes: None,
        }
    }
}

/// A program to run in an environment.
#[derive(Debug)]
pub struct ExecSpec {
    /// The program and its arguments. Without a slash, the program is looked up in PATH.
    pub argv: Vec<String>,
    /// The complete environment; nothing is inherited. PATH, HOME, LANG, TERM and TMPDIR have
    /// defaults.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/work` when absent.
    pub cwd: Option<String>,
    /// Standard input; empty when absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// Runs the step on a terminal of the environment's own, in place of the three files above,
    /// which are closed unused: see [`Running::terminal`](crate::Running::terminal).
    pub terminal: Option<TerminalSize>,
    /// When over, the step and everything it started is killed.
    pub timeout: Option<Duration>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// How a step ended and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// From start to end.
    pub wall: Duration,
    /// CPU time in programs, over all processes of the step.
    pub user: Duration,
    /// CPU time in the kernel, over all processes of the step.
    pub system: Duration,
    /// Largest resident memory of a single process, in KiB.
    pub max_rss_kib: u64,
    /// Whether a process of it was killed because the environment's memory limit was reached:
    /// then the status tells of a consequence. Never set where no cgroup limits memory.
    pub out_of_memory: bool,
    /// Why it was killed, where neither the client nor the step itself wanted it: a quota.
    pub reason: Option<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code. 127: program not found, 126: not executable, 125: the step could
    /// not be set up; a message is on its standard error.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Its timeout, or the life of the environment, was over.
    TimedOut,
    /// The environment was destroyed under it.
    EnvironmentGone,
}
