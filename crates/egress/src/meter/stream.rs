//! Answers read on the side while they go by: server-sent events (WHATWG HTML, 9.2) or one JSON
//! text. However the bytes are cut, the reading is the same, and the memory is bounded.

use super::Dialect;
use super::json::{Malformed, Scanner};
use super::usage::{Fields, Reading};

/// Reads the usage out of one answer.
#[derive(Debug)]
pub struct Reader {
    dialect: Dialect,
    scanner: Scanner,
    /// Nothing more of this event, or of this text, can be read.
    dead: bool,
    fields: Fields,
    lines: Option<Lines>,
    bytes: u64,
}

/// Where in the lines of events.
#[derive(Debug)]
struct Lines {
    state: Line,
    /// Lines of data that the event has so far.
    data: bool,
    /// The first bytes of the event's data, by which its end is told.
    head: [u8; 7],
    head_length: usize,
    /// A carriage return was the last byte: a line feed behind it ends nothing.
    returned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` were seen, and nothing else.
    Name(usize),
    /// Behind the colon, where one blank is left out.
    Blank,
    Data,
    /// Some other field.
    Other,
}

const DATA: &[u8] = b"data:";

/// How the stream of OpenAI's dialects ends.
const DONE: &[u8; 7] = b"[DONE]\0";

impl Reader {
    /// For an answer of server-sent events.
    #[must_use]
    pub fn events(dialect: Dialect) -> Self {
        Self {
            lines: Some(Lines {
                state: Line::Name(0),
                data: false,
                head: [0; 7],
                head_length: 0,
                returned: false,
            }),
            ..Self::whole(dialect)
        }
    }

    /// For an answer that is one JSON text.
    #[must_use]
    pub fn whole(dialect: Dialect) -> Self {
        Self {
            dialect,
            scanner: Scanner::default(),
            dead: false,
            fields: Fields::default(),
            lines: None,
            bytes: 0,
        }
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let Some(mut lines) = self.lines.take() else {
            self.scan(bytes);
            return;
        };
        self.feed_lines(&mut lines, bytes);
        self.lines = Some(lines);
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is known; `clean` when the answer came to its end.
    #[must_use]
    pub fn reading(&self, clean: bool) -> Reading {
        self.fields.reading(self.dialect, clean)
    }

    fn scan(&mut self, bytes: &[u8]) {
        if self.dead {
            return;
        }
        let (dialect, fields) = (self.dialect, &mut self.fields);
        let read = self.scanner.feed(bytes, &mut |place, event| {
            fields.visit(dialect, place, event);
            Ok::<(), Malformed>(())
        });
        self.dead = read.is_err();
    }

    fn feed_lines(&mut self, lines: &mut Lines, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if std::mem::take(&mut lines.returned) && byte == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'\r'))
                .unwrap_or(bytes.len());
            let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            self.feed_line(lines, line);
            if let Some(&end) = rest.first() {
                lines.returned = end == b'\r';
                self.end_line(lines);
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    fn feed_line(&mut self, lines: &mut Lines, mut line: &[u8]) {
        while let (Line::Name(seen), Some(byte)) = (lines.state, line.first()) {
            lines.state = match DATA.get(seen) {
                Some(expected) if expected == byte && seen + 1 == DATA.len() => Line::Blank,
                Some(expected) if expected == byte => Line::Name(seen + 1),
                _ => Line::Other,
            };
            line = line.get(1..).unwrap_or_default();
        }
        if lines.state == Line::Blank && !line.is_empty() {
            line = line.strip_prefix(b" ").unwrap_or(line);
            lines.state = Line::Data;
            if std::mem::replace(&mut lines.data, true) {
                self.scan(b"\n");
            }
        }
        if lines.state == Line::Data {
            for byte in line.iter().take(7_usize.saturating_sub(lines.head_length)) {
                if let Some(room) = lines.head.get_mut(lines.head_length) {
                    *room = *byte;
                    lines.head_length += 1;
                }
            }
            self.scan(line);
        }
    }

    fn end_line(&mut self, lines: &mut Lines) {
        let empty = lines.state == Line::Name(0);
        lines.state = Line::Name(0);
        if !empty {
            return;
        }
        if &lines.head == DONE {
            self.fields.finish();
        }
        lines.data = false;
        lines.head = [0; 7];
        lines.head_length = 0;
        self.dead = false;
        self.scanner.reset();
    }
}

#[cfg(test)]
mod tests;
