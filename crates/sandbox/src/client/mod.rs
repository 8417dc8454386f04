//! The caller's side: starting a supervisor, asking for environments, running steps in them.

mod environment;
mod gate;
pub(crate) mod request;
pub(crate) mod requirement;
mod running;
pub(crate) mod stack;
mod terminal;
mod watch;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

pub use environment::Environment;
pub use running::Running;
pub use terminal::Terminal;

use crate::cgroup::Handle;
use crate::error::SandboxError;
use crate::gate::door;
use crate::layer;
use crate::message::{Create, Failure, OVERLAY_STAGE, Reply};
use crate::network::{LAYER, NetworkSockets};
use crate::report::{IsolationLevel, IsolationReport};
use crate::spec::EnvironmentSpec;
use crate::supervisor::ARGUMENT;
use crate::sys::{socket, spawn};
use crate::wire::Reader;

/// What a report says when the workspace had to be copied.
const COPIED: &str =
    "overlay file systems are refused here: the workspace is a full copy of what it stands on";

/// How to start a supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    /// A program whose `main` begins with [`run_if_requested`](crate::supervisor::run_if_requested):
    /// normally this one, `std::env::current_exe()`.
    pub program: PathBuf,
    /// Never mount overlays, always copy: what happens by itself where they are refused.
    pub copy_workspaces: bool,
}

impl SupervisorOptions {
    /// The defaults, with this program.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            copy_workspaces: false,
        }
    }
}

/// A running supervisor. May be used from many threads at once.
///
/// Dropping it ends the supervisor and every environment it made.
#[derive(Debug)]
pub struct Supervisor {
    /// Absent only while dropping.
    socket: Option<OwnedFd>,
    child: Mutex<Child>,
    process_id: u32,
    copy_workspaces: AtomicBool,
    watch: watch::Watch,
}

impl Supervisor {
    /// Starts a supervisor and waits until it is ready.
    ///
    /// # Errors
    /// [`SandboxError::Supervisor`] when the program cannot be started, does not answer, or the
    /// kernel refuses what it needs; [`preflight`](crate::preflight) names causes and cures.
    pub fn start(options: SupervisorOptions) -> Result<Self, SandboxError> {
        let SupervisorOptions {
            program,
            copy_workspaces,
        } = options;
        let failed = |stage: &str| {
            let stage = stage.to_owned();
            move |source| SandboxError::Supervisor { stage, source }
        };
        let (ours, theirs) = socket::pair().map_err(failed("make a socket"))?;
        let mut command = Command::new(&program);
        command
            .arg(ARGUMENT)
            .arg(theirs.as_raw_fd().to_string())
            .env_clear()
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        spawn::pass_descriptor(&mut command, theirs.as_fd());
        let child = command
            .arg0("nightcrew-supervisor")
            .spawn()
            .map_err(failed("run the program"))?;
        drop(theirs);
        let supervisor = Self {
            socket: Some(ours),
            process_id: child.id(),
            child: Mutex::new(child),
            copy_workspaces: AtomicBool::new(copy_workspaces),
            watch: watch::Watch::default(),
        };
        supervisor.greet()?;
        Ok(supervisor)
    }

    /// Reads the supervisor's first message.
    fn greet(&self) -> Result<(), SandboxError> {
        let mut buffer = [0; 1024];
        let received = match &self.socket {
            Some(socket) => socket::receive(socket.as_fd(), &mut buffer),
            None => Ok(None),
        };
        let silent = |source| SandboxError::Supervisor {
            stage: "wait for it to be ready".to_owned(),
            source,
        };
        let nonsense = || silent(io::Error::from(io::ErrorKind::InvalidData));
        let Some((length, _)) = received.map_err(silent)? else {
            return Err(silent(io::Error::from(io::ErrorKind::UnexpectedEof)));
        };
        let mut reader = Reader::new(&buffer[..length]);
        if reader.byte().map_err(|_| nonsense())? == 0 {
            return Ok(());
        }
        let stage = reader.text().map_err(|_| nonsense())?;
        let errno = reader.number().map_err(|_| nonsense())?;
        Err(SandboxError::Supervisor {
            stage,
            source: io::Error::from_raw_os_error(errno as i32),
        })
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Makes an environment and returns when its self-test has passed. Costs the same however
    /// large the base is (unless the workspace must be copied).
    ///
    /// # Errors
    /// [`SandboxError::InvalidSpec`] and [`SandboxError::Path`] for what the caller gave,
    /// [`SandboxError::Setup`] for what the kernel refused, [`SandboxError::SelfTest`] when
    /// isolation did not hold, [`SandboxError::Weaker`] when it falls short of what the spec
    /// requires, [`SandboxError::SupervisorGone`].
    pub fn create(&self, spec: &EnvironmentSpec) -> Result<Environment, SandboxError> {
        let environment = self.make(spec)?;
        let missing = requirement::missing(&spec.required, environment.report());
        if missing.is_empty() {
            return Ok(environment);
        }
        let id = spec.id.clone();
        environment.destroy()?;
        Err(SandboxError::Weaker { id, missing })
    }

    fn make(&self, spec: &EnvironmentSpec) -> Result<Environment, SandboxError> {
        request::check(spec)?;
        let prepared = stack::prepare(spec)?;
        if let Some(outputs) = &spec.outputs {
            layer::give(outputs).map_err(|source| SandboxError::Path {
                action: "give the environment",
                path: outputs.clone(),
                source,
            })?;
        }
        stack::limit(spec);
        let mut request = request::of(spec, &prepared);
        let mut environment = self.make_over(spec, &mut request)?;
        environment.hold(prepared.held);
        self.watch.add(spec, environment.link());
        Ok(environment)
    }

    /// Makes it over overlays, or over copies where those are refused.
    fn make_over(
        &self,
        spec: &EnvironmentSpec,
        request: &mut Create,
    ) -> Result<Environment, SandboxError> {
        if !self.copy_workspaces.load(Ordering::Relaxed) && !stack::has_copies(spec) {
            match self.ask(request) {
                Err(SandboxError::Setup { stage, .. })
                    if stage == OVERLAY_STAGE && !stack::needs_overlays(spec) =>
                {
                    self.copy_workspaces.store(true, Ordering::Relaxed);
                }
                outcome => return outcome,
            }
        }
        let copied = stack::copy(spec, request)?;
        let mut environment = self.ask(request)?;
        if copied {
            environment.weaken(COPIED);
        }
        Ok(environment)
    }

    /// Sends one request and waits for the environment's own answer.
    fn ask(&self, request: &Create) -> Result<Environment, SandboxError> {
        let id = &request.id;
        let talk = |source| SandboxError::Talk {
            id: id.clone(),
            source,
        };
        let socket = self.socket.as_ref().ok_or(SandboxError::SupervisorGone)?;
        let (ours, theirs) = socket::pair().map_err(talk)?;
        let message = request.encode();
        if message.len() > socket::MAX_INLINE {
            return Err(SandboxError::InvalidSpec {
                field: "frozen",
                reason: "all paths and rules together are more than fits a request".to_owned(),
            });
        }
        match socket::send(socket.as_fd(), &message, &[theirs.as_fd()]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Err(SandboxError::SupervisorGone);
            }
            result => result.map_err(talk)?,
        }
        drop(theirs);
        let mut buffer = vec![0; 16 * 1024];
        let Some((length, fds)) = socket::receive(ours.as_fd(), &mut buffer).map_err(talk)? else {
            return Err(self.silence(id));
        };
        let nonsense = || talk(io::Error::from(io::ErrorKind::InvalidData));
        match Reply::decode(&buffer[..length]).map_err(|_| nonsense())? {
            Reply::Failed(Failure { stage, errno }) => Err(SandboxError::Setup {
                id: id.clone(),
                stage,
                source: io::Error::from_raw_os_error(errno),
            }),
            Reply::Ready {
                layers,
                self_test,
                weaker,
                cgroups,
                network,
            } => {
                let failed = self_test.iter().find(|probe| !probe.passed).cloned();
                let mut fds = fds.into_iter();
                let pidfd = fds.next().ok_or_else(nonsense)?;
                let has = |name: &str| layers.iter().any(|layer| layer == name);
                let gated = has(door::LAYER);
                let gate = if gated { fds.next() } else { None };
                let network = NetworkSockets::of(&network, fds.collect()).ok_or_else(nonsense)?;
                let network = has(LAYER).then_some(network);
                let cgroups = Handle::new(&cgroups, &layers);
                let report = IsolationReport {
                    level: if gated {
                        IsolationLevel::L1
                    } else {
                        IsolationLevel::L0
                    },
                    layers,
                    self_test,
                    weaker,
                };
                // Dropping it kills the environment.
                let environment =
                    Environment::new(id.clone(), ours, pidfd, cgroups, gate, report, network);
                match failed {
                    None => Ok(environment),
                    Some(probe) => Err(SandboxError::SelfTest {
                        id: id.clone(),
                        probe: probe.name,
                        detail: probe.detail,
                    }),
                }
            }
            Reply::Exited(_) | Reply::Terminal(_) => Err(nonsense()),
        }
    }

    /// Why an environment ended without a word.
    fn silence(&self, id: &str) -> SandboxError {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait() {
            Ok(None) => SandboxError::Gone { id: id.to_owned() },
            _ => SandboxError::SupervisorGone,
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The supervisor ends when it sees this close.
        drop(self.socket.take());
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.wait();
    }
}
