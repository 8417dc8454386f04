//! The little of the tar format that portable snapshots use: ustar headers and pax records.
//!
//! Own code because both ends are ours: what is written has one form for one content, and what is
//! read in any other form is refused.

use std::io::{self, Read, Write};

/// Size of a header, and what everything is filled up to.
const BLOCK: usize = 512;
/// Most bytes of the pax records of one entry: attributes may be 64 KiB each.
const MAX_RECORDS: u64 = 1 << 20;
/// Largest number in a field of twelve bytes.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// What an entry is; the value is its type flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    Link = b'2' as isize,
    Folder = b'5' as isize,
    Pipe = b'6' as isize,
}

/// The head of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) flag: Flag,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
    /// Of a link.
    pub(super) target: Vec<u8>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The name is meant as it is, though it begins like a whiteout's.
    pub(super) literal: bool,
}

/// Why a stream is not one of ours.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    /// In words.
    Form(&'static str),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Form("it ends too early");
        }
        Self::Io(error)
    }
}

/// Writes the head of an entry; its content and [`pad`] follow.
pub(super) fn write_header(to: &mut dyn Write, header: &Header) -> io::Result<()> {
    let mut records = Vec::new();
    if header.name.len() > 100 {
        record(&mut records, b"path", &header.name);
    }
    if header.target.len() > 100 {
        record(&mut records, b"linkpath", &header.target);
    }
    let plain = u64::try_from(header.seconds)
        .ok()
        .filter(|seconds| *seconds <= MAX_OCTAL);
    if plain.is_none() || header.nanoseconds != 0 {
        let time = format!("{}.{:09}", header.seconds, header.nanoseconds);
        record(&mut records, b"mtime", time.as_bytes());
    }
    if header.size > MAX_OCTAL {
        record(&mut records, b"size", header.size.to_string().as_bytes());
    }
    if header.literal {
        record(&mut records, b"NIGHTCREW.literal", b"1");
    }
    for (name, value) in &header.attributes {
        let key = [b"SCHILY.xattr.", escaped(name).as_slice()].concat();
        record(&mut records, &key, value);
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        to.write_all(&block(b"", b'x', 0o644, size, 0, b""))?;
        to.write_all(&records)?;
        pad(to, size)?;
    }
    to.write_all(&block(
        &header.name,
        header.flag as u8,
        header.mode,
        header.size.min(MAX_OCTAL),
        plain.unwrap_or(0),
        &header.target,
    ))
}

/// Fills up after content of this size.
pub(super) fn pad(to: &mut dyn Write, size: u64) -> io::Result<()> {
    to.write_all(&[0; BLOCK][..padding(size)])
}

/// Ends the stream.
pub(super) fn end(to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// `length key=value\n`, where the length counts itself.
fn record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    to.extend_from_slice(format!("{length} ").as_bytes());
    to.extend_from_slice(key);
    to.push(b'=');
    to.extend_from_slice(value);
    to.push(b'\n');
}

/// `=` ends a key.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    for byte in name {
        match byte {
            b'=' => to.extend_from_slice(b"%3D"),
            b'%' => to.extend_from_slice(b"%25"),
            byte => to.push(*byte),
        }
    }
    to
}

fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match rest.get(..3) {
            Some(b"%3D") => (b'=', &rest[3..]),
            Some(b"%25") => (b'%', &rest[3..]),
            _ => (*byte, after),
        };
        to.push(byte);
        rest = after;
    }
    to
}

fn block(name: &[u8], flag: u8, mode: u32, size: u64, seconds: u64, target: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000\x000000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{seconds:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &target[..target.len().min(100)]);
    put(257, b"ustar\x0000");
    put(265, b"agent");
    put(297, b"agent");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads the next head; `None` at the end of the stream. Content and padding are still to be read.
pub(super) fn read_header(from: &mut dyn Read) -> Result<Option<Header>, Unreadable> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    if block == [0; BLOCK] {
        from.read_exact(&mut block)?;
        return if block == [0; BLOCK] {
            Ok(None)
        } else {
            Err(Unreadable::Form("something follows its end"))
        };
    }
    let mut records = Vec::new();
    if block[156] == b'x' {
        let size = checked(&block)?;
        if size > MAX_RECORDS {
            return Err(Unreadable::Form("an entry has too many attributes"));
        }
        from.take(size).read_to_end(&mut records)?;
        if records.len() as u64 != size {
            return Err(Unreadable::Form("it ends too early"));
        }
        skip_padding(from, size)?;
        from.read_exact(&mut block)?;
    }
    let size = checked(&block)?;
    let flag = match block[156] {
        b'0' => Flag::File,
        b'1' => Flag::HardLink,
        b'2' => Flag::Link,
        b'5' => Flag::Folder,
        b'6' => Flag::Pipe,
        b'3' | b'4' => return Err(Unreadable::Form("it holds a device")),
        _ => return Err(Unreadable::Form("it holds an entry of an unknown kind")),
    };
    let mut header = Header {
        name: text(&block[..100]),
        flag,
        mode: octal(&block[100..108])? as u32,
        size,
        seconds: octal(&block[136..148])? as i64,
        nanoseconds: 0,
        target: text(&block[157..257]),
        attributes: Vec::new(),
        literal: false,
    };
    take_records(&mut header, &records)?;
    if header.flag != Flag::File && header.size != 0 {
        return Err(Unreadable::Form("an entry that is not a file has content"));
    }
    Ok(Some(header))
}

/// Reads what follows content of this size.
pub(super) fn skip_padding(from: &mut dyn Read, size: u64) -> Result<(), Unreadable> {
    let mut padding_bytes = [0; BLOCK];
    let padding_bytes = &mut padding_bytes[..padding(size)];
    from.read_exact(padding_bytes)?;
    if padding_bytes.iter().any(|byte| *byte != 0) {
        return Err(Unreadable::Form("its padding is not empty"));
    }
    Ok(())
}

/// Checks sum and magic of a header; its size.
fn checked(block: &[u8; BLOCK]) -> Result<u64, Unreadable> {
    let bytes = block.iter().enumerate();
    let sum: u64 = bytes
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                u64::from(b' ')
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    if octal(&block[148..156])? != sum || &block[257..265] != b"ustar\x0000" {
        return Err(Unreadable::Form("a header is damaged"));
    }
    octal(&block[124..136])
}

fn text(field: &[u8]) -> Vec<u8> {
    field
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

fn octal(field: &[u8]) -> Result<u64, Unreadable> {
    let mut digits = field.iter().take_while(|byte| !matches!(byte, 0 | b' '));
    digits.try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Ok(value << 3 | u64::from(digit - b'0')),
        _ => Err(Unreadable::Form("a header is damaged")),
    })
}

fn take_records(header: &mut Header, records: &[u8]) -> Result<(), Unreadable> {
    let damaged = || Unreadable::Form("an attribute is damaged");
    let mut rest = records;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(damaged)?;
        let length: usize = number(&rest[..space]).ok_or_else(damaged)?;
        let (whole, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
        rest = after;
        let body = whole
            .get(space + 1..)
            .and_then(|body| body.strip_suffix(b"\n"));
        let body = body.ok_or_else(damaged)?;
        let equals = body
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(damaged)?;
        let (key, value) = (&body[..equals], &body[equals + 1..]);
        match key {
            b"path" => header.name = value.to_vec(),
            b"linkpath" => header.target = value.to_vec(),
            b"size" => header.size = number(value).ok_or_else(damaged)?,
            b"NIGHTCREW.literal" => header.literal = true,
            b"mtime" => {
                let dot = value
                    .iter()
                    .position(|byte| *byte == b'.')
                    .ok_or_else(damaged)?;
                header.seconds = number(&value[..dot]).ok_or_else(damaged)?;
                header.nanoseconds = number(&value[dot + 1..]).ok_or_else(damaged)?;
                if !(0..1_000_000_000).contains(&header.nanoseconds) {
                    return Err(damaged());
                }
            }
            _ => {
                let name = key.strip_prefix(b"SCHILY.xattr.").ok_or_else(damaged)?;
                header.attributes.push((unescaped(name), value.to_vec()));
            }
        }
    }
    Ok(())
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            name: [b"workspace/\xff\n=".as_slice(), &[b'n'; 120]].concat(),
            flag: Flag::Link,
            mode: 0o1777,
            size: 0,
            seconds: -5,
            nanoseconds: 7,
            target: vec![b't'; 101],
            attributes: vec![(b"user.a=%b".to_vec(), b"v\n=\x00".to_vec())],
            literal: true,
        }
    }

    #[test]
    fn a_header_survives_whatever_its_bytes() {
        for change in [
            |_: &mut Header| {},
            |header: &mut Header| {
                header.name = b"short".to_vec();
                header.target = b"t".to_vec();
                header.seconds = 5;
                header.nanoseconds = 0;
                header.attributes.clear();
                header.literal = false;
            },
        ] {
            let mut header = header();
            change(&mut header);
            let mut stream = Vec::new();
            write_header(&mut stream, &header).unwrap();
            end(&mut stream).unwrap();
            let mut from = stream.as_slice();
            assert_eq!(read_header(&mut from).ok().flatten(), Some(header));
            assert!(matches!(read_header(&mut from), Ok(None)));
        }
    }

    #[test]
    fn no_stream_cut_short_or_altered_is_a_panic() {
        let mut stream = Vec::new();
        write_header(&mut stream, &header()).unwrap();
        for length in 0..stream.len() {
            assert!(read_header(&mut &stream[..length]).is_err());
            for bits in [0xff, 0x10] {
                let mut altered = stream.clone();
                altered[length] ^= bits;
                let _ = read_header(&mut altered.as_slice());
            }
        }
    }
}
