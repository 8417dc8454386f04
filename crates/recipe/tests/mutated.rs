//! Archives and metadata with bytes changed at random: never a panic, never half a result.

mod common;

use std::fs;

use common::{Image, LayerBuilder, Packing, World};
use proptest::prelude::*;
use recipe::Error;
use recipe::oci::{LayoutFolder, Limits, Platform, Tarball};

fn sample() -> Vec<u8> {
    LayerBuilder::new()
        .folder("a/")
        .file("a/b", b"content of b")
        .pax(&[("path", b"a/long"), ("mtime", b"12.5")])
        .file("x", b"1")
        .raw(b'L', b"l", b"", 0, b"a/gnu\0")
        .symlink("y", "a/b")
        .hard_link("h", "a/b")
        .file("a/.wh.z", b"")
        .done()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_changed_archive_is_unpacked_or_refused(
        changes in proptest::collection::vec((0..6000_usize, any::<u8>()), 1..12),
        fix_sums in any::<bool>(),
        cut in proptest::option::of(0..6000_usize),
    ) {
        let mut layer = sample();
        for (place, byte) in changes {
            let place = place % layer.len();
            layer[place] = byte;
        }
        if fix_sums {
            for block in layer.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                block[148..156].copy_from_slice(b"        ");
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        layer.truncate(cut.unwrap_or(usize::MAX));
        let limits = Limits { total_bytes: 1 << 20, ..Limits::default() };
        let world = World::with(limits);
        let image = Image::new(&[(layer, Packing::Plain)]);
        match world.unpack_image(&image) {
            Ok(_) => {}
            Err(Error::Layer { .. }) => prop_assert_eq!(world.contents(), Vec::<String>::new()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn changed_packed_bytes_are_unpacked_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        zstd in any::<bool>(),
    ) {
        let packing = if zstd { Packing::Zstd } else { Packing::Gzip };
        let (kind, mut packed) = common::pack(&sample(), packing);
        for (place, byte) in changes {
            let place = place.index(packed.len());
            packed[place] = byte;
        }
        let image = Image::new(&[(sample(), packing)]);
        let world = World::with(Limits { total_bytes: 1 << 24, ..Limits::default() });
        match world.unpack_image(&Image::with(image.config, vec![(kind, packed)], vec![])) {
            Ok(_) => {}
            Err(Error::Layer { .. } | Error::WrongDigest { .. }) => prop_assert_eq!(world.contents(), Vec::<String>::new()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn changed_metadata_is_read_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        which in 0..3_u8,
    ) {
        let image = Image::new(&[(sample(), Packing::Plain)]);
        let change = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            bytes
        };
        let world = World::new();
        let folder = tempfile::tempdir().unwrap();
        let image = match which {
            0 => Image::with(change(&image.config), image.layers, vec![]),
            1 => Image { manifest: change(&image.manifest), ..image },
            _ => image,
        };
        image.layout(folder.path());
        if which == 2 {
            fs::write(folder.path().join("index.json"), change(&image.list())).unwrap();
        }
        let _ = world.store.unpack(&LayoutFolder::open(folder.path()).unwrap(), &Platform::here(), None);
    }

    #[test]
    fn a_changed_tarball_is_read_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        saved in any::<bool>(),
    ) {
        let image = Image::new(&[(sample(), Packing::Plain)]);
        let mut tarball = if saved { image.saved() } else { image.tarball() };
        for (place, byte) in changes {
            let place = place.index(tarball.len());
            tarball[place] = byte;
        }
        let world = World::new();
        let path = world.folder.path().join("x.tar");
        fs::write(&path, tarball).unwrap();
        if let Ok(tarball) = Tarball::open(&path, &world.store) {
            let _ = world.store.unpack(&tarball, &Platform::here(), None);
        }
    }
}
