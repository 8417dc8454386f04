//! Exec control in the guest, in a program built without it: asking for it is refused.

use crate::client::Environment;
use crate::exec_policy::ExecPolicy;
use crate::message::Failure;
use crate::report::ProbeResult;

/// Nothing.
pub(super) struct Control;

fn absent(stage: &str) -> Failure {
    Failure {
        stage: format!("{stage}: this program was built without the feature bpf-lsm"),
        errno: libc::EOPNOTSUPP,
    }
}

#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "the shape that exec control has where it is built in"
)]
impl Control {
    pub(super) fn start(
        wanted: bool,
        _denied: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<Self, Failure> {
        if wanted {
            return Err(absent("load exec control"));
        }
        Ok(Self)
    }

    pub(super) fn enroll(
        &mut self,
        _number: u64,
        _exec: &ExecPolicy,
        _environment: &Environment,
    ) -> Result<Option<String>, Failure> {
        // Had it been asked for, the start would have been refused.
        Ok(None)
    }

    pub(super) fn dismiss(&mut self, _environment: u64) {}

    pub(super) fn rule(&mut self, _environment: u64, _body: &[u8]) -> Result<(), Failure> {
        Err(absent("take verdicts"))
    }

    pub(super) fn attack(&mut self) -> Result<Vec<ProbeResult>, Failure> {
        Err(absent("attack exec control"))
    }
}
