//! Sockets, as far as an environment's own loopback and its self-test need them.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

pub(super) fn socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a socket of this family can be made at all.
pub(crate) fn can_make_socket(family: i32, kind: i32) -> io::Result<()> {
    socket(family, kind).map(drop)
}

/// Brings up `lo` of the present network namespace.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    set_loopback(libc::IFF_UP | libc::IFF_RUNNING)
}

/// Takes down `lo` of the present network namespace.
pub(crate) fn take_down_loopback() -> io::Result<()> {
    set_loopback(0)
}

fn set_loopback(flags: i32) -> io::Result<()> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    // SAFETY: an all-zero `ifreq` is a valid value of the type.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: SIOCSIFFLAGS takes a pointer to a live `ifreq`.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    check(i64::from(result)).map(drop)
}

/// Connects over IPv4. Waits for the answer only when `wait`: a loopback gives one at once, a
/// network may never.
pub(crate) fn connect_tcp(address: [u8; 4], port: u16, wait: bool) -> io::Result<()> {
    let kind = libc::SOCK_STREAM | if wait { 0 } else { libc::SOCK_NONBLOCK };
    let socket = socket(libc::AF_INET, kind)?;
    let target = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: pointer and length describe a live socket address.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const target).cast(),
            size_of::<libc::sockaddr_in>() as u32,
        )
    };
    check(i64::from(result)).map(drop)
}

/// A TCP port of the host's loopback that listens for as long as the result lives.
pub(crate) fn listen_tcp_loopback() -> io::Result<(std::net::TcpListener, u16)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn abstract_address(name: &[u8]) -> (libc::sockaddr_un, u32) {
    // SAFETY: an all-zero `sockaddr_un` is a valid value of the type.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let length = name.len().min(address.sun_path.len() - 1);
    for (to, from) in address.sun_path[1..].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    (
        address,
        (size_of::<libc::sa_family_t>() + 1 + length) as u32,
    )
}

/// Listens on an abstract unix socket, which network namespaces keep apart.
pub(crate) fn listen_abstract(name: &[u8]) -> io::Result<OwnedFd> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    let (address, length) = abstract_address(name);
    // SAFETY: pointer and length describe a live socket address.
    check(i64::from(unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
    }))?;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::listen(socket.as_raw_fd(), 1) }))?;
    Ok(socket)
}

/// Connects to an abstract unix socket.
pub(crate) fn connect_abstract(name: &[u8]) -> io::Result<()> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    let (address, length) = abstract_address(name);
    // SAFETY: pointer and length describe a live socket address.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    check(i64::from(result)).map(drop)
}
