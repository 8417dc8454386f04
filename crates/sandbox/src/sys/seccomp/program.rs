//! From rules to BPF instructions.

use super::list::FIRST_UNKNOWN;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;

/// Offsets in `struct seccomp_data`; arguments are read as their low 32 bits (little endian), which
/// is all the kernel looks at in every argument that a rule is about.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + index * 8
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const MASK: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const ALWAYS: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// `SOCK_PACKET`, the old name of packet sockets.
const PACKETS: u32 = 10;

/// Bits of a socket's type that are the type; the rest are flags.
const SOCKET_TYPE: u32 = 0xF;

/// Flags of an open that may make a file: `O_CREAT`, and `O_TMPFILE` without `O_DIRECTORY`.
const MAKES: u32 = (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// What to do with one system call number. Argument numbers count from 0.
pub(super) enum Rule {
    /// Refused with this errno.
    Refuse(i32),
    /// EPERM when the argument has any of these bits.
    NoBits(u32, u32),
    /// EPERM when a file is made and its mode has any of these bits. Where none is made, the argument
    /// may be anything.
    NewFile { flags: u32, mode: u32, bits: u32 },
    /// EPERM when the argument is one of these.
    NoneOf(u32, &'static [u32]),
    /// EPERM when the argument is none of these.
    OneOf(u32, &'static [u32]),
    /// Setting `RLIMIT_CORE` does nothing and says that it worked: a limit of 1 is the only one at
    /// which the kernel starts no core dump handler on the host, and some programs end when they
    /// cannot set theirs to 0. `resource` and `new` are the arguments; no `new` means always set.
    KeepCoreLimit { resource: u32, new: Option<u32> },
    /// Other families do not exist; of the internet's, raw and packet sockets are refused and other
    /// protocols do not exist.
    Socket {
        families: &'static [u32],
        protocols: &'static [u32],
    },
}

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

/// The whole program for rules sorted by number.
pub(super) fn assemble(rules: &[(u32, Rule)]) -> Vec<libc::sock_filter> {
    let mut program = vec![
        statement(LOAD, ARCH),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, refuse(libc::EPERM)),
        statement(LOAD, NUMBER),
        // Numbers of another calling convention (x32) carry a high bit and fall under this too.
        jump(AT_LEAST, FIRST_UNKNOWN, 0, 1),
        statement(RETURN, refuse(libc::ENOSYS)),
    ];
    program.extend(search(rules));
    program
}

/// Instructions that find the present number among sorted `rules`.
fn search(rules: &[(u32, Rule)]) -> Vec<libc::sock_filter> {
    if let [(number, rule)] = rules {
        let mut code = leaf(rule);
        // Conditional jumps reach 255 instructions; a leaf has fewer than thirty.
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
        statement(ALWAYS, low.len() as u32),
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
        Rule::NoBits(index, bits) => vec![
            statement(LOAD, argument(*index)),
            jump(ANY_BIT, *bits, 0, 1),
            no,
        ],
        Rule::NewFile { flags, mode, bits } => vec![
            statement(LOAD, argument(*flags)),
            jump(ANY_BIT, MAKES, 0, 3),
            statement(LOAD, argument(*mode)),
            jump(ANY_BIT, *bits, 0, 1),
            no,
        ],
        Rule::NoneOf(index, values) => {
            let mut code = vec![statement(LOAD, argument(*index))];
            code.extend(among(values));
            // Found: refused. Not found: over it.
            code.push(statement(ALWAYS, 1));
            code.push(no);
            code
        }
        Rule::OneOf(index, values) => only(*index, values, libc::EPERM),
        Rule::KeepCoreLimit { resource, new } => {
            let done = statement(RETURN, refuse(0));
            let mut code = vec![statement(LOAD, argument(*resource))];
            let Some(new) = new else {
                code.extend([jump(EQUAL, libc::RLIMIT_CORE, 0, 1), done]);
                return code;
            };
            // A null pointer, in both its halves, only asks.
            code.extend([
                jump(EQUAL, libc::RLIMIT_CORE, 0, 5),
                statement(LOAD, argument(*new)),
                jump(EQUAL, 0, 0, 2),
                statement(LOAD, argument(*new) + 4),
                jump(EQUAL, 0, 1, 0),
                done,
            ]);
            code
        }
        Rule::Socket {
            families,
            protocols,
        } => {
            let mut code = only(0, families, libc::EAFNOSUPPORT);
            let mut internet = vec![
                statement(LOAD, argument(1)),
                statement(MASK, SOCKET_TYPE),
                jump(EQUAL, libc::SOCK_RAW as u32, 1, 0),
                jump(EQUAL, PACKETS, 0, 1),
                no,
            ];
            // The errno after which programs fall back from a protocol to the usual one.
            internet.extend(only(2, protocols, libc::EPROTONOSUPPORT));
            // A filter's accumulator still holds the family here.
            code.push(jump(EQUAL, libc::AF_UNIX as u32, internet.len() as u8, 0));
            code.extend(internet);
            code
        }
    }
}

/// Refuses an argument that is none of `values`.
fn only(index: u32, values: &[u32], errno: i32) -> Vec<libc::sock_filter> {
    let mut code = vec![statement(LOAD, argument(index))];
    code.extend(among(values));
    code.push(statement(RETURN, refuse(errno)));
    code
}

/// Skips one instruction after its end when the accumulator is one of `values`.
fn among(values: &[u32]) -> Vec<libc::sock_filter> {
    let count = values.len();
    values
        .iter()
        .enumerate()
        .map(|(at, value)| jump(EQUAL, *value, (count - at) as u8, 0))
        .collect()
}
