//! A root from a tree of its own: an unpacked image or a folder, under a layer of ours that has what
//! environments mount something on and what must not be the tree's.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Show, Template, Wanted, etc};
use crate::layer::{UPPER, give, tree::make_opaque};
use crate::message::{Failure, Stage};
use crate::spec::RootRecipe;
use crate::sys::{attribute, c_path, file, mount};

/// Folders of the layer that hide the tree's.
const HIDING: &[&str] = &[
    "dev",
    "home",
    "mnt",
    "nightcrew",
    "proc",
    "run",
    "sys",
    "tmp",
    "work",
];

/// Folders that environments mount something on.
const FOLDERS: &[&str] = &[
    "dev/pts",
    "dev/shm",
    "etc",
    "home/agent",
    "nightcrew/bin",
    "nightcrew/etc",
    "nightcrew/in",
    "nightcrew/out",
];

/// Files that nothing inside may read, though an image may have them.
const SECRET: &[&str] = &["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-"];

/// Largest account file that is taken over.
const MAX_ACCOUNTS: u64 = 1 << 20;

/// Assembles the root. Nothing of the host is in it but devices and the recipe's folders.
pub(super) fn build(number: usize, wanted: &Wanted, tree: &Path) -> Result<Template, Failure> {
    let recipe = &wanted.root;
    let root = Path::new(super::HOLDER).join(format!("root{number}"));
    let ours = Path::new(super::HOLDER).join(format!("ours{number}"));
    for folder in [&root, &ours] {
        fs::create_dir(folder).stage("make a root folder")?;
    }
    let contents = Contents::open(recipe, tree)?;
    skeleton(&ours, wanted, &contents.visible).stage("make the environment's own folders")?;
    let target = c_path(&root).stage("name the root folder")?;
    contents.mount(&ours, &target)?;
    super::devices(&root)?;
    let show = Show {
        root: &root,
        watch: wanted.watch(),
        over_tree: true,
    };
    for folder in &recipe.extra {
        show.folder(folder)?;
    }
    if recipe.writable.is_none() {
        mount::set_attributes(&target, super::READ_ONLY, true).stage("make the root read-only")?;
    }
    mount::set_propagation(&target, libc::MS_PRIVATE).stage("make the root private")?;
    Ok(Template {
        unhidden: 0,
        path: target,
    })
}

/// Gives up the root of an environment that is gone: what was made for it alone.
pub(super) fn discard(template: &Template) {
    let path = Path::new(template.path.to_str().unwrap_or_default());
    let _ = mount::detach(&template.path);
    let _ = fs::remove_dir(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(number) = name.strip_prefix("root") {
        let _ = fs::remove_dir_all(path.with_file_name(format!("ours{number}")));
    }
}

/// The folders of the host that the root is made of, opened.
struct Contents {
    /// Highest first.
    lowers: Vec<OwnedFd>,
    written: Option<[OwnedFd; 2]>,
    /// Their paths, highest first, the written one among them.
    visible: Vec<PathBuf>,
}

impl Contents {
    fn open(recipe: &RootRecipe, tree: &Path) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let stage = format!("open {}", path.display());
            let path = c_path(path).stage(&stage)?;
            file::open(&path, libc::O_PATH | libc::O_DIRECTORY).stage(&stage)
        };
        let lowers = recipe.layers.iter().rev().map(PathBuf::as_path);
        let lowers: Vec<&Path> = lowers.chain([tree]).collect();
        let written = recipe
            .writable
            .as_ref()
            .map(|layer| Ok([open(&layer.join(UPPER))?, open(&layer.join("work"))?]));
        let upper = recipe.writable.iter().map(|layer| layer.join(UPPER));
        Ok(Self {
            written: written.transpose()?,
            visible: upper
                .chain(lowers.iter().map(|path| path.to_path_buf()))
                .collect(),
            lowers: lowers.into_iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    fn mount(&self, ours: &Path, target: &CString) -> Result<(), Failure> {
        let number = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut options = format!("userxattr,lowerdir={}", ours.display());
        for lower in &self.lowers {
            options = format!("{options}:{}", number(lower));
        }
        if let Some([upper, work]) = &self.written {
            let (upper, work) = (number(upper), number(work));
            options = format!("{options},upperdir={upper},workdir={work},volatile");
        }
        let options = CString::new(options).unwrap_or_default();
        let kind = Some(c"overlay");
        mount::mount(c"root", target, kind, mount::PLAIN, Some(&options))
            .stage("mount the root's tree as an overlay")
    }
}

/// Fills the layer of ours, which is the highest but the written one.
fn skeleton(ours: &Path, wanted: &Wanted, below: &[PathBuf]) -> io::Result<()> {
    fs::set_permissions(ours, fs::Permissions::from_mode(0o755))?;
    give(ours)?;
    for folder in HIDING {
        make(ours, Path::new(folder))?;
        make_opaque(&ours.join(folder))?;
    }
    let targets = wanted.targets.iter().chain(&wanted.root.extra);
    let targets = targets.filter_map(|path| path.strip_prefix("/").ok());
    for folder in FOLDERS.iter().map(Path::new).chain(targets) {
        make(ours, folder)?;
    }
    for file in super::FILES {
        fs::write(ours.join(file), "")?;
    }
    super::device_links(&ours.join("dev"))?;
    for name in super::DEVICES {
        fs::write(ours.join("dev").join(name), "")?;
    }
    for secret in SECRET {
        attribute::make_node(&ours.join(secret), libc::S_IFCHR)?;
    }
    symlink("/proc/mounts", ours.join("etc/mtab"))?;
    for name in ["hosts", "hostname", "resolv.conf"] {
        write(ours, name, etc::generated(name))?;
    }
    for (name, change) in [
        ("passwd", agent_first as fn(&str) -> String),
        ("group", str::to_owned as fn(&str) -> String),
    ] {
        let own = below.iter().find_map(|layer| read(layer, name));
        let text = own.map_or_else(|| etc::generated(name).to_owned(), |text| change(&text));
        write(ours, name, &text)?;
    }
    Ok(())
}

fn write(ours: &Path, name: &str, content: &str) -> io::Result<()> {
    let path = ours.join("etc").join(name);
    fs::write(&path, content)?;
    give(&path)
}

/// Makes a folder and those above it.
fn make(ours: &Path, folder: &Path) -> io::Result<()> {
    let mut path = ours.to_owned();
    for part in folder {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => outcome.and_then(|()| give(&path))?,
        }
    }
    Ok(())
}

/// An account file of a layer, unless it is anything but a file of moderate size. No link is
/// followed: it would lead to the host's.
fn read(layer: &Path, name: &str) -> Option<String> {
    let etc = layer.join("etc");
    if !fs::symlink_metadata(&etc).ok()?.is_dir() {
        return None;
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(etc.join(name))
        .ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > MAX_ACCOUNTS {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_ACCOUNTS).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The accounts, with user 0 as the agent: its home is the environment's.
fn agent_first(accounts: &str) -> String {
    let is_root = |line: &&str| line.split(':').nth(2) == Some("0");
    let shell = accounts
        .lines()
        .find(is_root)
        .and_then(|line| line.split(':').nth(6));
    let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh");
    let mut text = format!("root:x:0:0:agent:/home/agent:{shell}\n");
    for line in accounts.lines().filter(|line| !is_root(line)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_0_of_an_image_becomes_the_agent_and_the_others_stay() {
        let image = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/false\nwww-data:x:33:33::/var/www:/bin/sh\n";
        assert_eq!(
            agent_first(image),
            "root:x:0:0:agent:/home/agent:/bin/bash\nwww-data:x:33:33::/var/www:/bin/sh\n"
        );
        assert_eq!(agent_first(""), "root:x:0:0:agent:/home/agent:/bin/sh\n");
    }
}
