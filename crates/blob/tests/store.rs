//! Storing, reading back, naming, and what happens to damaged or half-written files.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Barrier, LazyLock};
use std::thread;

use blob::{BlobStore, Digest, Error};
use common::files_under;
use proptest::prelude::*;

fn store() -> (tempfile::TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path().join("blobs")).unwrap();
    (dir, store)
}

#[test]
fn a_blob_comes_back_under_its_blake3_name() {
    let (_dir, store) = store();
    let digest = store.put(b"abc").unwrap();
    assert_eq!(
        digest.to_string(),
        "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    );
    assert!(
        store
            .path(&digest)
            .ends_with("64/37b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")
    );
    assert_eq!(store.get(&digest).unwrap(), b"abc");
    assert_eq!(store.len(&digest).unwrap(), 3);
    assert!(store.contains(&digest));
    store.verify(&digest).unwrap();
}

#[test]
fn a_blob_that_is_not_stored_is_named_in_the_error() {
    let (_dir, store) = store();
    let digest = Digest::of(b"never stored");
    assert!(!store.contains(&digest));
    for error in [
        store.get(&digest).unwrap_err(),
        store.len(&digest).unwrap_err(),
        store.verify(&digest).unwrap_err(),
        store.open_blob(&digest).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { digest: d } if d == digest));
        assert!(error.to_string().contains(&digest.to_string()));
    }
}

#[test]
fn streaming_gives_the_same_name_as_storing_at_once() {
    let (dir, store) = store();
    let bytes = vec![7_u8; 1_000_003];
    let path = dir.path().join("input");
    fs::write(&path, &bytes).unwrap();
    let from_file = store.put_file(&path).unwrap();
    assert_eq!(from_file, (Digest::of(&bytes), 1_000_003));
    assert_eq!(store.put_reader(&bytes[..]).unwrap(), from_file);
    assert_eq!(store.put(&bytes).unwrap(), from_file.0);
    let mut back = Vec::new();
    store
        .open_blob(&from_file.0)
        .unwrap()
        .read_to_end(&mut back)
        .unwrap();
    assert_eq!(back, bytes);
}

#[test]
fn a_reader_that_fails_leaves_nothing() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("cable pulled"));
            }
            buffer[0] = 1;
            Ok(1)
        }
    }
    let (dir, store) = store();
    assert!(matches!(
        store.put_reader(Broken(false)),
        Err(Error::Input { .. })
    ));
    assert!(matches!(
        store.put_file(dir.path().join("absent")),
        Err(Error::Input { .. })
    ));
    assert_eq!(
        files_under(&dir.path().join("blobs")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn storing_again_does_not_write_again() {
    let (_dir, store) = store();
    let digest = store.put(b"once").unwrap();
    let inode = fs::metadata(store.path(&digest)).unwrap().ino();
    assert_eq!(store.put(b"once").unwrap(), digest);
    assert_eq!(store.put_reader(&b"once"[..]).unwrap().0, digest);
    assert_eq!(fs::metadata(store.path(&digest)).unwrap().ino(), inode);
}

#[test]
fn a_blob_whose_writer_died_before_the_folder_was_synced_is_settled_by_the_next_writer() {
    let (_dir, store) = store();
    let digest = store.put(b"named, not synced").unwrap();
    let path = store.path(&digest);
    let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
    assert_eq!(mode(), 0o400);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    store.put(b"named, not synced").unwrap();
    assert_eq!(mode(), 0o400);
}

#[test]
fn a_batch_keeps_order_and_takes_repeats_and_empty_blobs() {
    let (_dir, store) = store();
    let contents: Vec<Vec<u8>> = vec![b"a".into(), vec![], b"b".into(), b"a".into(), vec![]];
    let digests = store.put_batch(&contents).unwrap();
    for (digest, content) in digests.iter().zip(&contents) {
        assert_eq!(&store.get(digest).unwrap(), content);
    }
    assert_eq!(store.iter().count(), 3);
    assert!(store.put_batch::<Vec<u8>>(&[]).unwrap().is_empty());
}

#[test]
fn iterating_names_every_blob_and_passes_over_strangers() {
    let (dir, store) = store();
    let mut expected: Vec<Digest> = (0..300_u32)
        .map(|n| store.put(&n.to_be_bytes()).unwrap())
        .collect();
    fs::write(dir.path().join("blobs/00/notes.txt"), "mine").unwrap();
    let mut found: Vec<Digest> = store.iter().map(Result::unwrap).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_changed_byte_is_an_error_not_a_result() {
    let (_dir, store) = store();
    let digest = store.put(b"some evidence").unwrap();
    let path = store.path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(b"S").unwrap();
    for error in [
        store.get(&digest).unwrap_err(),
        store.verify(&digest).unwrap_err(),
    ] {
        let Error::Corrupt { found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found, Digest::of(b"Some evidence"));
    }
}

#[test]
fn a_truncated_blob_is_mended_by_storing_it_again() {
    let (_dir, store) = store();
    let digest = store.put(b"a long line of text").unwrap();
    let path = store.path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"a long").unwrap();
    assert!(matches!(store.get(&digest), Err(Error::Corrupt { .. })));
    store.put(b"a long line of text").unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"a long line of text");
}

#[test]
fn leftovers_of_a_crash_go_at_open_and_live_writers_keep_theirs() {
    let (dir, live) = store();
    let root = dir.path().join("blobs");
    // What a killed process leaves: its folder, unlocked, with a half-written file.
    fs::create_dir(root.join("tmp/41")).unwrap();
    fs::write(root.join("tmp/41/0"), b"half a b").unwrap();
    fs::write(root.join("tmp/stray"), b"").unwrap();
    assert_eq!(live.iter().count(), 0, "nothing half-written is visible");

    // A live writer stands in the middle of its file while another store is opened.
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (opened, wait) = std::sync::mpsc::channel::<()>();
    struct Pausing(Option<(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>)>);
    impl Read for Pausing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((tell, wait)) = self.0.take() else {
                return Ok(0);
            };
            tell.send(()).unwrap();
            wait.recv().unwrap();
            buffer[..4].copy_from_slice(b"slow");
            Ok(4)
        }
    }
    let writer = thread::spawn(move || {
        let stored = live.put_reader(Pausing(Some((tell, wait))));
        (live, stored)
    });
    told.recv().unwrap();
    let second = BlobStore::open(&root).unwrap();
    assert_eq!(files_under(&root), [std::path::PathBuf::from("tmp/0/0")]);
    opened.send(()).unwrap();
    let (live, stored) = writer.join().unwrap();
    let (digest, size) = stored.unwrap();
    assert_eq!(size, 4);
    assert_eq!(second.get(&digest).unwrap(), b"slow");
    drop((live, second));
    assert_eq!(files_under(&root).len(), 1);
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn concurrent_writers_of_the_same_content_agree() {
    let (dir, first) = store();
    let second = BlobStore::open(dir.path().join("blobs")).unwrap();
    let stores = [Arc::new(first), Arc::new(second)];
    let barrier = Arc::new(Barrier::new(4));
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let (store, barrier) = (stores[n % 2].clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                (0..50_u32)
                    .map(|n| store.put(&n.to_be_bytes().repeat(1000)).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let results: Vec<_> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    for digest in &results[0] {
        stores[0].verify(digest).unwrap();
    }
    assert_eq!(stores[1].iter().count(), 50);
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = Digest::of(b"x");
    let text = digest.to_string();
    assert_eq!(text.parse::<Digest>().unwrap(), digest);
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    for wrong in [
        &text[1..],
        &text.to_uppercase(),
        "",
        &format!("{text}0"),
        &"é".repeat(32),
    ] {
        assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        assert!(serde_json::from_str::<Digest>(&format!("\"{wrong}\"")).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_bytes_come_back(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..6)) {
        // One store for all cases: opening it anew costs more than the case.
        static STORE: LazyLock<(tempfile::TempDir, BlobStore)> = LazyLock::new(store);
        let store = &STORE.1;
        let digests = store.put_batch(&contents).unwrap();
        for (digest, content) in digests.iter().zip(&contents) {
            prop_assert_eq!(&store.get(digest).unwrap(), content);
            prop_assert_eq!(store.put_reader(&content[..]).unwrap(), (*digest, content.len() as u64));
        }
    }

    #[test]
    fn no_text_makes_the_digest_reader_panic(text in ".{0,80}") {
        let _ = text.parse::<Digest>();
    }
}
