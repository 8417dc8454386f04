//! Questions as they come and answers as they go (RFC 1035; EDNS: RFC 6891).

use std::fmt::Write as _;
use std::ops::Range;

use crate::name::{Name, NameError};

/// Longest question that is read, in bytes: more than any resolver sends.
pub const LONGEST_QUERY: usize = 1232;

/// Longest name in the form of the wire, with the root (RFC 1035, 2.3.4).
const LONGEST_WIRE_NAME: usize = 255;

const HEADER: usize = 12;

/// Codes of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Done = 0,
    Malformed = 1,
    Failed = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    /// The upper bits stand in the OPT record.
    BadVersion = 16,
}

/// Types of records that answers have or questions are told apart by.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const OPT: u16 = 41;
    /// TKEY, TSIG, and transfers of whole zones.
    pub(in crate::dns) const TRANSFERS: std::ops::RangeInclusive<u16> = 249..=254;
}

/// The first 12 bytes, as far as answers repeat them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    id: u16,
    opcode: u8,
    recursion: bool,
}

/// What EDNS says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edns {
    pub(super) version: u8,
    /// The flag DO, which answers repeat (RFC 3225).
    wants_signatures: bool,
}

/// A question.
#[derive(Debug)]
pub(super) struct Query<'a> {
    header: Header,
    /// Name, type and class as they came.
    question: &'a [u8],
    labels: Vec<&'a [u8]>,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
}

/// Why there is no question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wrong {
    /// Nothing that could be answered.
    Silence,
    /// A message that is answered by a code alone.
    Answer(Header, Code),
}

impl<'a> Query<'a> {
    /// Reads a message that must hold one question, perhaps an OPT record, and nothing else.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Wrong> {
        let Some((head, _)) = message.split_first_chunk::<HEADER>() else {
            return Err(Wrong::Silence);
        };
        let word = |place: usize| u16::from_be_bytes([head[place], head[place + 1]]);
        // An answer that nobody asked for.
        if head[2] & 0x80 != 0 {
            return Err(Wrong::Silence);
        }
        let header = Header {
            id: word(0),
            opcode: head[2] >> 3 & 0xf,
            recursion: head[2] & 1 != 0,
        };
        if header.opcode != 0 {
            return Err(Wrong::Answer(header, Code::NotImplemented));
        }
        let truncated = head[2] & 2 != 0;
        let counts = [word(4), word(6), word(8)] == [1, 0, 0] && word(10) <= 1;
        if message.len() > LONGEST_QUERY || truncated || !counts {
            return Err(Wrong::Answer(header, Code::Malformed));
        }
        Self::parse_body(header, message, word(10) == 1)
            .ok_or(Wrong::Answer(header, Code::Malformed))
    }

    fn parse_body(header: Header, message: &'a [u8], has_edns: bool) -> Option<Self> {
        let mut reader = Reader {
            bytes: message,
            at: HEADER,
        };
        let labels = reader.name()?;
        let (kind, class) = (reader.word()?, reader.word()?);
        let question = message.get(HEADER..reader.at)?;
        let edns = if has_edns { Some(reader.edns()?) } else { None };
        let whole = reader.at == message.len() && kind != 0 && kind != kind::OPT;
        whole.then_some(Self {
            header,
            question,
            labels,
            kind,
            class,
            edns,
        })
    }

    /// The name that is asked about, if it is one that policy could name.
    pub(super) fn name(&self) -> Result<Name, NameError> {
        // A dot inside a label would become a border between two.
        if self.labels.iter().any(|label| label.contains(&b'.')) {
            return Err(NameError::Character);
        }
        let joined = self.labels.join(&b'.');
        Name::parse(std::str::from_utf8(&joined).map_err(|_| NameError::Character)?)
    }

    /// The labels of the name.
    pub(super) fn labels(&self) -> &[&'a [u8]] {
        &self.labels
    }

    /// The name for people: whatever is not a letter, digit, hyphen or underscore as `\DDD`
    /// (RFC 1035, 5.1).
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        for label in &self.labels {
            if !text.is_empty() {
                text.push('.');
            }
            for byte in *label {
                if byte.is_ascii_alphanumeric() || b"-_".contains(byte) {
                    text.push(char::from(*byte));
                } else {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        if text.is_empty() {
            ".".to_owned()
        } else {
            text
        }
    }

    /// An answer of this code with at most one record of the name that was asked about.
    pub(super) fn answer(&self, code: Code, record: Option<(u16, &[u8])>) -> Vec<u8> {
        let counts = [
            1,
            u16::from(record.is_some()),
            0,
            u16::from(self.edns.is_some()),
        ];
        let mut message = self.header.write(code, counts);
        message.extend_from_slice(self.question);
        if let Some((kind, data)) = record {
            // The owner is the name in the question, at byte 12.
            message.extend_from_slice(&[0xc0, 0x0c]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&LIFETIME.to_be_bytes());
            message.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            message.extend_from_slice(data);
        }
        if let Some(edns) = self.edns {
            edns.write(code, &mut message);
        }
        message
    }
}

/// Seconds for which answers hold. The address of a name never changes, but policy does.
const LIFETIME: u32 = 60;

impl Header {
    /// A message of nothing but this.
    pub(super) fn answer(self, code: Code) -> Vec<u8> {
        self.write(code, [0; 4])
    }

    fn write(self, code: Code, counts: [u16; 4]) -> Vec<u8> {
        let mut message = Vec::with_capacity(64);
        message.extend_from_slice(&self.id.to_be_bytes());
        // An answer, by whoever is responsible for the name; recursion is there for who wants it.
        message.push(0x84 | self.opcode << 3 | u8::from(self.recursion));
        message.push(0x80 | (code as u8 & 0xf));
        for count in counts {
            message.extend_from_slice(&count.to_be_bytes());
        }
        message
    }
}

impl Edns {
    fn write(self, code: Code, message: &mut Vec<u8>) {
        let size = u16::try_from(LONGEST_QUERY).unwrap_or(512).to_be_bytes();
        let signatures = if self.wants_signatures { 0x80 } else { 0 };
        message.extend_from_slice(&[0, 0, 41, size[0], size[1]]);
        message.extend_from_slice(&[code as u8 >> 4, 0, signatures, 0, 0, 0]);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let range: Range<usize> = self.at..self.at.checked_add(length)?;
        let taken = self.bytes.get(range.clone())?;
        self.at = range.end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        let [high, low] = *self.take(2)?.first_chunk()?;
        Some(u16::from_be_bytes([high, low]))
    }

    /// A name spelled out. There is nothing before a question that a pointer could mean, so there
    /// are none; the two other kinds of label are none either.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let start = self.at;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(self.byte()?);
            if length > crate::name::LONGEST_LABEL {
                return None;
            }
            if length == 0 {
                return (self.at - start <= LONGEST_WIRE_NAME).then_some(labels);
            }
            labels.push(self.take(length)?);
            if self.at - start >= LONGEST_WIRE_NAME {
                return None;
            }
        }
    }

    /// The OPT record. Its options are skipped: nothing of them is used or sent back.
    fn edns(&mut self) -> Option<Edns> {
        if (self.byte()?, self.word()?) != (0, kind::OPT) {
            return None;
        }
        let _size = self.word()?;
        let [_code, version] = self.word()?.to_be_bytes();
        let flags = self.word()?;
        let length = usize::from(self.word()?);
        let mut options = Reader {
            bytes: self.take(length)?,
            at: 0,
        };
        while options.at < options.bytes.len() {
            let _code = options.word()?;
            let length = usize::from(options.word()?);
            options.take(length)?;
        }
        Some(Edns {
            version,
            wants_signatures: flags & 0x8000 != 0,
        })
    }
}
