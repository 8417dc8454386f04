//! Indexes of folder trees.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use recipe::Digest;
use recipe::index::{FileIndex, IndexWriter, build};

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder };
        for (name, text) in [("a", "a"), ("sub/b", "b"), ("sub/deep/c", "c")] {
            let path = world.tree().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        age(&world.tree().join("sub/deep/c"));
        world
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn stamps(&self) -> PathBuf {
        self.folder.path().join("stamps")
    }
}

/// Waits until the file's change is older than what the index takes for settled.
fn age(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let probe = path.with_extension("probe");
    loop {
        fs::write(&probe, "").unwrap();
        let now = fs::metadata(&probe).unwrap().mtime();
        fs::remove_file(&probe).unwrap();
        if fs::metadata(path).unwrap().ctime() + 2 <= now {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn links_and_odd_files_are_passed_over() {
    let world = World::new();
    std::os::unix::fs::symlink("/etc", world.tree().join("link")).unwrap();
    std::os::unix::fs::symlink("a", world.tree().join("file-link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.tree().join("socket")).unwrap();
    let built = build(&world.tree(), None).unwrap();
    let paths: Vec<_> = built
        .index
        .iter()
        .map(|found| found.path.to_vec())
        .collect();
    assert_eq!(
        paths,
        [b"a".to_vec(), b"sub/b".to_vec(), b"sub/deep/c".to_vec()]
    );
    assert_eq!(built.index.find(b"sub/b").unwrap().sha256, Digest::of(b"b"));
}

#[test]
fn unchanged_files_are_not_read_again_and_changed_ones_are() {
    let world = World::new();
    let first = build(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((first.hashed, first.reused), (3, 0));
    let second = build(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((second.hashed, second.reused), (0, 3));
    assert_eq!(second.index, first.index);

    // The same length and, where somebody means it, the same time.
    let path = world.tree().join("a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "x").unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::remove_file(world.tree().join("sub/b")).unwrap();
    fs::write(world.tree().join("new"), "new").unwrap();
    let third = build(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((third.hashed, third.reused), (2, 1));
    assert_eq!(third.index.find(b"a").unwrap().sha256, Digest::of(b"x"));
    assert_eq!(third.index.find(b"sub/b"), None);
}

#[test]
fn a_file_that_changed_a_moment_ago_is_read_again() {
    let world = World::new();
    fs::write(world.tree().join("fresh"), "1").unwrap();
    build(&world.tree(), Some(&world.stamps())).unwrap();
    let again = build(&world.tree(), Some(&world.stamps())).unwrap();
    // Its times cannot tell a change within the same tick from none.
    assert!(again.hashed <= 1 && again.reused >= 3);
}

#[test]
fn damaged_stamps_only_cost_time() {
    let world = World::new();
    let first = build(&world.tree(), Some(&world.stamps())).unwrap();
    let mut bytes = fs::read(world.stamps()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [&bytes[..], &bytes[..10], b""] {
        fs::write(world.stamps(), damaged).unwrap();
        let again = build(&world.tree(), Some(&world.stamps())).unwrap();
        assert_eq!((again.hashed, again.index), (3, first.index.clone()));
    }
}

#[test]
fn an_index_is_written_whole_and_read_back() {
    let world = World::new();
    let built = build(&world.tree(), None).unwrap();
    let path = world.folder.path().join("index");
    built.index.write(&path).unwrap();
    assert_eq!(FileIndex::read(&path).unwrap(), built.index);
    assert_eq!(
        FileIndex::read(&path).unwrap().digest(),
        built.index.digest()
    );
    let names: Vec<_> = fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    fs::write(&path, "nonsense").unwrap();
    let text = FileIndex::read(&path).unwrap_err().to_string();
    assert!(
        text.contains("remove it so that it is built anew"),
        "{text}"
    );
}

#[test]
fn a_hundred_thousand_files_are_read_at_once_and_found() {
    let mut writer = IndexWriter::new();
    for n in 0..100_000_u32 {
        let path = format!("usr/lib/package-{}/module/file-{n}.so", n % 977);
        writer.add(
            path.into_bytes(),
            Digest::of(&n.to_le_bytes()),
            u64::from(n),
            0o644,
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    writer.finish().unwrap().write(&path).unwrap();
    let begin = Instant::now();
    let index = FileIndex::read(&path).unwrap();
    let read = begin.elapsed();
    let begin = Instant::now();
    for n in (0..100_000_u32).step_by(7) {
        let path = format!("usr/lib/package-{}/module/file-{n}.so", n % 977);
        assert_eq!(index.find(path.as_bytes()).unwrap().size, u64::from(n));
    }
    println!(
        "100,000 files: {} bytes, read in {read:?}, 14,286 found in {:?}",
        fs::metadata(&path).unwrap().len(),
        begin.elapsed()
    );
}
