//! One header block.

use crate::LayerProblem;

pub(crate) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    /// Character or block device.
    Device,
    Folder,
    Fifo,
    /// Headers about the next entry, or about all that follow.
    Pax,
    GlobalPax,
    LongName,
    LongLink,
}

/// A block, read but not yet joined with what extension headers say.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) mtime: i64,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Result<Self, LayerProblem> {
        check_sum(block)?;
        let format = Format::of(block)?;
        let mut name = until_zero(&block[..100]).to_vec();
        if format == Format::Posix && block[345] != 0 {
            let prefix = until_zero(&block[345..500]);
            name = [prefix, b"/", &name].concat();
        }
        let kind = match block[156] {
            // Version 7 had no type for folders but the slash.
            0 | b'0' if name.ends_with(b"/") => Kind::Folder,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            b'x' => Kind::Pax,
            b'g' => Kind::GlobalPax,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            other => {
                return Err(LayerProblem::Kind(
                    char::from(other).escape_default().to_string(),
                ));
            }
        };
        Ok(Self {
            kind,
            name,
            link: until_zero(&block[157..257]).to_vec(),
            size: positive(&block[124..136], "its size is no number")?,
            mode: (positive(&block[100..108], "its mode is no number")? & 0o7777) as u32,
            mtime: number(&block[136..148]).ok_or(LayerProblem::Header("its time is no number"))?,
        })
    }
}

#[derive(PartialEq, Eq)]
enum Format {
    Posix,
    Gnu,
    Version7,
}

impl Format {
    fn of(block: &[u8; BLOCK]) -> Result<Self, LayerProblem> {
        match &block[257..265] {
            b"ustar\x0000" => Ok(Self::Posix),
            // The place of the prefix holds other things here.
            b"ustar  \0" => Ok(Self::Gnu),
            [0, ..] => Ok(Self::Version7),
            _ => Err(LayerProblem::Header(
                "it is not the header of a tar archive",
            )),
        }
    }
}

/// The sum of all bytes, the field of the sum itself counting as blanks.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), LayerProblem> {
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            if (148..156).contains(&place) {
                32
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    match number(&block[148..156]) {
        Some(said) if said >= 0 && said as u64 == sum => Ok(()),
        _ => Err(LayerProblem::Header("its checksum is wrong")),
    }
}

fn positive(field: &[u8], problem: &'static str) -> Result<u64, LayerProblem> {
    match number(field) {
        Some(value) if value >= 0 => Ok(value as u64),
        Some(_) => Err(LayerProblem::Header("a number in it is negative")),
        None => Err(LayerProblem::Header(problem)),
    }
}

/// Octal digits, or GNU's base 256 when the first bit is set.
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        return base256(field);
    }
    let field = until_zero(field);
    let text = std::str::from_utf8(field).ok()?.trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    if !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    i64::from_str_radix(text, 8).ok()
}

fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (place, byte) in field.iter().enumerate() {
        let byte = if place == 0 && !negative {
            byte & 0x3f
        } else {
            *byte
        };
        value = value.checked_mul(256)? | i128::from(byte);
        if place > 15 {
            return None;
        }
    }
    i64::try_from(value).ok()
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   17 \0\0"), Some(0o17));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"0000648\0"), None);
        assert_eq!(number(b"-1\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "too large"
        );
    }
}
