//! Adding commits to a pack that was checked: identity, time and parents of commits are ours, by
//! construction. Format: gitformat-pack(5).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use forge::git::Oid;
use jiff::Timestamp;
use sha1::{Digest, Sha1};

const HEADER: usize = 12;
const TRAILER: usize = 20;
const COMMIT: u8 = 1;

/// Who signs our commits, and when.
pub(crate) struct Author<'a> {
    pub(crate) name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) at: Timestamp,
}

/// The content of a commit object: one parent, author and committer the same.
pub(crate) fn commit(tree: Oid, parent: Oid, author: &Author<'_>, message: &[u8]) -> Vec<u8> {
    let clean = |text: &str| -> String {
        text.chars()
            .filter(|c| !c.is_control() && !"<>".contains(*c))
            .collect()
    };
    let who = format!(
        "{} <{}> {} +0000",
        clean(author.name),
        clean(author.email),
        author.at.as_second().max(0)
    );
    let mut content =
        format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n").into_bytes();
    // Git does not allow NUL in a message.
    content.extend(message.iter().filter(|byte| **byte != 0));
    if content.last() != Some(&b'\n') {
        content.push(b'\n');
    }
    content
}

/// The name of a commit with this content.
pub(crate) fn name(content: &[u8]) -> Oid {
    let mut hash = Sha1::new();
    hash.update(format!("commit {}\0", content.len()));
    hash.update(content);
    Oid::from_bytes(hash.finalize().into())
}

/// The pack with these commits added; `None` when it is no pack of version 2.
pub(crate) fn with_commits(pack: &[u8], commits: &[Vec<u8>]) -> Option<Vec<u8>> {
    if pack.len() < HEADER + TRAILER || &pack[..8] != b"PACK\0\0\0\x02" {
        return None;
    }
    let count = u32::from_be_bytes(pack[8..HEADER].try_into().ok()?);
    let count = count.checked_add(u32::try_from(commits.len()).ok()?)?;
    let mut out = Vec::with_capacity(
        pack.len()
            + commits
                .iter()
                .map(|commit| commit.len() + 32)
                .sum::<usize>(),
    );
    out.extend_from_slice(&pack[..8]);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&pack[HEADER..pack.len() - TRAILER]);
    for commit in commits {
        entry_header(&mut out, commit.len());
        let mut zlib = ZlibEncoder::new(&mut out, Compression::default());
        zlib.write_all(commit).ok()?;
        zlib.finish().ok()?;
    }
    let sum: [u8; TRAILER] = Sha1::digest(&out).into();
    out.extend_from_slice(&sum);
    Some(out)
}

/// Four bits of the length with the kind, then seven at a time.
fn entry_header(out: &mut Vec<u8>, length: usize) {
    let mut byte = (COMMIT << 4) | (length & 15) as u8;
    let mut rest = length >> 4;
    while rest > 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
}
