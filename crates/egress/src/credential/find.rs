//! Finding placeholders, also where they were encoded.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{PREFIX, RANDOM};
use crate::policy::unescape;

/// Length of a placeholder.
const LENGTH: usize = PREFIX.len() + RANDOM;

/// How often a server might undo escapes.
const MOST_DECODINGS: usize = 3;

/// Whether a text is a placeholder and nothing else.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.len() == LENGTH && find(text.as_bytes())
}

/// Whether bytes hold a placeholder, of whatever environment.
#[must_use]
pub fn find(bytes: &[u8]) -> bool {
    let tail = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    memchr::memmem::find_iter(bytes, PREFIX)
        .filter_map(|place| bytes.get(place + PREFIX.len()..place + LENGTH))
        .any(|random| random.iter().all(tail))
}

/// Finds placeholders in a body that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Finder {
    /// The last bytes so far, fewer than a placeholder has.
    tail: Vec<u8>,
}

impl Finder {
    /// Takes the next piece. Whether a placeholder is in it, or ended in it.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        let start = piece.get(..LENGTH - 1).unwrap_or(piece);
        self.tail.extend_from_slice(start);
        let found = find(&self.tail) || find(piece);
        let recent = if piece.len() < LENGTH {
            self.tail.as_slice()
        } else {
            piece
        };
        let kept = recent[recent.len().saturating_sub(LENGTH - 1)..].to_vec();
        self.tail = kept;
        found
    }
}

/// Whether a part of a request's head holds the beginning of a placeholder: as it is in any case,
/// with escapes undone, in base64 at any place of its groups of three, or in hexadecimal.
pub(super) fn suspicious(bytes: &[u8]) -> bool {
    let mut text = Cow::Borrowed(bytes);
    for _ in 0..=MOST_DECODINGS {
        if holds_prefix(&text) {
            return true;
        }
        match decode(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => return false,
        }
    }
    false
}

fn holds_prefix(text: &[u8]) -> bool {
    static HEXADECIMAL: LazyLock<String> = LazyLock::new(|| hex::encode(PREFIX));
    static BASE64: LazyLock<[String; 3]> = LazyLock::new(|| [0, 1, 2].map(base64_inside));
    let encoded = |inside: &String| memchr::memmem::find(text, inside.as_bytes()).is_some();
    in_any_case(text, PREFIX) || in_any_case(text, &HEXADECIMAL) || BASE64.iter().any(encoded)
}

/// Whether the text holds the word, whatever the case of either.
fn in_any_case(text: &[u8], word: &str) -> bool {
    let Some(first) = word.bytes().next() else {
        return false;
    };
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), text)
        .filter_map(|place| text.get(place..place + word.len()))
        .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// The letters of base64 that the prefix has whatever stands before and after it, when `before`
/// bytes of its group of three stand before it. None of them is one that alphabets differ in.
fn base64_inside(before: usize) -> String {
    let bytes = [&vec![0; before][..], PREFIX.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    let first = (before * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    encoded.get(first..last).unwrap_or_default().to_owned()
}

/// Undoes `%XX`; `None` when there is nothing to undo.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.contains(&b'%') {
        return None;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = (*byte == b'%')
            .then(|| unescape(text.get(at + 1).copied(), text.get(at + 2).copied()))
            .flatten();
        decoded.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_prefix_is_the_same_in_every_alphabet() {
        for before in 0..3 {
            let inside = base64_inside(before);
            assert!(inside.len() >= 18, "{inside}");
            assert!(
                inside.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{inside}"
            );
        }
    }
}
