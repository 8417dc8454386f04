//! The forms in which a value is looked for.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::SHORTEST_MASKED;

/// Lines of a value that are looked for by themselves: a key is often shown line by line, with marks
/// before each. A shorter line is in other keys, too.
const SHORTEST_LINE: usize = 16;

/// Collects forms, each once.
#[derive(Default)]
pub(super) struct Forms(BTreeSet<Vec<u8>>);

impl Forms {
    /// All forms of a value, without line breaks.
    pub(super) fn add(&mut self, value: &str) {
        self.encodings(value);
        let lines = value.lines().map(str::trim);
        // Borders of keys say what they are of, and nothing more.
        let telling =
            lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
        for line in telling.filter(|line| *line != value) {
            self.encodings(line);
        }
    }

    fn encodings(&mut self, value: &str) {
        self.form(value.as_bytes());
        self.form(hex::encode(value).as_bytes());
        self.form(hex::encode_upper(value).as_bytes());
        for before in 0..3 {
            let bytes = [&[0; 2][..before], value.as_bytes()].concat();
            // Letters that depend on what stands before and after the value are left out.
            let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            for encoded in [
                STANDARD_NO_PAD.encode(&bytes),
                URL_SAFE_NO_PAD.encode(&bytes),
            ] {
                self.form(encoded.as_bytes().get(first..last).unwrap_or_default());
            }
        }
    }

    fn form(&mut self, bytes: &[u8]) {
        let breaks = |byte: &&u8| !b"\r\n".contains(byte);
        let form: Vec<u8> = bytes.iter().filter(breaks).copied().collect();
        if form.len() >= SHORTEST_MASKED {
            self.0.insert(form);
        }
    }

    /// Every form.
    pub(super) fn done(self) -> Vec<Vec<u8>> {
        self.0.into_iter().collect()
    }
}
