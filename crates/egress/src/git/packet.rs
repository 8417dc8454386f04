//! Lines with their length before them (gitprotocol-common, "pkt-line Format").

/// Longest line of a list of commands, in bytes: two ids, a ref and capabilities.
const LONGEST_LINE: usize = 4096;

/// Most bytes of data that git reads from one line.
const MOST_DATA: usize = 65_515;

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A line.
    Line(&'a [u8]),
    /// The end of a list.
    Flush,
}

/// The first packet, and the bytes it takes; `None` while some of it is missing.
///
/// Lengths are written as git writes them, in four small hexadecimal digits. Other spellings, empty
/// lines and the separators of protocol version 2 are not part of a push.
pub(super) fn next(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, &'static str> {
    let Some((digits, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length =
        length(digits).ok_or("the length of a line is not four small hexadecimal digits")?;
    match length {
        0 => Ok(Some((Packet::Flush, 4))),
        1..=4 => Err("a line is empty, or separates what a push does not have"),
        _ if length > LONGEST_LINE => Err("a line is longer than lines of a push are"),
        _ => Ok(rest
            .get(..length - 4)
            .map(|line| (Packet::Line(line), length))),
    }
}

fn length(digits: &[u8; 4]) -> Option<usize> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number * 16 + usize::from(value))
    })
}

/// Appends data as one line after another, each beginning with `band` if there is one.
pub(super) fn write(band: Option<u8>, data: &[u8], out: &mut Vec<u8>) {
    for part in data.chunks(MOST_DATA) {
        let length = 4 + usize::from(band.is_some()) + part.len();
        out.extend_from_slice(format!("{length:04x}").as_bytes());
        out.extend(band);
        out.extend_from_slice(part);
    }
}
