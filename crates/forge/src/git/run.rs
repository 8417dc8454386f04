//! Running git: one wrapper, one environment, typed errors.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use super::oid::Oid;

/// Settings that no repository and no host may change; they reach git and its children through `GIT_CONFIG_COUNT`.
///
/// `core.fsync` and `core.fsyncMethod`: objects and refs are on disk before git returns; loose objects share a flush.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.fsync", "committed,pack-metadata"),
    ("core.fsyncMethod", "batch"),
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("credential.helper", ""),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("transfer.fsckObjects", "true"),
    // Old, harmless faults of real histories: refusing them would refuse real repositories.
    ("fetch.fsck.zeroPaddedFilemode", "warn"),
    ("fetch.fsck.badTimezone", "warn"),
    ("fetch.fsck.missingSpaceBeforeDate", "warn"),
    ("receive.fsck.zeroPaddedFilemode", "warn"),
    ("receive.fsck.badTimezone", "warn"),
    ("receive.fsck.missingSpaceBeforeDate", "warn"),
    ("transfer.hideRefs", "refs/nightcrew"),
    ("advice.detachedHead", "false"),
    // We read repositories that belong to other users. Their configuration can start nothing: hooks, monitors and
    // filters are off, and environments cannot write the trees that git runs in.
    ("safe.directory", "*"),
    ("pack.threads", "1"),
    ("pack.writeReverseIndex", "false"),
    ("index.version", "2"),
    ("diff.renames", "true"),
    ("diff.renameLimit", "1000"),
    ("merge.renames", "true"),
];

/// Variables of the host that reach git only when it talks to another machine.
const NETWORK_VARIABLES: &[&str] = &[
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Why a git operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no program `git` on the search path.
    #[error("the program git was not found on the search path; install git 2.38 or later")]
    ProgramMissing,
    /// The path of a repository does not exist.
    #[error("there is no repository at {}", .0.display())]
    RepositoryMissing(PathBuf),
    /// The path exists, and is not a git repository.
    #[error("{} is not a git repository", .0.display())]
    NotARepository(PathBuf),
    /// The repository uses a format we do not read.
    #[error("{} uses {format}, which is not supported", .path.display())]
    UnsupportedFormat {
        /// The repository.
        path: PathBuf,
        /// What it uses.
        format: &'static str,
    },
    /// The repository, or the branch asked for, has no commit.
    #[error("the repository has no commit on {0}")]
    EmptyRepository(String),
    /// A ref or a commit does not exist.
    #[error("there is no commit or ref `{0}`")]
    UnknownRevision(String),
    /// A ref had another value than expected; nothing was changed.
    #[error("the ref {name} is at {}, expected {}", show(found), show(expected))]
    RefMoved {
        /// The ref.
        name: String,
        /// What was expected; `None` is "absent".
        expected: Option<Oid>,
        /// What was found; `None` is "absent".
        found: Option<Oid>,
    },
    /// A ref name git would refuse, or one that collides with another as folder and file.
    #[error("`{name}` cannot be a ref name: {reason}")]
    InvalidRefName {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The place to clone into exists and holds something else.
    #[error("{} exists already", .0.display())]
    DestinationExists(PathBuf),
    /// A file with a pack or bundle is not one, or does not hold what was promised.
    #[error("the pack {} is refused: {reason}", .path.display())]
    BadPack {
        /// The file.
        path: PathBuf,
        /// Why, as git or the parser says it.
        reason: String,
    },
    /// The remote could not be reached, or refused.
    #[error("the remote cannot be read: {0}")]
    Remote(String),
    /// Git ran and failed.
    #[error("git {command} failed ({status}): {stderr}")]
    Failed {
        /// The sub-command.
        command: String,
        /// Exit status, as text.
        status: String,
        /// The end of what git wrote to standard error.
        stderr: String,
    },
    /// Git answered something we cannot read.
    #[error("the answer of git {command} cannot be read: {detail}")]
    Unreadable {
        /// The sub-command.
        command: &'static str,
        /// What was wrong.
        detail: String,
    },
    /// Reading or writing a file of a repository failed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn show(value: &Option<Oid>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string())
}

impl GitError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// Runs git. Cheap to clone; made once by [`Git::find`].
#[derive(Debug, Clone)]
pub struct Git {
    program: Arc<PathBuf>,
    environment: Arc<Vec<(OsString, OsString)>>,
}

impl Git {
    /// Finds git on the search path of this process.
    ///
    /// # Errors
    /// [`GitError::ProgramMissing`].
    pub fn find() -> Result<Self, GitError> {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        Self::find_in(&path)
    }

    /// Finds git on this search path, which git gets as its own.
    ///
    /// # Errors
    /// [`GitError::ProgramMissing`].
    pub fn find_in(search_path: &OsStr) -> Result<Self, GitError> {
        // An absolute program lets the standard library use posix_spawn, which does not copy the page tables of a
        // large server; a name to be searched with a changed PATH would force a fork.
        let program = std::env::split_paths(search_path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(|candidate| candidate.is_file())
            .ok_or(GitError::ProgramMissing)?;
        Ok(Self {
            program: Arc::new(program),
            environment: Arc::new(environment(search_path)),
        })
    }

    /// The absolute path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The variables git runs with: for those who start it in their own way (the smart HTTP of this crate does).
    #[must_use]
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// Prepares `git <command>` in the repository whose git directory is `git_dir`.
    #[must_use]
    pub fn at(&self, git_dir: &Path, command: &'static str) -> Invocation {
        let mut invocation = self.bare(command);
        invocation.process.env("GIT_DIR", git_dir);
        invocation
    }

    /// Prepares `git <command>` outside any repository.
    #[must_use]
    pub fn bare(&self, command: &'static str) -> Invocation {
        let mut process = Command::new(&*self.program);
        process
            .env_clear()
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir("/")
            .arg(command);
        Invocation {
            process,
            command,
            stdin: Input::Nothing,
        }
    }
}

fn environment(search_path: &OsStr) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = vec![("PATH".into(), search_path.to_owned())];
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("XDG_CONFIG_HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("SSH_ASKPASS", "/bin/false"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_ALLOW_PROTOCOL", "file:http:https:ssh:git"),
        (
            "GIT_SSH_COMMAND",
            "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30",
        ),
        ("GIT_HTTP_LOW_SPEED_LIMIT", "1000"),
        ("GIT_HTTP_LOW_SPEED_TIME", "60"),
        // An identity is never guessed from the host; ours is given per commit.
        ("GIT_AUTHOR_NAME", "Nightcrew"),
        ("GIT_AUTHOR_EMAIL", "nightcrew@localhost"),
        ("GIT_COMMITTER_NAME", "Nightcrew"),
        ("GIT_COMMITTER_EMAIL", "nightcrew@localhost"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
    ] {
        all.push((name.into(), value.into()));
    }
    all.push(("GIT_CONFIG_COUNT".into(), SETTINGS.len().to_string().into()));
    for (n, (key, value)) in SETTINGS.iter().enumerate() {
        all.push((format!("GIT_CONFIG_KEY_{n}").into(), (*key).into()));
        all.push((format!("GIT_CONFIG_VALUE_{n}").into(), (*value).into()));
    }
    all
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// One git command about to run.
pub struct Invocation {
    process: Command,
    command: &'static str,
    stdin: Input,
}

impl Invocation {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.process.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.process.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.process.env(name, value);
        self
    }

    /// Lets through the variables that talking to another machine needs: proxies, certificates, the ssh agent.
    #[must_use]
    pub fn network(mut self) -> Self {
        for name in NETWORK_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                self.process.env(name, value);
            }
        }
        self
    }

    /// Gives bytes on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Gives a file, from its present position on, as standard input.
    #[must_use]
    pub fn stdin_file(mut self, file: File) -> Self {
        self.stdin = Input::File(file);
        self
    }

    /// Runs to the end and returns standard output.
    ///
    /// # Errors
    /// [`GitError::Failed`] when git does not exit with 0.
    pub fn output(self) -> Result<Vec<u8>, GitError> {
        let command = self.command;
        let output = self.run()?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(command, &output))
        }
    }

    /// Runs to the end and returns standard output with the exit code, when the code is one of `accepted`.
    ///
    /// # Errors
    /// [`GitError::Failed`] for any other end.
    pub fn output_with(self, accepted: &[i32]) -> Result<(i32, Vec<u8>), GitError> {
        let command = self.command;
        let output = self.run()?;
        match output.status.code() {
            Some(code) if accepted.contains(&code) => Ok((code, output.stdout)),
            _ => Err(failed(command, &output)),
        }
    }

    /// Runs and returns at most `limit` bytes of standard output, and whether there were more.
    ///
    /// # Errors
    /// [`GitError::Failed`] when git fails before the limit is reached.
    pub fn output_limited(mut self, limit: usize) -> Result<(Vec<u8>, bool), GitError> {
        self.process
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = self
            .process
            .spawn()
            .map_err(|source| self.not_started(source))?;
        let mut bytes = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(limit as u64 + 1).read_to_end(&mut bytes);
            read.map_err(GitError::io("read the output of", Path::new("git")))?;
        }
        let truncated = bytes.len() > limit;
        bytes.truncate(limit);
        if truncated {
            // It may have ended by itself in the meantime; both are fine.
            let _ = child.kill();
        }
        let status = child
            .wait()
            .map_err(GitError::io("wait for", Path::new("git")))?;
        if truncated || status.success() {
            return Ok((bytes, truncated));
        }
        Err(GitError::Failed {
            command: self.command.into(),
            status: status.to_string(),
            stderr: String::new(),
        })
    }

    fn run(mut self) -> Result<Output, GitError> {
        let stdin = std::mem::replace(&mut self.stdin, Input::Nothing);
        let bytes = match stdin {
            Input::Nothing => {
                self.process.stdin(Stdio::null());
                None
            }
            Input::File(file) => {
                self.process.stdin(file);
                None
            }
            Input::Bytes(bytes) => {
                self.process.stdin(Stdio::piped());
                Some(bytes)
            }
        };
        self.process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .process
            .spawn()
            .map_err(|source| self.not_started(source))?;
        let pipe = child.stdin.take();
        let output = std::thread::scope(|scope| {
            if let (Some(mut pipe), Some(bytes)) = (pipe, bytes) {
                // What fits into a pipe is written at once; a thread only where git could block us.
                // A broken pipe means that git ended early: its status says why.
                if bytes.len() <= 32 * 1024 {
                    let _ = pipe.write_all(&bytes);
                } else {
                    scope.spawn(move || drop(pipe.write_all(&bytes)));
                }
            }
            child.wait_with_output()
        });
        output.map_err(GitError::io("wait for", Path::new("git")))
    }

    fn not_started(&self, source: io::Error) -> GitError {
        match source.kind() {
            io::ErrorKind::NotFound => GitError::ProgramMissing,
            _ => GitError::Io {
                doing: "start",
                path: self.process.get_program().into(),
                source,
            },
        }
    }
}

fn failed(command: &str, output: &Output) -> GitError {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    let start = text.char_indices().rev().nth(1999).map_or(0, |(at, _)| at);
    GitError::Failed {
        command: command.to_owned(),
        status: output.status.to_string(),
        stderr: text[start..].to_owned(),
    }
}
