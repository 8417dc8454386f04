//! Exec control in the guest: BPF-LSM where this program has it, an honest refusal where not.

use crate::message::Failure;
use crate::report::ProbeResult;

#[cfg(feature = "bpf-lsm")]
use crate::lsm;

/// What a report calls exec control by BPF-LSM.
pub(super) const LAYER: &str = "exec-control-bpf-lsm";

/// Exec control as far as it was asked for.
pub(super) struct Control {
    #[cfg(feature = "bpf-lsm")]
    loaded: Option<lsm::Lsm>,
}

fn absent(stage: &str) -> Failure {
    Failure {
        stage: format!(
            "{stage}: this program was built without the feature bpf-lsm, or it was not asked for"
        ),
        errno: libc::EOPNOTSUPP,
    }
}

#[cfg(not(feature = "bpf-lsm"))]
impl Control {
    pub(super) fn start(
        wanted: bool,
        _denied: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<Self, Failure> {
        if wanted {
            return Err(absent("load exec control"));
        }
        Ok(Self {})
    }

    #[expect(
        clippy::unused_self,
        reason = "the same shape with and without the feature"
    )]
    pub(super) fn enroll(
        &mut self,
        _environment: u64,
        mode: Option<u8>,
        _process: Option<i32>,
    ) -> Result<Option<String>, Failure> {
        match mode {
            None => Ok(None),
            Some(_) => Err(absent("judge programs")),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "the same shape with and without the feature"
    )]
    pub(super) fn rule(&mut self, _body: &[u8]) -> Result<(), Failure> {
        Err(absent("take a verdict"))
    }

    #[expect(
        clippy::unused_self,
        reason = "the same shape with and without the feature"
    )]
    pub(super) fn attack(&mut self) -> Result<Vec<ProbeResult>, Failure> {
        Err(absent("attack exec control"))
    }
}

#[cfg(feature = "bpf-lsm")]
impl Control {
    pub(super) fn start(
        wanted: bool,
        denied: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<Self, Failure> {
        if !wanted {
            return Ok(Self { loaded: None });
        }
        let loaded = lsm::Lsm::load().map_err(|error| failed("load exec control", &error))?;
        let events = loaded
            .events(move |event| denied(&event.encode()))
            .map_err(|error| failed("listen for denials", &error))?;
        // Listens for as long as the guest lives.
        std::mem::forget(events);
        Ok(Self {
            loaded: Some(loaded),
        })
    }

    /// Puts an environment under exec control; the name of the layer when it is.
    pub(super) fn enroll(
        &mut self,
        environment: u64,
        mode: Option<u8>,
        process: Option<i32>,
    ) -> Result<Option<String>, Failure> {
        let Some(mode) = mode else {
            return Ok(None);
        };
        let stage = "judge programs";
        let mode = lsm::Mode::of(mode).ok_or_else(|| absent(stage))?;
        let (Some(loaded), Some(process)) = (&mut self.loaded, process) else {
            return Err(absent(stage));
        };
        let cgroup = lsm::Cgroup::create(&format!("environment-{environment}"))
            .map_err(|error| failed(stage, &error))?;
        cgroup.add(process).map_err(|error| failed(stage, &error))?;
        loaded
            .enroll_cgroup(&cgroup, mode)
            .map_err(|error| failed(stage, &error))?;
        Ok(Some(LAYER.to_owned()))
    }

    pub(super) fn rule(&mut self, body: &[u8]) -> Result<(), Failure> {
        let stage = "take a verdict";
        let loaded = self.loaded.as_mut().ok_or_else(|| absent(stage))?;
        let (digest, verdict) = lsm::decode_rule(body).ok_or_else(|| absent(stage))?;
        loaded
            .set_verdict(digest, verdict)
            .map_err(|error| failed(stage, &error))
    }

    pub(super) fn attack(&mut self) -> Result<Vec<ProbeResult>, Failure> {
        let stage = "attack exec control";
        let loaded = self.loaded.as_mut().ok_or_else(|| absent(stage))?;
        lsm::self_test(loaded).map_err(|error| failed(stage, &error))
    }
}

#[cfg(feature = "bpf-lsm")]
fn failed(stage: &str, error: &lsm::LsmError) -> Failure {
    Failure {
        stage: format!("{stage}: {error}"),
        errno: error.errno(),
    }
}
