//! Reading, searching and writing the form that the parent module describes. It needs nothing else of
//! this crate but [`Digest`] and [`Error`], so that it can be copied.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Digest, Error};

const MAGIC: &[u8; 8] = b"NCINDEX1";
const HEAD: usize = 24;
const RECORD: usize = 48;
const TAIL: usize = 32;

/// An index in memory: one block of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct FileIndex {
    bytes: Vec<u8>,
    count: usize,
}

/// What an index says about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Relative to the tree, raw bytes.
    pub path: &'a [u8],
    /// Of the content.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
}

/// Makes an index; files may come in any order.
#[derive(Debug, Default)]
pub struct IndexWriter {
    files: Vec<(Vec<u8>, Digest, u64, u32)>,
}

impl FileIndex {
    /// Reads an index and checks all of it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Index`] if it is damaged, unsorted, or something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        Self::parse(bytes).map_err(|problem| Error::Index {
            path: path.to_owned(),
            problem,
        })
    }

    /// Checks these bytes.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let head = bytes.get(..HEAD).ok_or("it is too short")?;
        if &head[..8] != MAGIC {
            return Err("it does not begin with NCINDEX1");
        }
        let count = usize::try_from(number(&head[8..16])).map_err(|_| "it is too long")?;
        let names = usize::try_from(number(&head[16..24])).map_err(|_| "it is too long")?;
        let whole = count
            .checked_mul(RECORD)
            .and_then(|records| records.checked_add(names))
            .and_then(|body| body.checked_add(HEAD + TAIL));
        if whole != Some(bytes.len()) {
            return Err("its length is not the one it says");
        }
        let (body, tail) = bytes.split_at(bytes.len() - TAIL);
        if Digest::of(body).as_bytes() != tail {
            return Err("its checksum is wrong");
        }
        let index = Self { bytes, count };
        index.check_order(names)?;
        Ok(index)
    }

    fn check_order(&self, names: usize) -> Result<(), &'static str> {
        let mut last: Option<&[u8]> = None;
        let mut begin = 0;
        for position in 0..self.count {
            let end = self.end(position);
            if end < begin || end > names {
                return Err("a path ends before it begins");
            }
            let path = &self.names()[begin..end];
            if last.is_some_and(|last| last >= path) {
                return Err("its paths are not sorted");
            }
            last = Some(path);
            begin = end;
        }
        if begin == names {
            Ok(())
        } else {
            Err("its paths are not all used")
        }
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A name for the content: two trees with the same files have the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes[..self.bytes.len() - TAIL])
    }

    /// The file at this place in the order of paths.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<Found<'_>> {
        if position >= self.count {
            return None;
        }
        let record = self.record(position);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(&record[..32]);
        Some(Found {
            path: self.path(position),
            sha256: Digest::from_bytes(sha256),
            size: number(&record[32..40]),
            mode: number(&record[40..44]) as u32,
        })
    }

    /// Looks up a path: relative to the tree, without a leading `/`.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<Found<'_>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.path(middle).cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.get(middle),
            }
        }
        None
    }

    /// All files, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        (0..self.count).filter_map(|position| self.get(position))
    }

    /// Writes it: a new file, which then takes the name, mode 0600.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_whole(path, &self.bytes)
    }

    fn record(&self, position: usize) -> &[u8] {
        &self.bytes[HEAD + position * RECORD..][..RECORD]
    }

    fn end(&self, position: usize) -> usize {
        number(&self.record(position)[44..48]) as usize
    }

    fn names(&self) -> &[u8] {
        &self.bytes[HEAD + self.count * RECORD..self.bytes.len() - TAIL]
    }

    fn path(&self, position: usize) -> &[u8] {
        let begin = if position == 0 {
            0
        } else {
            self.end(position - 1)
        };
        &self.names()[begin..self.end(position)]
    }
}

impl std::fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().take(20)).finish()
    }
}

impl IndexWriter {
    /// An index without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn add(&mut self, path: Vec<u8>, sha256: Digest, size: u64, mode: u32) {
        self.files.push((path, sha256, size, mode));
    }

    /// Sorts, and makes the index. Of two files with one path the one added last stays. `None` if the
    /// paths together have 4 GiB or more.
    #[must_use]
    pub fn finish(mut self) -> Option<FileIndex> {
        self.files.sort_by(|a, b| a.0.cmp(&b.0));
        self.files.reverse();
        self.files.dedup_by(|later, kept| later.0 == kept.0);
        self.files.reverse();
        let names: usize = self.files.iter().map(|file| file.0.len()).sum();
        let mut end = u32::try_from(names).ok().map(|_| 0_u32)?;
        let mut bytes = Vec::with_capacity(HEAD + self.files.len() * RECORD + names + TAIL);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.files.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(names as u64).to_le_bytes());
        for (path, sha256, size, mode) in &self.files {
            end += path.len() as u32;
            bytes.extend_from_slice(sha256.as_bytes());
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&mode.to_le_bytes());
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        for (path, ..) in &self.files {
            bytes.extend_from_slice(path);
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        Some(FileIndex {
            bytes,
            count: self.files.len(),
        })
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Keeps two threads from one name.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes a file under a name of this process, then gives it its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(
        ".new-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let new = Path::new(&name);
    let result = write_new(new, bytes).and_then(|()| fs::rename(new, path));
    if result.is_err() {
        let _ = fs::remove_file(new);
    }
    result.map_err(Error::io("write", path))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> FileIndex {
        let mut writer = IndexWriter::new();
        for name in [
            "usr/bin/git",
            "usr/bin/git-upload",
            "a",
            "usr/bin",
            "\u{fc}",
        ] {
            writer.add(
                name.into(),
                Digest::of(name.as_bytes()),
                name.len() as u64,
                0o755,
            );
        }
        writer.finish().unwrap()
    }

    #[test]
    fn every_file_is_found_and_nothing_else() {
        let index = sample();
        assert_eq!(index.len(), 5);
        for name in ["usr/bin/git", "a", "\u{fc}"] {
            let found = index.find(name.as_bytes()).unwrap();
            assert_eq!(found.sha256, Digest::of(name.as_bytes()));
            assert_eq!((found.size, found.mode), (name.len() as u64, 0o755));
        }
        assert_eq!(index.find(b"usr/bin/gi"), None);
        assert_eq!(index.find(b""), None);
    }

    #[test]
    fn the_last_of_two_files_with_one_name_stays() {
        let mut writer = IndexWriter::new();
        writer.add(b"a".to_vec(), Digest::of(b"old"), 1, 0o644);
        writer.add(b"a".to_vec(), Digest::of(b"new"), 2, 0o644);
        let index = writer.finish().unwrap();
        assert_eq!((index.len(), index.find(b"a").unwrap().size), (1, 2));
    }

    #[test]
    fn the_form_is_the_published_one() {
        let mut writer = IndexWriter::new();
        writer.add(b"ab".to_vec(), Digest::of(b""), 3, 0o644);
        let bytes = writer.finish().unwrap().bytes;
        let hex = hex::encode(&bytes);
        assert_eq!(
            &hex[..48],
            "4e43494e44455831".to_owned() + "0100000000000000" + "0200000000000000"
        );
        assert_eq!(&hex[48..112], Digest::of(b"").hex());
        assert_eq!(
            &hex[112..148],
            "0300000000000000".to_owned() + "a4010000" + "02000000" + "6162"
        );
        assert_eq!(bytes.len(), 24 + 48 + 2 + 32);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = sample().bytes;
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert!(FileIndex::parse(damaged).is_err(), "byte {position}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..400), n in 0u64..5, m in 0u64..300) {
            let _ = FileIndex::parse(bytes.clone());
            // With an honest head and checksum, so that what lies between is looked at.
            let mut honest = MAGIC.to_vec();
            honest.extend_from_slice(&n.to_le_bytes());
            honest.extend_from_slice(&m.to_le_bytes());
            honest.extend_from_slice(&bytes);
            honest.resize(HEAD + n as usize * RECORD + m as usize, 7);
            let sum = Digest::of(&honest);
            honest.extend_from_slice(sum.as_bytes());
            if let Ok(index) = FileIndex::parse(honest) {
                for found in index.iter() {
                    prop_assert_eq!(index.find(found.path), Some(found));
                }
            }
        }
    }
}
