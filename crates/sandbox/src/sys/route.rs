//! Routes of the present network namespace, by rtnetlink(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{check, net};

/// Index of `lo`, the same in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Sizes of `nlmsghdr`, `rtmsg` and one attribute with a number.
const HEADER: u32 = 16;
const ROUTE: u32 = 12;
const ATTRIBUTE: u32 = 8;

const CREATE: u16 =
    (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// `RTPROT_STATIC`.
const STATIC: u8 = 4;

/// Makes every address of a family (`AF_INET`, `AF_INET6`) one of this network namespace: the
/// route `local ADDRESS/0 dev lo`.
pub(crate) fn make_all_local(family: i32) -> io::Result<()> {
    let socket = net::socket(libc::AF_NETLINK, libc::SOCK_RAW)?;
    send(&socket, &request(family))?;
    acknowledged(&socket)
}

fn request(family: i32) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend((HEADER + ROUTE + ATTRIBUTE).to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend(CREATE.to_ne_bytes());
    // Sequence number and sender: one request, and the kernel knows who asks.
    message.extend([0; 8]);
    // No bits of destination and source, no type of service, table and kind.
    message.extend([family as u8, 0, 0, 0]);
    message.extend([
        libc::RT_TABLE_LOCAL,
        STATIC,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ]);
    message.extend([0; 4]);
    message.extend((ATTRIBUTE as u16).to_ne_bytes());
    message.extend(libc::RTA_OIF.to_ne_bytes());
    message.extend(LOOPBACK.to_ne_bytes());
    message
}

fn send(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe live memory.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            0,
        )
    };
    check(sent as i64).map(drop)
}

/// Reads the one answer: `nlmsghdr`, then the negative errno, 0 for done.
fn acknowledged(socket: &OwnedFd) -> io::Result<()> {
    let mut answer = [0_u8; 256];
    // SAFETY: pointer and length describe live memory.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            0,
        )
    };
    let length = check(received as i64)? as usize;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if length < 20 || i32::from(kind) != libc::NLMSG_ERROR {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
    }
}
