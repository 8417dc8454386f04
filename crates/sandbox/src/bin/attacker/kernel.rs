//! Doors of the kernel that steps do not need: 52 and 53 of the catalogue. Every call is made so that it
//! does no harm where it is let through: its arguments are wrong, or it only asks.

use super::context::Context;
use super::kit::{self, in_child_or};
use super::outcome::{Attack, Attempt, Control, Outcome};

/// A call, what it is made with, and the errors that show it was let through to the kernel's own checks.
struct Door {
    name: &'static str,
    item: u8,
    what: &'static str,
    control: Control,
}

macro_rules! doors {
    ($($name:literal $item:literal $control:ident $what:literal $number:expr, $arguments:expr, $through:expr;)*) => {
        pub(crate) const ATTACKS: &[Attack] = &[$(
            Door { name: $name, item: $item, what: $what, control: Control::$control }
                .attack(|_: &Context| knock($name, $number, $arguments, &$through)),
        )*];
    };
}

impl Door {
    const fn attack(self, run: fn(&Context) -> Attempt) -> Attack {
        let mut attack = Attack::new(self.name, self.item, self.what, run);
        attack.control = self.control;
        attack
    }
}

const ROOT: &std::ffi::CStr = c"/";
const TMPFS: &std::ffi::CStr = c"tmpfs";
const EMPTY: &std::ffi::CStr = c"";

fn at(text: &std::ffi::CStr) -> usize {
    text.as_ptr() as usize
}

const HERE: usize = libc::AT_FDCWD as usize;
const USER: usize = libc::CLONE_NEWUSER as usize;
const BAD: usize = usize::MAX;
use libc::{EBADF, EFAULT, EINVAL, ENOENT, ENOEXEC, ENOTDIR, ENXIO};

/// The one structure clone3 reads: a new user namespace and an exit signal.
static CLONE3: [u64; 8] = [USER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];

doors! {
    "proc-unshare-user" 52 User "make a user namespace" libc::SYS_unshare, [USER, 0, 0, 0, 0, 0], [];
    "proc-unshare-mount" 52 Root "make a mount namespace" libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0, 0, 0], [];
    "proc-unshare-net" 52 Root "make a network namespace" libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0, 0, 0], [];
    "proc-unshare-pid" 52 Root "make a process namespace" libc::SYS_unshare, [libc::CLONE_NEWPID as usize, 0, 0, 0, 0, 0], [];
    "proc-unshare-cgroup" 52 Root "make a cgroup namespace" libc::SYS_unshare, [libc::CLONE_NEWCGROUP as usize, 0, 0, 0, 0, 0], [];
    "proc-unshare-time" 52 Root "make a time namespace" libc::SYS_unshare, [0x80, 0, 0, 0, 0, 0], [];
    "proc-unshare-user-wide" 52 None "make a user namespace with bits above the 32 that count" libc::SYS_unshare, [USER | 1 << 40, 0, 0, 0, 0, 0], [EINVAL];
    "proc-clone-user" 52 User "make a process in a new user namespace" libc::SYS_clone, [USER | libc::SIGCHLD as usize, 0, 0, 0, 0, 0], [];
    "proc-clone3-user" 52 User "make a process in a new user namespace with clone3" libc::SYS_clone3, [CLONE3.as_ptr() as usize, 64, 0, 0, 0, 0], [];
    "proc-setns" 52 Root "enter a namespace" libc::SYS_setns, [namespace(), libc::CLONE_NEWUTS as usize, 0, 0, 0, 0], [EBADF, EINVAL];
    "proc-mount" 52 Root "mount a file system" libc::SYS_mount, [at(TMPFS), at(EMPTY), at(TMPFS), 0, 0, 0], [ENOENT, ENOTDIR];
    "proc-mount-bind" 52 Root "bind a folder over itself" libc::SYS_mount, [at(ROOT), at(EMPTY), 0, libc::MS_BIND as usize, 0, 0], [ENOENT];
    "proc-umount" 52 Root "unmount something" libc::SYS_umount2, [at(c"/proc/self/status"), libc::MNT_DETACH as usize, 0, 0, 0, 0], [EINVAL];
    "proc-pivot-root" 52 Root "change the root" libc::SYS_pivot_root, [at(EMPTY), at(EMPTY), 0, 0, 0, 0], [ENOENT, EINVAL];
    "proc-chroot" 52 Root "change the root of an own process" libc::SYS_chroot, [at(ROOT), 0, 0, 0, 0, 0], [];
    "proc-open-tree" 52 Root "clone a tree of mounts" libc::SYS_open_tree, [HERE, at(ROOT), 1, 0, 0, 0], [];
    "proc-move-mount" 52 Root "move a mount" libc::SYS_move_mount, [HERE, at(EMPTY), HERE, at(EMPTY), 0, 0], [ENOENT, EINVAL];
    "proc-fsopen" 52 Root "open a new file system" libc::SYS_fsopen, [at(TMPFS), 0, 0, 0, 0, 0], [];
    "proc-fspick" 52 Root "open a mounted file system to change it" libc::SYS_fspick, [HERE, at(ROOT), 0, 0, 0, 0], [EINVAL];
    "proc-fsconfig" 52 Root "change an opened file system" libc::SYS_fsconfig, [BAD, 0, 0, 0, 0, 0], [EBADF, EINVAL];
    "proc-fsmount" 52 Root "mount an opened file system" libc::SYS_fsmount, [BAD, 0, 0, 0, 0, 0], [EBADF];
    "proc-mount-setattr" 52 Root "change flags of a mount" libc::SYS_mount_setattr, [HERE, at(ROOT), 0, 0, 0, 0], [EINVAL, EFAULT];
    "proc-mount-beneath" 52 Root "open a tree with attributes" 467, [HERE, at(ROOT), 1, 0, 0, 0], [EINVAL];
    "proc-bpf" 53 Root "load a program into the kernel" libc::SYS_bpf, [0, 0, 0, 0, 0, 0], [EINVAL, EFAULT, libc::E2BIG];
    "proc-perf" 53 Root "count events of the machine" libc::SYS_perf_event_open, [0, 0, BAD, BAD, 0, 0], [EFAULT, EINVAL];
    "proc-userfaultfd" 53 Root "handle own page faults" libc::SYS_userfaultfd, [0, 0, 0, 0, 0, 0], [];
    "proc-keyctl" 53 User "use the kernel's keys" libc::SYS_keyctl, [0, (-3_isize) as usize, 0, 0, 0, 0], [];
    "proc-request-key" 53 User "have the kernel start its key helper" libc::SYS_request_key, [BAD, BAD, 0, 0, 0, 0], [EFAULT];
    "proc-add-key" 53 User "add a key" libc::SYS_add_key, [BAD, BAD, 0, 0, 0, 0], [EFAULT];
    "proc-kexec" 53 None "load another kernel" libc::SYS_kexec_load, [0, BAD, 0, 0, 0, 0], [EINVAL];
    "proc-kexec-file" 53 None "load another kernel from a file" libc::SYS_kexec_file_load, [BAD, BAD, 0, 0, 0, 0], [EBADF, EINVAL];
    "proc-module-init" 53 None "load a module" libc::SYS_init_module, [0, 0, at(EMPTY), 0, 0, 0], [ENOEXEC, EFAULT];
    "proc-module-finit" 53 None "load a module from a file" libc::SYS_finit_module, [BAD, at(EMPTY), 0, 0, 0, 0], [EBADF];
    "proc-module-delete" 53 None "remove a module" libc::SYS_delete_module, [at(c"no-such-module"), 0, 0, 0, 0, 0], [ENOENT];
    "proc-fanotify" 53 Root "watch or decide over files of all" libc::SYS_fanotify_init, [4, 0, 0, 0, 0, 0], [];
    "proc-quotactl" 53 Root "change quotas" libc::SYS_quotactl, [BAD, 0, 0, 0, 0, 0], [EINVAL];
    "proc-swapon" 53 None "add swap space" libc::SYS_swapon, [at(EMPTY), 0, 0, 0, 0, 0], [ENOENT];
    "proc-swapoff" 53 None "take swap space away" libc::SYS_swapoff, [at(EMPTY), 0, 0, 0, 0, 0], [ENOENT];
    "proc-reboot" 53 None "restart the machine (with a wrong key)" libc::SYS_reboot, [0, 0, 0, 0, 0, 0], [EINVAL];
    "proc-settimeofday" 53 None "change the clock (with a wrong address)" libc::SYS_settimeofday, [BAD, 0, 0, 0, 0, 0], [EFAULT];
    "proc-clock-settime" 53 None "change the clock (with a wrong address)" libc::SYS_clock_settime, [0, BAD, 0, 0, 0, 0], [EFAULT];
    "proc-clock-adjust" 53 None "bend the clock (with a wrong address)" libc::SYS_clock_adjtime, [0, BAD, 0, 0, 0, 0], [EFAULT];
    "proc-personality" 53 User "take address randomisation away" libc::SYS_personality, [0x004_0000, 0, 0, 0, 0, 0], [];
    "proc-modify-ldt" 53 User "change segment descriptors" libc::SYS_modify_ldt, [0, 0, 0, 0, 0, 0], [];
    "proc-iopl" 53 None "get the machine's ports" libc::SYS_iopl, [0, 0, 0, 0, 0, 0], [];
    "proc-ioperm" 53 None "get one of the machine's ports" libc::SYS_ioperm, [0x80, 0, 0, 0, 0, 0], [];
    "proc-acct" 53 None "have all processes recorded" libc::SYS_acct, [at(EMPTY), 0, 0, 0, 0, 0], [ENOENT];
    "proc-syslog" 53 Root "read the kernel's log" libc::SYS_syslog, [10, 0, 0, 0, 0, 0], [];
    "proc-sethostname" 53 None "change the host name (with a wrong length)" libc::SYS_sethostname, [at(EMPTY), BAD, 0, 0, 0, 0], [EINVAL];
    "proc-setdomainname" 53 None "change the domain name (with a wrong length)" libc::SYS_setdomainname, [at(EMPTY), BAD, 0, 0, 0, 0], [EINVAL];
    "proc-vhangup" 53 None "hang up the terminal" libc::SYS_vhangup, [0; 6], [];
    "proc-lookup-dcookie" 53 None "turn profiler cookies into paths" libc::SYS_lookup_dcookie, [0; 6], [EINVAL, ENXIO];
    "proc-move-pages" 53 Root "move memory of another process" libc::SYS_move_pages, [first(), 0, 0, 0, 0, 0], [EINVAL, libc::EACCES];
    "proc-migrate-pages" 53 Root "move all memory of another process" libc::SYS_migrate_pages, [first(), 0, 0, 0, 0, 0], [EINVAL];
    "proc-memfd-create" 8 User "make a file in memory" libc::SYS_memfd_create, [at(EMPTY), 0, 0, 0, 0, 0], [];
    "proc-memfd-secret" 8 None "make secret memory with a descriptor" libc::SYS_memfd_secret, [0, 0, 0, 0, 0, 0], [];
    "proc-io-uring-enter" 20 User "enter an io_uring" libc::SYS_io_uring_enter, [BAD, 0, 0, 0, 0, 0], [EBADF];
    "proc-io-uring-register" 20 User "register with an io_uring" libc::SYS_io_uring_register, [BAD, 0, 0, 0, 0, 0], [EBADF, EINVAL, libc::EOPNOTSUPP];
    "proc-setgroups" 21 Root "leave all groups" libc::SYS_setgroups, [0, 0, 0, 0, 0, 0], [];
    "proc-capset" 21 Root "take capabilities" libc::SYS_capset, [CAPABILITIES.as_ptr() as usize, CAPABILITIES.as_ptr() as usize + 8, 0, 0, 0, 0], [];
}

/// Version 3, this process; all capabilities, effective and permitted, as root has them.
static CAPABILITIES: [u32; 8] = [0x2008_0522, 0, 1 << 21, 1 << 21, 0, 0, 0, 0];

/// The environment's first process; in a control, the process that stands for it.
fn first() -> usize {
    let number = std::env::var("HOST_PID").unwrap_or_default();
    match std::fs::read_to_string(format!("/proc/{number}/comm")) {
        Ok(name) if std::env::var("HOST_COMM").is_ok_and(|host| host == name.trim()) => {
            number.parse().unwrap_or(1)
        }
        _ => 1,
    }
}

/// An own namespace's file; what keeps it open is the child that makes the call.
fn namespace() -> usize {
    use std::os::fd::IntoRawFd;
    std::fs::File::open("/proc/self/ns/uts").map_or(BAD, |file| file.into_raw_fd() as usize)
}

/// Makes a call in a child. Success, and errors that only the kernel's own checks give, are bypasses.
fn knock(name: &str, number: libc::c_long, arguments: [usize; 6], through: &[i32]) -> Attempt {
    // The child tells by its output: the word that proves the tool proves the call as well.
    let attempt = in_child_or(&[libc::EOPNOTSUPP], || {
        let result = kit::call(number, arguments);
        let passed = match &result {
            Ok(_) => true,
            Err(error) => through.contains(&kit::number(error)),
        };
        if passed {
            let line = format!("{}\n", super::context::MARKER);
            // SAFETY: writes a line of this process to its own output.
            unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
            return Ok(());
        }
        kit::at("the call", result).map(drop)
    });
    match attempt {
        Ok(Outcome::Bypass(_)) => Ok(Outcome::Bypass(format!("{name}: the kernel took the call"))),
        other => other,
    }
}
