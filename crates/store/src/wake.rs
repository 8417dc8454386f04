//! The hint that something was committed.

use tokio::sync::Notify;

/// Wakes whoever waits, and remembers one wake-up for whoever is about to.
///
/// A loop that does *work, then wait* misses nothing: a change during its work is remembered.
/// With several loops the remembered one goes to whichever waits first, so every loop needs a
/// slow poll as well.
#[derive(Debug, Default)]
pub(crate) struct Wake(Notify);

impl Wake {
    /// Something changed.
    pub(crate) fn ring(&self) {
        self.0.notify_waiters();
        self.0.notify_one();
    }

    /// Resolves at the next change, at once if one is remembered.
    pub(crate) async fn heard(&self) {
        self.0.notified().await;
    }
}
