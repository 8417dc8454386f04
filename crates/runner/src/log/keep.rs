//! Keeps the head and the tail of a log that is too long.

use std::collections::VecDeque;

pub(super) struct Kept {
    /// Bytes that head and tail may have, each.
    half: u64,
    head: Vec<u8>,
    tail: VecDeque<String>,
    tail_bytes: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

impl Kept {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            half: limit / 2,
            head: Vec::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
        }
    }

    pub(super) fn add(&mut self, line: String) {
        let length = line.len() as u64;
        if self.tail.is_empty()
            && self.dropped_lines == 0
            && self.head.len() as u64 + length <= self.half
        {
            self.head.extend_from_slice(line.as_bytes());
            return;
        }
        self.tail_bytes += length;
        self.tail.push_back(line);
        while self.tail_bytes > self.half && self.tail.len() > 1 {
            if let Some(oldest) = self.tail.pop_front() {
                self.tail_bytes -= oldest.len() as u64;
                self.dropped_lines += 1;
                self.dropped_bytes += oldest.len() as u64;
            }
        }
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.dropped_lines > 0 {
            let (lines, bytes) = (self.dropped_lines, self.dropped_bytes);
            let note = format!(
                "0 note {lines} lines ({bytes} bytes) were dropped here: the log is longer than its limit\n"
            );
            self.head.extend_from_slice(note.as_bytes());
        }
        for line in &self.tail {
            self.head.extend_from_slice(line.as_bytes());
        }
        (!self.head.is_empty()).then_some(self.head)
    }
}
