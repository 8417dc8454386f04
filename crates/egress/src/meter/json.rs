//! JSON read piece by piece (RFC 8259), strictly, in bounded memory: the same events however the
//! bytes are cut. Nothing is built; whoever reads keeps what matters.

use std::hash::{BuildHasher as _, RandomState};

mod event;
mod number;

pub use event::{Event, Step, Text, at};
use number::Digits;

/// Deepest nesting that is read. What agents send stays below 40.
pub const DEEPEST: usize = 200;

/// Longest text that is kept whole, in bytes; longer ones are told by their beginning.
pub const LONGEST_KEPT: usize = 1024;

/// Longest number that is kept whole: more digits than any number that means something here.
const LONGEST_NUMBER: usize = 40;

/// Why bytes are not JSON as it is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON at this byte.
    #[error("not JSON at byte {0}")]
    Byte(u64),
    /// Ended before its end.
    #[error("the JSON ends too early")]
    Short,
    /// Nested deeper than [`DEEPEST`].
    #[error("nested deeper than {DEEPEST}")]
    Deep,
    /// Two equal keys in the object that ends at this byte.
    #[error("the object that ends at byte {0} has a key twice")]
    Twice(u64),
    /// A key that is longer than [`LONGEST_KEPT`], where keys are compared.
    #[error("the key at byte {0} is too long")]
    LongKey(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    Inside,
    Escape,
    Unicode(u8),
    Number(Digits),
    Word(&'static str, u8),
    Done,
}

/// Reads one JSON text.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    place: Vec<Step>,
    kept: Vec<u8>,
    whole: bool,
    escaped: bool,
    is_key: bool,
    /// The number that `\u` escapes give, and a high half that waits for its low one.
    code: u32,
    high: Option<u32>,
    start: u64,
    offset: u64,
    /// Digests of the keys of all open objects, when keys are compared.
    keys: Option<(RandomState, Vec<u64>)>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Value,
            place: Vec::new(),
            kept: Vec::new(),
            whole: true,
            escaped: false,
            is_key: false,
            code: 0,
            high: None,
            start: 0,
            offset: 0,
            keys: None,
        }
    }
}

impl Scanner {
    /// One that refuses objects with a key twice: what readers understand differently.
    #[must_use]
    pub fn unique() -> Self {
        Self {
            keys: Some((RandomState::new(), Vec::new())),
            ..Self::default()
        }
    }

    /// Begins anew, with the memory it has.
    pub fn reset(&mut self) {
        self.state = State::Value;
        self.place.clear();
        self.kept.clear();
        self.high = None;
        self.offset = 0;
        if let Some((_, keys)) = &mut self.keys {
            keys.clear();
        }
    }

    /// Reads on. What is read goes to `visit` with the place where it is.
    ///
    /// # Errors
    /// [`Malformed`] when it is not JSON, and whatever `visit` gives.
    pub fn feed<E: From<Malformed>>(
        &mut self,
        mut bytes: &[u8],
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(&byte) = bytes.first() {
            if self.state == State::Inside {
                let plain = bytes
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                    .unwrap_or(bytes.len());
                if plain > 0 {
                    self.end_high();
                    self.keep(bytes.get(..plain).unwrap_or_default());
                    self.offset = self.offset.saturating_add(plain as u64);
                    bytes = bytes.get(plain..).unwrap_or_default();
                    continue;
                }
            }
            // A number ends with the byte behind it, which is then looked at again.
            let State::Number(digits) = self.state else {
                self.step(byte, visit)?;
                self.offset = self.offset.saturating_add(1);
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            };
            if let Some(next) = digits.next(byte) {
                self.state = State::Number(next);
                self.keep_number(byte);
                self.offset = self.offset.saturating_add(1);
                bytes = bytes.get(1..).unwrap_or_default();
            } else {
                self.end_number(digits, visit)?;
            }
        }
        Ok(())
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when something is open.
    pub fn end<E: From<Malformed>>(
        &mut self,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let State::Number(digits) = self.state {
            self.end_number(digits, visit)?;
        }
        if self.state == State::Done {
            Ok(())
        } else {
            Err(Malformed::Short.into())
        }
    }

    fn step<E: From<Malformed>>(
        &mut self,
        byte: u8,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let wrong = Malformed::Byte(self.offset);
        let blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.state {
            State::Inside => self.inside(byte, visit),
            State::Escape => self.escape(byte).ok_or_else(|| wrong.into()),
            State::Unicode(seen) => self.unicode(seen, byte).ok_or_else(|| wrong.into()),
            State::Word(word, seen) => self.word(word, seen, byte, visit),
            _ if blank => Ok(()),
            State::ValueOrEnd if byte == b']' => self.close(visit),
            State::Value | State::ValueOrEnd => self.value(byte, visit),
            State::KeyOrEnd if byte == b'}' => self.close(visit),
            State::KeyOrEnd | State::Key if byte == b'"' => {
                self.open_text(true);
                Ok(())
            }
            State::Colon if byte == b':' => {
                self.state = State::Value;
                Ok(())
            }
            State::CommaOrEnd => self.comma_or_end(byte, visit),
            _ => Err(wrong.into()),
        }
    }

    fn value<E: From<Malformed>>(
        &mut self,
        byte: u8,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match byte {
            b'{' | b'[' => self.open(byte == b'{', visit),
            b'"' => {
                self.open_text(false);
                Ok(())
            }
            b't' => self.begin_word("true"),
            b'f' => self.begin_word("false"),
            b'n' => self.begin_word("null"),
            b'-' | b'0'..=b'9' => {
                self.kept.clear();
                self.whole = true;
                self.start = self.offset;
                self.keep_number(byte);
                self.state = State::Number(match byte {
                    b'-' => Digits::Minus,
                    b'0' => Digits::Zero,
                    _ => Digits::Whole,
                });
                Ok(())
            }
            _ => Err(Malformed::Byte(self.offset).into()),
        }
    }

    fn open<E: From<Malformed>>(
        &mut self,
        object: bool,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.place.len() >= DEEPEST {
            return Err(Malformed::Deep.into());
        }
        let start = self.offset;
        visit(&self.place, Event::Open { object, start })?;
        let keys = self.keys.as_ref().map_or(0, |(_, keys)| keys.len());
        self.place.push(Step::new(object, keys));
        self.state = if object {
            State::KeyOrEnd
        } else {
            State::ValueOrEnd
        };
        Ok(())
    }

    fn close<E: From<Malformed>>(
        &mut self,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let (Some(step), Some((_, keys))) = (self.place.last(), &mut self.keys) {
            let own = keys.get_mut(step.keys..).unwrap_or_default();
            own.sort_unstable();
            if own.windows(2).any(|pair| pair.first() == pair.last()) {
                return Err(Malformed::Twice(self.offset).into());
            }
            keys.truncate(step.keys);
        }
        self.place.pop();
        let end = self.offset.saturating_add(1);
        visit(&self.place, Event::Close { end })?;
        self.after_value();
        Ok(())
    }

    fn comma_or_end<E: From<Malformed>>(
        &mut self,
        byte: u8,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match (self.place.last().map(|step| step.object), byte) {
            (Some(true), b',') => self.state = State::Key,
            (Some(false), b',') => self.state = State::Value,
            (Some(true), b'}') | (Some(false), b']') => return self.close(visit),
            _ => return Err(Malformed::Byte(self.offset).into()),
        }
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = if self.place.is_empty() {
            State::Done
        } else {
            State::CommaOrEnd
        };
    }

    fn open_text(&mut self, is_key: bool) {
        self.is_key = is_key;
        self.kept.clear();
        self.whole = true;
        self.escaped = false;
        self.high = None;
        self.start = self.offset;
        self.state = State::Inside;
    }

    fn inside<E: From<Malformed>>(
        &mut self,
        byte: u8,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match byte {
            b'\\' => {
                self.escaped = true;
                self.state = State::Escape;
                Ok(())
            }
            b'"' => self.end_text(visit),
            // Everything else was taken as plain.
            _ => Err(Malformed::Byte(self.offset).into()),
        }
    }

    fn end_text<E: From<Malformed>>(
        &mut self,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.end_high();
        if self.is_key {
            self.enter_key()?;
        }
        let text = Text {
            bytes: &self.kept,
            whole: self.whole,
            escaped: self.escaped,
            start: self.start,
            end: self.offset.saturating_add(1),
        };
        if self.is_key {
            visit(&self.place, Event::Key(text))?;
            self.state = State::Colon;
        } else {
            visit(&self.place, Event::Text(text))?;
            self.after_value();
        }
        Ok(())
    }

    fn enter_key(&mut self) -> Result<(), Malformed> {
        if let Some((state, keys)) = &mut self.keys {
            if !self.whole {
                return Err(Malformed::LongKey(self.start));
            }
            keys.push(state.hash_one(self.kept.as_slice()));
        }
        if let Some(step) = self.place.last_mut() {
            step.enter(if self.whole { &self.kept } else { &[] });
        }
        Ok(())
    }

    fn escape(&mut self, byte: u8) -> Option<()> {
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.code = 0;
                self.state = State::Unicode(0);
                return Some(());
            }
            _ => return None,
        };
        self.end_high();
        self.keep(&[plain]);
        self.state = State::Inside;
        Some(())
    }

    fn unicode(&mut self, seen: u8, byte: u8) -> Option<()> {
        self.code = self.code * 16 + char::from(byte).to_digit(16)?;
        if seen < 3 {
            self.state = State::Unicode(seen + 1);
            return Some(());
        }
        self.state = State::Inside;
        let code = self.code;
        match (self.high.take(), code) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.keep_char(0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00));
            }
            (before, 0xd800..=0xdbff) => {
                if before.is_some() {
                    self.keep_char(0xfffd);
                }
                self.high = Some(code);
            }
            (before, _) => {
                if before.is_some() {
                    self.keep_char(0xfffd);
                }
                self.keep_char(code);
            }
        }
        Some(())
    }

    /// A high half without its low one is shown as what it is: no letter.
    fn end_high(&mut self) {
        if self.high.take().is_some() {
            self.keep_char(0xfffd);
        }
    }

    fn keep_char(&mut self, code: u32) {
        let letter = char::from_u32(code).unwrap_or('\u{fffd}');
        let mut room = [0; 4];
        self.keep(letter.encode_utf8(&mut room).as_bytes());
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST_KEPT.saturating_sub(self.kept.len());
        if bytes.len() > room {
            self.whole = false;
        }
        self.kept
            .extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }

    fn keep_number(&mut self, byte: u8) {
        if self.kept.len() < LONGEST_NUMBER {
            self.kept.push(byte);
        } else {
            self.whole = false;
        }
    }

    fn end_number<E: From<Malformed>>(
        &mut self,
        digits: Digits,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !digits.may_end() {
            return Err(Malformed::Byte(self.offset).into());
        }
        let spelled = std::str::from_utf8(&self.kept).unwrap_or_default();
        let spelled = if self.whole { spelled } else { "" };
        visit(&self.place, Event::Number(spelled, self.start))?;
        self.after_value();
        Ok(())
    }

    fn begin_word<E>(&mut self, word: &'static str) -> Result<(), E> {
        self.start = self.offset;
        self.state = State::Word(word, 1);
        Ok(())
    }

    fn word<E: From<Malformed>>(
        &mut self,
        word: &'static str,
        seen: u8,
        byte: u8,
        visit: &mut impl FnMut(&[Step], Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if word.as_bytes().get(usize::from(seen)) != Some(&byte) {
            return Err(Malformed::Byte(self.offset).into());
        }
        if usize::from(seen) + 1 < word.len() {
            self.state = State::Word(word, seen + 1);
            return Ok(());
        }
        visit(&self.place, Event::Word(word, self.start))?;
        self.after_value();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
