//! Listening sockets for every address of a network namespace.
//!
//! None has `SO_REUSEADDR` or `SO_REUSEPORT`: nobody inside can bind beside them.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{check, net};

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 256;

/// Listens for TCP on a port of every address of a family.
pub(crate) fn tcp(family: i32, port: u16) -> io::Result<OwnedFd> {
    let socket = bound(family, libc::SOCK_STREAM, port)?;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::listen(socket.as_raw_fd(), BACKLOG)
    }))?;
    Ok(socket)
}

/// Receives UDP on a port of every address of a family, with the address it was sent to.
pub(crate) fn udp(family: i32, port: u16) -> io::Result<OwnedFd> {
    let socket = bound(family, libc::SOCK_DGRAM, port)?;
    let (level, option) = if family == libc::AF_INET6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set(&socket, level, option, &1_i32)?;
    Ok(socket)
}

fn bound(family: i32, kind: i32, port: u16) -> io::Result<OwnedFd> {
    let socket = net::socket(family, kind | libc::SOCK_NONBLOCK)?;
    if family == libc::AF_INET6 {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1_i32)?;
    }
    // SAFETY: an all-zero `sockaddr_in6` is a valid value of the type.
    let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    address.sin6_family = family as libc::sa_family_t;
    // Family and port are at the same place in both families' addresses, and zero is every address.
    address.sin6_port = port.to_be();
    let length = if family == libc::AF_INET6 {
        size_of::<libc::sockaddr_in6>()
    } else {
        size_of::<libc::sockaddr_in>()
    };
    // SAFETY: pointer and length describe (the beginning of) a live socket address.
    check(i64::from(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length as u32,
        )
    }))?;
    Ok(socket)
}

/// setsockopt(2) with a value that is plain data.
pub(super) fn set<T: Copy>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe a live value; callers give the type that the option takes.
    check(i64::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of_val(value) as u32,
        )
    }))
    .map(drop)
}
