//! The compiled program, run by a small interpreter of classic BPF.

use super::list::{FIRST_UNKNOWN, rules};
use super::program::{ARCHITECTURE, Rule};
use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO;

/// `struct seccomp_data` of a call, as 32-bit words.
fn data(architecture: u32, number: u32, arguments: &[u64]) -> [u32; 16] {
    let mut words = [0; 16];
    (words[0], words[1]) = (number, architecture);
    for (at, argument) in arguments.iter().enumerate() {
        words[4 + 2 * at] = *argument as u32;
        words[5 + 2 * at] = (*argument >> 32) as u32;
    }
    words
}

/// Runs the program; panics where the kernel would refuse it.
fn interpret(program: &[libc::sock_filter], data: &[u32; 16]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = &program[at];
        at += 1;
        let k = instruction.k;
        let mut branch = |yes: bool| {
            at += usize::from(if yes { instruction.jt } else { instruction.jf });
        };
        match u32::from(instruction.code) {
            code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                assert_eq!(k % 4, 0);
                accumulator = data[k as usize / 4];
            }
            code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => accumulator &= k,
            code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => branch(accumulator == k),
            code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => branch(accumulator >= k),
            code if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => {
                branch(accumulator & k != 0);
            }
            code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
            code if code == libc::BPF_RET | libc::BPF_K => return k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn verdict(number: libc::c_long, arguments: &[u64]) -> u32 {
    let filter = Filter::compile();
    interpret(&filter.0, &data(ARCHITECTURE, number as u32, arguments))
}

fn refused(errno: i32) -> u32 {
    REFUSE | errno as u32
}

#[test]
fn every_number_gets_what_its_rule_says_and_all_others_are_permitted() {
    let filter = Filter::compile();
    let rules = rules();
    for number in 0..FIRST_UNKNOWN {
        // Arguments that every rule by arguments permits.
        let harmless = data(ARCHITECTURE, number, &[1, 1, 0]);
        let expected = match rules.iter().find(|(with_rule, _)| *with_rule == number) {
            Some((_, Rule::Refuse(errno))) => refused(*errno),
            // personality(1) is the one whose list is of what is permitted.
            Some((_, Rule::OneOf(..))) => refused(libc::EPERM),
            _ => ALLOW,
        };
        assert_eq!(interpret(&filter.0, &harmless), expected, "{number}");
    }
}

#[test]
fn no_number_has_two_rules() {
    let numbers: Vec<u32> = rules().into_iter().map(|(number, _)| number).collect();
    let mut unique = numbers.clone();
    unique.dedup();
    assert_eq!(numbers, unique);
}

#[test]
fn calls_of_other_conventions_and_of_the_future_do_not_exist() {
    let filter = Filter::compile();
    let of = |architecture, number| interpret(&filter.0, &data(architecture, number, &[]));
    // i386 on x86_64, 32-bit ARM on aarch64.
    assert_eq!(of(0x4000_0003, 1), refused(libc::EPERM));
    assert_eq!(of(0x4000_0028, 1), refused(libc::EPERM));
    // x32: write(2) of that convention, and its own numbers.
    assert_eq!(of(ARCHITECTURE, 0x4000_0001), refused(libc::ENOSYS));
    for number in [FIRST_UNKNOWN, 512, 547, 1000, 0x7FFF_FFFF, u32::MAX] {
        assert_eq!(of(ARCHITECTURE, number), refused(libc::ENOSYS), "{number}");
    }
}

#[test]
fn clone_makes_processes_and_threads_but_no_namespaces() {
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND;
    assert_eq!(verdict(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
    assert_eq!(
        verdict(libc::SYS_clone, &[(thread | libc::CLONE_THREAD) as u64]),
        ALLOW
    );
    for namespace in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWTIME,
    ] {
        let flags = (namespace | libc::SIGCHLD) as u64;
        assert_eq!(verdict(libc::SYS_clone, &[flags]), refused(libc::EPERM));
        // High bits, which the kernel ignores, hide nothing.
        assert_eq!(
            verdict(libc::SYS_clone, &[flags | 0xFFFF_FFFF_0000_0000]),
            refused(libc::EPERM)
        );
    }
    assert_eq!(verdict(libc::SYS_clone3, &[]), refused(libc::ENOSYS));
}

#[test]
fn terminals_take_no_words_from_others() {
    for request in [0x5412, 0x541C, 0x5423, 0x541D, 0x5437] {
        assert_eq!(
            verdict(libc::SYS_ioctl, &[0, request]),
            refused(libc::EPERM)
        );
        assert_eq!(
            verdict(libc::SYS_ioctl, &[0, request | 1 << 32]),
            refused(libc::EPERM)
        );
    }
    // TCGETS, TIOCGWINSZ, FIONREAD, FICLONE.
    for request in [0x5401, 0x5413, 0x541B, 0x4004_9409] {
        assert_eq!(verdict(libc::SYS_ioctl, &[0, request]), ALLOW);
    }
}

#[test]
fn sockets_are_unix_or_internet_and_never_raw() {
    let socket = |family: i32, kind: i32, protocol: i32| {
        let arguments = [family as u64, kind as u64, protocol as u64];
        let pair = verdict(libc::SYS_socketpair, &arguments);
        let single = verdict(libc::SYS_socket, &arguments);
        assert_eq!(pair, single);
        single
    };
    let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for permitted in [
        (libc::AF_UNIX, stream, 0),
        (libc::AF_UNIX, libc::SOCK_SEQPACKET, 0),
        (libc::AF_INET, stream, 0),
        (libc::AF_INET6, stream, libc::IPPROTO_TCP),
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
    ] {
        let (family, kind, protocol) = permitted;
        assert_eq!(socket(family, kind, protocol), ALLOW, "{permitted:?}");
    }
    for family in [
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
        libc::AF_ALG,
        libc::AF_BLUETOOTH,
        libc::AF_TIPC,
        libc::AF_XDP,
        libc::AF_CAN,
        libc::AF_KEY,
        libc::AF_RDS,
        44, // AF_SMC is 43, AF_QIPCRTR 42; these have no users here either.
        43,
        42,
    ] {
        assert_eq!(socket(family, stream, 0), refused(libc::EAFNOSUPPORT));
    }
    for kind in [
        libc::SOCK_RAW,
        libc::SOCK_RAW | libc::SOCK_CLOEXEC,
        10, // SOCK_PACKET
    ] {
        assert_eq!(socket(libc::AF_INET, kind, 1), refused(libc::EPERM));
    }
    // SCTP, DCCP, MPTCP, L2TP: after this errno programs take TCP.
    for protocol in [132, 33, 262, 115] {
        assert_eq!(
            socket(libc::AF_INET, stream, protocol),
            refused(libc::EPROTONOSUPPORT)
        );
    }
}

#[test]
fn personality_changes_nothing_that_protects() {
    for harmless in [0, 8, 0x2_0000, 0xFFFF_FFFF] {
        assert_eq!(verdict(libc::SYS_personality, &[harmless]), ALLOW);
    }
    // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO.
    for harmful in [0x004_0000, 0x040_0000, 0x010_0000] {
        assert_eq!(
            verdict(libc::SYS_personality, &[harmful]),
            refused(libc::EPERM)
        );
    }
}

#[test]
fn shared_memory_is_never_attached_to_be_executed() {
    let read_only = u64::from(libc::SHM_RDONLY.unsigned_abs());
    let execute = u64::from(libc::SHM_EXEC.unsigned_abs());
    assert_eq!(verdict(libc::SYS_shmat, &[1, 0, read_only]), ALLOW);
    for flags in [execute, execute | read_only, execute | 1 << 40] {
        assert_eq!(
            verdict(libc::SYS_shmat, &[1, 0, flags]),
            refused(libc::EPERM)
        );
    }
}

#[test]
fn no_program_is_made_that_takes_on_its_owner_and_folders_may_hand_on_their_group() {
    let no = refused(libc::EPERM);
    let (user, group) = (0o4755_u64, 0o2755_u64);
    let chmods = [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (452, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, 1),
    ];
    let with = |at: usize, mode: u64| {
        let mut arguments = [0; 4];
        arguments[at] = mode;
        arguments
    };
    for (call, at) in chmods {
        assert_eq!(verdict(call, &with(at, user)), no);
        assert_eq!(verdict(call, &with(at, user | 1 << 40)), no);
        assert_eq!(verdict(call, &with(at, group)), ALLOW);
        assert_eq!(verdict(call, &with(at, 0o1777)), ALLOW);
    }
    let making = [
        (libc::SYS_mknodat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, 1),
    ];
    for (call, at) in making {
        for mode in [user, group, 0o6000] {
            assert_eq!(verdict(call, &with(at, mode)), no);
        }
        assert_eq!(verdict(call, &with(at, 0o1777)), ALLOW);
    }
    let opens = [
        (libc::SYS_openat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
    ];
    for (call, at) in opens {
        let open = |flags: i32, mode: u64| {
            let mut arguments = with(at, flags as u64);
            arguments[at + 1] = mode;
            verdict(call, &arguments)
        };
        for flags in [libc::O_CREAT, libc::O_CREAT | libc::O_RDWR, libc::O_TMPFILE] {
            assert_eq!(open(flags, user), no);
            assert_eq!(open(flags, group), no);
            assert_eq!(open(flags, 0o1777), ALLOW);
        }
        // Where no file is made, the register may hold anything.
        for flags in [0, libc::O_RDWR, libc::O_DIRECTORY, libc::O_TRUNC] {
            assert_eq!(open(flags, u64::MAX), ALLOW);
        }
    }
    assert_eq!(verdict(libc::SYS_openat2, &[]), refused(libc::ENOSYS));
}

#[test]
fn the_core_limit_stays_while_others_can_be_set() {
    let pointers = [0x1000_u64, 1 << 32, u64::MAX];
    for pointer in pointers {
        let core = [0, u64::from(libc::RLIMIT_CORE), pointer];
        assert_eq!(verdict(libc::SYS_prlimit64, &core), refused(0));
        let files = [0, u64::from(libc::RLIMIT_NOFILE), pointer];
        assert_eq!(verdict(libc::SYS_prlimit64, &files), ALLOW);
    }
    let asked = [0, u64::from(libc::RLIMIT_CORE), 0];
    assert_eq!(verdict(libc::SYS_prlimit64, &asked), ALLOW);
    assert_eq!(verdict(libc::SYS_setrlimit, &[4, 1]), refused(0));
    assert_eq!(verdict(libc::SYS_setrlimit, &[7, 1]), ALLOW);
}

#[test]
fn filters_may_be_added_but_ask_nobody() {
    assert_eq!(verdict(libc::SYS_seccomp, &[1, 0]), ALLOW);
    assert_eq!(
        verdict(libc::SYS_seccomp, &[1, 1]),
        ALLOW,
        "for all threads"
    );
    assert_eq!(verdict(libc::SYS_seccomp, &[1, 8]), refused(libc::EPERM));
    assert_eq!(verdict(libc::SYS_seccomp, &[1, 9]), refused(libc::EPERM));
    assert_eq!(
        verdict(libc::SYS_prctl, &[libc::PR_SET_MM as u64, 0]),
        refused(libc::EPERM)
    );
    assert_eq!(
        verdict(libc::SYS_prctl, &[libc::PR_SET_NAME as u64, 0]),
        ALLOW
    );
}
