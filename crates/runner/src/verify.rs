//! Checks collected objects in an environment in which nothing of the task ever ran: host git
//! never reads bytes that an environment wrote.

use std::collections::HashMap;
use std::sync::Arc;

use forge::git::Oid;
use sandbox::Environment;

use crate::collect::{Collected, InnerGit};
use crate::diff::{Diff, read};
use crate::halt::Halt;
use crate::held::StopWatch;

/// Most bytes of a diff that is read; a bigger change cannot be checked and is refused.
const DIFF_BYTES: usize = 32 << 20;

/// What the objects are, now known to be sound.
pub(crate) struct Verified {
    pub(crate) diff: Diff,
    /// The patch, invalid UTF-8 replaced.
    pub(crate) patch: String,
    /// The name git gave the pack with the objects in the environment that checked them.
    pub(crate) pack: String,
}

/// Why they are refused.
pub(crate) enum VerifyError {
    Halt(Halt),
    Refused(String),
}

impl From<Halt> for VerifyError {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// Takes the objects into a pristine environment over the base (every object checked as fsck does,
/// every object it names present) and compares the trees.
pub(crate) async fn verify(
    environment: &Arc<Environment>,
    stop: &mut StopWatch,
    base_tree: Oid,
    collected: &Collected,
) -> Result<Verified, VerifyError> {
    let mut git = InnerGit::over_objects(environment, stop);
    let arguments = ["index-pack", "--stdin", "--strict", "--threads=1"];
    let indexed = git.run(&arguments, Some(&collected.pack), 1024).await?;
    if !indexed.succeeded() {
        let why = crate::log::plain(indexed.err.trim_ascii());
        return Err(VerifyError::Refused(format!(
            "its git objects are not sound: {}",
            crate::outputs::shortened(why, 500)
        )));
    }
    // `pack\tNAME` (git-index-pack(1), `--stdin`).
    let pack = String::from_utf8_lossy(&indexed.out);
    let pack = pack
        .split_ascii_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned();
    if pack.is_empty() || !pack.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(VerifyError::Refused(
            "git names no pack of its objects".to_owned(),
        ));
    }
    let (base, tree) = (base_tree.to_string(), collected.tree.to_string());
    let arguments = [
        "diff-tree",
        "-r",
        "-z",
        "--raw",
        "--numstat",
        "-p",
        "-M",
        "--full-index",
        "--no-abbrev",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        &base,
        &tree,
    ];
    let answer = git.run(&arguments, None, DIFF_BYTES).await?;
    if answer.cut {
        return Err(VerifyError::Refused(format!(
            "its diff has more than {DIFF_BYTES} bytes"
        )));
    }
    let read = answer.succeeded().then(|| read(&answer.out)).flatten();
    let (diff, patch) =
        read.ok_or_else(|| VerifyError::Refused("its diff cannot be read".to_owned()))?;
    Ok(Verified {
        diff,
        patch: String::from_utf8_lossy(patch).into_owned(),
        pack,
    })
}

/// Most bytes of files that checks read in one change.
const FILES_BYTES: usize = 32 << 20;

/// Reads blobs out of the pristine environment's repository.
pub(crate) async fn contents(
    environment: &Arc<Environment>,
    stop: &mut StopWatch,
    wanted: &[Oid],
) -> Result<HashMap<Oid, Vec<u8>>, VerifyError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let list: String = wanted.iter().map(|oid| format!("{oid}\n")).collect();
    let mut git = InnerGit::over_objects(environment, stop);
    let answer = git
        .run(&["cat-file", "--batch"], Some(list.as_bytes()), FILES_BYTES)
        .await?;
    if answer.cut {
        return Err(VerifyError::Refused(format!(
            "its files have more than {FILES_BYTES} bytes to check"
        )));
    }
    batch(&answer.out).ok_or_else(|| VerifyError::Refused("its files cannot be read".to_owned()))
}

/// `<oid> <kind> <size>\n<content>\n` for each (git-cat-file(1), "batch output").
pub(crate) fn batch(bytes: &[u8]) -> Option<HashMap<Oid, Vec<u8>>> {
    let mut found = HashMap::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let header = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        let mut words = header.split(' ');
        let (oid, _kind, size) = (
            words.next()?.parse::<Oid>().ok()?,
            words.next()?,
            words.next()?,
        );
        let size: usize = size.parse().ok()?;
        found.insert(oid, rest.get(..size)?.to_vec());
        rest = rest.get(size + 1..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart_by_their_sizes() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let found = batch(format!("{a} blob 4\nx\ny\n\n{b} blob 0\n\n").as_bytes()).unwrap();
        assert_eq!(found[&a.parse::<Oid>().unwrap()], b"x\ny\n");
        assert_eq!(found[&b.parse::<Oid>().unwrap()], b"");
        assert!(batch(format!("{a} missing\n").as_bytes()).is_none());
    }
}
