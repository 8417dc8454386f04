//! Writes the archive a kernel unpacks as its first root: cpio in its "newc" form.
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` of the Linux sources.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written. Everything in it belongs to user 0 and has no time.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<Vec<u8>>,
}

impl Archive {
    /// Adds a folder and those above it.
    pub(super) fn folder(&mut self, path: &Path) {
        if let Some(above) = path.parent().filter(|above| above.as_os_str().len() > 1) {
            self.folder(above);
        }
        let name = name_of(path);
        if !name.is_empty() && self.folders.insert(name.clone()) {
            self.entry(&name, FOLDER, (0, 0), &[]);
        }
    }

    /// Adds an executable file, and the folders above it.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        self.above(path);
        self.entry(&name_of(path), FILE, (0, 0), content);
    }

    /// Adds a symbolic link, and the folders above it.
    pub(super) fn link(&mut self, path: &Path, target: &Path) {
        self.above(path);
        self.entry(&name_of(path), LINK, (0, 0), target.as_os_str().as_bytes());
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &Path, major: u32, minor: u32) {
        self.above(path);
        self.entry(&name_of(path), CHARACTER_DEVICE, (major, minor), &[]);
    }

    fn above(&mut self, path: &Path) {
        if let Some(above) = path.parent() {
            self.folder(above);
        }
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(b"TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &[u8], mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        // Inode, mode, user, group, links, time, size, device, device it is, name, checksum. Files
        // fit: what is packed is far below 4 GiB.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

fn name_of(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_reads_what_is_written() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a/b/file"), b"content");
        archive.file(Path::new("/a/odd"), b"");
        archive.link(Path::new("/a/link"), Path::new("b/file"));
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4));
        // The offset of each header follows from the one before: walk them as the kernel does.
        let mut at = 0;
        let mut names = Vec::new();
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (size, length) = (field(6), field(11));
            let name = &bytes[at + 110..at + 110 + length - 1];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            let content = (at + 110 + length).next_multiple_of(4);
            at = (content + size).next_multiple_of(4);
        }
        assert_eq!(
            names,
            ["a", "a/b", "a/b/file", "a/odd", "a/link", "TRAILER!!!"]
        );
    }
}
