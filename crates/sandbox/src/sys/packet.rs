//! A packet socket (packet(7)) that shows what is begun on the loopback, and no more than that.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use super::listen::set;
use super::{check, net};

/// Index of `lo`, the same in every network namespace.
const LOOPBACK: i32 = 1;

/// Bytes shown of a packet: the longest headers of IP and TCP.
const SHOWN: u32 = 120;

/// Bytes of packets that wait to be looked at; further ones are counted by the kernel.
const WAITING: i32 = 128 * 1024;

/// `PACKET_IGNORE_OUTGOING`: on a loopback every packet passes twice.
const IGNORE_OUTGOING: i32 = 23;

const NAMES: u32 = 53;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_HALF_BEHIND: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
const LOAD_BYTE_BEHIND: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND) as u16;
/// Length of an IPv4 header, into the index register.
const LOAD_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
const LOAD_INDEX: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16;
const MASK: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What the kernel says beside the packet (`SKF_AD_OFF` and its fields).
const PROTOCOL: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
const DIRECTION: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;

type Code = Vec<libc::sock_filter>;

fn step(code: u16, k: u32) -> Code {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Code {
    vec![libc::sock_filter { code, jt, jf, k }]
}

/// Leaves out the packet if the test holds.
fn never(test: u16, k: u32) -> Code {
    [jump(test, k, 0, 1), step(RETURN, 0)].concat()
}

/// Goes through `then`, which returns at its end, if the loaded value is `k`.
fn when(k: u32, then: Code) -> Code {
    [jump(EQUAL, k, 0, then.len() as u8), then].concat()
}

/// The beginning of a connection, to a header that the index register points at.
fn begins() -> Code {
    let syn = [
        step(LOAD_BYTE_BEHIND, 13),
        // SYN and ACK.
        step(MASK, 0x12),
        when(0x02, step(RETURN, SHOWN)),
        step(RETURN, 0),
    ];
    syn.concat()
}

/// Anything but questions for names and their answers: steps cannot have that port themselves.
fn not_names() -> Code {
    let ports = [0, 2].map(|at| [step(LOAD_HALF_BEHIND, at), never(EQUAL, NAMES)].concat());
    [ports.concat(), step(RETURN, SHOWN)].concat()
}

/// By the transport protocol that is loaded.
fn transport(index: Code) -> Code {
    [
        when(6, [index.clone(), begins()].concat()),
        when(17, [index, not_names()].concat()),
        step(RETURN, 0),
    ]
    .concat()
}

/// What is to be seen. Loopback addresses are the environment's own.
fn filter() -> Code {
    let version_4 = [
        // A later part of a packet has no header of the transport.
        step(LOAD_HALF, 6),
        never(ANY_BIT, 0x1fff),
        step(LOAD_BYTE, 16),
        never(EQUAL, 127),
        step(LOAD_BYTE, 9),
        transport(step(LOAD_LENGTH, 0)),
    ]
    .concat();
    let version_6 = [
        loopback_6(),
        step(LOAD_BYTE, 6),
        transport(step(LOAD_INDEX, 40)),
    ]
    .concat();
    [
        step(LOAD, DIRECTION),
        never(EQUAL, u32::from(libc::PACKET_OUTGOING)),
        step(LOAD, PROTOCOL),
        when(libc::ETH_P_IP as u32, version_4),
        when(libc::ETH_P_IPV6 as u32, version_6),
        step(RETURN, 0),
    ]
    .concat()
}

/// Leaves out what goes to ::1, and goes on with everything else.
fn loopback_6() -> Code {
    let words = [(24, 0), (28, 0), (32, 0), (36, 1)];
    words
        .into_iter()
        .rev()
        .fold(step(RETURN, 0), |inner, (at, word)| {
            let differs = jump(EQUAL, word, 0, inner.len() as u8);
            [step(LOAD, at), differs, inner].concat()
        })
}

/// Opens the socket. It sees nothing before its filter is in place, which nobody can take off again.
pub(crate) fn observe_loopback() -> io::Result<OwnedFd> {
    // Without a protocol nothing arrives.
    let socket = net::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)?;
    let mut code = filter();
    let program = libc::sock_fprog {
        len: code.len() as u16,
        filter: code.as_mut_ptr(),
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1_i32)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &WAITING)?;
    // Linux 4.20; the filter says it too.
    let _ = set(&socket, libc::SOL_PACKET, IGNORE_OUTGOING, &1_i32);
    // SAFETY: an all-zero `sockaddr_ll` is a valid value of the type.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = LOOPBACK;
    // SAFETY: pointer and length describe a live socket address.
    check(i64::from(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    }))?;
    Ok(socket)
}

/// The next packet that waits; nothing when none does.
pub(crate) fn next<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: pointer and length describe live memory.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(received)
        .ok()
        .and_then(|length| buffer.get(..length))
}
