//! The store: what is shared, what is kept, who may use it at the same time.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{World, base, image, is_root, open, skip, text, upper};
use recipe::oci::registry::RegistryOptions;
use recipe::oci::{
    Collected, ImageStore, LayoutFolder, Limits, Owner, Platform, RootTree, StoreOptions,
};
use recipe::{Digest, Image, ImageSource, Recipe, Root, SetupFiles};

#[test]
fn what_is_there_is_not_unpacked_again() {
    let world = World::new();
    let image = image();
    let layout = tempfile::tempdir().unwrap();
    image.layout(layout.path());
    let open = || LayoutFolder::open(layout.path()).unwrap();
    let first = world
        .store
        .unpack(&open(), &Platform::here(), None)
        .unwrap();
    // Without its layers the image can only come from the store.
    for (_, layer) in &image.layers {
        fs::remove_file(
            layout
                .path()
                .join("blobs/sha256")
                .join(Digest::of(layer).hex()),
        )
        .unwrap();
    }
    let second = world
        .store
        .unpack(&open(), &Platform::here(), None)
        .unwrap();
    assert_eq!((first.tree, first.notes), (second.tree, second.notes));
}

#[test]
fn a_damaged_store_mends_itself() {
    let world = World::new();
    let tree = world.unpack(&[base()]).unwrap().tree;
    // As a crash of the machine leaves a file: with its name, without its bytes.
    for name in world.contents() {
        let path = world.folder.path().join(&name);
        if name.contains("/files/") && fs::metadata(&path).unwrap().len() > 1 {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "").unwrap();
        }
    }
    fs::remove_dir_all(tree.path.parent().unwrap()).unwrap();
    let again = world.unpack(&[base()]).unwrap().tree;
    assert_eq!(
        text(&again.path, "bin/tool").as_deref(),
        Some("#!/bin/sh\necho base\n")
    );
}

#[test]
fn two_stores_on_one_folder_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let layout = tempfile::tempdir().unwrap();
    let layout = image().layout(layout.path());
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let one = || {
            let store = open(folder.path(), Limits::default());
            (0..5)
                .map(|_| {
                    store
                        .unpack(
                            &LayoutFolder::open(&layout).unwrap(),
                            &Platform::here(),
                            None,
                        )
                        .unwrap()
                        .tree
                        .digest
                })
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    let left = fs::read_dir(folder.path().join("store/tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "nothing half-made stays");
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), Limits::default()));
    let left = folder.path().join("store/tmp/7/3/sub");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("x"), "x").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o500)).unwrap();
    drop(open(folder.path(), Limits::default()));
    assert_eq!(
        fs::read_dir(folder.path().join("store/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn files_belong_to_the_given_owner() {
    if !is_root() {
        return skip("only root can give files away");
    }
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        owner: Some(Owner {
            uid: 12345,
            gid: 23456,
        }),
        durable: false,
        ..StoreOptions::default()
    };
    let store = ImageStore::open(&folder.path().join("store"), options).unwrap();
    let layout = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::open(&image().layout(layout.path())).unwrap();
    let tree = store.unpack(&layout, &Platform::here(), None).unwrap().tree;
    for name in ["", "bin", "bin/tool", "lib"] {
        let meta = fs::symlink_metadata(tree.path.join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12345, 23456), "{name}");
    }
}

#[test]
fn contents_are_shared_between_trees() {
    let world = World::new();
    let one = world.unpack(&[base()]).unwrap().tree;
    let two = world.unpack(&[base(), upper()]).unwrap().tree;
    let inode = |root: &Path| fs::metadata(root.join("etc/b")).unwrap().ino();
    assert_eq!(inode(&one.path), inode(&two.path));
    assert_ne!(one.digest, two.digest);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&world.folder.path().join("store")), 0o700);
}

#[test]
fn a_recipe_finds_its_image_wherever_it_is() {
    let world = World::new();
    let folder = world.folder.path();
    image().layout(&folder.join("layout"));
    fs::write(folder.join("saved.tar"), image().saved()).unwrap();
    let mut digests = Vec::new();
    for source in [
        ImageSource::Layout("layout".to_owned()),
        ImageSource::Tarball("saved.tar".to_owned()),
    ] {
        let image = Image {
            source,
            digest: None,
        };
        let recipe = Recipe::new(Root::Image(image.clone()));
        let options = RegistryOptions::default();
        let unpacked = world.store.obtain(&image, folder, options).unwrap();
        let root = unpacked.resolved();
        digests.push(recipe.digest(root, &SetupFiles::new()).unwrap());
    }
    assert_eq!(digests[0], digests[1], "same image, same environment");
}

/// Everything is older than this.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)
}

#[test]
fn what_nobody_needs_makes_room() {
    let world = World::new();
    let kept = world.unpack(&[base()]).unwrap().tree;
    let gone = world.unpack(&[base(), upper()]).unwrap().tree;
    let name = |tree: &RootTree| recipe::folder::digest(&tree.path, None).unwrap().digest;
    let whole = (name(&kept), name(&gone));
    let unused = world
        .store
        .collect(&[].into(), SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(unused, Collected::default(), "it was used a moment ago");
    let collected = world.store.collect(&[kept.digest].into(), later()).unwrap();
    assert_eq!(collected.trees, 1);
    assert!(collected.files > 0 && !gone.path.exists());
    assert_eq!(name(&kept), whole.0);
    assert_eq!(world.store.tree(gone.digest), None);
    let again = world.unpack(&[base(), upper()]).unwrap().tree;
    assert_eq!(again.digest, gone.digest);
    assert_eq!(name(&again), whole.1);
    world.store.collect(&[].into(), later()).unwrap();
    let left = world.contents();
    assert!(
        !left
            .iter()
            .any(|name| name.contains("/files/") || name.contains("/trees/")),
        "{left:?}"
    );
}

#[test]
fn collecting_takes_nothing_from_under_who_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let layout = tempfile::tempdir().unwrap();
    let layout = image().layout(layout.path());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let store = open(folder.path(), Limits::default());
                for _ in 0..20 {
                    let image = LayoutFolder::open(&layout).unwrap();
                    store.unpack(&image, &Platform::here(), None).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let store = open(folder.path(), Limits::default());
            for _ in 0..20 {
                store.collect(&[].into(), later()).unwrap();
            }
        });
    });
}
