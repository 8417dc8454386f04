//! The system call filter: a deny list of calls no step needs and a kernel attack wants.
//!
//! Written by hand as classic BPF (seccomp(2), `linux/filter.h`): a binary search over the denied
//! numbers, so that permitted calls cost a handful of instructions and the kernel's allow bitmap is
//! computed quickly.

use std::io;

use super::check;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Offsets in `struct seccomp_data`; arguments are read as their low 32 bits (little endian).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + index * 8
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// Numbers of another calling convention (x32) carry this bit.
const FOREIGN_BIT: u32 = 0x4000_0000;

/// Namespaces a `clone` may not make.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;

/// `TIOCSTI` and `TIOCLINUX` put words into a terminal's mouth.
const TERMINAL_INJECTION: [u32; 2] = [0x5412, 0x541C];

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
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
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

/// What to do with one system call number.
enum Rule {
    Refuse(i32),
    /// `clone`: refused when any namespace flag is set.
    NoNamespaces,
    /// `ioctl`: refused for terminal injection.
    NoInjection,
    /// `socket`: only unix and internet families.
    CommonFamilies,
}

/// A compiled filter.
pub(crate) struct Filter(Vec<libc::sock_filter>);

const fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump(code: u16, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    }
}

impl Filter {
    /// Compiles the filter for this machine's architecture.
    pub(crate) fn compile() -> Self {
        let mut rules: Vec<(u32, Rule)> = DENIED
            .iter()
            .map(|number| (*number as u32, Rule::Refuse(libc::EPERM)))
            .collect();
        // Unknown to the filter by arguments (they are behind a pointer), so absent: programs
        // fall back to clone.
        rules.push((libc::SYS_clone3 as u32, Rule::Refuse(libc::ENOSYS)));
        rules.push((libc::SYS_clone as u32, Rule::NoNamespaces));
        rules.push((libc::SYS_ioctl as u32, Rule::NoInjection));
        rules.push((libc::SYS_socket as u32, Rule::CommonFamilies));
        rules.sort_by_key(|(number, _)| *number);
        let mut program = vec![
            statement(LOAD, ARCH),
            jump(EQUAL, ARCHITECTURE, 1, 0),
            statement(RETURN, refuse(libc::EPERM)),
            statement(LOAD, NUMBER),
            jump(AT_LEAST, FOREIGN_BIT, 0, 1),
            statement(RETURN, refuse(libc::ENOSYS)),
        ];
        program.extend(search(&rules));
        Self(program)
    }

    /// Puts the filter on this process and all it will start. Needs no-new-privileges.
    pub(crate) fn apply(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes a live array of instructions, which the kernel only reads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        check(result).map(drop)
    }
}

/// Instructions that find the present number among sorted `rules`.
fn search(rules: &[(u32, Rule)]) -> Vec<libc::sock_filter> {
    if let [(number, rule)] = rules {
        let mut code = leaf(rule);
        // Conditional jumps reach 255 instructions; a leaf has fewer than ten.
        code.insert(0, jump(EQUAL, *number, 0, code.len() as u8));
        code.push(statement(RETURN, ALLOW));
        return code;
    }
    let (low, high) = rules.split_at(rules.len() / 2);
    let Some((middle, _)) = high.first() else {
        return vec![statement(RETURN, ALLOW)];
    };
    let low = search(low);
    let mut code = vec![
        // Over an unconditional jump, which has no reach limit.
        jump(AT_LEAST, *middle, 0, 1),
        statement((libc::BPF_JMP | libc::BPF_JA) as u16, low.len() as u32),
    ];
    code.extend(low);
    code.extend(search(high));
    code
}

/// Instructions for one rule; falling off their end means "permitted".
fn leaf(rule: &Rule) -> Vec<libc::sock_filter> {
    let no = statement(RETURN, refuse(libc::EPERM));
    match rule {
        Rule::Refuse(errno) => vec![statement(RETURN, refuse(*errno))],
        Rule::NoNamespaces => {
            vec![
                statement(LOAD, argument(0)),
                jump(ANY_BIT, NAMESPACES, 0, 1),
                no,
            ]
        }
        Rule::NoInjection => vec![
            statement(LOAD, argument(1)),
            jump(EQUAL, TERMINAL_INJECTION[0], 1, 0),
            jump(EQUAL, TERMINAL_INJECTION[1], 0, 1),
            no,
        ],
        Rule::CommonFamilies => vec![
            statement(LOAD, argument(0)),
            jump(EQUAL, libc::AF_UNIX as u32, 3, 0),
            jump(EQUAL, libc::AF_INET as u32, 2, 0),
            jump(EQUAL, libc::AF_INET6 as u32, 1, 0),
            statement(RETURN, refuse(libc::EAFNOSUPPORT)),
        ],
    }
}
