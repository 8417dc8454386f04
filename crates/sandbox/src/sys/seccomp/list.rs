//! Which calls are refused, and how.

use super::program::Rule;

/// First number that was not yet given to any system call when this list was written (Linux 6.18).
/// What comes later is absent (ENOSYS) until somebody has looked at it.
pub(super) const FIRST_UNKNOWN: u32 = 470;

// Numbers from 424 on are the same on every architecture. Not all are in every C library's list.
pub(crate) const MEMFD_SECRET: libc::c_long = 447;
const QUOTACTL_FD: libc::c_long = 443;
const FCHMODAT2: libc::c_long = 452;
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;
const LSM_SET_SELF_ATTR: libc::c_long = 460;
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Namespaces a `clone` may not make. `CLONE_NEWTIME` lies among the bits of the exit signal, where
/// no signal reaches; the kernel refuses it there too.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWTIME
    | libc::CLONE_NEWCGROUP) as u32;

/// `TIOCSTI` and `TIOCLINUX` put words into a terminal's mouth, `TIOCSETD` loads line disciplines,
/// `TIOCCONS` takes the console's output, `TIOCVHANGUP` hangs up on others.
const TERMINAL: [u32; 5] = [0x5412, 0x541C, 0x5423, 0x541D, 0x5437];

/// What personality(2) may be asked for: nothing special, 32-bit `uname`, a 2.6 version, and the
/// question what it is. Not `ADDR_NO_RANDOMIZE` nor `READ_IMPLIES_EXEC`.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// Unix sockets and the internet's two families. AF_ALG, AF_VSOCK, AF_NETLINK, AF_PACKET … have a
/// long record of holes, and nothing to reach in an environment.
const FAMILIES: [u32; 3] = [
    libc::AF_UNIX as u32,
    libc::AF_INET as u32,
    libc::AF_INET6 as u32,
];

/// Transport protocols of internet sockets: the default of the type, ICMP for `ping`, TCP, UDP,
/// ICMPv6. Others would load SCTP, DCCP, L2TP … into the kernel.
const PROTOCOLS: [u32; 5] = [0, 1, 6, 17, 58];

/// `PR_SET_MM` rewrites what /proc says of a process, its program's file included;
/// `PR_SCHED_CORE` changes which programs share a core.
const PROCESS_CONTROLS: [u32; 2] = [libc::PR_SET_MM as u32, 62];

/// A program that takes on its owner's identity. It does nothing inside, where no program gains
/// anything; but what is written inside lies on the host, and there it would.
const SET_USER: u32 = libc::S_ISUID;
/// And one that takes on its group. The same bit on a folder means something else and is wanted
/// (`git init --shared`), and no filter sees what a path leads to: so only where a file is made.
const SET_IDENTITY: u32 = libc::S_ISUID | libc::S_ISGID;

/// Calls refused with EPERM, whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // namespaces and mounts
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // programs without a file that anybody could judge. Users of memory files have another way:
    // they make an unlinked file in /dev/shm or /tmp (the JVM's ZGC, Chromium), or do without.
    libc::SYS_memfd_create,
    MEMFD_SECRET,
    // kernel interfaces with a long record of holes
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_lookup_dcookie,
    libc::SYS_move_pages,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    LSM_SET_SELF_ATTR,
    // the machine
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
];

/// Calls that look absent, so that programs fall back: `clone3` and `openat2`, whose flags and modes
/// are behind a pointer where no filter sees them, and the enumeration of mounts.
const ABSENT: &[libc::c_long] = &[libc::SYS_clone3, libc::SYS_openat2, STATMOUNT, LISTMOUNT];

/// Modes of files.
fn modes() -> Vec<(libc::c_long, Rule)> {
    vec![
        (libc::SYS_fchmod, Rule::NoBits(1, SET_USER)),
        (libc::SYS_fchmodat, Rule::NoBits(2, SET_USER)),
        (FCHMODAT2, Rule::NoBits(2, SET_USER)),
        (libc::SYS_mknodat, Rule::NoBits(2, SET_IDENTITY)),
        (
            libc::SYS_openat,
            Rule::NewFile {
                flags: 2,
                mode: 3,
                bits: SET_IDENTITY,
            },
        ),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, Rule::NoBits(1, SET_USER)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, Rule::NoBits(1, SET_IDENTITY)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, Rule::NoBits(1, SET_IDENTITY)),
        #[cfg(target_arch = "x86_64")]
        (
            libc::SYS_open,
            Rule::NewFile {
                flags: 1,
                mode: 2,
                bits: SET_IDENTITY,
            },
        ),
    ]
}

/// Every rule, by system call number.
pub(super) fn rules() -> Vec<(u32, Rule)> {
    let mut rules: Vec<(u32, Rule)> = DENIED
        .iter()
        .map(|number| (*number, Rule::Refuse(libc::EPERM)))
        .chain(
            ABSENT
                .iter()
                .map(|number| (*number, Rule::Refuse(libc::ENOSYS))),
        )
        .chain(modes())
        .chain([
            (libc::SYS_clone, Rule::NoBits(0, NAMESPACES)),
            // Memory that is attached twice, writable and executable, is a program that no file holds,
            // and neither the gate nor the protection of memory (W^X) sees it.
            (libc::SYS_shmat, Rule::NoBits(2, libc::SHM_EXEC as u32)),
            (libc::SYS_ioctl, Rule::NoneOf(1, &TERMINAL)),
            (libc::SYS_prctl, Rule::NoneOf(0, &PROCESS_CONTROLS)),
            (libc::SYS_personality, Rule::OneOf(0, &PERSONALITIES)),
            (
                libc::SYS_socket,
                Rule::Socket {
                    families: &FAMILIES,
                    protocols: &PROTOCOLS,
                },
            ),
            (
                libc::SYS_socketpair,
                Rule::Socket {
                    families: &FAMILIES,
                    protocols: &PROTOCOLS,
                },
            ),
            (
                libc::SYS_prlimit64,
                Rule::KeepCoreLimit {
                    resource: 1,
                    new: Some(2),
                },
            ),
            (
                libc::SYS_setrlimit,
                Rule::KeepCoreLimit {
                    resource: 0,
                    new: None,
                },
            ),
            // A filter that asks another process: nothing could be decided by it that this one
            // refuses, but its listener holds other processes' calls.
            (
                libc::SYS_seccomp,
                Rule::NoBits(1, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32),
            ),
        ])
        .map(|(number, rule)| (number as u32, rule))
        .collect();
    rules.sort_by_key(|(number, _)| *number);
    rules
}
