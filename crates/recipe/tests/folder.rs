//! Names of folders by everything in them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use recipe::Error;
use recipe::folder::digest;

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

/// Waits until the file's change is older than what is taken for settled.
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

/// Runs a test once more as somebody for whom something can be unreadable.
fn as_ordinary_user(test: &str) {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let tests = place.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&tests)
        .args(["--exact", test])
        .env("TMPDIR", place.path())
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn everything_in_a_folder_is_part_of_its_name() {
    let world = World::new();
    let tree = world.tree();
    let chmod = |path: &str, mode| {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    type Change<'a> = (&'a str, &'a dyn Fn());
    let changes: &[Change<'_>] = &[
        ("a file's content", &|| {
            fs::write(tree.join("a"), "x").unwrap();
        }),
        ("a file's mode", &|| chmod("a", 0o755)),
        ("a folder's mode", &|| chmod("sub", 0o700)),
        ("an empty folder", &|| {
            fs::create_dir(tree.join("empty")).unwrap();
        }),
        ("a link", &|| symlink("/etc", tree.join("link")).unwrap()),
        ("where it points", &|| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("/usr", tree.join("link")).unwrap();
        }),
        ("a file in place of a link", &|| {
            fs::remove_file(tree.join("link")).unwrap();
            fs::write(tree.join("link"), "/usr").unwrap();
        }),
        ("a socket", &|| {
            drop(UnixListener::bind(tree.join("socket")).unwrap());
        }),
        ("a name", &|| {
            fs::rename(tree.join("a"), tree.join("b")).unwrap();
        }),
    ];
    let name = || digest(&tree, Some(&world.stamps())).unwrap().digest;
    let mut seen = std::collections::BTreeMap::from([(name(), "nothing")]);
    assert_eq!(seen.insert(name(), "nothing"), Some("nothing"));
    for (what, change) in changes {
        change();
        assert_eq!(seen.insert(name(), what), None, "{what}");
        assert_eq!(name(), digest(&tree, None).unwrap().digest, "{what}");
    }
}

#[test]
fn a_copy_has_the_same_name_whenever_it_was_made() {
    let world = World::new();
    symlink("a", world.tree().join("link")).unwrap();
    let copy = world.folder.path().join("copy");
    let copied = std::process::Command::new("cp")
        .args(["-R", "-P"])
        .args([world.tree(), copy.clone()])
        .status();
    assert!(copied.unwrap().success());
    assert_eq!(
        digest(&copy, None).unwrap().digest,
        digest(&world.tree(), None).unwrap().digest
    );
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let world = World::new();
    let path = world.tree().join("sub/b");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        return as_ordinary_user("what_cannot_be_read_is_an_error_that_names_it");
    }
    match digest(&world.tree(), None) {
        Err(Error::Unreadable { path: named, .. }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(
        world.tree().join("sub/deep"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    let text = digest(&world.tree(), None).unwrap_err().to_string();
    assert!(
        text.contains("sub/deep") && text.contains("make it readable"),
        "{text}"
    );
    fs::set_permissions(
        world.tree().join("sub/deep"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

#[test]
fn unchanged_files_are_not_read_again_and_changed_ones_are() {
    let world = World::new();
    let first = digest(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((first.hashed, first.reused), (3, 0));
    let second = digest(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((second.hashed, second.reused), (0, 3));
    assert_eq!(second.digest, first.digest);

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
    let third = digest(&world.tree(), Some(&world.stamps())).unwrap();
    assert_eq!((third.hashed, third.reused), (2, 1));
    assert_eq!(third.digest, digest(&world.tree(), None).unwrap().digest);
}

#[test]
fn a_file_that_changed_a_moment_ago_is_read_again() {
    let world = World::new();
    fs::write(world.tree().join("fresh"), "1").unwrap();
    digest(&world.tree(), Some(&world.stamps())).unwrap();
    let again = digest(&world.tree(), Some(&world.stamps())).unwrap();
    // Its times cannot tell a change within the same tick from none.
    assert!(again.hashed <= 1 && again.reused >= 3);
}

#[test]
fn damaged_stamps_only_cost_time() {
    let world = World::new();
    let first = digest(&world.tree(), Some(&world.stamps())).unwrap();
    let mut bytes = fs::read(world.stamps()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [&bytes[..], &bytes[..10], b""] {
        fs::write(world.stamps(), damaged).unwrap();
        let again = digest(&world.tree(), Some(&world.stamps())).unwrap();
        assert_eq!((again.hashed, again.digest), (3, first.digest));
    }
}
