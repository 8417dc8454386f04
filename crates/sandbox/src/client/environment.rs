//! A handle on one environment.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gate::GateLink;
use super::requirement;
use super::running::Running;
use super::stack::Held;
use crate::cgroup::{Ability, Handle, Usage};
use crate::error::SandboxError;
use crate::exec_policy::ExecEvent;
use crate::layer;
use crate::message::{Exec, Order};
use crate::network::NetworkSockets;
use crate::report::IsolationReport;
use crate::spec::ExecSpec;
use crate::storage::quota::{DiskUsage, measure};
use crate::sys::{file, process, socket};

/// Variables a step gets unless it is given its own.
const DEFAULTS: [(&str, &str); 5] = [
    (
        "PATH",
        "/nightcrew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/home/agent"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("TMPDIR", "/tmp"),
];

/// What TERM is on a terminal: what nearly every console understands.
const TERMINAL: &str = "xterm-256color";

/// An environment that passed its self-test. Dropping it destroys it.
#[derive(Debug)]
pub struct Environment {
    link: Arc<Link>,
    report: IsolationReport,
    /// Until somebody takes them.
    network: Mutex<Option<NetworkSockets>>,
    /// Given up when the environment is no more.
    held: Held,
}

/// What an environment shares with the step running in it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: String,
    pub(super) socket: OwnedFd,
    pidfd: OwnedFd,
    pub(super) cgroups: Handle,
    gate: Option<GateLink>,
    pub(super) state: Mutex<State>,
}

/// Which step is running.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Number of the step started last.
    pub(super) step: u64,
    pub(super) busy: bool,
    /// Why the step of this number is being killed, where that is not what the client asked for.
    blame: Option<(u64, String)>,
    /// What is written to, where somebody watches it.
    watched: Vec<PathBuf>,
    /// What was used when the last step that was killed for it had ended.
    after: Option<DiskUsage>,
}

impl Environment {
    pub(super) fn new(
        id: String,
        socket: OwnedFd,
        pidfd: OwnedFd,
        cgroups: Handle,
        gate: Option<OwnedFd>,
        report: IsolationReport,
        network: Option<NetworkSockets>,
    ) -> Self {
        Self {
            link: Arc::new(Link {
                id,
                socket,
                pidfd,
                cgroups,
                gate: gate.map(GateLink::new),
                state: Mutex::default(),
            }),
            report,
            network: Mutex::new(network),
            held: Held::default(),
        }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Keeps layers for this environment alone while it lives.
    pub(super) fn hold(&mut self, held: Held) {
        self.held = held;
    }

    pub(super) fn weaken(&mut self, sentence: &str) {
        self.report.weaker.push(sentence.to_owned());
    }

    /// The name it was given.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.link.id
    }

    /// Its first process, as this process's pid namespace numbers it; absent when it has ended.
    #[cfg(feature = "bpf-lsm")]
    pub(crate) fn first_process(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fdinfo/{}", self.link.pidfd.as_raw_fd());
        let information = std::fs::read_to_string(path).ok()?;
        let line = information.lines().find(|line| line.starts_with("Pid:"))?;
        let number = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        (number > 0).then_some(number)
    }

    /// What is enforced, with the proof.
    #[must_use]
    pub fn report(&self) -> &IsolationReport {
        &self.report
    }

    /// The sockets of its network, once; whoever has them answers for every address inside. They
    /// keep the network in being, so let go of them when the environment has ended. Absent where
    /// the spec has no network, and after the first call.
    #[must_use]
    pub fn take_network(&self) -> Option<NetworkSockets> {
        let mut network = self.network.lock();
        let network = network.as_mut().map(|network| network.take());
        network.unwrap_or_else(|poisoned| poisoned.get_mut().take())
    }

    /// Starts a step. One runs at a time; it ends, with everything it started, before
    /// [`Running::wait`] returns.
    ///
    /// # Errors
    /// [`SandboxError::InvalidSpec`], [`SandboxError::Busy`], [`SandboxError::Gone`],
    /// [`SandboxError::Talk`]. A program that cannot be found is not an error here but exit code
    /// 127, as in a shell.
    pub fn exec(&self, spec: ExecSpec) -> Result<Running, SandboxError> {
        let ExecSpec {
            argv,
            env,
            cwd,
            stdin,
            stdout,
            stderr,
            terminal,
            timeout,
        } = spec;
        let mut exec = Exec {
            step: 0,
            argv: argv
                .into_iter()
                .map(|word| text("argv", word))
                .collect::<Result<_, _>>()?,
            env: variables(env, terminal.is_some())?,
            cwd: cwd.map(|cwd| text("cwd", cwd)).transpose()?,
            stdin: stdin.is_some() && terminal.is_none(),
            terminal,
            timeout,
        };
        if exec.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(invalid("argv", "a program is needed"));
        }
        let mut fds = Vec::new();
        if terminal.is_none() {
            for fd in [Some(&stdout), Some(&stderr), stdin.as_ref()]
                .into_iter()
                .flatten()
            {
                layer::give_pipe(fd);
            }
            fds.extend([stdout.as_fd(), stderr.as_fd()]);
            fds.extend(stdin.as_ref().map(AsFd::as_fd));
        }
        let mut state = self
            .link
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if state.busy {
            return Err(SandboxError::Busy {
                id: self.link.id.clone(),
            });
        }
        exec.step = state.step + 1;
        self.link.order(&Order::Exec(exec), &fds)?;
        state.step += 1;
        state.busy = true;
        let running = Running::new(Arc::clone(&self.link), state.step);
        drop(state);
        if terminal.is_some() {
            return running.with_terminal();
        }
        Ok(running)
    }

    /// Halts every process of the environment where it is, and returns when all have halted. Until
    /// [`thaw`](Self::thaw) its time runs on, and a step that is started waits. It can be destroyed.
    ///
    /// # Errors
    /// [`SandboxError::Weaker`] where no cgroup can do that; [`SandboxError::Talk`] when processes
    /// do not come to a halt within ten seconds.
    pub fn freeze(&self) -> Result<(), SandboxError> {
        self.halt(true)
    }

    /// Lets processes go on after [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// As for [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<(), SandboxError> {
        self.halt(false)
    }

    fn halt(&self, freeze: bool) -> Result<(), SandboxError> {
        let id = || self.link.id.clone();
        match self.link.cgroups.freeze(freeze) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SandboxError::Weaker {
                id: id(),
                missing: vec![requirement::layer(Ability::Freeze.layer())],
            }),
            Err(source) => Err(SandboxError::Talk { id: id(), source }),
        }
    }

    /// What the environment used so far, as its cgroups count it. Costs a few reads.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.link.cgroups.usage()
    }

    /// What exec control refused or saw since the last call, oldest first; waits at most `timeout`
    /// for the first. Alike events are counted together, so a flood is a few events. Empty without
    /// the layer `exec-gate`.
    ///
    /// Of events that nobody takes, beyond some thousands only the number is kept: it comes as one event
    /// whose rule begins with `various`.
    #[must_use]
    pub fn exec_events(&self, timeout: Duration) -> Vec<ExecEvent> {
        let gate = self.link.gate.as_ref();
        gate.map(|gate| gate.events(timeout)).unwrap_or_default()
    }

    /// Kills everything in the environment and returns when nothing of it is left. The layer stays.
    ///
    /// # Errors
    /// [`SandboxError::Talk`] when the kernel refuses to.
    pub fn destroy(self) -> Result<(), SandboxError> {
        self.link.end()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.link.end();
    }
}

impl Link {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The step started last, and whether it runs.
    pub(super) fn step(&self) -> (u64, bool) {
        let state = self.state();
        (state.step, state.busy)
    }

    pub(super) fn pidfd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Remembers why a step is about to be killed; the first reason stays.
    pub(super) fn blame(&self, step: u64, reason: String) {
        let mut state = self.state();
        if state
            .blame
            .as_ref()
            .is_none_or(|(blamed, _)| *blamed != step)
        {
            state.blame = Some((step, reason));
        }
    }

    /// Says that somebody watches what is written.
    pub(super) fn watch(&self, trees: Vec<PathBuf>) {
        self.state().watched = trees;
    }

    /// Why a step that has ended was killed. What it leaves is measured, now that nothing is
    /// written: what the next step is judged by.
    pub(super) fn blamed(&self, step: u64) -> Option<String> {
        let state = self.state();
        let (blamed, reason) = state.blame.clone()?;
        let trees = state.watched.clone();
        drop(state);
        if blamed != step {
            return None;
        }
        let used = measure(&trees, &|_| false).unwrap_or_default();
        self.state().after = Some(used);
        Some(reason)
    }

    /// What was used after a step that was killed for it, once.
    pub(super) fn after(&self) -> Option<DiskUsage> {
        self.state().after.take()
    }

    /// Kills the init, and with it the whole pid namespace; the kernel reports the init dead only
    /// when all the others are.
    fn end(&self) -> Result<(), SandboxError> {
        let talk = |source| SandboxError::Talk {
            id: self.id.clone(),
            source,
        };
        if process::signal_pidfd(self.pidfd.as_fd(), libc::SIGKILL).map_err(talk)? {
            // Death of its init kills them all as well, but one after the other.
            self.cgroups.kill();
            self.cgroups.let_die();
            while let [false] = process::poll([self.pidfd.as_fd()], None).map_err(talk)? {}
            // Until then the gate may hold files of the layer.
            if let Some(gate) = &self.gate {
                gate.ended();
            }
        }
        Ok(())
    }

    pub(super) fn order(
        &self,
        order: &Order,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(), SandboxError> {
        let message = order.encode();
        let result = if message.len() <= socket::MAX_INLINE {
            socket::send(self.socket.as_fd(), &message, fds)
        } else {
            file::memory_file(&message).and_then(|file| {
                let mut fds = fds.to_vec();
                fds.push(file.as_fd());
                socket::send(self.socket.as_fd(), &Order::ExecInFile.encode(), &fds)
            })
        };
        result.map_err(|source| match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SandboxError::Gone {
                id: self.id.clone(),
            },
            _ => SandboxError::Talk {
                id: self.id.clone(),
                source,
            },
        })
    }
}

fn invalid(field: &'static str, reason: &str) -> SandboxError {
    SandboxError::InvalidSpec {
        field,
        reason: reason.to_owned(),
    }
}

fn text(field: &'static str, value: String) -> Result<CString, SandboxError> {
    CString::new(value).map_err(|_| invalid(field, "it contains a NUL"))
}

/// `NAME=value` for each, with the defaults that were not given.
fn variables(given: Vec<(String, String)>, terminal: bool) -> Result<Vec<CString>, SandboxError> {
    let names: HashSet<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    if names
        .iter()
        .any(|name| name.is_empty() || name.contains('='))
    {
        return Err(invalid("env", "a name is empty or contains `=`"));
    }
    let defaults = DEFAULTS
        .iter()
        .filter(|(name, _)| !names.contains(name))
        .map(|(name, value)| match *name {
            "TERM" if terminal => format!("TERM={TERMINAL}"),
            name => format!("{name}={value}"),
        })
        .collect::<Vec<_>>();
    defaults
        .into_iter()
        .chain(
            given
                .into_iter()
                .map(|(name, value)| format!("{name}={value}")),
        )
        .map(|variable| text("env", variable))
        .collect()
}
