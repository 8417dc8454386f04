//! How much one environment may do, and how long it may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest head of a request, in bytes.
pub const LONGEST_HEAD: usize = 64 * 1024;
/// Most headers of a request or an answer.
pub const MOST_HEADERS: usize = 128;
/// Longest target of a request, in bytes.
pub const LONGEST_TARGET: usize = 16 * 1024;

/// Bounds of one environment. Bytes are those on the wire outside, with what TLS adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes that may leave in all.
    pub sent: u64,
    /// Bytes that may come in all.
    pub received: u64,
    /// Requests a second, with a burst of four seconds' worth.
    pub requests_per_second: u32,
    /// Names asked for a second, with a burst of four seconds' worth.
    pub queries_per_second: u32,
    /// Names that are resolved outside, in all. With a wildcard the environment chooses them, and
    /// each is read by whoever answers for the domain.
    pub resolved_names: u32,
    /// Connections that are open at once.
    pub connections: u32,
    /// Milliseconds for a first message or the head of a request.
    pub head_ms: u64,
    /// Milliseconds in which a dial must succeed, and one answer of the resolver come.
    pub dial_ms: u64,
    /// Milliseconds for which neither side may be silent.
    pub idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sent: 4 << 30,
            received: 64 << 30,
            requests_per_second: 500,
            queries_per_second: 500,
            resolved_names: 4096,
            connections: 1024,
            head_ms: 20_000,
            dial_ms: 15_000,
            idle_ms: 15 * 60 * 1000,
        }
    }
}

impl Limits {
    /// [`Self::head_ms`].
    #[must_use]
    pub const fn head(&self) -> Duration {
        Duration::from_millis(self.head_ms)
    }

    /// [`Self::dial_ms`].
    #[must_use]
    pub const fn dial(&self) -> Duration {
        Duration::from_millis(self.dial_ms)
    }

    /// [`Self::idle_ms`].
    #[must_use]
    pub const fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}
