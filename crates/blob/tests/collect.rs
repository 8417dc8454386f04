//! What collection removes, and what it must never remove.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::collections::HashSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use blob::{BlobStore, Collected, Digest};
use common::files_under;

const HOUR: Duration = Duration::from_secs(3600);

fn store() -> (tempfile::TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path()).unwrap();
    (dir, store)
}

/// The time at which the file system says the blob was stored.
fn stored_at(store: &BlobStore, digest: &Digest) -> SystemTime {
    fs::metadata(store.path(digest))
        .unwrap()
        .modified()
        .unwrap()
}

fn set_stored_at(store: &BlobStore, digest: &Digest, at: SystemTime) {
    // Retried: in the blink between being moved away and back a blob has no name.
    let file = loop {
        match File::open(store.path(digest)) {
            Ok(file) => break file,
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
        }
    };
    file.set_modified(at).unwrap();
}

#[test]
fn unreferenced_blobs_older_than_the_grace_period_go_and_others_stay() {
    let (dir, store) = store();
    let [live, dead, young] = ["live", "dead", "young"].map(|t| store.put(t.as_bytes()).unwrap());
    let now = stored_at(&store, &young) + Duration::from_secs(1);
    for old in [&live, &dead] {
        set_stored_at(&store, old, now - 2 * HOUR);
    }
    let referenced = HashSet::from([live]);
    let collected = store
        .collect(|d| referenced.contains(d), HOUR, now)
        .unwrap();
    assert_eq!(
        collected,
        Collected {
            removed: 1,
            bytes: 4,
            kept: 2
        }
    );
    assert!(store.contains(&live) && store.contains(&young) && !store.contains(&dead));
    assert_eq!(files_under(dir.path()).len(), 2);
}

#[test]
fn storing_an_old_blob_again_makes_it_young() {
    let (_dir, store) = store();
    let digest = store.put(b"log").unwrap();
    let now = stored_at(&store, &digest);
    set_stored_at(&store, &digest, now - 2 * HOUR);
    store.put(b"log").unwrap();
    let collected = store.collect(|_| false, HOUR, now).unwrap();
    assert_eq!(collected.removed, 0);
    assert!(store.contains(&digest));
}

#[test]
fn a_blob_stored_again_while_it_is_being_judged_stays() {
    let (_dir, store) = store();
    let digest = store.put(b"log").unwrap();
    let now = stored_at(&store, &digest);
    set_stored_at(&store, &digest, now - 2 * HOUR);
    let disown = |_: &Digest| {
        // Already found to be old; now a writer comes in between.
        store.put(b"log").unwrap();
        false
    };
    assert_eq!(store.collect(disown, HOUR, now).unwrap().removed, 0);
    assert_eq!(store.get(&digest).unwrap(), b"log");
}

#[test]
fn a_blob_younger_than_now_stays_whatever_the_clock_says() {
    let (_dir, store) = store();
    let digest = store.put(b"from the future").unwrap();
    let collected = store
        .collect(|_| false, Duration::ZERO, SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(collected.removed, 0);
    assert!(store.contains(&digest));
}

#[test]
fn a_collection_that_crashed_halfway_is_undone_at_open() {
    let (dir, store) = store();
    let digest = store.put(b"condemned").unwrap();
    fs::rename(
        store.path(&digest),
        dir.path().join("condemned").join(digest.to_string()),
    )
    .unwrap();
    drop(store);
    let store = BlobStore::open(dir.path()).unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"condemned");
}

#[test]
fn a_writer_racing_with_collection_never_loses_its_blob() {
    let (dir, store) = store();
    let writer = std::thread::spawn({
        let store = BlobStore::open(dir.path()).unwrap();
        move || {
            for _ in 0..200 {
                let digest = store.put(b"contended").unwrap();
                // Just stored: for as long as the grace period nobody may remove it.
                let mut found = store.contains(&digest);
                for _ in 0..1000 {
                    // In the blink between being moved away and back it has no name.
                    found = found || store.contains(&digest);
                }
                assert!(found);
                set_stored_at(&store, &digest, SystemTime::UNIX_EPOCH);
            }
        }
    });
    // `now` one hour after 1970: only what was made old above is older than the grace period.
    let now = SystemTime::UNIX_EPOCH + 2 * HOUR;
    while !writer.is_finished() {
        store.collect(|_| false, HOUR, now).unwrap();
    }
    writer.join().unwrap();
}
