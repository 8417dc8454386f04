//! Storages used by many at once, and by processes that die at any moment.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::as_ordinary_user;
use common::stage::{Stage, origin};
use sandbox::storage::{Backend, Disk, Storage};

/// Tells this test program to use a storage until it is killed.
const CHURN: &str = "SANDBOX_TEST_CHURN";

#[test]
fn many_threads_and_two_openings_of_one_storage_get_on() {
    let stage = Stage::new();
    let mut disk = stage.disk("origin");
    stage.step(&disk, "echo state >f0");
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let other = Storage::open(&stage.folder).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let storage = if thread % 2 == 0 {
                &stage.storage
            } else {
                &other
            };
            let snapshot = &snapshot;
            scope.spawn(move || {
                for round in 0..8 {
                    let name = format!("disk-{thread}-{round}");
                    let mut disk = storage.fork(snapshot, &name).unwrap();
                    fs::write(
                        disk.workspace(None).layer.join("upper/written"),
                        name.as_bytes(),
                    )
                    .unwrap();
                    let frozen = storage.freeze(&mut disk).unwrap();
                    let captured = storage.capture(&disk).unwrap();
                    let flat = storage.flatten(&captured).unwrap();
                    storage.remove_snapshot(captured.id()).unwrap();
                    let fork = storage.fork(&flat, &format!("{name}-fork")).unwrap();
                    let lowest = &fork.workspace(None).frozen;
                    if let [layer] = lowest.as_slice() {
                        let written = fs::read_to_string(layer.join("upper/written"));
                        assert_eq!(written.unwrap(), name);
                    }
                    for id in [frozen.id(), flat.id()] {
                        storage.remove_snapshot(id).unwrap();
                    }
                    storage.remove_disk(&disk).unwrap();
                    storage.remove_disk(&fork).unwrap();
                }
            });
        }
    });
    stage.storage.remove_snapshot(snapshot.id()).unwrap();
    stage.storage.remove_disk(&disk).unwrap();
    for folder in ["layers", "snapshots", "disks", "imports", "trash"] {
        let left = fs::read_dir(stage.folder.join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

/// Makes and removes until it is killed.
fn churn(folder: &Path) -> ! {
    let storage = Storage::open_with(folder, Backend::Stack).unwrap();
    let mut disk = match storage.disk("origin") {
        Ok(disk) => disk,
        Err(_) => storage.create_disk("origin", origin()).unwrap(),
    };
    for number in 0.. {
        write(&disk, &format!("line-{number}"));
        let snapshot = storage.freeze(&mut disk).unwrap();
        let name = format!("fork-{}-{number}", std::process::id());
        let mut fork = storage.fork(&snapshot, &name).unwrap();
        write(&fork, "fork");
        let frozen = storage.freeze(&mut fork).unwrap();
        let flat = storage.flatten(&frozen).unwrap();
        let captured = storage.capture(&fork).unwrap();
        for id in [frozen.id(), captured.id(), snapshot.id()] {
            storage.remove_snapshot(id).unwrap();
        }
        // Some stay.
        if number % 3 != 0 {
            storage.remove_snapshot(flat.id()).unwrap();
            storage.remove_disk(&fork).unwrap();
        }
    }
    unreachable!("there are enough numbers");
}

fn write(disk: &Disk, name: &str) {
    fs::write(disk.workspace(None).layer.join("upper").join(name), name).unwrap();
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_storage_that_is_whole() {
    if let Some(folder) = std::env::var_os(CHURN) {
        churn(Path::new(&folder));
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("storage");
    let (mut lines, mut seen) = (0, 0);
    for round in 0..25_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_process_killed_at_any_moment_leaves_a_storage_that_is_whole",
            ])
            .env(CHURN, &folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Whenever that is: the moment is what is tried out.
        std::thread::sleep(Duration::from_millis(40 + round * 37 % 101));
        child.kill().unwrap();
        child.wait().unwrap();
        let storage = Storage::open_with(&folder, Backend::Stack).unwrap();
        seen += storage.snapshots().unwrap().len();
        let mut used = BTreeSet::new();
        for name in storage.disks().unwrap() {
            let disk = storage.disk(&name).unwrap();
            for tree in [disk.workspace(None), disk.home(None)] {
                assert!(tree.layer.join("upper").is_dir(), "{name}");
                used.extend(tree.frozen);
            }
        }
        for (number, snapshot) in storage.snapshots().unwrap().into_iter().enumerate() {
            let disk = storage.fork(&snapshot, &format!("check-{number}")).unwrap();
            used.extend(disk.workspace(None).frozen);
            used.extend(disk.home(None).frozen);
            storage.remove_disk(&disk).unwrap();
        }
        assert!(
            used.iter().all(|layer| layer.join("upper").is_dir()),
            "{used:?}"
        );
        let there: BTreeSet<PathBuf> = entries(&folder.join("layers"));
        assert_eq!(there, used);
        for empty in ["imports", "trash"] {
            assert_eq!(entries(&folder.join(empty)), BTreeSet::new());
        }
        // What was written before a snapshot that was seen is never lost.
        if let Ok(disk) = storage.disk("origin") {
            let tree = disk.workspace(None);
            let written = tree
                .frozen
                .iter()
                .flat_map(|layer| entries(&layer.join("upper")));
            let names: BTreeSet<_> = written
                .filter_map(|path| Some(path.file_name()?.to_owned()))
                .collect();
            let now = names.len();
            assert!(now >= lines, "{now} of {lines} are left");
            lines = now;
        }
    }
    assert!(
        lines > 0 && seen > 0,
        "it was always killed before it did anything"
    );
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    as_ordinary_user(&[]);
}
