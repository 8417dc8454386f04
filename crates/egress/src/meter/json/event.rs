//! What is read, and where.

/// Longest key that places know; a longer one equals none.
const LONGEST_STEP: usize = 40;

/// One level of the place where a value is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub(super) object: bool,
    key: [u8; LONGEST_STEP],
    length: u8,
    /// How many keys there were outside.
    pub(super) keys: usize,
}

impl Step {
    pub(super) const fn new(object: bool, keys: usize) -> Self {
        Self {
            object,
            key: [0; LONGEST_STEP],
            length: 0,
            keys,
        }
    }

    /// Goes to the member with this key; one that is too long equals none.
    pub(super) fn enter(&mut self, key: &[u8]) {
        self.length = 0;
        if let Some(room) = self.key.get_mut(..key.len()) {
            room.copy_from_slice(key);
            self.length = u8::try_from(key.len()).unwrap_or(0);
        }
    }

    /// Whether this is the member of an object with this key, or any item of an array for `*`.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        if self.object {
            self.key.get(..usize::from(self.length)) == Some(key.as_bytes()) && self.length > 0
        } else {
            key == "*"
        }
    }
}

/// Whether a place is exactly this one, with `*` for items of arrays.
#[must_use]
pub fn at(place: &[Step], path: &[&str]) -> bool {
    place.len() == path.len() && place.iter().zip(path).all(|(step, key)| step.is(key))
}

/// A text as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Its bytes, decoded, or the beginning of them.
    pub bytes: &'a [u8],
    /// Whether these are all.
    pub whole: bool,
    /// Whether it was spelled with escapes.
    pub escaped: bool,
    /// Where its opening quote is.
    pub start: u64,
    /// Behind its closing quote.
    pub end: u64,
}

impl<'a> Text<'a> {
    /// The text, when it is whole and UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.whole
            .then(|| std::str::from_utf8(self.bytes).ok())
            .flatten()
    }
}

/// What was read.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// An object or array begins at this byte.
    Open {
        /// Whether it is an object.
        object: bool,
        /// Its first byte.
        start: u64,
    },
    /// The innermost object or array ended; the place is the one it has itself.
    Close {
        /// Behind its last byte.
        end: u64,
    },
    /// A key; the place already ends with it.
    Key(Text<'a>),
    /// A string.
    Text(Text<'a>),
    /// A number as it is spelled; empty when it is longer than anything that means something.
    Number(&'a str, u64),
    /// `true`, `false` or `null`.
    Word(&'static str, u64),
}
