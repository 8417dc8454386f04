//! The recipe itself: what an automation file or a `devcontainer.json` comes to.

mod environment;
mod name;
mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Cache, Digest};

pub use name::ResolvedRoot;

/// Where the files of set-up commands are shown, read-only, under their paths in the repository.
pub(crate) const SETUP_FOLDER: &str = "/nightcrew/setup";

/// Where the workspace appears unless the recipe says otherwise.
pub(crate) const WORKSPACE: &str = "/work";

/// What an environment is made from. Nobody writes it down in this form: see
/// [`devcontainer`](crate::devcontainer), and `environment.recipe` of the automation file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Where the root tree comes from.
    pub root: Root,
    /// Commands that complete the root, once, before any workspace is there. Their result is kept.
    pub setup: Vec<SetupStep>,
    /// Commands in every new workspace, before its first step.
    pub prepare: Vec<Command>,
    /// Commands at every start of an environment, also of one that is resumed.
    pub start: Vec<Command>,
    /// Variables of every command. `${env:NAME}` and `${env:NAME:default}` stand for the root's own value.
    pub env: BTreeMap<String, String>,
    /// Where the workspace appears; `/work` if absent.
    pub workspace: Option<String>,
    /// Where commands begin; the workspace if absent.
    pub workdir: Option<String>,
    /// Package caches and other folders that may outlive an environment.
    pub caches: Vec<Cache>,
    /// Programs that run beside the steps, started in this order.
    pub services: Vec<Service>,
    /// Versions of tools that must be there: tool → wanted version.
    pub toolchains: BTreeMap<String, String>,
}

/// Where a root tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A read-only view of the host's own system. Not reproducible.
    Host(HostRoot),
    /// A container image.
    Image(Image),
    /// A folder of the host that holds a whole root tree.
    Folder {
        /// Absolute path on the host.
        path: String,
    },
}

/// What of the host is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRoot {
    /// Absolute folders beyond the system's own, shown under the same path.
    pub folders: Vec<String>,
}

/// A container image and, if pinned, which one exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub source: ImageSource,
    /// The digest that its manifest or manifest list must have.
    pub digest: Option<Digest>,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// An OCI image layout folder on the host.
    Layout(String),
    /// A tarball of such a folder, or one that `docker save` wrote.
    Tarball(String),
    /// `HOST/NAME:TAG` or `HOST/NAME@sha256:…` in a registry.
    Registry(String),
}

/// A line for `sh -c`, or a program with arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For `sh -c`.
    Line(String),
    /// Without a shell.
    Program(Vec<String>),
}

/// A set-up command and what it may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupStep {
    /// The command.
    pub run: Command,
    /// Files of the repository that are shown to it under `/nightcrew/setup`, and nothing else of it.
    pub files: Vec<String>,
    /// Variables of this command alone.
    pub env: BTreeMap<String, String>,
    /// Where it begins, below `/nightcrew/setup`. If absent, there if it has files, else in the home.
    pub folder: Option<String>,
}

/// A service beside the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique within the recipe; also its log's name.
    pub name: String,
    /// What runs.
    pub command: Command,
    /// Variables of this service alone.
    pub env: BTreeMap<String, String>,
    /// When it can be used.
    pub ready: Ready,
    /// How long it may take until then; between 1 ms and 1 h.
    pub timeout: Duration,
}

/// What shows that a service can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// A command that ends with exit code 0.
    Command(Command),
    /// A TCP port of the environment's loopback that accepts a connection.
    Port(u16),
    /// A file that exists inside.
    File(String),
}

impl Recipe {
    /// A recipe with this root and nothing else.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            setup: Vec::new(),
            prepare: Vec::new(),
            start: Vec::new(),
            env: BTreeMap::new(),
            workspace: None,
            workdir: None,
            caches: Vec::new(),
            services: Vec::new(),
            toolchains: BTreeMap::new(),
        }
    }

    /// Whether another machine makes the same environment from it. Only so with an image: nothing says
    /// how to come by the same folder elsewhere.
    #[must_use]
    pub fn reproducible(&self) -> bool {
        matches!(self.root, Root::Image(_))
    }

    /// Where the workspace appears.
    #[must_use]
    pub fn workspace(&self) -> &str {
        self.workspace.as_deref().unwrap_or(WORKSPACE)
    }

    /// Where commands begin.
    #[must_use]
    pub fn workdir(&self) -> &str {
        self.workdir.as_deref().unwrap_or_else(|| self.workspace())
    }
}

impl SetupStep {
    /// Where it begins; none where it has no files: in the home.
    #[must_use]
    pub fn cwd(&self) -> Option<String> {
        match &self.folder {
            Some(folder) => Some(format!("{SETUP_FOLDER}/{folder}")),
            None if self.files.is_empty() => None,
            None => Some(SETUP_FOLDER.to_owned()),
        }
    }
}

impl Command {
    /// Program and arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Line(line) => ["sh", "-c", line].map(str::to_owned).to_vec(),
            Self::Program(argv) => argv.clone(),
        }
    }
}

impl From<Command> for SetupStep {
    fn from(run: Command) -> Self {
        Self {
            run,
            files: Vec::new(),
            env: BTreeMap::new(),
            folder: None,
        }
    }
}
