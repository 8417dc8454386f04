//! Walks through a stream: one over its bytes, and others over what they mean where escapes stand.

use std::collections::VecDeque;

use aho_corasick::automaton::StateID;

use super::automaton::Automaton;
use crate::policy::unescape;

/// Most line breaks in a row that may stand inside a value, in bytes: an empty line, with CRLF.
pub(super) const MOST_BREAKS: u8 = 4;

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// One walk. A unit is a byte that counts: line breaks do not, and an escape is one together.
#[derive(Debug, Clone, Default)]
struct View {
    state: StateID,
    units: u64,
    breaks: u8,
    /// Bytes that are more than one a unit, by where they stand: twice the unit's number where they
    /// are part of it, one less where they stand before it.
    extra: VecDeque<(u64, u64)>,
}

impl View {
    #[inline]
    fn unit(&mut self, automaton: &Automaton, byte: u8, end: u64, ranges: &mut Vec<Range>) {
        self.state = automaton.next(self.state, byte);
        self.units += 1;
        self.breaks = 0;
        let length = automaton.ends(self.state);
        if length > 0 {
            let start = self.start_of(length, end);
            ranges.push(Range { start, end });
        }
    }

    /// Units in which nothing begins, in the first state.
    fn pass(&mut self, units: u64) {
        if units > 0 {
            self.units += units;
            self.breaks = 0;
            self.extra.clear();
        }
    }

    /// A unit of several bytes.
    fn wide(
        &mut self,
        automaton: &Automaton,
        byte: u8,
        width: u64,
        end: u64,
        ranges: &mut Vec<Range>,
    ) {
        self.note(automaton, 2 * self.units, width - 1);
        self.unit(automaton, byte, end, ranges);
    }

    /// A line break of so many bytes.
    fn skip(&mut self, automaton: &Automaton, width: u64) {
        self.breaks = self.breaks.saturating_add(1);
        if self.breaks > MOST_BREAKS {
            self.state = automaton.start;
        }
        if self.state == automaton.start {
            self.extra.clear();
        } else {
            self.note(automaton, 2 * self.units - 1, width);
        }
    }

    fn note(&mut self, automaton: &Automaton, place: u64, bytes: u64) {
        let oldest = (2 * self.units).saturating_sub(2 * automaton.longest);
        while self.extra.front().is_some_and(|(place, _)| *place < oldest) {
            self.extra.pop_front();
        }
        self.extra.push_back((place, bytes));
    }

    /// Where the last units begin, if they end at `end`.
    fn start_of(&self, units: u64, end: u64) -> u64 {
        let first = 2 * self.units.saturating_sub(units);
        let inside = self
            .extra
            .iter()
            .rev()
            .take_while(|(place, _)| *place >= first);
        let extra: u64 = inside.map(|(_, bytes)| bytes).sum();
        end.saturating_sub(units + extra)
    }

    /// Where what could become a value begins.
    fn safe_until(&self, automaton: &Automaton, end: u64) -> u64 {
        self.start_of(automaton.depth(self.state), end)
    }
}

/// An escape that has begun, and what it may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `%41`.
    Percent,
    /// `\n`, `\u0041`.
    Json,
}

/// What an escape is.
enum Meaning {
    /// It goes on.
    More,
    /// This byte.
    Byte(u8),
    /// None after all.
    Nothing,
}

impl Escape {
    fn meaning(self, bytes: &[u8]) -> Meaning {
        match (self, bytes) {
            (Self::Percent, [_]) | (Self::Json, [_]) => Meaning::More,
            (Self::Percent, [_, high]) if high.is_ascii_hexdigit() => Meaning::More,
            (Self::Percent, [_, high, low]) => {
                unescape(Some(*high), Some(*low)).map_or(Meaning::Nothing, Meaning::Byte)
            }
            (Self::Json, [_, letter]) => match letter {
                b'u' => Meaning::More,
                b'n' => Meaning::Byte(b'\n'),
                b'r' => Meaning::Byte(b'\r'),
                b't' => Meaning::Byte(b'\t'),
                b'b' => Meaning::Byte(8),
                b'f' => Meaning::Byte(12),
                b'"' | b'\\' | b'/' => Meaning::Byte(*letter),
                _ => Meaning::Nothing,
            },
            (Self::Json, [.., last]) if !last.is_ascii_hexdigit() => Meaning::Nothing,
            (Self::Json, [_, _, a, b, c, d]) => {
                let high = unescape(Some(*a), Some(*b));
                let low = unescape(Some(*c), Some(*d));
                // What is not ASCII is in no form but the plain one.
                let byte = if high == Some(0) { low } else { Some(0xff) };
                byte.map_or(Meaning::Nothing, Meaning::Byte)
            }
            (Self::Json, [_, _, ..]) => Meaning::More,
            _ => Meaning::Nothing,
        }
    }

    const fn mark(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Json => b'\\',
        }
    }
}

/// Most bytes of an escape: the six of `\u0041`, with line breaks inside.
const MOST_BEGUN: usize = 6 + MOST_BREAKS as usize;

/// A walk with escapes of one kind undone.
#[derive(Debug, Clone)]
struct Fork {
    view: View,
    escape: Escape,
    /// Bytes of an escape that has begun, with where they end.
    begun: Vec<(u8, u64)>,
}

impl Fork {
    fn new(view: View, escape: Escape) -> Self {
        Self {
            view,
            escape,
            begun: Vec::with_capacity(MOST_BEGUN),
        }
    }

    fn byte(&mut self, automaton: &Automaton, byte: u8, end: u64, ranges: &mut Vec<Range>) {
        if self.begun.is_empty() && byte != self.escape.mark() {
            self.plain(automaton, byte, end, ranges);
            return;
        }
        self.begun.push((byte, end));
        let width = self.begun.len() as u64;
        match self.meaning() {
            Meaning::More if self.begun.len() < MOST_BEGUN => {}
            Meaning::Byte(b'\r' | b'\n') => {
                self.begun.clear();
                self.view.skip(automaton, width);
            }
            Meaning::Byte(byte) => {
                self.begun.clear();
                self.view.wide(automaton, byte, width, end, ranges);
            }
            Meaning::More | Meaning::Nothing => self.literally(automaton, ranges),
        }
    }

    fn meaning(&self) -> Meaning {
        let mut bytes = [0; MOST_BEGUN];
        let mut length = 0;
        for (byte, _) in self
            .begun
            .iter()
            .filter(|(byte, _)| !b"\r\n".contains(byte))
        {
            bytes[length] = *byte;
            length += 1;
        }
        self.escape.meaning(&bytes[..length])
    }

    /// What began as an escape is none: its bytes count as themselves, but the last may begin one.
    fn literally(&mut self, automaton: &Automaton, ranges: &mut Vec<Range>) {
        let last = self.begun.pop();
        for place in 0..self.begun.len() {
            let (byte, end) = self.begun[place];
            self.plain(automaton, byte, end, ranges);
        }
        self.begun.clear();
        if let Some((byte, end)) = last {
            self.byte(automaton, byte, end, ranges);
        }
    }

    fn plain(&mut self, automaton: &Automaton, byte: u8, end: u64, ranges: &mut Vec<Range>) {
        match byte {
            b'\r' | b'\n' => self.view.skip(automaton, 1),
            byte => self.view.unit(automaton, byte, end, ranges),
        }
    }

    /// Whether from here on it is the walk over the bytes themselves.
    fn agrees(&self, automaton: &Automaton, raw: &View, end: u64) -> bool {
        self.begun.is_empty()
            && self.view.state == raw.state
            && (raw.state == automaton.start
                || self.view.safe_until(automaton, end) == raw.safe_until(automaton, end))
    }

    fn safe_until(&self, automaton: &Automaton, end: u64) -> u64 {
        self.view
            .safe_until(automaton, end - self.begun.len() as u64)
    }
}

/// All walks through one stream.
#[derive(Debug, Default)]
pub(super) struct Views {
    position: u64,
    raw: View,
    forks: Vec<Fork>,
}

impl Views {
    pub(super) fn new(automaton: &Automaton) -> Self {
        let mut views = Self::default();
        views.restart(automaton);
        views
    }

    /// Forgets what could have become a value.
    pub(super) fn restart(&mut self, automaton: &Automaton) {
        self.forks.clear();
        self.raw = View {
            state: automaton.start,
            ..View::default()
        };
    }

    /// Walks on, and adds where values are.
    pub(super) fn walk(&mut self, automaton: &Automaton, bytes: &[u8], ranges: &mut Vec<Range>) {
        let mut rest = bytes;
        loop {
            if self.raw.state == automaton.start && self.forks.is_empty() {
                let dull = automaton.dull(rest);
                rest = &rest[dull..];
                self.raw.pass(dull as u64);
                self.position += dull as u64;
            }
            let Some((byte, after)) = rest.split_first() else {
                break;
            };
            let byte = *byte;
            rest = after;
            self.position += 1;
            match byte {
                b'%' => self.fork(Escape::Percent),
                b'\\' => self.fork(Escape::Json),
                b'\r' | b'\n' => {
                    self.raw.skip(automaton, 1);
                    self.walk_forks(automaton, byte, ranges);
                    continue;
                }
                _ => {}
            }
            self.raw.unit(automaton, byte, self.position, ranges);
            self.walk_forks(automaton, byte, ranges);
        }
    }

    fn fork(&mut self, escape: Escape) {
        if self.forks.iter().all(|fork| fork.escape != escape) {
            self.forks.push(Fork::new(self.raw.clone(), escape));
        }
    }

    #[inline]
    fn walk_forks(&mut self, automaton: &Automaton, byte: u8, ranges: &mut Vec<Range>) {
        if self.forks.is_empty() {
            return;
        }
        for fork in &mut self.forks {
            fork.byte(automaton, byte, self.position, ranges);
        }
        let (raw, end) = (&self.raw, self.position);
        self.forks.retain(|fork| !fork.agrees(automaton, raw, end));
    }

    /// Up to where nothing can become part of a value that is not found yet.
    pub(super) fn safe_until(&self, automaton: &Automaton) -> u64 {
        let forks = self.forks.iter();
        forks
            .map(|fork| fork.safe_until(automaton, self.position))
            .fold(self.raw.safe_until(automaton, self.position), u64::min)
    }
}
