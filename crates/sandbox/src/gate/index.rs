//! What names, paths and packages mean in a root: found by walking the folders it is made of, without
//! opening a file.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use super::policy::TargetAt;
use crate::exec_policy::{ExecPolicy, ExecTarget};
use crate::layer::spot::Spot;
use crate::sys::attribute;
use crate::sys::mounts::Mount;

/// Most files and folders of a root that are looked at.
const MAX_ENTRIES: usize = 4_000_000;
/// Most links followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Largest list of a package that is read.
const MAX_LIST: u64 = 64 << 20;

/// The folders a root is made of.
#[derive(Debug, Default)]
pub(crate) struct Root {
    /// Where each is shown, and the host's folder; of several for one place the highest first.
    layers: Vec<(PathBuf, PathBuf)>,
    top: Option<PathBuf>,
    tree: OnceLock<Tree>,
    sizes: OnceLock<HashMap<u64, Vec<PathBuf>>>,
}

/// A file that a target means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Inside.
    pub(crate) inside: PathBuf,
    /// On the host.
    pub(crate) host: PathBuf,
}

/// Names of everything below the layers, in a few flat tables.
#[derive(Debug, Default)]
struct Tree {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Index of the folder, or [`TOP`] in a layer.
    parent: u32,
    layer: u16,
    folder: bool,
    name: u32,
    length: u16,
}

const TOP: u32 = u32::MAX;

impl Root {
    /// The root of an environment, or of a template mounted at `top`, from its mounts.
    pub(crate) fn of(mounts: &[Mount], top: &Path) -> Self {
        let mut layers = Vec::new();
        for mount in mounts {
            let Ok(inside) = mount.at.strip_prefix(top) else {
                continue;
            };
            if mount.kind == "overlay" && !mount.is_writable_overlay() {
                let inside = Path::new("/").join(inside);
                // What was named by a descriptor of the mounting process cannot be found again.
                let lowers = mount.lowers().into_iter();
                let named = lowers.filter(|lower| !lower.starts_with("/proc"));
                layers.extend(named.map(|lower| (inside.clone(), lower)));
            }
        }
        // The deepest first, so that the first prefix that fits is the right one.
        layers.sort_by_key(|(inside, _)| std::cmp::Reverse(inside.components().count()));
        Self {
            layers,
            ..Self::default()
        }
    }

    /// Adds trees that are shown as the whole root, the highest first.
    pub(crate) fn with_trees(mut self, trees: &[PathBuf]) -> Self {
        let whole = |tree: &PathBuf| (PathBuf::from("/"), tree.clone());
        self.layers.extend(trees.iter().map(whole));
        self
    }

    /// Adds the folder that shows what is in no layer: links like `/bin`, above all. Its files are
    /// never opened: a gate that waits for its own answer would wait for ever.
    pub(crate) fn with_top(mut self, top: PathBuf) -> Self {
        self.layers.push((PathBuf::from("/"), top.clone()));
        self.top = Some(top);
        self
    }

    /// The layers of the mount that shows a path inside, highest first, and the path's rest in them.
    fn stack<'a>(&'a self, inside: &'a Path) -> (Vec<&'a Path>, &'a Path) {
        let fits = |(at, _): &&(PathBuf, PathBuf)| inside.starts_with(at);
        let Some((at, _)) = self.layers.iter().find(fits) else {
            return (Vec::new(), inside);
        };
        let layers = self.layers.iter().filter(|(layer, _)| layer == at);
        let rest = inside.strip_prefix(at).unwrap_or(inside);
        (layers.map(|(_, host)| host.as_path()).collect(), rest)
    }

    /// What is shown at a path inside that goes through no link: that of the highest layer which has
    /// something there, unless a higher one hides it. Where it is on the host, and what it is.
    fn shown(&self, inside: &Path) -> Option<(PathBuf, fs::Metadata)> {
        let (layers, rest) = self.stack(inside);
        if let [only] = layers.as_slice() {
            let host = below(only, rest);
            let meta = fs::symlink_metadata(&host).ok()?;
            return Some((host, meta));
        }
        for layer in layers {
            match Found::of(layer, rest) {
                Found::This(host, meta) => return Some((host, meta)),
                Found::Hidden => return None,
                Found::Nothing => {}
            }
        }
        None
    }

    /// The content of a file that package managers keep.
    fn read(&self, inside: &Path) -> Option<Vec<u8>> {
        let (host, meta) = self.shown(inside)?;
        (meta.is_file() && meta.len() <= MAX_LIST).then(|| fs::read(host).ok())?
    }

    /// The regular file a path inside leads to, through links, never leaving the root.
    pub(crate) fn follow(&self, path: &Path) -> Option<Place> {
        let mut left: VecDeque<OsString> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(&part);
            // In what a higher layer hides there may be a link too.
            let shown = self.shown(&at).filter(|(_, meta)| meta.is_symlink());
            let Some(link) = shown.and_then(|(host, _)| fs::read_link(host).ok()) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if link.is_absolute() {
                at = PathBuf::from("/");
            } else {
                at.pop();
            }
            for part in parts(&link).into_iter().rev() {
                left.push_front(part);
            }
        }
        let of_top = |host: &PathBuf| self.top.as_ref().is_some_and(|top| host.starts_with(top));
        let (host, meta) = self.shown(&at)?;
        (meta.is_file() && !of_top(&host)).then_some(Place { inside: at, host })
    }

    fn tree(&self) -> &Tree {
        self.tree.get_or_init(|| {
            let mut tree = Tree::default();
            for (number, (inside, host)) in self.layers.iter().enumerate() {
                // The top itself holds what environments get from us, and mount points.
                if inside != Path::new("/") || number + 1 < self.layers.len() {
                    tree.walk(number as u16, host);
                }
            }
            tree
        })
    }

    fn path_of(&self, entry: &Entry) -> PathBuf {
        let mut names = vec![self.tree().name(entry)];
        let mut parent = entry.parent;
        while let Some(folder) = self.tree().entries.get(parent as usize) {
            names.push(self.tree().name(folder));
            parent = folder.parent;
        }
        let mut path = self.layers[usize::from(entry.layer)].0.clone();
        path.extend(names.into_iter().rev().map(OsStr::from_bytes));
        path
    }

    /// Every place a target means.
    pub(crate) fn find(&self, target: &ExecTarget) -> Vec<Place> {
        let mut found: Vec<Place> = match target {
            ExecTarget::Name(name) => self
                .tree()
                .named(name.as_bytes())
                .filter_map(|entry| self.follow(&self.path_of(entry)))
                .collect(),
            ExecTarget::Path(path) => self.follow(Path::new(path)).into_iter().collect(),
            ExecTarget::Package(name) => self.package(name),
            ExecTarget::Digest(_) => Vec::new(),
        };
        found.sort_by(|one, other| one.inside.cmp(&other.inside));
        found.dedup();
        found
    }

    fn package(&self, name: &str) -> Vec<Place> {
        let mut found = self.debian(name);
        // A scoped package is a folder in a folder.
        let last = name.rsplit('/').next().unwrap_or(name);
        let modules = Path::new("node_modules").join(name);
        for entry in self
            .tree()
            .named(last.as_bytes())
            .filter(|entry| entry.folder)
        {
            let path = self.path_of(entry);
            if path.ends_with(&modules) {
                self.executables_below(&path, &mut found);
            }
        }
        for entry in self.tree().named(b"RECORD") {
            let path = self.path_of(entry);
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            let stem = folder.to_string_lossy().to_lowercase().replace('-', "_");
            if stem.starts_with(&format!("{}_", name.to_lowercase().replace('-', "_")))
                && stem.ends_with(".dist_info")
            {
                self.python(&path, &mut found);
            }
        }
        found
    }

    /// Files of a Debian package: dpkg keeps a list of each.
    fn debian(&self, name: &str) -> Vec<Place> {
        if name.contains('/') {
            return Vec::new();
        }
        let lists = Path::new("/var/lib/dpkg/info");
        // A root of the host's /usr has the host's packages, whose lists lie beside it.
        let of_host = self
            .layers
            .iter()
            .any(|(_, host)| host == Path::new("/usr"));
        let names = [
            format!("{name}.list"),
            format!("{name}:amd64.list"),
            format!("{name}:arm64.list"),
        ];
        let list = names
            .iter()
            .map(|name| lists.join(name))
            .find_map(|path| {
                let shown = self.read(&path);
                shown.or_else(|| of_host.then(|| fs::read(&path).ok())?)
            })
            .unwrap_or_default();
        list.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .filter_map(|line| self.follow(Path::new(OsStr::from_bytes(line))))
            .filter(is_executable)
            .collect()
    }

    /// Files of a Python distribution: its RECORD names them, relative to the folder it lies below.
    fn python(&self, record: &Path, found: &mut Vec<Place>) {
        let Some(base) = record.parent().and_then(Path::parent) else {
            return;
        };
        let text = self.read(record).unwrap_or_default();
        let files = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.split(|byte| *byte == b',').next())
            .filter(|name| !name.is_empty())
            .filter_map(|name| self.follow(&base.join(OsStr::from_bytes(name))));
        found.extend(files.filter(is_executable));
    }

    fn executables_below(&self, folder: &Path, found: &mut Vec<Place>) {
        let (layers, rest) = self.stack(folder);
        for layer in layers {
            let Ok(top) = Spot::top(layer) else {
                continue;
            };
            let mut folders = vec![(top.at(rest.to_owned()), folder.to_owned())];
            while let Some((spot, inside)) = folders.pop() {
                // Through no link: what a higher layer hides may lead anywhere.
                let listed = spot.folder().and_then(|(grip, _)| grip.list());
                for entry in listed.into_iter().flatten().flatten() {
                    let (name, kind) = (entry.file_name(), entry.file_type());
                    let inside = inside.join(&name);
                    if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                        folders.push((spot.child(&name), inside));
                    } else if kind.is_ok_and(|kind| kind.is_file())
                        && let Some((host, meta)) = self.shown(&inside)
                        && meta.is_file()
                    {
                        let place = Place { inside, host };
                        if is_executable(&place) {
                            found.push(place);
                        }
                    }
                }
            }
        }
    }

    /// Host paths of the root's files of this size: with few of them, whether content is the root's
    /// can be said without hashing the whole root.
    pub(crate) fn of_size(&self, size: u64) -> &[PathBuf] {
        self.sizes
            .get_or_init(|| {
                let mut sizes: HashMap<u64, Vec<PathBuf>> = HashMap::new();
                for entry in self.tree().entries.iter().filter(|entry| !entry.folder) {
                    let inside = self.path_of(entry);
                    super::beat::tick();
                    if let Some((host, meta)) = self.shown(&inside)
                        && meta.is_file()
                        && meta.len() > 0
                    {
                        sizes.entry(meta.len()).or_default().push(host);
                    }
                }
                for hosts in sizes.values_mut() {
                    hosts.sort_unstable();
                    hosts.dedup();
                }
                sizes
            })
            .get(&size)
            .map_or(&[], Vec::as_slice)
    }

    /// Every target of a policy with the places it means.
    pub(crate) fn resolve(&self, policy: &ExecPolicy) -> Vec<(TargetAt, Place)> {
        super::policy::targets(policy)
            .into_iter()
            .flat_map(|(at, target)| self.find(target).into_iter().map(move |place| (at, place)))
            .collect()
    }
}

/// What one layer has at a path.
enum Found {
    /// This, and lower layers do not matter.
    This(PathBuf, fs::Metadata),
    /// A whiteout, or something over which nothing lower is seen.
    Hidden,
    Nothing,
}

impl Found {
    fn of(layer: &Path, rest: &Path) -> Self {
        let mut host = layer.to_owned();
        let mut opaque = false;
        let mut parts = rest.components().peekable();
        while let Some(part) = parts.next() {
            host.push(part);
            match fs::symlink_metadata(&host) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !opaque => {
                    return Self::Nothing;
                }
                Err(_) => return Self::Hidden,
                Ok(meta) if attribute::is_whiteout(&meta) => return Self::Hidden,
                Ok(meta) if parts.peek().is_none() => return Self::This(host, meta),
                Ok(meta) if meta.is_dir() => opaque |= is_opaque(&host),
                // A link too: where it leads is nothing of this layer.
                Ok(_) => return Self::Hidden,
            }
        }
        match fs::symlink_metadata(&host) {
            Ok(meta) => Self::This(host, meta),
            Err(_) => Self::Nothing,
        }
    }
}

/// Whether a folder hides what is below it. Overlays of root and of others say so differently.
fn is_opaque(folder: &Path) -> bool {
    [c"user.overlay.opaque", c"trusted.overlay.opaque"]
        .iter()
        .any(|name| attribute::get(folder, name).is_ok_and(|value| value.as_deref() == Some(b"y")))
}

fn below(host: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        host.to_owned()
    } else {
        host.join(rest)
    }
}

/// Whether a file of a package can execute: by mode or by name.
fn is_executable(place: &Place) -> bool {
    super::content::is_script_name(place.inside.as_os_str().as_bytes())
        || fs::symlink_metadata(&place.host).is_ok_and(|meta| {
            meta.is_file() && meta.size() > 0 && meta.permissions().mode() & 0o111 != 0
        })
        || place
            .inside
            .extension()
            .is_some_and(|ending| ending == "so")
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

impl Tree {
    fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.name as usize;
        &self.names[start..start + usize::from(entry.length)]
    }

    fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Entry> + 'a {
        self.entries
            .iter()
            .filter(move |entry| self.name(entry) == name)
    }

    fn walk(&mut self, layer: u16, top: &Path) {
        let mut folders = vec![(top.to_owned(), TOP)];
        while let Some((path, parent)) = folders.pop() {
            super::beat::tick();
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                if self.entries.len() >= MAX_ENTRIES {
                    return;
                }
                let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let name = entry.file_name().into_vec();
                let number = self.entries.len() as u32;
                self.entries.push(Entry {
                    parent,
                    layer,
                    folder,
                    name: self.names.len() as u32,
                    length: name.len() as u16,
                });
                self.names.extend(name);
                if folder {
                    folders.push((entry.path(), number));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
