//! What is on the disk and in no tree: files without a name that processes keep.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::quota::BLOCK;
use crate::sys::attribute;

/// How the kernel names memory that is shared without a file: it is bounded as memory.
const MEMORY: [&str; 3] = ["/SYSV", "/dev/zero", "/memfd:"];

/// Blocks of files without a name that processes below `ancestor` have open or mapped, scratch space
/// in memory left out.
///
/// Of what is mapped and not open, an ordinary user is not told how much it takes. It counts for as
/// much as is mapped of it, from its beginning.
pub(crate) fn nameless(ancestor: u32) -> u64 {
    let mut found = Found::default();
    for process in descendants(ancestor) {
        let place = PathBuf::from(format!("/proc/{process}"));
        let open = fs::read_dir(place.join("fd"));
        for entry in open.into_iter().flatten().flatten() {
            found.file(&entry.path());
        }
        let maps = fs::read(place.join("maps")).unwrap_or_default();
        let maps = String::from_utf8_lossy(&maps);
        for mapping in maps.lines().filter_map(Mapping::of_deleted) {
            if !found.file(&place.join("map_files").join(mapping.range)) {
                found.mapping(&mapping, &place);
            }
        }
    }
    let mapped = found.mapped.values();
    mapped.fold(found.bytes, |sum, bytes| sum.saturating_add(*bytes))
}

#[derive(Default)]
struct Found {
    /// Files by device and number.
    seen: HashSet<(u64, u64)>,
    bytes: u64,
    /// Files that cannot be looked at, as the list of mappings names them.
    mapped: HashMap<(String, u64), u64>,
}

impl Found {
    /// Takes what a link of `/proc` leads to into account; whether it could be looked at.
    fn file(&mut self, link: &Path) -> bool {
        let Ok(meta) = fs::metadata(link) else {
            return false;
        };
        if !meta.is_file() || meta.nlink() > 0 || !self.seen.insert((meta.dev(), meta.ino())) {
            return true;
        }
        let in_memory =
            attribute::file_system(link).is_ok_and(|found| found.magic == libc::TMPFS_MAGIC);
        if !in_memory {
            let bytes = meta.blocks().saturating_mul(BLOCK);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        true
    }

    fn mapping(&mut self, mapping: &Mapping<'_>, process: &Path) {
        if MEMORY.iter().any(|name| mapping.path.starts_with(name))
            || in_memory(&mapping.device, process)
        {
            return;
        }
        let file = (mapping.device.clone(), mapping.inode);
        let most = self.mapped.entry(file).or_default();
        *most = (*most).max(mapping.end);
    }
}

/// Whether a device is scratch space that a process sees.
fn in_memory(device: &str, process: &Path) -> bool {
    let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    mounts.lines().any(|line| {
        let of_device = line.split(' ').nth(2) == Some(device);
        let kind = line
            .split_once(" - ")
            .and_then(|(_, rest)| rest.split(' ').next());
        of_device && kind == Some("tmpfs")
    })
}

/// A line of `/proc/PID/maps`, see proc_pid_maps(5).
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    /// As `map_files` names it.
    range: &'a str,
    /// `MAJOR:MINOR`, in decimal as in the list of mounts.
    device: String,
    inode: u64,
    path: &'a str,
    /// Where in the file the mapping ends.
    end: u64,
}

impl<'a> Mapping<'a> {
    /// The mapping that a line is, if the file may have no name any more.
    fn of_deleted(line: &'a str) -> Option<Self> {
        let line = line.strip_suffix(" (deleted)")?;
        let mut rest = line;
        let mut field = || {
            let (field, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(field)
        };
        let (range, _permissions, offset) = (field()?, field()?, field()?);
        let (device, inode) = (field()?, field()?.parse().ok()?);
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        let length = hex(end)?.checked_sub(hex(start)?)?;
        Some(Self {
            range,
            device: format!("{}:{}", hex(major)?, hex(minor)?),
            inode,
            path: rest.trim_start(),
            end: hex(offset)?.checked_add(length)?,
        })
    }
}

/// Processes that descend from one.
fn descendants(ancestor: u32) -> Vec<u32> {
    let parent = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse::<u32>().ok()
    };
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<(u32, u32)> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        let children = all.iter().filter(|(_, parent)| *parent == process);
        found.extend(children.map(|(child, _)| *child));
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mapping_of_a_deleted_file_says_how_far_it_reaches() {
        let line = "7f00000000-7f00003000 r--s 00002000 fe:01 77                         /work/a b (deleted)";
        let mapping = Mapping::of_deleted(line).unwrap();
        assert_eq!(mapping.range, "7f00000000-7f00003000");
        assert_eq!((mapping.device.as_str(), mapping.inode), ("254:1", 77));
        assert_eq!((mapping.path, mapping.end), ("/work/a b", 0x5000));
        assert_eq!(Mapping::of_deleted("7f-80 r--s 0 fe:01 7 /work/a"), None);
        assert_eq!(Mapping::of_deleted(" (deleted)"), None);
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in "[0-9a-f: -]{0,60} \\(deleted\\)") {
            let _ = Mapping::of_deleted(&line);
        }
    }
}
