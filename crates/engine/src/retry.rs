//! When to try again: exponential back-off with a cap, spread by the thing's own id so that a
//! fleet does not come back all at once.

use std::time::Duration;

/// Longest pause between two attempts.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Pause before attempt number `attempt` + 1 (`attempt` counts from 1): `first` doubled each
/// time, at most [`LONGEST`], plus up to a quarter by `salt`.
#[must_use]
pub fn pause(first: Duration, attempt: u32, salt: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let base = first.saturating_mul(1 << doublings).min(LONGEST);
    // Fibonacci hashing spreads ids that differ little.
    let spread = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
    let quarter = base / 4;
    let part = quarter.as_nanos().saturating_mul(u128::from(spread)) >> 16;
    base + Duration::from_nanos(u64::try_from(part).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_differ_by_salt() {
        let first = Duration::from_secs(1);
        assert!(pause(first, 1, 0) >= first);
        assert!(pause(first, 3, 0) >= Duration::from_secs(4));
        assert!(pause(first, 99, 7) <= LONGEST + LONGEST / 4);
        assert_ne!(pause(first, 2, 1), pause(first, 2, 2));
    }
}
