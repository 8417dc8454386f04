//! The only place that reads the machine's clock.

use std::sync::Arc;

use jiff::Timestamp;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else is handed"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The clock as rooms are handed it.
pub(crate) fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(now)
}
