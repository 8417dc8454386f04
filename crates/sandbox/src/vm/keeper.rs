//! The keeper of one virtual machine: a process that builds a place for QEMU, starts it there, and
//! takes everything down.
//!
//! It is this same program, executed again, single-threaded. It clones a process into a user and a
//! pid namespace (root of the host is not in them), which builds a root from `/usr` and what the guest
//! shall see, and starts virtiofsd and QEMU. When that process ends, for whatever reason, the kernel
//! kills the others; when the client ends, it sees its socket close. All paths on command lines are
//! ours, so no name of the host's files has to be escaped.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::machine::Order;
use super::qemu;
use crate::identity;
use crate::message::{Failure, OVERLAY_STAGE, Stage};
use crate::supervisor::template;
use crate::sys::process::{self, Forked, Waited};
use crate::sys::{c_path, creds, file, machine, mount, socket, spawn};
use crate::wire::Writer;

/// First argument that turns this program into a keeper; the second is the number of its socket.
pub(super) const ARGUMENT: &str = "__vm-keeper";

/// Where the place is mounted: in this mount namespace only, over a folder that no workspace is in.
const PLACE: &std::ffi::CStr = c"/sys";
/// Where what the guest sees is put together, in the new root.
pub(super) const SHARED: [&str; 2] = ["share/root", "share/work"];
/// The keeper's own name for what only the kernel of the guest needs.
pub(super) const KERNEL: &str = "run/kernel";
/// The KVM device, made for the one user QEMU runs as.
const KVM: &std::ffi::CStr = c"/sys/kvm";

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What the keeper tells its client.
#[repr(u8)]
pub(super) enum Word {
    Started = 0,
    Failed = 1,
    Ended = 2,
}

/// The main function of a keeper.
pub(super) fn main(number: Option<i32>) -> i32 {
    let Some(Ok(client)) = number.map(file::adopt) else {
        return 64;
    };
    let mut buffer = vec![0; socket::MAX_INLINE];
    let Ok(Some((length, fds))) = socket::receive(client.as_fd(), &mut buffer) else {
        return 0;
    };
    let outcome = Order::decode(&buffer[..length])
        .map_err(|_| Failure {
            stage: "read the request".to_owned(),
            errno: libc::EBADMSG,
        })
        .and_then(|order| keep(&order, &client, fds));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            tell_failure(&client, &failure);
            1
        }
    }
}

fn tell_failure(client: &OwnedFd, failure: &Failure) {
    let mut to = Writer::default();
    to.byte(Word::Failed as u8)
        .bytes(failure.stage.as_bytes())
        .number(failure.errno as u64);
    let _ = socket::send(client.as_fd(), &to.finish(), &[]);
}

/// Clones the process that does everything, maps its users, and waits for it.
fn keep(order: &Order, client: &OwnedFd, fds: Vec<OwnedFd>) -> Result<i32, Failure> {
    process::set_name(c"nc-vm-keeper");
    process::new_session().stage("start a session")?;
    process::reset_signals();
    file::set_umask(0o022);
    let identity = identity::current();
    if identity.foreign {
        creds::drop_groups().stage("drop supplementary groups")?;
        process::unshare(libc::CLONE_NEWNS).stage("make a mount namespace")?;
        mount::set_propagation(c"/", libc::MS_SLAVE).stage("separate mounts from the host")?;
    }
    if order.kvm && identity.foreign {
        // For this one user, in a file system that only this namespace sees.
        mount::mount(
            c"kvm",
            PLACE,
            Some(c"tmpfs"),
            libc::MS_NOSUID,
            Some(c"mode=755"),
        )
        .stage("mount a place for /dev/kvm")?;
        let owner = super::machine_user(identity);
        machine::copy_device(c"/dev/kvm", KVM, (owner.0, owner.1)).stage("copy /dev/kvm")?;
    }
    let (mapped, map_now) = file::pipe().stage("make a pipe")?;
    let flags = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;
    match process::clone_with(flags, None).stage("make a user and a pid namespace")? {
        Forked::Child => {
            drop(map_now);
            let code = match run(order, client, fds, &mapped) {
                Ok(()) => 0,
                Err(failure) => {
                    tell_failure(client, &failure);
                    1
                }
            };
            process::exit_now(code)
        }
        Forked::Parent(pid) => {
            drop((mapped, fds));
            let result = map_users(identity, pid);
            if result.is_err() {
                let _ = process::kill(pid, libc::SIGKILL);
            }
            drop(map_now);
            // The first process of a pid namespace is reaped only when the others are gone.
            let waited = process::wait_for(pid).stage("wait for the machine")?;
            result?;
            Ok(match waited {
                Waited::Reaped(reaped) => reaped.code.unwrap_or(1),
                Waited::None | Waited::NoChildren => 1,
            })
        }
    }
}

/// User 0 of the guest, and the user of its environments.
fn map_users(identity: identity::Identity, pid: i32) -> Result<(), Failure> {
    let write = |name: &str, content: &str| {
        let path = CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default();
        file::write_once(&path, content.as_bytes()).stage(&format!("write {name}"))
    };
    if !identity.foreign {
        write("setgroups", "deny")?;
        write("gid_map", &format!("0 {} 1", identity.gid))?;
        return write("uid_map", &format!("0 {} 1", identity.uid));
    }
    let inside = identity::SANDBOX_UID;
    let (uid, gid) = super::machine_user(identity);
    write(
        "gid_map",
        &format!("0 {gid} 1\n{inside} {} 1\n", identity.gid),
    )?;
    write(
        "uid_map",
        &format!("0 {uid} 1\n{inside} {} 1\n", identity.uid),
    )
}

/// Host files, opened while they can still be reached.
struct Sources {
    kernel: OwnedFd,
    lowers: Vec<OwnedFd>,
    upper: Option<OwnedFd>,
    work: Option<OwnedFd>,
    inputs: Option<OwnedFd>,
    outputs: Option<OwnedFd>,
    program: Option<OwnedFd>,
    kvm: Option<OwnedFd>,
}

impl Sources {
    fn open(order: &Order) -> Result<Self, Failure> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(open).transpose();
        let kvm = match (order.kvm, identity::current().foreign) {
            (false, _) => None,
            (true, true) => Some(open(Path::new("/sys/kvm"))?),
            (true, false) => Some(open(Path::new("/dev/kvm"))?),
        };
        Ok(Self {
            kernel: open(&order.kernel)?,
            lowers: order
                .lowers
                .iter()
                .map(|path| open(path))
                .collect::<Result<_, _>>()?,
            upper: optional(&order.upper)?,
            work: optional(&order.work)?,
            inputs: optional(&order.inputs)?,
            outputs: optional(&order.outputs)?,
            program: optional(&order.program)?,
            kvm,
        })
    }
}

fn open(path: &Path) -> Result<OwnedFd, Failure> {
    let stage = format!("open {}", path.display());
    file::open(&c_path(path).stage(&stage)?, libc::O_PATH).stage(&stage)
}

/// The first process of the pid namespace: builds the place, starts the programs, watches.
fn run(
    order: &Order,
    client: &OwnedFd,
    fds: Vec<OwnedFd>,
    mapped: &OwnedFd,
) -> Result<(), Failure> {
    process::set_name(c"nc-vm");
    let flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    process::unshare(flags).stage("make namespaces")?;
    mount::set_propagation(c"/", libc::MS_SLAVE).stage("separate mounts from the host")?;
    let sources = Sources::open(order)?;
    wait_for_map(mapped)?;
    creds::become_inner_root().stage("become the machine's user")?;
    creds::new_keyring();
    process::die_with_parent(libc::SIGKILL).stage("die with the keeper")?;
    build(order, &sources)?;
    drop(sources);
    creds::set_host_name("machine").stage("set the host name")?;
    let [channel, initramfs, console] = <[OwnedFd; 3]>::try_from(fds).map_err(|_| Failure {
        stage: "read the request".to_owned(),
        errno: libc::EBADMSG,
    })?;
    let signals = process::child_signals().stage("watch children")?;
    let mut children = Vec::new();
    if order.virtiofs {
        for (share, name) in SHARED.iter().zip(["root", "work"]) {
            children.push((name, share_folder(order, share, name, &console)?));
        }
    }
    let mut command = Command::new(&order.qemu);
    command.args(qemu::arguments(order, &channel, &initramfs));
    for fd in [&channel, &initramfs] {
        spawn::pass_descriptor(&mut command, fd.as_fd());
    }
    let qemu = start(command, &console, !order.virtiofs).stage("start QEMU")?;
    children.push(("qemu", qemu));
    drop((channel, initramfs, console));
    socket::send(client.as_fd(), &[Word::Started as u8], &[]).stage("report")?;
    watch(client, &signals, &mut children)
}

fn wait_for_map(mapped: &OwnedFd) -> Result<(), Failure> {
    use std::io::Read;
    let pipe = mapped.try_clone().stage("wait for the user map")?;
    std::fs::File::from(pipe)
        .read(&mut [0; 1])
        .stage("wait for the user map")
        .map(drop)
}

/// How long QEMU may take to be dead when something that serves it is.
const QEMU_ENDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Until the client hangs up or one of the programs ends.
fn watch(
    client: &OwnedFd,
    signals: &OwnedFd,
    children: &mut [(&'static str, Child)],
) -> Result<(), Failure> {
    loop {
        let [closed, ended] =
            process::poll([client.as_fd(), signals.as_fd()], None).stage("watch the machine")?;
        if closed {
            return Ok(());
        }
        if !ended {
            continue;
        }
        drain(signals)?;
        // QEMU's end explains that of virtiofsd, so it is asked first. When it is killed, its
        // connections close a moment before it can be waited for.
        let began = std::time::Instant::now();
        while let Some((_, qemu)) = children.last_mut()
            && matches!(qemu.try_wait(), Ok(None))
            && let Some(left) = QEMU_ENDS.checked_sub(began.elapsed())
        {
            process::poll([signals.as_fd()], Some(left)).stage("watch the machine")?;
            drain(signals)?;
        }
        for (name, child) in children.iter_mut().rev() {
            if let Ok(Some(status)) = child.try_wait() {
                let mut to = Writer::default();
                to.byte(Word::Ended as u8)
                    .bytes(name.as_bytes())
                    .bytes(status.to_string().as_bytes());
                let _ = socket::send(client.as_fd(), &to.finish(), &[]);
                return Ok(());
            }
        }
    }
}

fn drain(signals: &OwnedFd) -> Result<(), Failure> {
    use std::io::Read;
    let signals = signals.try_clone().stage("watch the machine")?;
    // The content is of no interest: one signal may stand for many children.
    let _ = std::fs::File::from(signals).read(&mut [0; 128]);
    Ok(())
}

fn by_number(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// The root QEMU and virtiofsd live in, and what they share.
fn build(order: &Order, sources: &Sources) -> Result<(), Failure> {
    let size = Some(c"mode=755,size=128m");
    mount::mount(c"machine", PLACE, Some(c"tmpfs"), mount::PLAIN, size)
        .stage("mount a place for the machine")?;
    mount::set_propagation(PLACE, libc::MS_PRIVATE).stage("make the place private")?;
    file::enter(PLACE).stage("enter the place")?;
    let place = Path::new("/sys");
    for folder in [
        "dev/shm",
        "proc",
        "run",
        "tmp",
        SHARED[0],
        SHARED[1],
        "share/work/layer/upper",
    ] {
        std::fs::create_dir_all(place.join(folder)).stage("make a folder of the place")?;
    }
    template::furnish(place, &[])?;
    template::equip(place)?;
    if let Some(kvm) = &sources.kvm {
        std::fs::write(place.join("dev/kvm"), "").stage("make /dev/kvm")?;
        mount::bind(&by_number(kvm), c"dev/kvm", false).stage("bind /dev/kvm")?;
    }
    std::fs::write(place.join(KERNEL), "").stage("make a file for the kernel")?;
    show(&sources.kernel, KERNEL, READ_ONLY)?;
    if order.shares {
        template::furnish(&place.join(SHARED[0]), &order.extra)?;
        workspace(sources)?;
    }
    mount::mount(
        c"proc",
        c"proc",
        Some(c"proc"),
        mount::PLAIN | libc::MS_NOEXEC,
        None,
    )
    .stage("mount /proc")?;
    mount::pivot_here().stage("leave the host's root")?;
    let _ = std::env::set_current_dir("/");
    Ok(())
}

/// What the guest sees at its shared work folder. The overlay is the host's: it has the form that
/// environments without a machine have, so a layer can go on in either.
fn workspace(sources: &Sources) -> Result<(), Failure> {
    const MERGED: &str = "share/work/layer/upper";
    match (&sources.upper, &sources.work) {
        (Some(upper), _) if sources.lowers.is_empty() => show(upper, MERGED, WRITABLE)?,
        (Some(upper), Some(work)) => {
            // The highest comes first.
            let lower: Vec<String> = sources
                .lowers
                .iter()
                .rev()
                .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()))
                .collect();
            let options = format!(
                "lowerdir={},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},userxattr,volatile",
                lower.join(":"),
                upper.as_raw_fd(),
                work.as_raw_fd()
            );
            let options = CString::new(options).unwrap_or_default();
            let target = c_path(Path::new(MERGED)).stage(OVERLAY_STAGE)?;
            mount::mount(
                c"workspace",
                &target,
                Some(c"overlay"),
                mount::PLAIN,
                Some(&options),
            )
            .stage(OVERLAY_STAGE)?;
        }
        _ => {}
    }
    for (source, name, attributes) in [
        (&sources.inputs, "share/work/in", READ_ONLY),
        (&sources.outputs, "share/work/out", WRITABLE),
        (&sources.program, "share/work/nightcrew", READ_ONLY),
    ] {
        if let Some(source) = source {
            let target = Path::new("/sys").join(name);
            if name.ends_with("nightcrew") {
                std::fs::write(&target, "").stage("make a file for the program")?;
            } else {
                std::fs::create_dir(&target).stage("make a folder to share")?;
            }
            show(source, name, attributes)?;
        }
    }
    Ok(())
}

fn show(source: &OwnedFd, name: &str, attributes: u64) -> Result<(), Failure> {
    let stage = format!("bind {name}");
    let target = c_path(Path::new(name)).stage(&stage)?;
    mount::bind(&by_number(source), &target, false).stage(&stage)?;
    mount::set_attributes(&target, attributes, false).stage(&stage)
}

/// Starts virtiofsd for one folder, listening before it runs, so that QEMU can connect at once.
fn share_folder(
    order: &Order,
    share: &str,
    name: &str,
    console: &OwnedFd,
) -> Result<Child, Failure> {
    let listener = UnixListener::bind(format!("/run/{name}")).stage("listen for QEMU")?;
    let listener = OwnedFd::from(listener);
    let mut command = Command::new(&order.virtiofsd);
    command.args(qemu::virtiofsd_arguments(
        &order.virtiofsd,
        share,
        listener.as_raw_fd(),
    ));
    spawn::pass_descriptor(&mut command, listener.as_fd());
    start(command, console, true).stage("start virtiofsd")
}

/// Starts a program with its output on the console.
fn start(mut command: Command, console: &OwnedFd, capable: bool) -> io::Result<Child> {
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console.try_clone()?);
    machine::confine_program(&mut command, capable);
    command.spawn()
}
