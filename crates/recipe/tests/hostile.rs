//! Layers that want out, or want too much: each refused with the name of the entry, and nothing stays.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::fs;

use common::{Image, LayerBuilder, Packing, World, pax_body};
use recipe::oci::Limits;
use recipe::{Error, LayerProblem};

/// What is refused, and that the store is as empty as before.
fn refused_with(limits: Limits, layers: &[Vec<u8>]) -> (String, LayerProblem) {
    let world = World::with(limits);
    // A witness beside the store: nothing may be written there.
    fs::write(world.folder.path().join("witness"), "untouched").unwrap();
    let result = world.unpack(layers);
    assert_eq!(
        fs::read_to_string(world.folder.path().join("witness")).unwrap(),
        "untouched"
    );
    match result {
        Err(Error::Layer {
            layer,
            entry,
            problem,
        }) => {
            assert!(layer.starts_with("sha256:"));
            let left: Vec<_> = world
                .contents()
                .into_iter()
                .filter(|name| {
                    layers.len() == 1 || name.contains("/trees/") || name.contains("/tmp/")
                })
                .collect();
            assert_eq!(left, Vec::<String>::new(), "nothing stays");
            (entry, problem)
        }
        other => panic!("{other:?}"),
    }
}

fn refused(layer: LayerBuilder) -> (String, LayerProblem) {
    refused_with(Limits::default(), &[layer.done()])
}

fn refused_on(lower: LayerBuilder, upper: LayerBuilder) -> (String, LayerProblem) {
    refused_with(Limits::default(), &[lower.done(), upper.done()])
}

fn file(name: &str) -> LayerBuilder {
    // A good file first: it must not stay either.
    LayerBuilder::new().file("good", b"good").file(name, b"bad")
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "a/../../x", "..", "a/..", "./../x"] {
        assert_eq!(refused(file(name)), (name.to_owned(), LayerProblem::Climbs));
    }
    for name in ["/x", "//x", "/../x"] {
        assert_eq!(
            refused(file(name)),
            (name.to_owned(), LayerProblem::Absolute)
        );
    }
    assert_eq!(
        refused(
            LayerBuilder::new()
                .pax(&[("path", b"../x")])
                .file("x", b"1")
        )
        .1,
        LayerProblem::Climbs
    );
    assert_eq!(
        refused(
            LayerBuilder::new()
                .raw(b'L', b"l", b"", 0, b"../x\0")
                .file("x", b"1")
        )
        .1,
        LayerProblem::Climbs
    );
    assert_eq!(
        refused(file("./")).1,
        LayerProblem::Header("it is no file, but has a size")
    );
    assert_eq!(refused(file(".")).1, LayerProblem::Name);
}

#[test]
fn nothing_is_written_through_a_link() {
    for target in ["/etc", "..", ".", "sub", "/proc/self/cwd"] {
        let link = || LayerBuilder::new().folder("sub").symlink("link", target);
        let through = LayerProblem::ThroughLink("link".into());
        assert_eq!(
            refused(link().file("link/x", b"x")),
            ("link/x".into(), through.clone())
        );
        assert_eq!(
            refused_on(link(), LayerBuilder::new().file("link/x", b"x")).1,
            through
        );
        assert_eq!(
            refused_on(link(), LayerBuilder::new().file("link/deep/x", b"x")).1,
            through
        );
        assert_eq!(refused(link().folder("link/sub")).1, through);
        assert_eq!(
            refused(link().hard_link("link/x", "sub")).1,
            LayerProblem::HardLink {
                target: "sub".into(),
                what: "a folder"
            }
        );
    }
    // A folder named as such takes the link's place; that is what the format says.
    let world = World::new();
    let lower = LayerBuilder::new().symlink("link", "/etc").done();
    let upper = LayerBuilder::new()
        .folder("link")
        .file("link/x", b"x")
        .done();
    let tree = world.unpack(&[lower, upper]).unwrap().tree;
    assert!(!tree.path.join("link").is_symlink());
}

#[test]
fn nothing_is_below_a_file() {
    assert_eq!(
        refused(LayerBuilder::new().file("a", b"").file("a/b", b"")).1,
        LayerProblem::BelowFile("a".into())
    );
    assert_eq!(
        refused_on(
            LayerBuilder::new().file("a", b""),
            LayerBuilder::new().file("a/b", b"")
        )
        .1,
        LayerProblem::BelowFile("a".into())
    );
}

#[test]
fn hard_links_lead_to_files_of_the_image_only() {
    let link = |target: &str| {
        LayerBuilder::new()
            .file("f", b"f")
            .symlink("s", "/etc/shadow")
            .folder("d")
            .hard_link("x", target)
    };
    for (target, what) in [
        ("../../etc/passwd", "outside of the root"),
        ("/etc/passwd", "outside of the root"),
        ("s", "a symbolic link"),
        ("s/x", "below a symbolic link"),
        ("d", "a folder"),
        ("missing", "missing"),
        ("x", "missing"),
    ] {
        let (entry, problem) = refused(link(target));
        assert_eq!(
            (entry.as_str(), problem),
            (
                "x",
                LayerProblem::HardLink {
                    target: target.into(),
                    what
                }
            )
        );
    }
    let lower = || LayerBuilder::new().symlink("s", "/etc/shadow").folder("d");
    for (target, what) in [
        ("s", "a symbolic link"),
        ("d", "a folder"),
        ("s/x", "missing"),
    ] {
        let problem = refused_on(lower(), LayerBuilder::new().hard_link("x", target)).1;
        assert_eq!(
            problem,
            LayerProblem::HardLink {
                target: target.into(),
                what
            }
        );
    }
}

#[test]
fn whiteouts_of_parents_are_refused() {
    for (name, of) in [
        (".wh...", ".."),
        (".wh..", "."),
        (".wh.", ""),
        ("a/.wh...", ".."),
    ] {
        assert_eq!(refused(file(name)).1, LayerProblem::Whiteout(of.into()));
    }
}

#[test]
fn kinds_that_do_not_belong_into_images_are_refused() {
    assert_eq!(
        refused(LayerBuilder::new().raw(b'6', b"pipe", b"", 0o644, b"")),
        ("pipe".into(), LayerProblem::Fifo)
    );
    for kind in *b"SDMNVAZ8" {
        assert_eq!(
            refused(LayerBuilder::new().raw(kind, b"x", b"", 0o644, b"")).1,
            LayerProblem::Kind(char::from(kind).to_string())
        );
    }
    let sparse = LayerBuilder::new()
        .pax(&[("GNU.sparse.major", b"1")])
        .file("x", b"1");
    assert_eq!(refused(sparse).1, LayerProblem::Kind("sparse".into()));
}

#[test]
fn a_name_is_there_once() {
    assert_eq!(
        refused(LayerBuilder::new().file("a", b"1").file("./a", b"2")),
        ("./a".into(), LayerProblem::Duplicate)
    );
    assert_eq!(
        refused(LayerBuilder::new().file("a/b", b"1").file("a", b"2")).1,
        LayerProblem::Duplicate
    );
    assert_eq!(
        refused(LayerBuilder::new().symlink("a", "b").file("a", b"2")).1,
        LayerProblem::Duplicate
    );
    assert_eq!(
        refused(LayerBuilder::new().symlink("a", "b").folder("a")).1,
        LayerProblem::Duplicate
    );
    // Folders are often named twice.
    World::new()
        .unpack(&[LayerBuilder::new()
            .folder("a")
            .file("a/b", b"")
            .folder("a/")
            .done()])
        .unwrap();
}

#[test]
fn pax_headers_must_make_sense() {
    let with =
        |records: &[(&str, &[u8])]| refused(LayerBuilder::new().pax(records).file("x", b"1")).1;
    assert!(matches!(with(&[("size", b"-1")]), LayerProblem::Pax(_)));
    assert!(matches!(with(&[("size", b"+1")]), LayerProblem::Pax(_)));
    assert!(matches!(
        with(&[("size", b"99999999999999999999999")]),
        LayerProblem::Pax(_)
    ));
    assert!(matches!(with(&[("mtime", b"soon")]), LayerProblem::Pax(_)));
    assert!(matches!(
        with(&[("path", b"a"), ("path", b"b")]),
        LayerProblem::Pax(_)
    ));
    assert_eq!(with(&[("path", b"")]), LayerProblem::Name);
    assert_eq!(with(&[("path", b"a\0b")]), LayerProblem::Name);
    for body in [
        &b"5 a=b\n"[..],
        b"x a=b\n",
        b"999 a=b\n",
        b"6 a=bc",
        b"0 \n",
        b"7 =abc\n",
        b"18446744073709551616 a=b\n",
        b"3 \n",
    ] {
        let layer = LayerBuilder::new()
            .raw(b'x', b"p", b"", 0, body)
            .file("x", b"1");
        assert!(matches!(refused(layer).1, LayerProblem::Pax(_)), "{body:?}");
    }
    let global = LayerBuilder::new()
        .raw(b'g', b"p", b"", 0, &pax_body(&[("path", b"a")]))
        .file("x", b"1");
    assert!(matches!(refused(global).1, LayerProblem::Pax(_)));
    let twice = LayerBuilder::new()
        .pax(&[("comment", b"a")])
        .pax(&[("comment", b"b")])
        .file("x", b"1");
    assert!(matches!(refused(twice).1, LayerProblem::Header(_)));
    let alone = LayerBuilder::new().file("x", b"1").pax(&[("path", b"a")]);
    assert_eq!(refused(alone).1, LayerProblem::Truncated);
    let huge = LayerBuilder::new()
        .raw(b'x', b"p", b"", 0, &vec![b'x'; 2 << 20])
        .file("x", b"1");
    assert!(matches!(refused(huge).1, LayerProblem::Pax(_)));
    // What git archive and other tools write is fine.
    let comment = LayerBuilder::new()
        .raw(b'g', b"p", b"", 0, &pax_body(&[("comment", b"x")]))
        .file("x", b"1");
    World::new().unpack(&[comment.done()]).unwrap();
}

/// A layer whose only header is changed, with a right checksum again.
fn with_header(change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut layer = LayerBuilder::new().file("x", b"1").done();
    change(&mut layer[..512]);
    layer[148..156].copy_from_slice(b"        ");
    let sum: u32 = layer[..512].iter().map(|b| u32::from(*b)).sum();
    layer[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    layer
}

#[test]
fn headers_must_make_sense() {
    let problem = |layer: Vec<u8>| refused_with(Limits::default(), &[layer]).1;
    let size = |field: [u8; 12]| {
        problem(with_header(|header| {
            header[124..136].copy_from_slice(&field);
        }))
    };
    assert_eq!(
        size([0xff; 12]),
        LayerProblem::Header("a number in it is negative")
    );
    assert_eq!(
        size(*b"-0000000001\0"),
        LayerProblem::Header("its size is no number")
    );
    assert_eq!(
        size(*b"9\0\0\0\0\0\0\0\0\0\0\0"),
        LayerProblem::Header("its size is no number")
    );
    let mut huge = [0x80; 12];
    huge[1] = 1;
    assert_eq!(size(huge), LayerProblem::Header("its size is no number"));
    assert!(matches!(
        size(*b"77777777777\0"),
        LayerProblem::Truncated | LayerProblem::FileSize(_)
    ));
    assert!(matches!(
        problem(with_header(
            |header| header[257..265].copy_from_slice(b"USTAR\x0000")
        )),
        LayerProblem::Header(_)
    ));
    assert!(matches!(
        problem(with_header(|header| header[156] = b'5')),
        LayerProblem::Header(_)
    ));
    assert!(matches!(
        problem(with_header(|header| header[156] = b'2')),
        LayerProblem::Header(_)
    ));
    let mut sum = LayerBuilder::new().file("x", b"1").done();
    sum[148] ^= 1;
    assert_eq!(problem(sum), LayerProblem::Header("its checksum is wrong"));
}

#[test]
fn nothing_stands_behind_the_end() {
    let problem = |layer: Vec<u8>| refused_with(Limits::default(), &[layer]).1;
    let good = || LayerBuilder::new().file("x", b"1").done();
    let second = [good(), LayerBuilder::new().file("../evil", b"1").done()].concat();
    assert_eq!(problem(second), LayerProblem::Trailing);
    let mut cut = good();
    cut.truncate(700);
    assert_eq!(problem(cut), LayerProblem::Truncated);
    let mut byte = good();
    byte.push(1);
    assert_eq!(problem(byte), LayerProblem::Trailing);
    // Packed: behind the stream.
    for packing in [Packing::Gzip, Packing::Zstd] {
        let (kind, mut packed) = common::pack(&good(), packing);
        packed.extend_from_slice(b"trailing garbage that nobody asked for");
        let image = Image::new(&[(good(), packing)]);
        let image = Image::with(image.config, vec![(kind, packed)], vec![]);
        let world = World::new();
        match world.unpack_image(&image) {
            Err(Error::Layer {
                problem: LayerProblem::Compression(_),
                ..
            }) => assert_eq!(world.contents(), Vec::<String>::new()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn limits_hold() {
    let limits = Limits {
        entries: 50,
        total_bytes: 1 << 20,
        file_bytes: 1 << 16,
        path_bytes: 100,
        depth: 10,
        ..Limits::default()
    };
    let one = |layer: LayerBuilder| refused_with(limits, &[layer.done()]).1;
    let many = |from: u32, to: u32| {
        (from..to).fold(LayerBuilder::new(), |layer, n| {
            layer.file(&format!("f{n}"), b"")
        })
    };
    assert_eq!(one(many(0, 51)), LayerProblem::Entries(50));
    assert_eq!(
        refused_with(limits, &[many(0, 30).done(), many(30, 60).done()]).1,
        LayerProblem::Entries(50)
    );
    // Folders that only follow from names count, too.
    let deep = (0..8).fold(LayerBuilder::new(), |layer, n| {
        layer.file(&format!("{n}/a/b/c/d/e/f/g"), b"")
    });
    assert_eq!(one(deep), LayerProblem::Entries(50));
    assert_eq!(
        one(LayerBuilder::new().file("big", &vec![7; (1 << 16) + 1])),
        LayerProblem::FileSize(1 << 16)
    );
    let total = (0..20).fold(LayerBuilder::new(), |layer, n| {
        layer.file(&format!("f{n}"), &vec![n; 60_000])
    });
    assert_eq!(one(total), LayerProblem::TotalSize(1 << 20));
    let too_long = LayerProblem::TooLong {
        bytes: 100,
        depth: 10,
    };
    assert_eq!(
        one(LayerBuilder::new().file("a/b/c/d/e/f/g/h/i/j/k", b"")),
        too_long
    );
    let long = "x/".repeat(51);
    assert_eq!(
        one(LayerBuilder::new()
            .pax(&[("path", long.as_bytes())])
            .file("x", b"")),
        too_long
    );
    assert_eq!(
        one(LayerBuilder::new()
            .pax(&[("path", &[b'x'; 256])])
            .file("x", b"")),
        too_long
    );
    let names = (0..40).fold(LayerBuilder::new(), |layer, n| {
        layer.pax(&[("linkpath", &[b'x'; 99])]).raw(
            b'2',
            format!("l{n}").as_bytes(),
            b"y",
            0o777,
            b"",
        )
    });
    World::with(limits).unpack(&[names.done()]).unwrap();
}

#[test]
fn a_bomb_does_not_go_off() {
    let zeros = vec![0; 100 << 20];
    let problem = refused(LayerBuilder::new().file("bomb", &zeros)).1;
    assert_eq!(problem, LayerProblem::Ratio(200));
}

#[test]
fn a_million_entries_are_counted_not_held() {
    let limits = Limits {
        entries: 20_000,
        ..Limits::default()
    };
    let layer = (0..20_001).fold(LayerBuilder::new(), |layer, n| {
        layer.file(&format!("f{n}"), b"")
    });
    assert_eq!(
        refused_with(limits, &[layer.done()]).1,
        LayerProblem::Entries(20_000)
    );
}

#[test]
fn an_earlier_layer_stays_usable_after_a_hostile_one() {
    let world = World::new();
    let good = LayerBuilder::new().file("a", b"a").done();
    world
        .unpack(&[good.clone(), LayerBuilder::new().file("../x", b"").done()])
        .unwrap_err();
    let tree = world.unpack(&[good]).unwrap().tree;
    assert_eq!(fs::read(tree.path.join("a")).unwrap(), b"a");
}
