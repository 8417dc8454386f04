//! Good images: every source and packing, layers on one another, and the tree that comes out.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use common::{Image, LayerBuilder, Packing, World, base, base_again, image, is_root, skip, text};
use recipe::oci::{ImageReader, LayoutFolder, Limits, Platform, Tarball};
use recipe::{Digest, Error};

#[test]
fn layers_lie_on_one_another() {
    let world = World::new();
    let unpacked = world.unpack_image(&image()).unwrap();
    let root = &unpacked.tree.path;
    assert_eq!(text(root, "etc/a"), None, "a whiteout takes away");
    assert_eq!(text(root, "etc/b").as_deref(), Some("b"));
    assert_eq!(text(root, "etc/c").as_deref(), Some("c"));
    assert_eq!(text(root, "var/old"), None, "an opaque folder hides");
    assert_eq!(text(root, "var/new").as_deref(), Some("new"));
    assert_eq!(
        text(root, "bin/tool").as_deref(),
        Some("#!/bin/sh\necho upper\n")
    );
    assert_eq!(
        text(root, "bin/tool2").as_deref(),
        Some("#!/bin/sh\necho base\n"),
        "a link keeps its content"
    );
    assert_eq!(
        text(root, "bin/tool3").as_deref(),
        Some("#!/bin/sh\necho base\n"),
        "linked to the lower layer"
    );
    assert_eq!(text(root, "usr/share/deep/file").as_deref(), Some("deep"));
    assert_eq!(
        fs::read_link(root.join("lib")).unwrap(),
        Path::new("usr/lib")
    );
    assert!(
        fs::read_dir(root.join("etc"))
            .unwrap()
            .flatten()
            .all(|entry| !entry.file_name().as_bytes().starts_with(b".wh"))
    );
    let meta = fs::metadata(root.join("bin/tool")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 1_700_000_000));
    assert_eq!(
        fs::metadata(root.join("etc")).unwrap().mtime(),
        1_700_000_000
    );
    assert_eq!(unpacked.info.config.env["PATH"], "/usr/bin:/bin");
    assert_eq!(unpacked.info.config.env["A"], "b=c");
    assert_eq!(unpacked.info.config.workdir.as_deref(), Some("/srv"));
}

#[test]
fn folder_tarball_and_saved_image_give_one_tree() {
    let world = World::new();
    let first = world.unpack_image(&image()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = world.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let packed = common::pack(&image().tarball(), Packing::Gzip).1;
    for path in [
        write("layout.tar", &image().tarball()),
        write("saved.tar", &image().saved()),
        write("layout.tar.gz", &packed),
    ] {
        let other = World::new();
        let tarball = Tarball::open(&path, &other.store).unwrap();
        let unpacked = other
            .store
            .unpack(&tarball, &Platform::here(), None)
            .unwrap();
        assert_eq!(
            unpacked.tree.digest,
            first.tree.digest,
            "{}",
            path.display()
        );
        assert_eq!(unpacked.info.id, first.info.id);
    }
}

#[test]
fn equal_layers_may_be_links_in_a_saved_image() {
    let world = World::new();
    let image = Image::new(&[(base(), Packing::Plain), (base(), Packing::Plain)]);
    let path = world.folder.path().join("saved.tar");
    fs::write(&path, image.saved()).unwrap();
    let tarball = Tarball::open(&path, &world.store).unwrap();
    world
        .store
        .unpack(&tarball, &Platform::here(), None)
        .unwrap();
}

#[test]
fn a_pinned_image_must_be_that_one() {
    let world = World::new();
    let image = image();
    let layout = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::open(&image.layout(layout.path())).unwrap();
    for pin in [Digest::of(&image.manifest), Digest::of(&image.list())] {
        world
            .store
            .unpack(&layout, &Platform::here(), Some(pin))
            .unwrap();
    }
    let result = world
        .store
        .unpack(&layout, &Platform::here(), Some(Digest::of(b"x")));
    assert!(
        matches!(result, Err(Error::WrongDigest { .. })),
        "{result:?}"
    );
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let layout = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::open(&image().layout(layout.path())).unwrap();
    let platform = Platform {
        os: "linux".into(),
        architecture: "mips".into(),
    };
    match layout.info(&platform, None, &Limits::default()) {
        Err(Error::Image { problem, .. }) => assert!(problem.contains("linux/vax"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_changed_layer_is_noticed() {
    let image = image();
    let folder = tempfile::tempdir().unwrap();
    image.layout(folder.path());
    let layer = folder
        .path()
        .join("blobs/sha256")
        .join(Digest::of(&image.layers[0].1).hex());
    // Another good archive, so that only the digest can tell.
    let (_, other) = common::pack(&base_again(), Packing::Gzip);
    fs::write(layer, other).unwrap();
    let world = World::new();
    let layout = LayoutFolder::open(folder.path()).unwrap();
    let result = world.store.unpack(&layout, &Platform::here(), None);
    assert!(
        matches!(
            result,
            Err(Error::WrongSize { .. } | Error::WrongDigest { .. })
        ),
        "{result:?}"
    );
    assert_eq!(world.contents(), Vec::<String>::new());
}

#[test]
fn names_need_not_be_utf_8() {
    let world = World::new();
    let layer = LayerBuilder::new()
        .raw(b'0', b"caf\xe9", b"", 0o644, b"x")
        .raw(b'2', b"l\xff", b"t\xfe", 0o777, b"")
        .done();
    let tree = world.unpack(&[layer]).unwrap().tree;
    assert_eq!(
        fs::read(tree.path.join(OsStr::from_bytes(b"caf\xe9"))).unwrap(),
        b"x"
    );
    assert_eq!(
        fs::read_link(tree.path.join(OsStr::from_bytes(b"l\xff")))
            .unwrap()
            .as_os_str()
            .as_bytes(),
        b"t\xfe"
    );
}

#[test]
fn long_names_come_in_three_ways() {
    let world = World::new();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let gnu = LayerBuilder::new()
        .raw(
            b'L',
            b"././@LongLink",
            b"",
            0,
            format!("{long}\0").as_bytes(),
        )
        .file("x", b"1")
        .done();
    let pax = LayerBuilder::new()
        .pax(&[("path", long.as_bytes())])
        .file("x", b"1")
        .done();
    let one = world.unpack(&[gnu]).unwrap().tree;
    let two = world.unpack(&[pax]).unwrap().tree;
    assert_eq!(one.digest, two.digest);
    assert_eq!(text(&one.path, &long).as_deref(), Some("1"));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    let split = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &split, &b"1"[..]).unwrap();
    let tree = world.unpack(&[builder.into_inner().unwrap()]).unwrap().tree;
    assert_eq!(text(&tree.path, &split).as_deref(), Some("1"));
}

#[test]
fn special_bits_devices_and_attributes_are_left_out_with_notes() {
    let world = World::new();
    let layer = LayerBuilder::new()
        .raw(b'0', b"su", b"", 0o4755, b"x")
        .raw(b'5', b"shared/", b"", 0o3777, b"")
        .raw(b'3', b"dev/null", b"", 0o666, b"")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01")])
        .program("ping", b"p")
        .done();
    let unpacked = world.unpack(&[layer]).unwrap();
    let root = &unpacked.tree.path;
    assert_eq!(
        fs::metadata(root.join("su")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(
        fs::metadata(root.join("shared")).unwrap().mode() & 0o7777,
        0o1777
    );
    assert!(!root.join("dev/null").exists());
    let notes: Vec<_> = unpacked
        .notes
        .iter()
        .map(|note| note.entry.as_str())
        .collect();
    assert_eq!(notes, ["su", "shared", "dev/null", "ping"]);
}

#[test]
fn folders_without_write_permission_can_be_filled_and_removed() {
    let world = World::new();
    let layer = LayerBuilder::new()
        .raw(b'5', b"ro/", b"", 0o555, b"")
        .file("ro/file", b"x")
        .done();
    let tree = world.unpack(&[layer]).unwrap().tree;
    assert_eq!(
        fs::metadata(tree.path.join("ro"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o555
    );
    assert_eq!(text(&tree.path, "ro/file").as_deref(), Some("x"));
    // So that the temporary folder can go.
    fs::set_permissions(tree.path.join("ro"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn large_files_go_through_without_being_held() {
    let world = World::new();
    let content: Vec<u8> = (0..5_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let layer = LayerBuilder::new()
        .file("big", &content)
        .file("copy", &content)
        .done();
    let tree = world.unpack(&[layer]).unwrap().tree;
    assert!(fs::read(tree.path.join("copy")).unwrap() == content);
    let files = world
        .contents()
        .iter()
        .filter(|name| name.contains("/files/"))
        .count();
    assert_eq!(files, 1);
}

#[test]
fn a_shell_from_an_image_runs() {
    let Ok(shell) = fs::read("/bin/busybox").or_else(|_| fs::read("/usr/bin/busybox")) else {
        return skip("busybox is not installed; as root: apt-get install busybox-static");
    };
    if !is_root() {
        return skip("only root may change its root folder");
    }
    let world = World::new();
    let layer = LayerBuilder::new()
        .program("bin/busybox", &shell)
        .symlink("bin/sh", "busybox")
        .file("etc/motd", b"hello from an image\n")
        .done();
    let tree = world.unpack(&[layer]).unwrap().tree;
    let output = Command::new("chroot")
        .arg(&tree.path)
        .args(["/bin/sh", "-c", "read -r line < /etc/motd; echo \"$line\""])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hello from an image\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
