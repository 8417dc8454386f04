//! Limits of a minute: of calls and tokens, of an environment and of a model. Callers wait for
//! their turn, in order, for as long as they may; who would wait longer is told when to come again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Rate;

const MINUTE: f64 = 60.0;

/// Most environments and models that are remembered; beyond that, full ones are forgotten.
const MOST_BUCKETS: usize = 4096;

/// So much a minute. What was not used of the last minute may be used at once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    const fn new(rate: f64, now: Instant) -> Self {
        Self {
            rate,
            level: rate,
            at: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate / MINUTE).min(self.rate);
        self.at = now;
    }

    /// How long until so much is there. What is more than a minute's worth waits for a full one.
    fn wait(&self, amount: f64) -> Duration {
        let missing = amount.min(self.rate) - self.level;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing * MINUTE / self.rate).unwrap_or(Duration::MAX)
    }
}

/// The buckets of one environment or model, and the line before them.
#[derive(Debug)]
struct Gate {
    /// Held by whoever is next: others wait behind in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    buckets: Mutex<(Option<Bucket>, Option<Bucket>)>,
}

impl Gate {
    #[expect(clippy::cast_precision_loss, reason = "rates are small")]
    fn new(rate: Rate, now: Instant) -> Self {
        let bucket = |rate: f64| Bucket::new(rate.max(1.0), now);
        Self {
            turn: tokio::sync::Mutex::new(()),
            buckets: Mutex::new((
                rate.requests.map(|rate| bucket(f64::from(rate))),
                rate.tokens.map(|rate| bucket(rate as f64)),
            )),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut (Option<Bucket>, Option<Bucket>)) -> T) -> T {
        act(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one call of so many tokens, or says how long to wait.
    fn take(&self, tokens: f64, now: Instant) -> Duration {
        self.with(|(calls, sizes)| {
            let mut wait = Duration::ZERO;
            for (bucket, amount) in [(&mut *calls, 1.0), (&mut *sizes, tokens)] {
                if let Some(bucket) = bucket {
                    bucket.fill(now);
                    wait = wait.max(bucket.wait(amount));
                }
            }
            if wait.is_zero() {
                for (bucket, amount) in [(calls, 1.0), (sizes, tokens)] {
                    if let Some(bucket) = bucket {
                        bucket.level -= amount;
                    }
                }
            }
            wait
        })
    }
}

/// All limits.
#[derive(Debug, Default)]
pub struct Gates(Mutex<BTreeMap<(bool, String), Arc<Gate>>>);

/// What a limit is about.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// One environment.
    Environment(&'a str),
    /// One model.
    Model(&'a str),
}

impl Gates {
    fn gate(&self, about: About<'_>, rate: Rate) -> Arc<Gate> {
        let key = match about {
            About::Environment(name) => (false, name.to_owned()),
            About::Model(name) => (true, name.to_owned()),
        };
        let now = Instant::now();
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= MOST_BUCKETS && !gates.contains_key(&key) {
            // Who nobody waits for and whose minute is over loses nothing.
            gates.retain(|_, gate| {
                Arc::strong_count(gate) > 1
                    || gate.with(|(calls, sizes)| {
                        [calls, sizes].into_iter().flatten().any(|bucket| {
                            bucket.fill(now);
                            bucket.level < bucket.rate
                        })
                    })
            });
        }
        let gate = gates
            .entry(key)
            .or_insert_with(|| Arc::new(Gate::new(rate, now)));
        Arc::clone(gate)
    }

    /// Waits for the turn of one call of about so many tokens.
    ///
    /// # Errors
    /// After how long to come again, when that is not within `patience`.
    pub async fn pass(
        &self,
        about: About<'_>,
        rate: Rate,
        tokens: u64,
        patience: Duration,
    ) -> Result<(), Duration> {
        if rate == Rate::default() {
            return Ok(());
        }
        let gate = self.gate(about, rate);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let tokens = tokens as f64;
        let until = Instant::now() + patience;
        let turn = tokio::time::timeout(patience, gate.turn.lock()).await;
        let Ok(_turn) = turn else {
            return Err(gate.take(f64::MAX, Instant::now()));
        };
        loop {
            let now = Instant::now();
            let wait = gate.take(tokens, now);
            if wait.is_zero() {
                return Ok(());
            }
            if now + wait > until {
                return Err(wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Says how many tokens it were where `estimated` were taken.
    pub fn correct(&self, about: About<'_>, rate: Rate, estimated: u64, spent: u64) {
        if rate.tokens.is_none() {
            return;
        }
        self.gate(about, rate).with(|(_, sizes)| {
            if let Some(bucket) = sizes {
                #[expect(clippy::cast_precision_loss, reason = "rates are small")]
                let more = spent as f64 - estimated as f64;
                bucket.level = (bucket.level - more).min(bucket.rate);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'static> = About::Environment("a");

    fn rate(requests: u32, tokens: u64) -> Rate {
        Rate {
            requests: Some(requests),
            tokens: Some(tokens),
        }
    }

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_minute_has_no_more_calls_than_it_may() {
        let start = Instant::now();
        let gate = Gate::new(rate(60, 1_000_000), start);
        for _ in 0..60 {
            assert_eq!(gate.take(1.0, start), Duration::ZERO);
        }
        let wait = gate.take(1.0, start);
        assert!(
            wait > Duration::from_millis(990) && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(gate.take(1.0, after(start, 900)) > Duration::ZERO);
        assert_eq!(gate.take(1.0, after(start, 1001)), Duration::ZERO);
        // What was not used longer ago than a minute is lost.
        for _ in 0..60 {
            assert_eq!(gate.take(1.0, after(start, 600_000)), Duration::ZERO);
        }
        assert!(gate.take(1.0, after(start, 600_000)) > Duration::ZERO);
    }

    #[tokio::test]
    async fn tokens_are_taken_by_estimate_corrected_and_waited_for_in_turn() {
        let gates = Gates::default();
        let rate = rate(1000, 60_000);
        gates.pass(ABOUT, rate, 100, Duration::ZERO).await.unwrap();
        gates.correct(ABOUT, rate, 100, 60_050);
        let wait = gates
            .pass(ABOUT, rate, 100, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(
            wait > Duration::from_millis(50) && wait < Duration::from_millis(151),
            "{wait:?}"
        );
        let start = Instant::now();
        let patience = Duration::from_secs(10);
        let (one, other) = tokio::join!(
            gates.pass(ABOUT, rate, 100, patience),
            gates.pass(ABOUT, rate, 100, patience)
        );
        assert!(one.is_ok() && other.is_ok());
        assert!(start.elapsed() > Duration::from_millis(150));
        gates
            .pass(About::Environment("b"), rate, 1, Duration::ZERO)
            .await
            .unwrap();
        // More than a minute's worth passes when the minute is unused.
        gates
            .pass(About::Model("m"), rate, 500_000, Duration::ZERO)
            .await
            .unwrap();
    }
}
