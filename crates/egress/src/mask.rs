//! Secrets taken out of what leaves: logs, answers, diffs, also where they are encoded or cut.
//!
//! A value is found as it is, in hexadecimal, in base64 of either alphabet at any place of its groups
//! of three (so also inside something longer that was encoded), and each of these also with percent
//! escapes or those of JSON undone; all of that also where line breaks stand inside it, and however
//! the bytes come in pieces. What is not found: other encodings (HTML entities, UTF-16, quoted
//! printable, compression, encryption), other cases and orders of letters, other characters between,
//! and values told one character at a time.
//!
//! Every byte is looked at once ([`view`] walks an automaton of all forms of all values; where an
//! escape stands, another walk begins beside it until both agree again). Bytes are held back only
//! while they could be the beginning of a value.

mod automaton;
mod forms;
mod view;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use automaton::Automaton;
use view::{Range, Views};

/// Shortest value that is masked, in bytes. A shorter one is in ordinary text by chance: masking it
/// would break what is read and tell by the stars what it is; guessing it is easy anyway.
pub const SHORTEST_MASKED: usize = 8;

/// Longest value that is masked, in bytes.
pub const LONGEST_MASKED: usize = 64 * 1024;

/// Most values.
pub const MOST_VALUES: usize = 1024;

/// What stands in place of a value.
pub const STARS: &str = "***";

/// Why there is no mask: whoever wanted it must not let anything through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A value is too short or too long; its place in the list, from 0.
    #[error("secret {0} cannot be masked: it has less than 8 bytes or more than 64 KiB")]
    Length(usize),
    /// Too many, or too long together.
    #[error("there are too many secrets to mask")]
    TooMany,
}

/// Values to be masked, in all their forms. Cheap to clone.
#[derive(Clone)]
pub struct Mask(Option<Arc<Automaton>>);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// Makes a mask of these values.
    ///
    /// # Errors
    /// [`MaskError`]; [`Self::is_maskable`] says beforehand which values are too short.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, MaskError> {
        let mut forms = forms::Forms::default();
        for (place, value) in values.into_iter().enumerate() {
            if !Self::is_maskable(value) {
                return Err(MaskError::Length(place));
            }
            if place >= MOST_VALUES {
                return Err(MaskError::TooMany);
            }
            forms.add(value);
        }
        let forms = forms.done();
        if forms.is_empty() {
            return Ok(Self(None));
        }
        let automaton = Automaton::new(&forms).ok_or(MaskError::TooMany)?;
        Ok(Self(Some(Arc::new(automaton))))
    }

    /// Whether a value has a length that can be masked; line breaks do not count.
    #[must_use]
    pub fn is_maskable(value: &str) -> bool {
        let length = value.len() - value.bytes().filter(|byte| b"\r\n".contains(byte)).count();
        length >= SHORTEST_MASKED && value.len() <= LONGEST_MASKED
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// A whole text with its values masked.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masker = Masker::new(self);
        let mut masked = Vec::new();
        masker.feed(text.as_bytes(), &mut masked);
        masker.finish(&mut masked);
        if masker.masked == 0 {
            return Cow::Borrowed(text);
        }
        // Values are UTF-8 and cut out whole.
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// Whether a value is in these bytes.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        let mut masker = Masker::new(self);
        masker.feed(bytes, &mut Vec::new());
        masker.finish(&mut Vec::new());
        masker.masked > 0
    }
}

/// Masks a stream.
#[derive(Debug)]
pub struct Masker {
    mask: Mask,
    views: Views,
    /// Bytes from `given` on that are not given yet.
    held: Vec<u8>,
    /// How many bytes of the stream were given or masked.
    given: u64,
    /// Parts of the stream that hold values.
    ranges: Vec<Range>,
    /// Where the last part that was masked ended; values that touch make one mask.
    covered: Option<u64>,
    masked: u64,
}

impl Masker {
    /// A stream at its beginning.
    #[must_use]
    pub fn new(mask: &Mask) -> Self {
        Self {
            views: mask.0.as_deref().map(Views::new).unwrap_or_default(),
            mask: mask.clone(),
            held: Vec::new(),
            given: 0,
            ranges: Vec::new(),
            covered: None,
            masked: 0,
        }
    }

    /// Takes the next bytes, and appends what is known to hold no value to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(automaton) = self.mask.0.as_deref() else {
            out.extend_from_slice(bytes);
            return;
        };
        self.views.walk(automaton, bytes, &mut self.ranges);
        self.held.extend_from_slice(bytes);
        let until = self.views.safe_until(automaton);
        self.give(until, out);
    }

    /// The same for bytes that are shared: they are passed on as they are where nothing is in them.
    #[must_use]
    pub fn chunk(&mut self, bytes: &Bytes) -> Bytes {
        let Some(automaton) = self.mask.0.as_deref() else {
            return bytes.clone();
        };
        if !self.held.is_empty() {
            return self.copied(bytes);
        }
        self.views.walk(automaton, bytes, &mut self.ranges);
        let until = self.views.safe_until(automaton);
        let length = usize::try_from(until - self.given).unwrap_or(usize::MAX);
        if self.ranges.is_empty() && length <= bytes.len() {
            self.held.extend_from_slice(&bytes[length..]);
            self.given = until;
            return bytes.slice(..length);
        }
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(bytes.len());
        self.give(until, &mut out);
        out.into()
    }

    fn copied(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        self.feed(bytes, &mut out);
        out.into()
    }

    /// The stream has ended, or is to be read now whatever follows: appends what is held back. A
    /// value that would have gone on after this is not found.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let end = self.given + self.held.len() as u64;
        self.give(end, out);
        if let Some(automaton) = self.mask.0.as_deref() {
            self.views.restart(automaton);
        }
    }

    /// How many bytes are held back.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// How many values were masked; those that touch count as one.
    #[must_use]
    pub const fn masked(&self) -> u64 {
        self.masked
    }

    /// Gives everything before this place of the stream, and masks every value that begins before it.
    fn give(&mut self, until: u64, out: &mut Vec<u8>) {
        self.ranges.sort_unstable();
        let start = self.given;
        let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let due = self.ranges.partition_point(|range| range.start < until);
        for range in self.ranges.drain(..due) {
            if range.end <= self.given && self.covered.is_some_and(|end| range.start <= end) {
                continue;
            }
            if range.start > self.given {
                out.extend(
                    self.held
                        .get(place(self.given)..place(range.start))
                        .unwrap_or_default(),
                );
                self.given = range.start;
            }
            if self.covered.is_none_or(|end| end < range.start) {
                out.extend_from_slice(STARS.as_bytes());
                self.masked += 1;
            }
            // Line breaks stay, so that lines do.
            let inside = self
                .held
                .get(place(self.given)..place(range.end))
                .unwrap_or_default();
            out.extend(inside.iter().filter(|byte| b"\r\n".contains(byte)));
            self.given = self.given.max(range.end);
            self.covered = Some(self.given);
        }
        if until > self.given {
            out.extend(
                self.held
                    .get(place(self.given)..place(until))
                    .unwrap_or_default(),
            );
            self.given = until;
        }
        self.held.drain(..place(self.given).min(self.held.len()));
    }
}

#[cfg(test)]
mod tests;
