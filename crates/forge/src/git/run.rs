//! Running git: one wrapper, one environment, typed errors.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use super::GitError;
use super::environment::{NETWORK_VARIABLES, environment};

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

    /// What `git version` says, such as `2.39.5`.
    ///
    /// # Errors
    /// [`GitError::ProgramMissing`].
    pub fn version(&self) -> Result<String, GitError> {
        let answer = self.bare("version").output()?;
        Ok(String::from_utf8_lossy(&answer)
            .trim()
            .trim_start_matches("git version ")
            .to_owned())
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
