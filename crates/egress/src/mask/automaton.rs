//! The automaton of Aho and Corasick over all forms, walked byte by byte.

use std::collections::HashMap;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as Walk, StateID};
use aho_corasick::{dfa, nfa::contiguous};

/// Up to so many bytes of forms the automaton is a table, which is faster; beyond, the table would
/// not fit the caches and cost megabytes per environment.
const MOST_DENSE: usize = 8 * 1024;

/// Most bytes of forms.
const MOST_BYTES: usize = 32 * 1024 * 1024;

enum Kind {
    Dense(dfa::DFA),
    Sparse(contiguous::NFA),
}

/// Pairs of bytes, one bit each.
struct Pairs(Box<[u64; 1024]>);

impl Pairs {
    /// The pairs after which something has begun, when nothing had before: the first two bytes of a
    /// form, the first byte of one before what may be passed over, and everything after the mark of
    /// an escape.
    fn of(forms: &[Vec<u8>]) -> Self {
        let mut pairs = Self(Box::new([0; 1024]));
        for form in forms {
            if let [first, second, ..] = form.as_slice() {
                for next in [second, &b'\r', &b'\n', &b'%', &b'\\'] {
                    pairs.add(*first, *next);
                }
            }
        }
        for mark in [b'%', b'\\'] {
            (0..=u8::MAX).for_each(|next| pairs.add(mark, next));
        }
        pairs
    }

    fn add(&mut self, first: u8, second: u8) {
        let place = usize::from(u16::from_be_bytes([first, second]));
        self.0[place / 64] |= 1 << (place % 64);
    }

    #[inline]
    fn has(&self, first: u8, second: u8) -> bool {
        let place = usize::from(u16::from_be_bytes([first, second]));
        self.0[place / 64] >> (place % 64) & 1 != 0
    }
}

/// All forms of all values.
pub(super) struct Automaton {
    kind: Kind,
    pub(super) start: StateID,
    pub(super) longest: u64,
    /// How many bytes of a form were seen in each state but the first.
    depths: HashMap<StateID, u32>,
    pairs: Pairs,
}

impl Automaton {
    /// `None` when there is too much.
    pub(super) fn new(forms: &[Vec<u8>]) -> Option<Self> {
        let bytes: usize = forms.iter().map(Vec::len).sum();
        if bytes > MOST_BYTES {
            return None;
        }
        let kind = if bytes <= MOST_DENSE {
            Kind::Dense(dfa::DFA::new(forms).ok()?)
        } else {
            Kind::Sparse(contiguous::NFA::new(forms).ok()?)
        };
        let start = match &kind {
            Kind::Dense(walk) => walk.start_state(Anchored::No).ok()?,
            Kind::Sparse(walk) => walk.start_state(Anchored::No).ok()?,
        };
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        let mut automaton = Self {
            kind,
            start,
            longest: u64::try_from(longest).ok()?,
            depths: HashMap::new(),
            pairs: Pairs::of(forms),
        };
        for form in forms {
            let mut state = start;
            for (depth, byte) in (1..).zip(form) {
                state = automaton.next(state, *byte);
                automaton.depths.insert(state, depth);
            }
        }
        Some(automaton)
    }

    #[inline]
    pub(super) fn next(&self, state: StateID, byte: u8) -> StateID {
        match &self.kind {
            Kind::Dense(walk) => walk.next_state(Anchored::No, state, byte),
            Kind::Sparse(walk) => walk.next_state(Anchored::No, state, byte),
        }
    }

    /// How many bytes can be passed over from the first state: nothing begins in them.
    #[inline]
    pub(super) fn dull(&self, bytes: &[u8]) -> usize {
        let begins = |pair: &[u8]| self.pairs.has(pair[0], pair[1]);
        let last = bytes.len().saturating_sub(1);
        // The last byte waits for the one after it.
        bytes.windows(2).position(begins).unwrap_or(last)
    }

    /// Length of the longest form that ends in this state; 0 where none does.
    #[inline]
    pub(super) fn ends(&self, state: StateID) -> u64 {
        match &self.kind {
            Kind::Dense(walk) if walk.is_special(state) => longest_match(walk, state),
            Kind::Sparse(walk) if walk.is_special(state) => longest_match(walk, state),
            _ => 0,
        }
    }

    /// How many of the last bytes are the beginning of a form.
    pub(super) fn depth(&self, state: StateID) -> u64 {
        self.depths.get(&state).copied().unwrap_or(0).into()
    }
}

#[cold]
fn longest_match(walk: &impl Walk, state: StateID) -> u64 {
    if !walk.is_match(state) {
        return 0;
    }
    let lengths =
        (0..walk.match_len(state)).map(|index| walk.pattern_len(walk.match_pattern(state, index)));
    lengths.max().unwrap_or(0) as u64
}
