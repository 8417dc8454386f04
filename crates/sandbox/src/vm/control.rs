//! Exec control in the guest, by BPF-LSM. Without the feature, `no_control.rs` stands in its place.

use crate::client::Environment;
use crate::exec_policy::{ExecMode, ExecPolicy};
use crate::message::Failure;
use crate::report::ProbeResult;

use crate::lsm;

/// What a report calls exec control by BPF-LSM.
const LAYER: &str = "exec-control-bpf-lsm";

/// Exec control as far as it was asked for.
pub(super) struct Control {
    loaded: Option<lsm::Lsm>,
    cgroups: std::collections::HashMap<u64, lsm::Cgroup>,
}

fn absent(stage: &str) -> Failure {
    Failure {
        stage: format!("{stage}: exec control was not asked for when the machine was started"),
        errno: libc::EOPNOTSUPP,
    }
}

impl Control {
    pub(super) fn start(
        wanted: bool,
        denied: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<Self, Failure> {
        if !wanted {
            return Ok(Self {
                loaded: None,
                cgroups: std::collections::HashMap::new(),
            });
        }
        let loaded = lsm::Lsm::load().map_err(|error| failed("load exec control", &error))?;
        let events = loaded
            .events(move |event| denied(&event.encode()))
            .map_err(|error| failed("listen for denials", &error))?;
        // Listens for as long as the guest lives.
        std::mem::forget(events);
        Ok(Self {
            loaded: Some(loaded),
            cgroups: std::collections::HashMap::new(),
        })
    }

    /// Puts an environment under exec control; the name of the layer when it is.
    pub(super) fn enroll(
        &mut self,
        number: u64,
        exec: &ExecPolicy,
        environment: &Environment,
    ) -> Result<Option<String>, Failure> {
        let Some(loaded) = &mut self.loaded else {
            return Ok(None);
        };
        if exec.mode == ExecMode::Off {
            return Ok(None);
        }
        let cgroup = loaded
            .enroll_environment(environment, exec, policy(number)?)
            .map_err(|error| failed("judge programs", &error))?;
        self.cgroups.insert(number, cgroup);
        Ok(Some(LAYER.to_owned()))
    }

    /// An environment is gone, and its cgroup's number may come back.
    pub(super) fn dismiss(&mut self, environment: u64) {
        if let (Some(cgroup), Some(loaded)) = (self.cgroups.remove(&environment), &mut self.loaded)
        {
            let _ = loaded.dismiss_cgroup(&cgroup);
        }
    }

    pub(super) fn rule(&mut self, environment: u64, body: &[u8]) -> Result<(), Failure> {
        let stage = "take a verdict";
        let loaded = self.loaded.as_mut().ok_or_else(|| absent(stage))?;
        let policy = policy(environment)?;
        let verdicts = lsm::decode_verdicts(body).map_err(|_| Failure {
            stage: stage.to_owned(),
            errno: libc::EBADMSG,
        })?;
        for (digest, verdict) in verdicts {
            loaded
                .set_verdict(policy, &digest, verdict)
                .map_err(|error| failed(stage, &error))?;
        }
        Ok(())
    }

    pub(super) fn attack(&mut self) -> Result<Vec<ProbeResult>, Failure> {
        let stage = "attack exec control";
        let loaded = self.loaded.as_mut().ok_or_else(|| absent(stage))?;
        lsm::self_test(loaded).map_err(|error| failed(stage, &error))
    }
}

/// The number of an environment's policy.
fn policy(environment: u64) -> Result<u32, Failure> {
    u32::try_from(environment).map_err(|_| Failure {
        stage: "number a policy".to_owned(),
        errno: libc::EOVERFLOW,
    })
}

fn failed(stage: &str, error: &lsm::LsmError) -> Failure {
    Failure {
        stage: format!("{stage}: {error}"),
        errno: error.errno(),
    }
}
