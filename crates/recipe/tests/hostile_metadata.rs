//! Metadata of images that is damaged or lies, and links in places where images lie.

mod common;

use std::fs;
use std::path::Path;

use common::{Image, LayerBuilder, Packing, World};
use recipe::oci::{ImageReader, LayoutFolder, Limits, Platform, Tarball};
use recipe::{Digest, Error, LayerProblem};

#[test]
fn metadata_that_makes_no_sense_is_refused() {
    let image = Image::new(&[(LayerBuilder::new().done(), Packing::Plain)]);
    let with_config = |config: &str| {
        World::new().unpack_image(&Image::with(config.into(), image.layers.clone(), vec![]))
    };
    for config in [
        "",
        "{}",
        "[]",
        r#"{"rootfs": {"diff_ids": []}}"#,
        r#"{"rootfs": {"diff_ids": ["sha256:12"]}}"#,
        r#"{"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": []}}"#,
        r#"{"config": {"Env": ["=x"]}, "rootfs": {"diff_ids": []}}"#,
    ] {
        assert!(
            matches!(with_config(config), Err(Error::Image { .. })),
            "{config}"
        );
    }
    let many = vec![image.layers[0].clone(); 300];
    assert!(matches!(
        World::new().unpack_image(&Image::with(image.config.clone(), many, vec![])),
        Err(Error::Image { .. })
    ));
    let index = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        image.layout(folder.path());
        fs::write(folder.path().join("index.json"), text).unwrap();
        LayoutFolder::open(folder.path())
            .unwrap()
            .info(&Platform::here(), None, &Limits::default())
            .unwrap_err()
    };
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    let both = manifest.replacen('{', r#"{"manifests": [], "#, 1);
    let digest = Digest::of(both.as_bytes());
    for text in [
        "nonsense".to_owned(),
        "{}".to_owned(),
        r#"{"manifests": []}"#.to_owned(),
        r#"{"schemaVersion": 1, "layers": []}"#.to_owned(),
        both,
        format!(r#"{{"manifests": [{{"digest": "{digest}", "size": 3}}]}}"#),
        r#"{"manifests": [{"digest": "sha256:../../etc/passwd", "size": 3}]}"#.to_owned(),
        r#"{"manifests": [{"digest": "sha256:x", "size": -3}]}"#.to_owned(),
    ] {
        assert!(matches!(index(&text), Error::Image { .. }), "{text}");
    }
}

#[test]
fn a_list_that_contains_itself_ends() {
    // A digest cannot contain itself; a chain that is longer than anything useful comes next to it.
    let folder = tempfile::tempdir().unwrap();
    let image = Image::new(&[(LayerBuilder::new().done(), Packing::Plain)]);
    image.layout(folder.path());
    let mut inner = image.manifest;
    for _ in 0..10 {
        let digest = Digest::of(&inner);
        fs::write(
            folder.path().join("blobs/sha256").join(digest.hex()),
            &inner,
        )
        .unwrap();
        inner = format!(
            r#"{{"manifests": [{{"digest": "{digest}", "size": {}}}]}}"#,
            inner.len()
        )
        .into_bytes();
    }
    fs::write(folder.path().join("index.json"), &inner).unwrap();
    let error = LayoutFolder::open(folder.path())
        .unwrap()
        .info(&Platform::here(), None, &Limits::default())
        .unwrap_err();
    assert!(error.to_string().contains("too deeply"), "{error}");
}

#[test]
fn links_in_a_layout_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::new(&[(LayerBuilder::new().done(), Packing::Plain)]);
    image.layout(folder.path());
    let blob = folder
        .path()
        .join("blobs/sha256")
        .join(Digest::of(&image.config).hex());
    fs::rename(&blob, folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../../elsewhere", &blob).unwrap();
    let result = LayoutFolder::open(folder.path()).unwrap().info(
        &Platform::here(),
        None,
        &Limits::default(),
    );
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

#[test]
fn links_in_a_tarball_stay_in_it() {
    let world = World::new();
    for target in ["/etc/passwd", "../../etc/passwd"] {
        let path = world.folder.path().join("saved.tar");
        fs::write(
            &path,
            LayerBuilder::new().symlink("0/layer.tar", target).done(),
        )
        .unwrap();
        // One `..` leads to the top; two lead out.
        let result = Tarball::open(&path, &world.store);
        assert!(
            matches!(
                result,
                Err(Error::Layer {
                    problem: LayerProblem::Climbs,
                    ..
                })
            ),
            "{result:?}"
        );
    }
    let path = world.folder.path().join("loop.tar");
    fs::write(
        &path,
        LayerBuilder::new()
            .symlink("manifest.json", "manifest.json")
            .done(),
    )
    .unwrap();
    let tarball = Tarball::open(&path, &world.store).unwrap();
    assert!(
        tarball
            .info(&Platform::here(), None, &Limits::default())
            .is_err()
    );
    assert!(Tarball::open(Path::new("/dev/zero"), &world.store).is_err());
}
