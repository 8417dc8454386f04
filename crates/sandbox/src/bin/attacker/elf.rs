//! Small programs, written byte by byte, so that a test needs no compiler. For x86-64.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::context::{BENIGN, MARKER};

const BASE: u64 = 0x40_0000;
/// Length of the code in [`speak`] up to the words.
const CODE: u32 = 33;

/// Writes one of: `tiny`, `tiny-pie`, `benign`, `library`, `script`, `carrier:PATH`.
pub(crate) fn craft(kind: &str, file: &Path) -> io::Result<()> {
    let bytes = match kind {
        "tiny" => tiny(MARKER, false),
        "tiny-pie" => tiny(MARKER, true),
        "benign" => tiny(BENIGN, false),
        "library" => library(),
        // Put together by the shell, so that printing the script proves nothing.
        "script" => b"#!/bin/sh\nword=VICTIM\necho NIGHTCREW-$word-RAN\n".to_vec(),
        // Names no interpreter: words like those of any file.
        "plain" => b"word=VICTIM\necho NIGHTCREW-$word-RAN\n".to_vec(),
        other => match other.strip_prefix("carrier:") {
            Some(path) => std::fs::read(path)?.iter().map(|byte| !byte).collect(),
            None => return Err(io::Error::other("unknown kind")),
        },
    };
    std::fs::write(file, bytes)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
}

/// A static program of one segment that prints a line.
pub(crate) fn tiny(word: &str, position_independent: bool) -> Vec<u8> {
    let base = if position_independent { 0 } else { BASE };
    let code = [
        speak(word, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]),
        line(word),
    ]
    .concat();
    let size = 120 + code.len() as u64;
    let mut file = header(if position_independent { 3 } else { 2 }, base + 120, 1);
    file.extend(segment(1, 5, 0, base, size));
    file.extend(code);
    file
}

fn line(word: &str) -> Vec<u8> {
    format!("{word}\n").into_bytes()
}

/// Machine code: write the words that follow it, then this end (padded to nine bytes).
fn speak(word: &str, end: &[u8; 9]) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35];
    code.extend((CODE - 17).to_le_bytes());
    code.push(0xba);
    code.extend((word.len() as u32 + 1).to_le_bytes());
    code.extend([0x0f, 0x05]);
    code.extend(end);
    code
}

/// A shared library that speaks when it is loaded, also as an audit library.
fn library() -> Vec<u8> {
    let init = 64 + 4 * 56;
    // Returns instead of ending the process.
    let mut body = speak(
        MARKER,
        &[0xc3, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90],
    );
    body.extend(line(MARKER));
    // la_version: gives back the version it is asked about.
    let audit = init + body.len() as u64;
    body.extend([0x89, 0xf8, 0xc3]);
    while !(init as usize + body.len()).is_multiple_of(8) {
        body.push(0);
    }
    let symbols = init + body.len() as u64;
    body.extend([0; 24]);
    body.extend(1_u32.to_le_bytes());
    body.extend([0x12, 0, 1, 0]);
    body.extend(audit.to_le_bytes());
    body.extend(3_u64.to_le_bytes());
    let hash = init + body.len() as u64;
    for word in [1_u32, 2, 1, 0, 0, 0] {
        body.extend(word.to_le_bytes());
    }
    let strings = init + body.len() as u64;
    body.extend(b"\0la_version\0");
    let size = init + body.len() as u64;
    let mut dynamic = Vec::new();
    for (tag, value) in [
        (4_u64, hash),
        (6, symbols),
        (5, strings),
        (10, 12),
        (11, 24),
        (12, init),
        (0, 0),
    ] {
        dynamic.extend(tag.to_le_bytes());
        dynamic.extend(value.to_le_bytes());
    }
    let length = dynamic.len() as u64;
    let mut file = header(3, 0, 4);
    file.extend(segment(1, 5, 0, 0, size));
    file.extend(segment(1, 6, 0x1000, 0x1000, length));
    file.extend(segment(2, 6, 0x1000, 0x1000, length));
    // Says that the stack needs not be executable.
    file.extend(segment(0x6474_e551, 6, 0, 0, 0));
    file.extend(body);
    file.resize(0x1000, 0);
    file.extend(dynamic);
    file
}

fn header(kind: u16, entry: u64, segments: u16) -> Vec<u8> {
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend(kind.to_le_bytes());
    header.extend(62_u16.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    header.extend(entry.to_le_bytes());
    header.extend(64_u64.to_le_bytes());
    header.extend(0_u64.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, segments, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    header
}

fn segment(kind: u32, flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(kind.to_le_bytes());
    segment.extend(flags.to_le_bytes());
    for word in [offset, address, address, size, size, 0x1000] {
        segment.extend(word.to_le_bytes());
    }
    segment
}
