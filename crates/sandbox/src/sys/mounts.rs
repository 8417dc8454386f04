//! What a mount namespace shows, from the text of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number.
    pub(crate) id: u64,
    /// Device number, as stat(2) gives it for files of most file systems.
    pub(crate) device: u64,
    /// Where, in the namespace.
    pub(crate) at: PathBuf,
    /// What is shown, in its file system.
    pub(crate) root: PathBuf,
    /// File system type.
    pub(crate) kind: String,
    /// First argument of the mount call.
    pub(crate) source: String,
    /// Options of the file system.
    pub(crate) options: Vec<u8>,
    /// Whether the mount's own options refuse execution.
    pub(crate) no_execution: bool,
}

impl Mount {
    /// The lower folders of an overlay, the highest first.
    pub(crate) fn lowers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for option in split(&self.options, b',') {
            let value = option
                .strip_prefix(b"lowerdir=".as_slice())
                .or_else(|| option.strip_prefix(b"lowerdir+=".as_slice()));
            if let Some(value) = value {
                found.extend(
                    split(value, b':')
                        .into_iter()
                        .filter(|path| !path.is_empty())
                        .map(plain),
                );
            }
        }
        found
    }

    /// Whether this is an overlay that receives writes.
    pub(crate) fn is_writable_overlay(&self) -> bool {
        self.kind == "overlay"
            && split(&self.options, b',')
                .iter()
                .any(|option| option.starts_with(b"upperdir="))
    }
}

/// Parts between separators that no backslash stands before.
fn split(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == separator {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(*byte);
            if *byte == b'\\' {
                part.extend(bytes.next());
            }
        }
    }
    parts
}

/// A path without the backslashes of overlay options.
fn plain(text: Vec<u8>) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.into_iter();
    while let Some(byte) = bytes.next() {
        path.push(if byte == b'\\' {
            bytes.next().unwrap_or(byte)
        } else {
            byte
        });
    }
    PathBuf::from(OsString::from_vec(path))
}

/// Takes `\040` and its like back.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let octal = field.get(at + 1..at + 4).filter(|digits| {
            *byte == b'\\'
                && digits.iter().all(|digit| (b'0'..b'8').contains(digit))
                && digits[0] < b'4'
        });
        if let Some(digits) = octal {
            text.push(
                digits
                    .iter()
                    .fold(0, |value, digit| (value << 3) | (digit - b'0')),
            );
            at += 4;
        } else {
            text.push(*byte);
            at += 1;
        }
    }
    text
}

/// Reads mountinfo; lines that are not understood are left out.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let (major, minor) = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?;
    Some(Mount {
        id: std::str::from_utf8(fields.first()?).ok()?.parse().ok()?,
        device: libc::makedev(major.parse().ok()?, minor.parse().ok()?),
        root: path(fields.get(3)?),
        at: path(fields.get(4)?),
        no_execution: fields
            .get(5)?
            .split(|byte| *byte == b',')
            .any(|option| option == b"noexec"),
        kind: text(fields.get(separator + 1)?),
        source: text(fields.get(separator + 2)?),
        options: unescape(fields.get(separator + 3)?),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"30 24 0:27 / /work rw,nosuid,nodev shared:1 - overlay workspace rw,lowerdir=/a\\134:b:/c\\040d,upperdir=/proc/self/fd/7,workdir=/w,userxattr\n\
        31 30 254:0 /root/x\\011y /in\\040put ro,noexec - ext4 /dev/vda rw\n\
        32 30 0:28 / /usr ro - overlay root ro,lowerdir+=/usr,lowerdir+=/sys/root0/mnt\n\
        nonsense\n";

    #[test]
    fn mounts_are_understood_with_their_odd_paths() {
        let mounts = parse(TEXT);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].id, 30);
        assert_eq!(mounts[0].device, libc::makedev(0, 27));
        assert_eq!(mounts[0].lowers(), [PathBuf::from("/a:b"), "/c d".into()]);
        assert!(mounts[0].is_writable_overlay());
        assert!(!mounts[0].no_execution);
        assert_eq!(mounts[1].at, PathBuf::from("/in put"));
        assert_eq!(mounts[1].root, PathBuf::from("/root/x\ty"));
        assert!(mounts[1].no_execution);
        assert_eq!(
            mounts[2].lowers(),
            [PathBuf::from("/usr"), "/sys/root0/mnt".into()]
        );
        assert!(!mounts[2].is_writable_overlay());
    }

    #[test]
    fn the_mounts_of_this_process_are_understood() {
        let mounts = parse(&std::fs::read("/proc/self/mountinfo").unwrap());
        assert!(mounts.iter().any(|mount| mount.at == Path::new("/")));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in prop::collection::vec(prop_oneof![Just(b' '), Just(b'\\'), Just(b'-'), Just(b':'), any::<u8>()], 0..200)) {
            for mount in parse(&text) {
                let _ = mount.lowers();
            }
            for mount in parse(&[b"1 2 3:4 / /a rw - overlay x ", text.as_slice()].concat()) {
                let _ = mount.lowers();
            }
        }
    }
}
