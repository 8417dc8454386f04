//! An environment in a guest, as its caller sees it.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::error::VmError;
use super::frame::Kind;
use super::link::{Link, Route};
use super::running::{self, VmRunning};
use crate::error::SandboxError;
use crate::exec_policy::{Digest, RuleVerdict};
use crate::lsm;
use crate::message::{Exec, Order};
use crate::report::IsolationReport;
use crate::spec::{EnvironmentSpec, ExecSpec};
use crate::wire::Writer;

/// How long the guest may take for what a host does in milliseconds, without KVM and when busy.
pub(super) const ANSWER: Duration = Duration::from_secs(120);
/// Verdicts in one message.
const VERDICTS: usize = 8192;

/// An environment in a guest. Dropping it destroys it.
#[derive(Debug)]
pub struct VmEnvironment {
    link: Arc<Link>,
    number: u64,
    id: String,
    report: IsolationReport,
    /// Life of the environment: no step is longer.
    wall: Duration,
}

impl VmEnvironment {
    pub(super) fn new(
        link: &Arc<Link>,
        number: u64,
        spec: &EnvironmentSpec,
        report: IsolationReport,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            number,
            id: spec.id.clone(),
            report,
            wall: spec.limits.wall,
        }
    }

    /// The name it was given.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is enforced, with the proof from inside.
    #[must_use]
    pub fn report(&self) -> &IsolationReport {
        &self.report
    }

    /// Sets verdicts of exec control for this environment, from now on.
    ///
    /// # Errors
    /// [`VmError::Guest`] where exec control is not loaded, or its table is full.
    pub fn judge(&self, verdicts: &[(Digest, Option<RuleVerdict>)]) -> Result<(), VmError> {
        for some in verdicts.chunks(VERDICTS) {
            let mut body = Writer::default();
            body.number(self.number).bytes(&lsm::encode_verdicts(some));
            let number = self.link.number();
            self.link.ask(
                Kind::Verdict,
                number,
                &body.finish(),
                "take verdicts",
                ANSWER,
            )?;
        }
        Ok(())
    }

    /// Starts a step; as [`Environment::exec`](crate::Environment::exec).
    ///
    /// # Errors
    /// [`SandboxError::InvalidSpec`] within [`VmError::Environment`]; [`VmError`] when the machine
    /// is gone. A second step beside one that runs ends at once, as if its environment were gone.
    pub fn exec(&self, spec: ExecSpec) -> Result<VmRunning, VmError> {
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
        if terminal.is_some() {
            let reason = "a step in a virtual machine has no terminal of its own yet";
            return Err(invalid("terminal", reason));
        }
        let exec = Exec {
            step: 0,
            argv: argv
                .into_iter()
                .map(|word| text("argv", word))
                .collect::<Result<_, _>>()?,
            env: env
                .into_iter()
                .map(|(name, value)| text("env", format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            cwd: cwd.map(|cwd| text("cwd", cwd)).transpose()?,
            stdin: stdin.is_some(),
            terminal: None,
            timeout,
        };
        if exec.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(invalid("argv", "a program is needed"));
        }
        self.run(exec, [stdout, stderr], stdin)
    }

    fn run(
        &self,
        exec: Exec,
        outputs: [OwnedFd; 2],
        stdin: Option<OwnedFd>,
    ) -> Result<VmRunning, VmError> {
        let number = self.link.number();
        let limit = exec.timeout.map_or(self.wall, |limit| limit.min(self.wall));
        let running = running::prepare(&self.link, number, outputs, limit);
        self.link.route(number, Route::Step(running.progress()));
        let mut body = Writer::default();
        body.number(self.number).bytes(&Order::Exec(exec).encode());
        if self.link.send(Kind::Exec, number, &body.finish()).is_err() {
            let error = self.link.machine.closed();
            running.progress().gone();
            self.link.forget(number);
            return Err(error);
        }
        if let Some(stdin) = stdin {
            running.feed(stdin);
        }
        Ok(running)
    }

    /// Kills everything in the environment and returns when nothing of it is left. The layer stays.
    ///
    /// # Errors
    /// [`VmError`] when the guest does not answer; the machine is ended then.
    pub fn destroy(self) -> Result<(), VmError> {
        self.end()
    }

    fn end(&self) -> Result<(), VmError> {
        if self.link.is_gone() {
            return Ok(());
        }
        self.link
            .ask(
                Kind::Destroy,
                self.number,
                &[],
                "destroy an environment",
                ANSWER,
            )
            .map(drop)
    }
}

impl Drop for VmEnvironment {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

pub(super) fn invalid(field: &'static str, reason: &str) -> VmError {
    VmError::Environment(SandboxError::InvalidSpec {
        field,
        reason: reason.to_owned(),
    })
}

fn text(field: &'static str, value: String) -> Result<CString, VmError> {
    CString::new(value).map_err(|_| invalid(field, "it contains a NUL"))
}
