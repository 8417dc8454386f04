//! What one environment used of its bounds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::broker::limits::Limits;
use crate::name::Name;

/// Seconds' worth of a rate that may be used at once.
const BURST_SECONDS: u32 = 4;

/// What was used. Given back when an environment is detached, and taken at the next attach, so
/// that a new attempt does not begin at nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Used {
    /// Bytes that left.
    pub sent: u64,
    /// Bytes that came.
    pub received: u64,
}

/// A bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of this environment are used up")]
pub struct Exhausted;

/// Counters of one environment.
#[derive(Debug)]
pub struct Volume {
    limits: Limits,
    sent: AtomicU64,
    received: AtomicU64,
    /// Bytes sent under each rule that has a bound of its own.
    rules: Mutex<HashMap<String, u64>>,
    requests: Rate,
    queries: Rate,
    resolved: Mutex<std::collections::HashSet<Name>>,
    connections: Arc<Semaphore>,
}

impl Volume {
    /// Counters that begin at `used`.
    #[must_use]
    pub fn new(limits: Limits, used: Used) -> Self {
        Self {
            sent: AtomicU64::new(used.sent),
            received: AtomicU64::new(used.received),
            rules: Mutex::default(),
            requests: Rate::new(limits.requests_per_second),
            queries: Rate::new(limits.queries_per_second),
            resolved: Mutex::default(),
            connections: Arc::new(Semaphore::new(limits.connections as usize)),
            limits,
        }
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What was used.
    #[must_use]
    pub fn used(&self) -> Used {
        Used {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }

    /// Takes up to `wanted` bytes that may leave now; says how many there were.
    ///
    /// # Errors
    /// None are left.
    pub fn send(&self, wanted: usize) -> Result<usize, Exhausted> {
        take(&self.sent, self.limits.sent, wanted)
    }

    /// Gives back what was taken and did not leave.
    pub fn unsend(&self, count: usize) {
        self.sent.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// They are more than may come.
    pub fn receive(&self, count: usize) -> Result<(), Exhausted> {
        let before = self.received.fetch_add(count as u64, Ordering::Relaxed);
        if before.saturating_add(count as u64) > self.limits.received {
            return Err(Exhausted);
        }
        Ok(())
    }

    /// Counts bytes that leave under a rule with a bound of its own.
    ///
    /// # Errors
    /// They are more than it permits; then they are not counted.
    pub fn send_under(&self, rule: &str, bound: u64, count: usize) -> Result<(), Exhausted> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let used = rules.entry(rule.to_owned()).or_default();
        let after = used.saturating_add(count as u64);
        if after > bound {
            return Err(Exhausted);
        }
        *used = after;
        Ok(())
    }

    /// Whether one more request may be made now.
    #[must_use]
    pub fn request(&self) -> bool {
        self.requests.take()
    }

    /// Whether one more name may be asked for now.
    #[must_use]
    pub fn query(&self) -> bool {
        self.queries.take()
    }

    /// Whether this name may be resolved outside.
    #[must_use]
    pub fn resolve(&self, name: &Name) -> bool {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if resolved.contains(name) {
            return true;
        }
        let room = resolved.len() < self.limits.resolved_names as usize;
        if room {
            resolved.insert(name.clone());
        }
        room
    }

    /// A place for one connection, given back when it is dropped.
    #[must_use]
    pub fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}

fn take(used: &AtomicU64, bound: u64, wanted: usize) -> Result<usize, Exhausted> {
    let mut taken = 0;
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        taken = bound.saturating_sub(used).min(wanted as u64);
        (taken > 0 || wanted == 0).then_some(used + taken)
    })
    .map_err(|_| Exhausted)?;
    Ok(usize::try_from(taken).unwrap_or(wanted))
}

/// So many a second, and a burst.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    left: Mutex<(f64, Instant)>,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: Mutex::new((f64::from(per_second * BURST_SECONDS), Instant::now())),
        }
    }

    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let grown = now.duration_since(left.1).as_secs_f64() * f64::from(self.per_second);
        left.0 = (left.0 + grown).min(f64::from(self.per_second.saturating_mul(BURST_SECONDS)));
        left.1 = now;
        if left.0 < 1.0 {
            return false;
        }
        left.0 -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(sent: u64) -> Volume {
        let limits = Limits {
            sent,
            received: 10,
            requests_per_second: 1,
            connections: 1,
            resolved_names: 1,
            ..Limits::default()
        };
        Volume::new(
            limits,
            Used {
                sent: 90,
                received: 0,
            },
        )
    }

    #[test]
    fn bytes_end_exactly_at_the_bound_with_what_was_used_before() {
        let volume = volume(100);
        assert_eq!(volume.send(4), Ok(4));
        assert_eq!(volume.send(100), Ok(6));
        assert_eq!(volume.send(1), Err(Exhausted));
        volume.unsend(2);
        assert_eq!(volume.send(100), Ok(2));
        assert_eq!(volume.used().sent, 100);
        assert_eq!(volume.receive(10), Ok(()));
        assert_eq!(volume.receive(1), Err(Exhausted));
    }

    #[test]
    fn many_at_once_never_pass_the_bound() {
        let volume = Arc::new(volume(100_000));
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut taken = 0;
                        while let Ok(count) = volume.send(7) {
                            taken += count as u64;
                        }
                        taken
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 100_000 - 90);
    }

    #[test]
    fn rates_names_connections_and_rules_have_bounds_of_their_own() {
        let volume = volume(100);
        assert_eq!((0..10).filter(|_| volume.request()).count(), 4);
        let place = volume.connection();
        assert!(place.is_some() && volume.connection().is_none());
        drop(place);
        assert!(volume.connection().is_some());
        let name = |text| Name::parse(text).unwrap();
        assert!(volume.resolve(&name("a.test")) && volume.resolve(&name("a.test")));
        assert!(!volume.resolve(&name("b.test")));
        assert_eq!(volume.send_under("network[0]", 5, 5), Ok(()));
        assert_eq!(volume.send_under("network[0]", 5, 1), Err(Exhausted));
        assert_eq!(volume.send_under("network[1]", 5, 1), Ok(()));
    }
}
