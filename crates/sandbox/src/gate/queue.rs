//! Work that takes time, shared fairly: no environment keeps the others waiting.
//!
//! Who waits while others do has one worker. Who is alone may have more, but never the last one that
//! is free. And each owner has an allowance of bytes: who has used it up waits until there is some
//! again, whoever else waits or not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that an owner may have hashed at once, and again every second: what a build links and
/// executes, and a small part of what a processor can hash.
const ALLOWANCE: u64 = 2 << 30;
const PER_SECOND: u64 = 128 << 20;
/// How long a worker sleeps at most where everybody who waits has used up his allowance.
const PAUSE: Duration = Duration::from_millis(50);

/// Queues by owner.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: BTreeMap<u64, VecDeque<T>>,
    working: BTreeMap<u64, usize>,
    last: u64,
    /// What is used up of allowances.
    used: BTreeMap<u64, Used>,
    workers: usize,
    /// Most items of one owner that are worked on at a time.
    share: usize,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    bytes: u64,
    at: Instant,
}

impl Used {
    fn by(self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(self.at).as_millis();
        let back = u64::try_from(time)
            .unwrap_or(u64::MAX)
            .saturating_mul(PER_SECOND / 1000);
        self.bytes.saturating_sub(back)
    }
}

impl<T> Queue<T> {
    pub(super) fn new(workers: usize, share: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                working: BTreeMap::new(),
                last: 0,
                used: BTreeMap::new(),
                workers,
                share,
            }),
            ready: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, owner: u64, item: T) {
        self.lock()
            .waiting
            .entry(owner)
            .or_default()
            .push_back(item);
        self.ready.notify_one();
    }

    /// The next item of the owner whose turn it is; waits for one.
    pub(super) fn take(&self) -> (u64, T) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(taken) = state.next(now) {
                return taken;
            }
            let spent = state
                .waiting
                .keys()
                .any(|owner| state.is_spent(*owner, now));
            state = if spent {
                // It waits for time to pass; that is no sign that the gate is stuck.
                super::beat::tick();
                let waited = self.ready.wait_timeout(state, PAUSE);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.ready.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Says that an item of an owner is done.
    pub(super) fn done(&self, owner: u64) {
        let mut state = self.lock();
        if let Some(count) = state.working.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                state.working.remove(&owner);
            }
        }
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.ready.notify_one();
        }
    }

    /// Takes bytes from an owner's allowance.
    pub(super) fn charge(&self, owner: u64, bytes: u64) {
        let now = Instant::now();
        let mut state = self.lock();
        state.used.retain(|_, used| used.by(now) > 0);
        let used = state.used.get(&owner).map_or(0, |used| used.by(now));
        let used = Used {
            bytes: used.saturating_add(bytes),
            at: now,
        };
        state.used.insert(owner, used);
    }

    /// Whether an owner's allowance is used up.
    pub(super) fn is_spent(&self, owner: u64) -> bool {
        self.lock().is_spent(owner, Instant::now())
    }
}

impl<T> State<T> {
    fn is_spent(&self, owner: u64, now: Instant) -> bool {
        self.used
            .get(&owner)
            .is_some_and(|used| used.by(now) >= ALLOWANCE)
    }

    fn next(&mut self, now: Instant) -> Option<(u64, T)> {
        let busy: usize = self.working.values().sum();
        let wanting = |owner: &u64| !self.is_spent(*owner, now);
        let alone = self.waiting.keys().filter(|owner| wanting(owner)).count() < 2;
        let more = alone && busy + 1 < self.workers;
        let free = |owner: &u64| {
            let most = if more { self.share } else { 1 };
            self.working.get(owner).is_none_or(|count| *count < most)
        };
        let owner = self
            .waiting
            .range(self.last.saturating_add(1)..)
            .chain(self.waiting.range(..=self.last))
            .map(|(owner, _)| *owner)
            .find(|owner| wanting(owner) && free(owner))?;
        let items = self.waiting.get_mut(&owner)?;
        let item = items.pop_front()?;
        if items.is_empty() {
            self.waiting.remove(&owner);
        }
        *self.working.entry(owner).or_default() += 1;
        self.last = owner;
        Some((owner, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(queue: &Queue<i32>, now: Instant) -> Vec<u64> {
        let mut state = queue.lock();
        std::iter::from_fn(|| state.next(now))
            .map(|(owner, _)| owner)
            .collect()
    }

    #[test]
    fn who_waits_while_others_do_has_one_worker_and_nobody_takes_the_last_for_more() {
        let queue = Queue::new(4, 2);
        for item in 0..10 {
            queue.push(1, item);
        }
        let now = Instant::now();
        assert_eq!(owners(&queue, now), [1, 1], "alone, it may have its share");
        for item in 0..10 {
            queue.push(2, item);
        }
        // Of the other, the second would be the last worker.
        assert_eq!(owners(&queue, now), [2]);
        queue.push(3, 0);
        assert_eq!(owners(&queue, now), [3]);
        queue.done(1);
        queue.done(3);
        assert_eq!(
            owners(&queue, now),
            [] as [u64; 0],
            "one each while both wait"
        );
        queue.done(1);
        assert_eq!(owners(&queue, now), [1]);
    }

    #[test]
    fn who_has_used_up_his_allowance_waits_for_time_and_keeps_nobody() {
        let queue = Queue::new(4, 2);
        let now = Instant::now();
        queue.charge(1, ALLOWANCE - 1);
        assert!(!queue.is_spent(1));
        queue.charge(1, PER_SECOND * 3);
        assert!(queue.is_spent(1) && !queue.is_spent(2));
        for item in 0..10 {
            queue.push(1, item);
            queue.push(2, item);
        }
        // The one who must wait anyway does not count as waiting.
        assert_eq!(owners(&queue, now), [2, 2]);
        let later = now + Duration::from_secs(10);
        assert_eq!(owners(&queue, later), [1]);
        // What is paid back is forgotten.
        queue.charge(3, 0);
        assert!(queue.lock().used.contains_key(&1));
    }

    #[test]
    fn a_worker_that_waits_for_an_allowance_gets_the_item_when_there_is_some() {
        let queue = Queue::new(2, 2);
        queue.charge(1, ALLOWANCE + PER_SECOND / 10);
        queue.push(1, 7);
        assert_eq!(queue.take(), (1, 7));
    }
}
