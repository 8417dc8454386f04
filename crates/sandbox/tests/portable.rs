//! Snapshots as files: the same for the same content, of use to another user, and of no use to whoever
//! made them to do harm.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::fs;
use std::path::Path;

use common::stage::{Stage, import, origin};
use common::{as_ordinary_user, is_root, sh, skip};
use sandbox::storage::{
    Backend, Expected, ImportLimits, Origin, PortableError, Snapshot, Storage, StorageError,
};

#[test]
fn attributes_survive_freezing_and_carrying() {
    let stage = Stage::new();
    let mut disk = stage.disk("attributes");
    let set = "import os; os.setxattr('f0','user.note',b'a\\n\\x00b'); os.setxattr('d0','user.note',b'c'); os.setxattr('f1','user.overlay.odd',b'd')";
    let environment = stage.environment(&disk);
    if sh(&environment, &format!("python3 -c \"{set}\"")).status != sandbox::ExitStatus::Code(0) {
        return skip("python3 is not installed, or attributes of overlays cannot be set here");
    }
    environment.destroy().unwrap();
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let flat = stage.storage.flatten(&snapshot).unwrap();
    let (file, _) = stage.export(&flat);
    let there = import(&stage.storage, &file).unwrap();
    let get = "import os; print(os.getxattr('f0','user.note'), os.getxattr('d0','user.note'), os.getxattr('f1','user.overlay.odd'), sorted(os.listxattr('f1')))";
    for (n, snapshot) in [snapshot, flat, there].iter().enumerate() {
        let fork = stage.storage.fork(snapshot, &format!("fork-{n}")).unwrap();
        assert_eq!(
            stage.step(&fork, &format!("python3 -c \"{get}\"")),
            "b'a\\n\\x00b' b'c' b'd' ['user.overlay.odd']\n",
            "{n}"
        );
    }
}

#[test]
fn the_same_content_gives_the_same_file_whatever_its_history_was() {
    let stage = Stage::new();
    let end = "rm -rf d0 new; mkdir d0; echo x >f0; echo y >d0/f9; touch -d @1000000000 f0 d0/f9 d0 /work ~";
    let mut short = stage.disk("short");
    stage.step(&short, end);
    let (short, digest) = stage.export(&stage.storage.freeze(&mut short).unwrap());
    let mut long = stage.disk("long");
    for script in [
        "echo a >new; echo b >f0",
        "rm -r new d0; mkdir d0 d0/deep",
        end,
    ] {
        stage.step(&long, script);
        stage.storage.freeze(&mut long).unwrap();
    }
    let snapshot = stage.storage.freeze(&mut long).unwrap();
    assert!(snapshot.depth() > 3 || stage.storage.backend() == Backend::Btrfs);
    let (long, again) = stage.export(&snapshot);
    assert!(short == long);
    assert_eq!(digest, again);
}

#[test]
fn a_snapshot_file_that_is_not_what_it_should_be_is_refused_and_nothing_is_kept() {
    let stage = Stage::new();
    let mut disk = stage.disk("first");
    stage.step(
        &disk,
        "echo secret >f0; ln f1 h1; ln -s / link; head -c 100000 /dev/urandom >big",
    );
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let (file, digest) = stage.export(&snapshot);
    let there = Storage::open(&stage.world.place.join("there")).unwrap();
    let take = |file: &[u8], expected: &Expected, limits: &ImportLimits| {
        there.import(&mut &*file, expected, limits)
    };
    let (any, enough) = (Expected::default(), ImportLimits::default());
    for length in (0..file.len()).step_by(file.len() / 40) {
        assert!(take(&file[..length], &any, &enough).is_err(), "{length}");
        let mut altered = file.clone();
        altered[length] ^= 0x55;
        // Bytes of the gzip header that mean nothing may differ, and bits that packing leaves unused:
        // what comes out is what was verified.
        if let Ok(snapshot) = take(&altered, &any, &enough) {
            let mut out = Vec::new();
            there.export(&snapshot, stage.bases(), &mut out).unwrap();
            assert!(out == file, "{length}");
            there.remove_snapshot(snapshot.id()).unwrap();
        }
    }
    let mut longer = file.clone();
    longer.extend_from_slice(b"more");
    assert!(take(&longer, &any, &enough).is_err());
    let other = Expected {
        origin: Some(Origin::default()),
        ..Expected::default()
    };
    let refused = |outcome: Result<Snapshot, StorageError>| match outcome {
        Err(StorageError::Portable(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        refused(take(&file, &other, &enough)),
        PortableError::OtherOrigin
    ));
    let wrong = Expected {
        sha256: Some([0; 32]),
        ..Expected::default()
    };
    assert!(matches!(
        refused(take(&file, &wrong, &enough)),
        PortableError::OtherFile
    ));
    for limits in [
        ImportLimits {
            bytes: 1000,
            ..enough
        },
        ImportLimits {
            entries: 3,
            ..enough
        },
    ] {
        assert!(matches!(
            refused(take(&file, &any, &limits)),
            PortableError::TooLarge { .. }
        ));
    }
    for folder in ["layers", "snapshots", "imports", "trash"] {
        let kept = fs::read_dir(stage.world.place.join("there").join(folder)).unwrap();
        for entry in kept.flatten() {
            // Only what the altered but equal file above has left.
            assert!(
                folder == "layers" || folder == "snapshots",
                "{:?}",
                entry.path()
            );
        }
    }
    let right = Expected {
        origin: Some(origin()),
        sha256: Some(digest),
    };
    let snapshot = take(&file, &right, &enough).unwrap();
    let disk = there.fork(&snapshot, "there").unwrap();
    let mut spec = stage.world.spec("there", None);
    disk.insert_into(&mut spec, stage.bases());
    let environment = stage.world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(&environment, "cat f0; readlink link; wc -c <big").ok(),
        "secret\n/\n100000\n"
    );
}

#[test]
fn a_hostile_snapshot_file_cannot_reach_out_of_its_own_trees() {
    let stage = Stage::new();
    let outside = stage.world.place.join("outside");
    fs::write(&outside, "host").unwrap();
    type Entry<'a> = (tar::EntryType, &'a str, &'a str, &'a str);
    use tar::EntryType as Type;
    let folder = (Type::Directory, "workspace", "", "");
    let target = outside.to_str().unwrap();
    let hostile: &[&[Entry<'_>]] = &[
        &[folder, (Type::Regular, "workspace/../escape", "", "x")],
        &[folder, (Type::Regular, "/escape", "", "x")],
        &[folder, (Type::Regular, "layers/escape", "", "x")],
        &[(Type::Regular, "workspace", "", "x")],
        &[(Type::Symlink, "workspace", target, "")],
        &[
            folder,
            (Type::Symlink, "workspace/a", target, ""),
            (Type::Regular, "workspace/a", "", "x"),
        ],
        &[
            folder,
            (Type::Symlink, "workspace/a", "/", ""),
            (Type::Regular, "workspace/a/escape", "", "x"),
        ],
        &[folder, (Type::Link, "workspace/a", target, "")],
        &[
            folder,
            (Type::Link, "workspace/a", "workspace/../../../outside", ""),
        ],
        &[
            folder,
            (Type::Symlink, "workspace/a", target, ""),
            (Type::Link, "workspace/b", "workspace/a", ""),
        ],
        &[folder, (Type::Char, "workspace/a", "", "")],
        &[folder, (Type::Block, "workspace/a", "", "")],
        &[folder, (Type::Regular, "workspace/.wh...", "", "")],
        &[folder, (Type::Regular, "workspace/.wh.", "", "")],
        &[
            folder,
            (Type::Regular, "workspace/b", "", ""),
            (Type::Regular, "workspace/a", "", ""),
        ],
        &[folder, folder],
    ];
    for entries in hostile {
        let mut tree = tar::Builder::new(Vec::new());
        for (kind, name, link, content) in *entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            header.set_mtime(0);
            header.set_cksum();
            tree.append(&header, content.as_bytes()).unwrap();
        }
        let file = wrapped(&tree.into_inner().unwrap(), entries.len() as u64, 0);
        let error = import(&stage.storage, &file).unwrap_err();
        assert!(
            matches!(error, StorageError::Portable(PortableError::Form(why)) if !why.contains("manifest")),
            "{entries:?}: {error}"
        );
        assert_eq!(fs::read_to_string(&outside).unwrap(), "host");
    }
    let left = fs::read_dir(stage.folder.join("layers")).unwrap().count();
    assert_eq!(left, 0);
    assert!(!Path::new("/escape").exists());
}

#[test]
fn names_and_attributes_without_end_are_refused() {
    let stage = Stage::new();
    let limits = ImportLimits {
        bytes: 10_000,
        entries: 10,
    };
    let take = |file: &[u8], limits: &ImportLimits| {
        let outcome = stage
            .storage
            .import(&mut &*file, &Expected::default(), limits);
        outcome.map_err(|error| match error {
            StorageError::Portable(error) => error,
            other => panic!("{other:?}"),
        })
    };
    let entry = |to: &mut tar::Builder<Vec<u8>>, name: &str, attributes: &[(&str, &[u8])]| {
        let path = [("path", name.as_bytes())];
        let records = attributes.iter().chain(&path);
        to.append_pax_extensions(records.copied()).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("x").unwrap();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_mtime(0);
        header.set_cksum();
        to.append(&header, std::io::empty()).unwrap();
    };
    let mut long = tar::Builder::new(Vec::new());
    let mut name = "workspace".to_owned();
    for _ in 0..8 {
        entry(&mut long, &name, &[]);
        name = format!("{name}/{}", "n".repeat(200));
    }
    let long = wrapped(&long.into_inner().unwrap(), 8, 0);
    let refused = take(&long, &limits).map(drop);
    assert!(
        matches!(refused, Err(PortableError::Names(3000))),
        "{refused:?}"
    );
    let mut heavy = tar::Builder::new(Vec::new());
    entry(&mut heavy, "workspace", &[]);
    for name in ["workspace/a", "workspace/b", "workspace/c"] {
        entry(&mut heavy, name, &[("SCHILY.xattr.user.a", &[b'v'; 3500])]);
    }
    let heavy = wrapped(&heavy.into_inner().unwrap(), 4, 0);
    let refused = take(&heavy, &limits).map(drop);
    assert!(
        matches!(refused, Err(PortableError::TooLarge { .. })),
        "{refused:?}"
    );
    // Neither is refused for anything else.
    for (file, bytes, entries) in [(&long, 10_000, 100), (&heavy, 12_000, 10)] {
        match take(file, &ImportLimits { bytes, entries }) {
            Ok(_) => {}
            // A file system may have no room for such attributes.
            Err(PortableError::Stream { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(28), "{source}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A snapshot file with this tar stream after a manifest that is true of it.
fn wrapped(trees: &[u8], entries: u64, content: u64) -> Vec<u8> {
    use sha2::Digest as _;
    let sha256 = sha2::Sha256::digest(trees);
    let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = format!(
        r#"{{"version":1,"origin":{{"recipe":null,"base":null,"home":null}},"whole":[false,false],"sha256":"{sha256}","bytes":{},"entries":{entries},"content":{content}}}"#,
        trees.len()
    );
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_path("nightcrew-snapshot.json").unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mtime(0);
    header.set_mode(0o644);
    header.set_size(manifest.len() as u64);
    header.set_cksum();
    builder.append(&header, manifest.as_bytes()).unwrap();
    let mut stream = builder.into_inner().unwrap();
    // Its end is that of the trees.
    stream.truncate(stream.len() - 1024);
    stream.extend_from_slice(trees);
    let mut file = Vec::new();
    let mut gzip = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &stream).unwrap();
    gzip.finish().unwrap();
    file
}

/// Where a test of root's leaves a file for the same test program run by an ordinary user.
const CARRIED: &str = "SANDBOX_TEST_CARRIED";

#[test]
fn another_user_can_resume_it_and_writes_the_same_file() {
    let stage = Stage::new();
    if let Some(carried) = std::env::var_os(CARRIED) {
        let file = fs::read(carried).unwrap();
        let there = import(&stage.storage, &file).unwrap();
        let disk = stage.storage.fork(&there, "there").unwrap();
        let script = "cat f0; ls; stat -c '%u %a %Y' private; test -x private; cat private";
        assert_eq!(
            stage.step(&disk, script),
            "written\nd1\nd2\nf0\nprivate\n0 700 1000000000\nmine\n"
        );
        assert!(
            stage.export(&there).0 == file,
            "it is written in another way"
        );
        return;
    }
    let mut disk = stage.disk("here");
    stage.step(&disk, "echo written >f0; rm -r d0 f1; echo mine >private; chmod 700 private; touch -d @1000000000 private");
    let (file, _) = stage.export(&stage.storage.freeze(&mut disk).unwrap());
    if !is_root() {
        return skip("root carries to an ordinary user; this is one");
    }
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let carried = place.path().join("carried");
    fs::write(&carried, file).unwrap();
    as_ordinary_user(&[(CARRIED, carried.to_str().unwrap())]);
}
