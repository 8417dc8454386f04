//! Reading what steps left in `/nightcrew/out`: a folder that a hostile program may have shaped.
//!
//! Only called while nothing runs in the environment. No link is followed, nothing but regular
//! files is opened, and every read is bounded.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use model::step::Outputs;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

/// Most bytes of `outputs.json` and of `no_change`.
const OUTPUT_BYTES: u64 = 256 * 1024;
/// Most values in `outputs.json`.
const MOST_OUTPUTS: usize = 200;
/// Most bytes of a reason for `no_change`.
const REASON_BYTES: usize = 1000;

/// What a step left behind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Left {
    /// Its outputs.
    pub(crate) outputs: Outputs,
    /// Why there is nothing to do, if it says so.
    pub(crate) no_change: Option<String>,
}

/// Reads and removes what a step left, so that the next one starts afresh. What cannot be used is
/// an error in words.
pub(crate) fn take(folder: &Path) -> Result<Left, String> {
    let mut left = Left::default();
    if let Some(bytes) = take_file(folder, "outputs.json")? {
        left.outputs = flat(&bytes).map_err(|problem| format!("outputs.json {problem}"))?;
    }
    if let Some(bytes) = take_file(folder, "no_change")? {
        let text = crate::log::plain(
            bytes
                .trim_ascii()
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default(),
        );
        left.no_change = Some(shortened(text, REASON_BYTES));
    }
    Ok(left)
}

fn take_file(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let bytes =
        read_file(folder, name, OUTPUT_BYTES).map_err(|problem| format!("{name} {problem}"))?;
    if bytes.is_some() {
        let removed =
            File::open(folder).and_then(|folder| Ok(unlinkat(&folder, name, AtFlags::empty())?));
        removed.map_err(|error| format!("{name} cannot be removed: {error}"))?;
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes; `None` when there is none of this name.
pub(crate) fn read_file(folder: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let folder = File::open(folder).map_err(unreadable)?;
    // Nonblocking: opening a pipe that nobody writes to would wait for ever.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err("is a symbolic link, which is not followed".to_owned());
        }
        Err(error) => return Err(unreadable(error.into())),
    };
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    Ok(Some(bytes))
}

/// A flat object: names with texts, numbers, truth values, or lists of these.
fn flat(bytes: &[u8]) -> Result<Outputs, String> {
    let outputs: Outputs =
        serde_json::from_slice(bytes).map_err(|error| format!("is no JSON object: {error}"))?;
    if outputs.len() > MOST_OUTPUTS {
        return Err(format!("has more than {MOST_OUTPUTS} values"));
    }
    let is_plain = |value: &serde_json::Value| !value.is_object() && !value.is_array();
    for (name, value) in &outputs {
        let good = is_plain(value)
            || value
                .as_array()
                .is_some_and(|items| items.iter().all(is_plain));
        if !good {
            return Err(format!(
                "is not flat: `{}` holds an object",
                shortened(name.clone(), 60)
            ));
        }
    }
    Ok(outputs)
}

/// At most so many bytes of a text, cut between characters.
pub(crate) fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let mut end = bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// At most so many bytes of a patch, cut between lines. What is left out is counted on a line as
/// git's own notes have it, so that programs which read patches pass over it.
pub(crate) fn shortened_patch(mut patch: String, bytes: usize) -> String {
    if patch.len() > bytes {
        let kept = patch.as_bytes()[..bytes]
            .iter()
            .rposition(|byte| *byte == b'\n');
        let end = kept.map_or(0, |at| at + 1);
        let rest = patch.len() - end;
        patch.truncate(end);
        let _ = writeln!(patch, "\\ {rest} bytes more are not shown here");
    }
    patch
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn outputs_are_taken_once() {
        let folder = folder();
        std::fs::write(
            folder.path().join("outputs.json"),
            r#"{"a": 1, "b": ["x"]}"#,
        )
        .unwrap();
        std::fs::write(
            folder.path().join("no_change"),
            "  done \x1b[31malready\nmore",
        )
        .unwrap();
        let left = take(folder.path()).unwrap();
        assert_eq!(left.outputs["a"], 1);
        assert_eq!(left.no_change.as_deref(), Some("done already"));
        assert_eq!(take(folder.path()).unwrap(), Left::default());
    }

    #[test]
    fn links_pipes_folders_and_floods_are_refused() {
        for make in [
            (|path: &Path| symlink("/etc/passwd", path).unwrap()) as fn(&Path),
            |path| std::fs::create_dir(path).unwrap(),
            |path| std::fs::write(path, vec![b' '; 300 * 1024]).unwrap(),
            |path| std::fs::write(path, r#"{"a": {"b": 1}}"#).unwrap(),
            |path| std::fs::write(path, r#"[1]"#).unwrap(),
            |path| {
                let status = std::process::Command::new("mkfifo")
                    .arg(path)
                    .status()
                    .unwrap();
                assert!(status.success());
            },
        ] {
            let folder = folder();
            make(&folder.path().join("outputs.json"));
            let problem = take(folder.path()).unwrap_err();
            assert!(problem.starts_with("outputs.json "), "{problem}");
        }
    }

    #[test]
    fn a_long_patch_is_cut_between_lines_and_says_so() {
        let patch = "diff --git a/x b/x\n@@ -0,0 +1,2 @@\n+grün\n+blue\n";
        assert_eq!(shortened_patch(patch.to_owned(), patch.len()), patch);
        let most = patch.len() - 9;
        assert!(!patch.is_char_boundary(most), "inside a character");
        assert_eq!(
            shortened_patch(patch.to_owned(), most),
            "diff --git a/x b/x\n@@ -0,0 +1,2 @@\n\\ 13 bytes more are not shown here\n"
        );
        assert_eq!(
            shortened_patch("x".repeat(9), 4),
            "\\ 9 bytes more are not shown here\n"
        );
    }
}
