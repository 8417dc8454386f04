//! Namespaces and mounts of one environment, made by its init from inside.

mod laid;
mod network;
mod trees;

pub(super) use network::Network;

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::exec_policy::ExecMode;
use crate::message::{Create, Failure, Stage};
use crate::network::LAYER;
use crate::spec::Limits;
use crate::supervisor::Shares;
use crate::sys::{c_path, creds, file, mount, net, process};

/// Namespaces the init makes itself; user and pid it was born into.
const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Files of /proc hidden behind an empty one: what container engines hide. The kernel refuses most
/// of them to an environment's user in any case; this keeps them out of sight too.
const MASKED: &[&CStr] = &[
    c"proc/interrupts",
    c"proc/kcore",
    c"proc/keys",
    c"proc/key-users",
    c"proc/kmsg",
    c"proc/latency_stats",
    c"proc/sched_debug",
    c"proc/sysrq-trigger",
    c"proc/timer_list",
    c"proc/timer_stats",
];

/// Folders of /proc hidden behind an empty one.
const EMPTIED: &[&CStr] = &[c"proc/acpi", c"proc/asound", c"proc/scsi"];

/// Folders of /proc that speak for the machine.
const MACHINE: &[&CStr] = &[c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys"];

/// Most pseudo terminals of one environment.
const TERMINALS: u32 = 64;

const HIDDEN: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;
const SHOWN_READ_ONLY: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const SHOWN_WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Host folders, opened while the init still has the supervisor's eyes.
struct Sources {
    trees: trees::Trees,
    inputs: Option<OwnedFd>,
    outputs: Option<OwnedFd>,
    program: Option<OwnedFd>,
}

/// What was built.
pub(super) struct Built {
    /// Names of the layers in force.
    pub(super) layers: Vec<String>,
    /// Sockets that are to leave.
    pub(super) network: Network,
}

/// Builds the environment around this process.
pub(super) fn build(
    request: &Create,
    template: &CStr,
    mapped: &OwnedFd,
    shares: &Shares,
) -> Result<Built, Failure> {
    process::unshare(NAMESPACES).stage("make namespaces")?;
    let sources = Sources::open(request)?;
    wait_for_map(mapped)?;
    // The supervisor has put this process into its cgroups by now: they become the root of what can
    // be seen of them inside.
    process::unshare(libc::CLONE_NEWCGROUP).stage("make a cgroup namespace")?;
    creds::become_inner_root().stage("become the environment's user")?;
    creds::new_keyring();
    // A tree inherited from another user's namespace is locked as a whole; a bind of it is ours.
    mount::bind(template, template, true).stage("bind the root")?;
    file::enter(template).stage("enter the root")?;
    scratch(scratch_bytes(&request.limits), request.home.is_none())?;
    process_files(shares)?;
    terminals()?;
    let overlay = sources.trees.mount()?;
    exchange(&sources, request.exec.mode != ExecMode::Off)?;
    if request.forbids_new_programs() {
        without_execution(request)?;
    }
    creds::set_host_name(&request.hostname).stage("set the host name")?;
    net::bring_up_loopback().stage("bring up loopback")?;
    let network = request.network.as_ref().map(network::open).transpose()?;
    mount::pivot_here().stage("leave the host's root")?;
    laid::lay(request)?;
    file::enter(c"/work").stage("enter /work")?;
    file::set_umask(0o022);
    let names = ["user", "mount", "pid", "net", "ipc", "uts", "cgroup"];
    let layers = names
        .into_iter()
        .chain(overlay.then_some("overlay"))
        .chain(request.forbids_new_programs().then_some("noexec"))
        .chain(network.is_some().then_some(LAYER));
    Ok(Built {
        layers: layers.map(str::to_owned).collect(),
        network: network.unwrap_or_default(),
    })
}

impl Sources {
    fn open(request: &Create) -> Result<Self, Failure> {
        let optional = |path: Option<&Path>, flags| path.map(|path| open(path, flags)).transpose();
        Ok(Self {
            trees: trees::Trees::open(request)?,
            inputs: optional(request.inputs.as_deref(), libc::O_DIRECTORY)?,
            outputs: optional(request.outputs.as_deref(), libc::O_DIRECTORY)?,
            program: optional(request.program.as_deref(), 0)?,
        })
    }
}

fn open(path: &Path, flags: i32) -> Result<OwnedFd, Failure> {
    let stage = format!("open {}", path.display());
    file::open(&c_path(path).stage(&stage)?, libc::O_PATH | flags).stage(&stage)
}

/// The supervisor closes its end when it has written the map.
fn wait_for_map(mapped: &OwnedFd) -> Result<(), Failure> {
    use std::io::Read;
    let pipe = mapped.try_clone().stage("wait for the user map")?;
    std::fs::File::from(pipe)
        .read(&mut [0; 1])
        .stage("wait for the user map")
        .map(drop)
}

/// The path by which an open folder can be mounted, free of characters that mount options mean.
fn by_number(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// Scratch space counts as memory: with half of it at most, filling it up leaves room to go on.
fn scratch_bytes(limits: &Limits) -> u64 {
    let half = limits.memory.map_or(u64::MAX, |memory| memory / 2);
    limits.tmp_bytes.min(half)
}

/// One memory file system, bounded, behind all scratch folders, the home among them unless it is kept.
fn scratch(bytes: u64, with_home: bool) -> Result<(), Failure> {
    let stage = "mount scratch space";
    // A node costs memory too: as many as there are 4 KiB pages, so that neither can run away.
    let options = format!(
        "mode=755,size={bytes},nr_inodes={}",
        (bytes / 4096).max(1024)
    );
    let options = CString::new(options).unwrap_or_default();
    mount::mount(
        c"scratch",
        c"run",
        Some(c"tmpfs"),
        mount::PLAIN,
        Some(&options),
    )
    .stage(stage)?;
    for (from, to, mode) in [
        (c"run/tmp", c"tmp", 0o1777),
        (c"run/shm", c"dev/shm", 0o1777),
        (c"run/home", c"home/agent", 0o755),
    ] {
        if to == c"home/agent" && !with_home {
            continue;
        }
        file::make_folder(from, mode).stage(stage)?;
        mount::bind(from, to, false).stage(stage)?;
    }
    Ok(())
}

/// /proc of the environment's own processes, read-only where it speaks for the kernel.
fn process_files(shares: &Shares) -> Result<(), Failure> {
    let flags = mount::PLAIN | libc::MS_NOEXEC;
    mount::mount(c"proc", c"proc", Some(c"proc"), flags, None).stage("mount /proc")?;
    // No user namespace below this one, so nobody inside regains capabilities.
    file::write_once(c"proc/sys/user/max_user_namespaces", b"0").stage("forbid user namespaces")?;
    for (path, share) in shares.files() {
        // Not on every kernel, and not all of them an environment's user may set.
        let _ = file::write_once(path, share.to_string().as_bytes());
    }
    for (hidden, by) in MASKED
        .iter()
        .map(|path| (path, c"mnt/empty"))
        .chain(EMPTIED.iter().map(|path| (path, c"sys")))
    {
        optional(mount::bind(by, hidden, false)).stage("mask a part of /proc")?;
    }
    for path in MACHINE {
        if optional(mount::bind(path, path, false)).stage("bind a part of /proc")? {
            mount::set_attributes(path, HIDDEN, false).stage("make a part of /proc read-only")?;
        }
    }
    Ok(())
}

/// Whether something that is not on every kernel was there.
fn optional(result: std::io::Result<()>) -> std::io::Result<bool> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Pseudo terminals of the environment's own, of which the host's are no part.
fn terminals() -> Result<(), Failure> {
    let options = format!("newinstance,ptmxmode=0666,mode=620,max={TERMINALS}");
    let options = CString::new(options).unwrap_or_default();
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    mount::mount(
        c"devpts",
        c"dev/pts",
        Some(c"devpts"),
        flags,
        Some(&options),
    )
    .stage("mount /dev/pts")
}

/// Where files can be written, none can be executed.
fn without_execution(request: &Create) -> Result<(), Failure> {
    let stage = "forbid execution in writable folders";
    let always = [
        c"work",
        c"home/agent",
        c"tmp",
        c"run",
        c"dev/shm",
        c"nightcrew/in",
        c"nightcrew/out",
    ];
    let mounts = request.mounts.iter().filter(|mount| mount.writable);
    let mounts = mounts.map(|mount| &mount.target).chain(&request.also);
    let mounts = mounts.map(|target| c_path(target.strip_prefix("/").unwrap_or(target)));
    for folder in always
        .into_iter()
        .map(|folder| Ok(folder.to_owned()))
        .chain(mounts)
    {
        let folder = folder.stage(stage)?;
        match mount::set_attributes(&folder, libc::MOUNT_ATTR_NOEXEC, true) {
            // A folder of the read-only root: nothing was mounted there this time.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => result.stage(stage)?,
        }
    }
    Ok(())
}

/// What goes in and out. `gated`: nothing in it may execute, as it lies on the host's superblocks.
fn exchange(sources: &Sources, gated: bool) -> Result<(), Failure> {
    let noexec = if gated { libc::MOUNT_ATTR_NOEXEC } else { 0 };
    for (source, target, attributes) in [
        (&sources.inputs, c"nightcrew/in", SHOWN_READ_ONLY | noexec),
        (&sources.outputs, c"nightcrew/out", SHOWN_WRITABLE | noexec),
        (
            &sources.program,
            c"nightcrew/bin/nightcrew",
            SHOWN_READ_ONLY,
        ),
    ] {
        if let Some(source) = source {
            let stage = "bind inputs, outputs and program";
            mount::bind(&by_number(source), target, false).stage(stage)?;
            mount::set_attributes(target, attributes, false).stage(stage)?;
        }
    }
    Ok(())
}
