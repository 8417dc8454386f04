//! Reading what `git diff-tree -z --raw --numstat -p` says, as far as we need it.

use forge::git::Oid;
use model::evidence::DiffStat;
use serde::{Deserialize, Serialize};

/// One touched file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touched {
    /// Its path after the change, or before it when it is gone. Invalid UTF-8 is replaced.
    pub(crate) path: String,
    /// Where it was before, when it moved.
    pub(crate) old_path: Option<String>,
    /// Content before.
    pub(crate) before: Option<Oid>,
    /// Content after.
    pub(crate) after: Option<Oid>,
    /// Mode after, as git counts; 0 when it is gone.
    pub(crate) mode: u32,
}

impl Touched {
    /// Whether it is a file with content (and no link or submodule) after the change.
    pub(crate) fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// A diff.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Diff {
    /// Touched files, in git's order.
    pub(crate) files: Vec<Touched>,
    /// Its size.
    pub(crate) stat: DiffStat,
}

/// Reads the answer: the list, the counts, and the patch, which is the rest.
pub(crate) fn read(bytes: &[u8]) -> Option<(Diff, &[u8])> {
    let mut diff = Diff::default();
    let mut rest = bytes;
    while rest.first() == Some(&b':') {
        diff.files.push(touched(&mut rest)?);
    }
    for _ in 0..diff.files.len() {
        let field = field(&mut rest)?;
        let mut parts = field.splitn(3, |byte| *byte == b'\t');
        // A binary file has `-` for counts.
        let mut count = || Some(text(parts.next()?).parse().unwrap_or(0));
        let (added, deleted): (u32, u32) = (count()?, count()?);
        diff.stat.insertions = diff.stat.insertions.saturating_add(added);
        diff.stat.deletions = diff.stat.deletions.saturating_add(deleted);
        if parts.next()?.is_empty() {
            // Moved: both paths follow.
            self::field(&mut rest)?;
            self::field(&mut rest)?;
        }
    }
    diff.stat.files = u32::try_from(diff.files.len()).unwrap_or(u32::MAX);
    let patch = rest.strip_prefix(b"\0").unwrap_or(rest);
    Some((diff, patch))
}

fn touched(rest: &mut &[u8]) -> Option<Touched> {
    let header = text(field(rest)?);
    let words: Vec<&str> = header.trim_start_matches(':').split(' ').collect();
    let [_, mode, before, after, status] = words[..] else {
        return None;
    };
    let first = text(field(rest)?);
    let (path, old_path) = if status.starts_with(['R', 'C']) {
        (text(field(rest)?), Some(first))
    } else {
        (first, None)
    };
    let oid = |text: &str| text.parse::<Oid>().ok().filter(|oid| !oid.is_zero());
    let mode = u32::from_str_radix(mode, 8).ok()?;
    Some(Touched {
        path,
        old_path,
        before: oid(before),
        after: oid(after),
        mode,
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (field, tail) = rest.split_at(end);
    *rest = &tail[1..];
    Some(field)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A line that a patch adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added<'a> {
    /// File, as the patch names it.
    pub(crate) path: &'a str,
    /// Line number after the change, from 1.
    pub(crate) line: u32,
    /// Its text.
    pub(crate) text: &'a str,
}

/// The lines that a patch adds. Hunks are followed by their counts, so that content which looks
/// like a header is content.
pub(crate) fn added_lines(patch: &str) -> Vec<Added<'_>> {
    let mut added = Vec::new();
    let mut path = "";
    let (mut old_left, mut new_left, mut line) = (0u32, 0u32, 0u32);
    for text in patch.split('\n') {
        if old_left == 0 && new_left == 0 {
            if let Some(named) = text.strip_prefix("+++ ") {
                path = named
                    .trim_matches('"')
                    .strip_prefix("b/")
                    .unwrap_or(named)
                    .trim_end_matches('\t');
            } else if let Some((old, start, new)) = hunk(text) {
                (old_left, line, new_left) = (old, start, new);
            }
            continue;
        }
        match text.as_bytes().first() {
            Some(b'+') => {
                added.push(Added {
                    path,
                    line,
                    text: &text[1..],
                });
                line = line.saturating_add(1);
                new_left = new_left.saturating_sub(1);
            }
            Some(b'-') => old_left = old_left.saturating_sub(1),
            // "\ No newline at end of file"
            Some(b'\\') => {}
            _ => {
                line = line.saturating_add(1);
                old_left = old_left.saturating_sub(1);
                new_left = new_left.saturating_sub(1);
            }
        }
    }
    added
}

/// Old length, new start, new length of `@@ -a,b +c,d @@`.
fn hunk(text: &str) -> Option<(u32, u32, u32)> {
    let mut words = text.strip_prefix("@@ -")?.split(' ');
    let range = |word: &str| -> Option<(u32, u32)> {
        match word.split_once(',') {
            Some((start, length)) => Some((start.parse().ok()?, length.parse().ok()?)),
            None => Some((word.parse().ok()?, 1)),
        }
    };
    let (_, old) = range(words.next()?)?;
    let (start, new) = range(words.next()?.strip_prefix('+')?)?;
    Some((old, start, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_counts_and_patch_are_told_apart() {
        let zero = "0".repeat(40);
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let answer = format!(
            ":100644 100644 {a} {b} M\0d/x\0:100644 100755 {a} {b} R090\0old\0new\0:000000 120000 {zero} {b} A\0l\0\
             1\t2\td/x\0-\t-\t\0old\0new\x001\t0\tl\0\0diff --git a/d/x b/d/x\n"
        );
        let (diff, patch) = read(answer.as_bytes()).unwrap();
        assert_eq!(
            diff.stat,
            DiffStat {
                files: 3,
                insertions: 2,
                deletions: 2
            }
        );
        assert_eq!(diff.files[1].old_path.as_deref(), Some("old"));
        assert_eq!(diff.files[2].before, None);
        assert!(!diff.files[2].is_file() && diff.files[1].is_file());
        assert_eq!(patch, b"diff --git a/d/x b/d/x\n");
        assert_eq!(read(b"").unwrap(), (Diff::default(), &b""[..]));
        assert!(read(b":100644").is_none());
    }

    #[test]
    fn content_that_looks_like_a_header_is_content() {
        let patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@ fn\n-old\n++++ b/evil\n context\n+@@ -1 +1 @@\n\
                     \\ No newline at end of file\ndiff --git a/y b/y\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+why\n";
        let lines: Vec<_> = added_lines(patch)
            .into_iter()
            .map(|l| (l.path, l.line, l.text))
            .collect();
        assert_eq!(
            lines,
            [
                ("x", 1, "+++ b/evil"),
                ("x", 3, "@@ -1 +1 @@"),
                ("y", 1, "why")
            ]
        );
    }
}
