//! Images that tests build, in all forms.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use recipe::Digest;
use recipe::oci::{ImageStore, LayoutFolder, Limits, Platform, StoreOptions, Unpacked};

/// A layer's archive being written.
pub(crate) struct LayerBuilder(tar::Builder<Vec<u8>>);

/// How a layer is stored.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A file system for one image.
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    /// As stored, with media types.
    pub(crate) layers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) plain: Vec<Vec<u8>>,
}

impl LayerBuilder {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// An entry with any header: name and target are written as they are.
    pub(crate) fn raw(
        mut self,
        kind: u8,
        name: &[u8],
        target: &[u8],
        mode: u32,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[156] = kind;
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(b'0', name.as_bytes(), b"", 0o644, content)
    }

    pub(crate) fn program(self, name: &str, content: &[u8]) -> Self {
        self.raw(b'0', name.as_bytes(), b"", 0o755, content)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.raw(b'5', name.as_bytes(), b"", 0o755, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    /// A pax header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.raw(b'x', b"pax", b"", 0o644, &pax_body(records))
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn pax_body(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        body.extend_from_slice(format!("{length} {key}=").as_bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    body
}

pub(crate) fn pack(plain: &[u8], packing: Packing) -> (&'static str, Vec<u8>) {
    match packing {
        Packing::Plain => ("application/vnd.oci.image.layer.v1.tar", plain.to_vec()),
        Packing::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                encoder.finish().unwrap(),
            )
        }
        Packing::Zstd => {
            let packed = ruzstd::encoding::compress_to_vec(
                plain,
                ruzstd::encoding::CompressionLevel::Fastest,
            );
            ("application/vnd.oci.image.layer.v1.tar+zstd", packed)
        }
    }
}

impl Image {
    pub(crate) fn new(layers: &[(Vec<u8>, Packing)]) -> Self {
        let Platform { os, architecture } = Platform::here();
        let stored: Vec<_> = layers
            .iter()
            .map(|(plain, packing)| pack(plain, *packing))
            .collect();
        let plain: Vec<_> = layers.iter().map(|(plain, _)| plain.clone()).collect();
        let diff_ids: Vec<_> = plain.iter().map(|plain| Digest::of(plain)).collect();
        let config = serde_json::json!({
            "architecture": architecture, "os": os,
            "config": {"Env": ["PATH=/usr/bin:/bin", "A=b=c"], "WorkingDir": "/srv", "User": "1000"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self::with(serde_json::to_vec(&config).unwrap(), stored, plain)
    }

    pub(crate) fn with(
        config: Vec<u8>,
        layers: Vec<(&'static str, Vec<u8>)>,
        plain: Vec<Vec<u8>>,
    ) -> Self {
        let describe = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(|(kind, bytes)| describe(kind, bytes)).collect::<Vec<_>>(),
        });
        Self {
            config,
            manifest: serde_json::to_vec(&manifest).unwrap(),
            layers,
            plain,
        }
    }

    /// A list with this image for this machine, and another for a machine that nobody has.
    pub(crate) fn list(&self) -> Vec<u8> {
        let Platform { os, architecture } = Platform::here();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let list = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"mediaType": kind, "digest": Digest::of(b"other"), "size": 5, "platform": {"os": "linux", "architecture": "vax"}},
                {"mediaType": kind, "digest": Digest::of(&self.manifest), "size": self.manifest.len(), "platform": {"os": os, "architecture": architecture}},
            ],
        });
        serde_json::to_vec(&list).unwrap()
    }

    /// All blobs.
    pub(crate) fn blobs(&self) -> Vec<&[u8]> {
        let layers = self.layers.iter().map(|(_, bytes)| bytes.as_slice());
        [self.config.as_slice(), &self.manifest]
            .into_iter()
            .chain(layers)
            .collect()
    }

    pub(crate) fn layout(&self, folder: &Path) -> PathBuf {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.blobs() {
            fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
        }
        fs::write(
            folder.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        fs::write(folder.join("index.json"), self.list()).unwrap();
        folder.to_owned()
    }

    /// A tarball of a layout.
    pub(crate) fn tarball(&self) -> Vec<u8> {
        let mut tarball = LayerBuilder::new().folder("blobs/").folder("blobs/sha256/");
        for blob in self.blobs() {
            tarball = tarball.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
        }
        tarball
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", &self.list())
            .done()
    }

    /// As `docker save` wrote it before it wrote layouts: the second layer is a link to the first if equal.
    pub(crate) fn saved(&self) -> Vec<u8> {
        let config = format!("{}.json", Digest::of(&self.config).hex());
        let mut tarball = LayerBuilder::new().file(&config, &self.config);
        let mut names = Vec::new();
        for (number, plain) in self.plain.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            tarball = match self.plain[..number].iter().position(|other| other == plain) {
                Some(first) => tarball.symlink(&name, &format!("../{first}/layer.tar")),
                None => tarball.file(&name, plain),
            };
            names.push(name);
        }
        let manifest =
            serde_json::json!([{"Config": config, "RepoTags": ["x:1"], "Layers": names}]);
        tarball
            .file("manifest.json", &serde_json::to_vec(&manifest).unwrap())
            .done()
    }
}

/// A store in a folder of its own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), limits);
        Self { folder, store }
    }

    /// Unpacks an image of these layers.
    pub(crate) fn unpack(&self, layers: &[Vec<u8>]) -> Result<Unpacked, recipe::Error> {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| (layer.clone(), Packing::Gzip))
            .collect();
        self.unpack_image(&Image::new(&layers))
    }

    pub(crate) fn unpack_image(&self, image: &Image) -> Result<Unpacked, recipe::Error> {
        let layout = tempfile::tempdir_in(self.folder.path()).unwrap();
        let layout = LayoutFolder::open(&image.layout(layout.path()))?;
        self.store.unpack(&layout, &Platform::here(), None)
    }

    /// Everything in the store but empty folders, with sizes.
    pub(crate) fn contents(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![self.folder.path().join("store")];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    left.push(path);
                } else if !path.ends_with("store/lock") {
                    found.push(
                        path.strip_prefix(self.folder.path())
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        found.sort();
        found
    }
}

pub(crate) fn open(folder: &Path, limits: Limits) -> ImageStore {
    let options = StoreOptions {
        limits,
        durable: false,
        ..StoreOptions::default()
    };
    ImageStore::open(&folder.join("store"), options).unwrap()
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Says that a test cannot run here; fails where everything is required.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(),
        "required, but {reason}"
    );
    println!("SKIP {reason}");
}

/// A lower layer with some of everything.
pub(crate) fn base() -> Vec<u8> {
    LayerBuilder::new()
        .folder("./")
        .folder("./bin/")
        .program("bin/tool", b"#!/bin/sh\necho base\n")
        .folder("etc")
        .file("etc/a", b"a")
        .file("etc/b", b"b")
        .folder("var/")
        .file("var/old", b"old")
        .symlink("lib", "usr/lib")
        .hard_link("bin/tool2", "bin/tool")
        .done()
}

/// A layer that changes it.
pub(crate) fn upper() -> Vec<u8> {
    LayerBuilder::new()
        .file("etc/.wh.a", b"")
        .file("etc/c", b"c")
        .file("var/.wh..wh..opq", b"")
        .file("var/new", b"new")
        .program("bin/tool", b"#!/bin/sh\necho upper\n")
        .hard_link("bin/tool3", "bin/tool2")
        .file("usr/share/deep/file", b"deep")
        .done()
}

pub(crate) fn image() -> Image {
    Image::new(&[
        (base(), Packing::Gzip),
        (upper(), Packing::Zstd),
        (base_again(), Packing::Plain),
    ])
}

pub(crate) fn base_again() -> Vec<u8> {
    LayerBuilder::new().file("last", b"last").done()
}

pub(crate) fn text(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}
