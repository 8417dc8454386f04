//! The guest's file systems: what its kernel shows, what the host shares, and a root of them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::message::{Failure, Stage};
use crate::sys::process::{self, Forked, Waited};
use crate::sys::{c_path, file, machine, mount};
use crate::vm::frame::Sharing;
use crate::vm::initramfs::{INIT, MODULES};
use crate::vm::qemu::TAGS;
use crate::vm::{SHARED_ROOT, SHARED_WORK};

/// The root that replaces the initramfs, which no process can leave by `pivot_root`.
const NEW_ROOT: &str = "/root.new";

/// What the kernel itself shows, and its modules.
pub(super) fn kernel_files() -> Result<(), Failure> {
    for (kind, target) in [
        (c"proc", c"/proc"),
        (c"sysfs", c"/sys"),
        (c"devtmpfs", c"/dev"),
    ] {
        match mount::mount(
            kind,
            target,
            Some(kind),
            mount::PLAIN & !libc::MS_NODEV,
            None,
        ) {
            // Kernels may mount /dev themselves.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            result => result.stage("mount what the kernel shows")?,
        }
    }
    let mut waiting: Vec<PathBuf> = fs::read_dir(MODULES)
        .stage("list modules")?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    waiting.sort();
    // Modules wait for each other, in ways that differ between kernels: as long as one more loads,
    // the others are tried again.
    loop {
        let before = waiting.len();
        let mut refused = Vec::new();
        for path in waiting {
            if let Err(error) = load(&path) {
                refused.push((path, error));
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        if refused.len() == before {
            // A module that this kernel has no use for; what is missing shows when it is needed.
            for (path, error) in refused {
                let line = format!("nightcrew guest: module {}: {error}\n", path.display());
                let _ = fs::write("/dev/kmsg", line);
            }
            return Ok(());
        }
        waiting = refused.into_iter().map(|(path, _)| path).collect();
    }
}

fn load(path: &Path) -> io::Result<()> {
    let compressed = path.extension().is_none_or(|extension| extension != "ko");
    let module = file::open(&c_path(path)?, libc::O_RDONLY)?;
    machine::load_module(module.as_fd(), compressed)
}

/// Mounts what the host shares and makes a root that looks like a host's.
pub(super) fn enter(sharing: Sharing) -> Result<(), Failure> {
    let new = Path::new(NEW_ROOT);
    let target = c_path(new).stage("name the root")?;
    mount::mount(
        c"root",
        &target,
        Some(c"tmpfs"),
        libc::MS_NOSUID,
        Some(c"mode=755"),
    )
    .stage("mount a root")?;
    for folder in [
        "dev", "proc", "sys", "run", "tmp", "root", "mnt", "home", "var",
    ] {
        fs::create_dir(new.join(folder)).stage("make a folder of the root")?;
    }
    for (tag, place) in TAGS.iter().zip([SHARED_ROOT, SHARED_WORK]) {
        share(sharing, tag, &within(new, place))?;
    }
    show(new)?;
    fs::write(new.join("init"), "").stage("make a file of the root")?;
    bind(Path::new(INIT), &new.join("init"), false)?;
    for name in ["dev", "proc", "sys"] {
        let stage = "move what the kernel shows";
        let from = c_path(&Path::new("/").join(name)).stage(stage)?;
        let to = c_path(&new.join(name)).stage(stage)?;
        mount::mount(&from, &to, None, libc::MS_MOVE, None).stage(stage)?;
    }
    file::enter(&target).stage("enter the root")?;
    mount::mount(c".", c"/", None, libc::MS_MOVE, None).stage("move the root")?;
    machine::change_root_here().stage("change the root")?;
    file::enter(c"/").stage("enter the root")?;
    for (name, options) in [(c"run", c"mode=755"), (c"tmp", c"mode=1777")] {
        mount::mount(name, name, Some(c"tmpfs"), mount::PLAIN, Some(options))
            .stage("mount scratch space")?;
    }
    fs::create_dir("/run/scratch").stage("make a folder for scratch workspaces")?;
    // Identity of programs and limits need it; where a kernel has none, that part is absent.
    let _ = mount::mount(
        c"cgroup2",
        c"/sys/fs/cgroup",
        Some(c"cgroup2"),
        mount::PLAIN | libc::MS_NOEXEC,
        None,
    );
    Ok(())
}

fn within(new: &Path, path: &str) -> PathBuf {
    new.join(path.trim_start_matches('/'))
}

fn share(sharing: Sharing, tag: &str, place: &Path) -> Result<(), Failure> {
    let stage = format!("mount the shared folder `{tag}` ({})", sharing.name());
    fs::create_dir_all(place).stage(&stage)?;
    let kind = CString::new(sharing.name()).unwrap_or_default();
    let source = CString::new(tag).unwrap_or_default();
    let options = match sharing {
        Sharing::Virtiofs => None,
        // Large messages; what the host changes is seen at once; mapped memory works.
        Sharing::NineP => Some(c"trans=virtio,version=9p2000.L,msize=262144,cache=mmap"),
    };
    let target = c_path(place).stage(&stage)?;
    mount::mount(&source, &target, Some(&kind), mount::PLAIN, options).stage(&stage)
}

/// Shows the folders of the shared root under their own names.
fn show(new: &Path) -> Result<(), Failure> {
    let root = within(new, SHARED_ROOT);
    let stage = "list the shared root";
    for entry in fs::read_dir(&root).stage(stage)? {
        let entry = entry.stage(stage)?;
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let kind = entry.file_type().stage(stage)?;
        if kind.is_symlink() {
            let target = fs::read_link(&from).stage("read a link of the root")?;
            symlink(target, &to).stage("link in the root")?;
        } else if kind.is_dir() {
            fs::create_dir_all(&to).stage("make a folder of the root")?;
            bind(&from, &to, true)?;
        }
    }
    Ok(())
}

fn bind(from: &Path, to: &Path, recursive: bool) -> Result<(), Failure> {
    let stage = format!("bind {}", to.display());
    // Automatic mounts below are made by looking.
    let _ = fs::read_dir(from).map(|mut entries| entries.next().is_some());
    let from = c_path(from).stage(&stage)?;
    let to = c_path(to).stage(&stage)?;
    mount::bind(&from, &to, recursive).stage(&stage)
}

/// Goes on in a user namespace with user 0 only, so that environments are user 0 as on the host,
/// where one user owns everything. Process 1 stays behind and ends with the new process.
pub(super) fn own_users() -> Result<(), Failure> {
    let (mapped, map_now) = file::pipe().stage("make a pipe")?;
    match process::clone_with(libc::CLONE_NEWUSER as u64, None).stage("make a user namespace")? {
        Forked::Child => {
            use std::io::Read;
            drop(map_now);
            fs::File::from(mapped)
                .read(&mut [0; 1])
                .stage("wait for the user map")
                .map(drop)
        }
        Forked::Parent(pid) => {
            drop(mapped);
            for name in ["gid_map", "uid_map"] {
                let path = CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default();
                file::write_once(&path, b"0 0 1").stage("map the user")?;
            }
            drop(map_now);
            while let Ok(Waited::Reaped(reaped)) = process::wait_any(true) {
                if reaped.pid == pid {
                    break;
                }
            }
            process::exit_now(0)
        }
    }
}
