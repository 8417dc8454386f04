//! Work that takes time, shared fairly: no environment keeps the others waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

/// Queues by owner.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    /// Most items of one owner that are worked on at a time.
    share: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: BTreeMap<u64, VecDeque<T>>,
    working: BTreeMap<u64, usize>,
    last: u64,
}

impl<T> Queue<T> {
    pub(super) fn new(share: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                working: BTreeMap::new(),
                last: 0,
            }),
            ready: Condvar::new(),
            share,
        }
    }

    pub(super) fn push(&self, owner: u64, item: T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.entry(owner).or_default().push_back(item);
        drop(state);
        self.ready.notify_one();
    }

    /// The next item of the owner whose turn it is; waits for one.
    pub(super) fn take(&self) -> (u64, T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(taken) = state.next(self.share) {
                return taken;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that an item of an owner is done.
    pub(super) fn done(&self, owner: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = state.working.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                state.working.remove(&owner);
            }
        }
        let more = state.waiting.contains_key(&owner);
        drop(state);
        if more {
            self.ready.notify_one();
        }
    }
}

impl<T> State<T> {
    fn next(&mut self, share: usize) -> Option<(u64, T)> {
        let free = |owner: &u64| self.working.get(owner).is_none_or(|count| *count < share);
        let owner = self
            .waiting
            .range(self.last.saturating_add(1)..)
            .chain(self.waiting.range(..=self.last))
            .map(|(owner, _)| *owner)
            .find(free)?;
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

    #[test]
    fn owners_take_turns_and_none_takes_all() {
        let queue = Queue::new(2);
        for item in 0..10 {
            queue.push(1, item);
        }
        queue.push(2, 100);
        queue.push(3, 200);
        let owners: Vec<u64> = (0..4).map(|_| queue.take().0).collect();
        assert_eq!(owners, [1, 2, 3, 1]);
        // Two of 1 are under way; the others wait although there is nobody else.
        assert!(queue.state.lock().unwrap().next(2).is_none());
        queue.done(1);
        assert_eq!(queue.take(), (1, 2));
    }
}
