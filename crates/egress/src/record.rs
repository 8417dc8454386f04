//! What the broker and the gateway did or refused, for the ledger.

use model::egress::{EgressEvent, EgressKind};

/// Takes what happened. Must not block: it keeps or drops and counts.
pub trait Recorder: Send + Sync + 'static {
    /// One thing that happened in the environment of this id.
    fn record(&self, environment: &str, event: EgressEvent);
}

/// Forgets everything. For tests and benchmarks.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn record(&self, _: &str, _: EgressEvent) {}
}

/// Keeps everything in memory. For tests.
#[derive(Debug, Default)]
pub struct Kept(std::sync::Mutex<Vec<(String, EgressEvent)>>);

impl Kept {
    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<(String, EgressEvent)> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// How many of this kind were refused.
    #[must_use]
    pub fn refused(&self, kind: EgressKind) -> usize {
        let all = self.all();
        all.iter()
            .filter(|(_, event)| event.kind == kind && event.refused.is_some())
            .count()
    }
}

impl Recorder for Kept {
    fn record(&self, environment: &str, event: EgressEvent) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((environment.to_owned(), event));
    }
}
