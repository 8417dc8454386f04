//! The guest's kernel: finding one, and the modules that go with it.

use std::cmp::Ordering;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::VmError;

/// Where a kernel of Debian's cloud flavour is installed.
pub(super) const INSTALLED: &str = "/";
/// What to do where there is none.
pub(super) const CURE: &str = "apt-get install linux-image-cloud-amd64, or unpack that package somewhere (dpkg -x) and name the folder";

/// Modules a guest may need, those that others depend on first. Those that are built into the kernel
/// have no file and are left out.
const WANTED: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_console",
    "rng-core",
    "virtio-rng",
    "fuse",
    "virtiofs",
    "netfs",
    "fscache",
    "9pnet",
    "9pnet_virtio",
    "9p",
    "overlay",
];
/// Deepest folder and most files of a module tree that are looked at.
const MAX_DEPTH: usize = 12;
const MAX_FILES: usize = 100_000;

/// A kernel and the folder of its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The image, in the form boot loaders take.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`, when it was found.
    pub modules: Option<PathBuf>,
}

impl Kernel {
    /// The kernel at `path`: an image, or a folder into which a kernel package was unpacked (or a
    /// system's root), of which the newest cloud kernel is taken, else the newest.
    ///
    /// # Errors
    /// [`VmError::Missing`] when there is none, [`VmError::File`] when it cannot be read or is no
    /// kernel.
    pub fn find(path: &Path) -> Result<Self, VmError> {
        let image = if path.is_dir() {
            newest(&path.join("boot")).ok_or_else(|| missing(path))?
        } else {
            path.to_owned()
        };
        let image = fs::canonicalize(&image).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => missing(path),
            _ => file("open", &image, source),
        })?;
        check(&image)?;
        let release = image
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("vmlinuz-"))
            .map(str::to_owned);
        let modules = release.and_then(|release| {
            let root = image.parent()?.parent()?;
            let folders = [root.join("lib/modules"), root.join("usr/lib/modules")];
            folders
                .into_iter()
                .map(|folder| folder.join(&release))
                .find(|folder| folder.is_dir())
        });
        Ok(Self { image, modules })
    }

    /// The modules a guest may need, in order: file name and content.
    pub(super) fn module_files(&self) -> Result<Vec<(String, Vec<u8>)>, VmError> {
        let Some(folder) = &self.modules else {
            return Ok(Vec::new());
        };
        let files = walk(folder).map_err(|source| file("list", folder, source))?;
        let mut found = Vec::new();
        for wanted in WANTED {
            let wanted = wanted.replace('-', "_");
            let matching = files.iter().find(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.and_then(|name| name.split_once(".ko"))
                    .is_some_and(|(stem, _)| stem.replace('-', "_") == wanted)
            });
            if let Some(path) = matching {
                let content = fs::read(path).map_err(|source| file("read", path, source))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                found.push((name.into_owned(), content));
            }
        }
        Ok(found)
    }
}

fn missing(path: &Path) -> VmError {
    VmError::Missing {
        what: format!("a guest kernel at {}", path.display()),
        cure: CURE.to_owned(),
    }
}

fn file(action: &'static str, path: &Path, source: io::Error) -> VmError {
    VmError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Refuses what no boot loader would start. The mark is that of `Documentation/arch/x86/boot.rst`;
/// other architectures' images have none that is common to all.
fn check(image: &Path) -> Result<(), VmError> {
    let mut head = [0; 0x206];
    let read = fs::File::open(image).and_then(|mut image| image.read_exact(&mut head));
    match read {
        Ok(()) if cfg!(not(target_arch = "x86_64")) || head.ends_with(b"HdrS") => Ok(()),
        Ok(()) => Err(file(
            "start the kernel",
            image,
            io::Error::new(io::ErrorKind::InvalidData, "it is not a Linux kernel image"),
        )),
        Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => Err(file(
            "start the kernel",
            image,
            io::Error::new(io::ErrorKind::InvalidData, "it is not a Linux kernel image"),
        )),
        Err(source) => Err(file("read", image, source)),
    }
}

fn newest(boot: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(boot).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.starts_with("vmlinuz-").then_some(name)
    });
    names
        .max_by(|one, other| {
            let cloud = |name: &str| name.contains("cloud");
            cloud(one)
                .cmp(&cloud(other))
                .then_with(|| by_version(one, other))
        })
        .map(|name| boot.join(name))
}

/// Compares runs of digits by value.
fn by_version(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    numbers(one).cmp(&numbers(other))
}

fn walk(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() && files.len() < MAX_FILES {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(path: &Path) {
        let mut content = vec![0; 0x202];
        content.extend_from_slice(b"HdrS");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn the_newest_cloud_kernel_is_taken_with_its_modules() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        for name in ["6.1.9-cloud", "6.1.10-cloud", "6.12.1-generic"] {
            image(&root.join("boot").join(format!("vmlinuz-{name}")));
        }
        let folder = root.join("lib/modules/6.1.10-cloud/kernel/fs");
        fs::create_dir_all(&folder).unwrap();
        for name in ["overlay.ko.xz", "virtio_rng.ko", "other.ko"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let kernel = Kernel::find(&root).unwrap();
        assert_eq!(kernel.image, root.join("boot/vmlinuz-6.1.10-cloud"));
        let names: Vec<String> = kernel
            .module_files()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["virtio_rng.ko", "overlay.ko.xz"]);
    }

    #[test]
    fn a_kernel_that_is_absent_or_none_is_named() {
        let place = tempfile::tempdir().unwrap();
        let error = Kernel::find(place.path()).unwrap_err();
        assert!(matches!(error, VmError::Missing { .. }), "{error}");
        let error = Kernel::find(&place.path().join("absent")).unwrap_err();
        assert!(matches!(error, VmError::Missing { .. }), "{error}");
        let text = place.path().join("text");
        fs::write(&text, "no kernel").unwrap();
        let error = Kernel::find(&text).unwrap_err();
        assert!(matches!(error, VmError::File { .. }), "{error}");
    }
}
