//! Attacks on an environment's network, from inside: `sandbox-attacker --network NAME [ARGUMENTS]`.
//! Exit code and words are those of the catalogue: 0 when anything of it succeeded, 10 when nothing
//! did, 70 when it could not be carried out.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `SOCK_PACKET`, the old name of packet sockets.
const PACKETS: i32 = 10;

/// What went through, one line each.
type Through = Vec<String>;

/// Does what the arguments say; the exit code.
pub(crate) fn main(arguments: &[&str]) -> i32 {
    let through = match *arguments {
        ["reuse", port] => number(port).map(|port| reuse(libc::SOCK_STREAM, port)),
        ["reuse-udp", port] => number(port).map(|port| reuse(libc::SOCK_DGRAM, port)),
        ["sources", address, port] => sources(address, port),
        ["settings"] => Some(settings()),
        ["interfaces"] => Some(interfaces()),
        ["raw"] => Some(raw()),
        ["descriptors"] => Some(descriptors()),
        ["twins"] => Some(twins()),
        _ => None,
    };
    match through {
        None => super::say("FAULT there is no such attack", 70),
        Some(through) if through.is_empty() => super::say("BLOCKED", 10),
        Some(through) => super::say(&format!("SUCCEEDED {}", through.join("; ")), 0),
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the descriptor is ours when the call succeeded.
    unsafe {
        let fd = check(libc::socket(family, kind, protocol))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<i32> {
    // SAFETY: pointer and length describe a live number.
    check(unsafe {
        let length = size_of::<i32>() as u32;
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    })
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<i32> {
    // SAFETY: all-zero socket addresses are valid; pointer and length describe live ones.
    unsafe {
        match address {
            SocketAddr::V4(four) => {
                let mut raw: libc::sockaddr_in = std::mem::zeroed();
                raw.sin_family = libc::AF_INET as u16;
                raw.sin_port = four.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(four.ip().octets());
                let length = size_of_val(&raw) as u32;
                check(libc::bind(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    length,
                ))
            }
            SocketAddr::V6(six) => {
                let mut raw: libc::sockaddr_in6 = std::mem::zeroed();
                raw.sin6_family = libc::AF_INET6 as u16;
                raw.sin6_port = six.port().to_be();
                raw.sin6_addr.s6_addr = six.ip().octets();
                let length = size_of_val(&raw) as u32;
                check(libc::bind(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    length,
                ))
            }
        }
    }
}

/// Binds (and listens) beside a socket that is there, by every address and option.
fn reuse(kind: i32, port: u16) -> Through {
    let addresses: [IpAddr; 8] = [
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::new(127, 0, 0, 53).into(),
        Ipv4Addr::new(198, 18, 0, 1).into(),
        Ipv4Addr::new(8, 8, 8, 8).into(),
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv4Addr::new(198, 18, 0, 1).to_ipv6_mapped().into(),
    ];
    let mut through = Vec::new();
    for address in addresses {
        for options in 0..16 {
            let only_6 = address.is_ipv6() && options & 8 != 0;
            let family = if address.is_ipv6() {
                libc::AF_INET6
            } else {
                libc::AF_INET
            };
            let Ok(socket) = socket(family, kind, 0) else {
                continue;
            };
            if address.is_ipv6() {
                let _ = set(
                    &socket,
                    libc::IPPROTO_IPV6,
                    libc::IPV6_V6ONLY,
                    i32::from(only_6),
                );
            }
            for (bit, level, option) in [
                (1, libc::SOL_SOCKET, libc::SO_REUSEADDR),
                (2, libc::SOL_SOCKET, libc::SO_REUSEPORT),
                (4, libc::IPPROTO_IP, libc::IP_FREEBIND),
            ] {
                if options & bit != 0 {
                    let _ = set(&socket, level, option, 1);
                }
            }
            let bound = bind(&socket, SocketAddr::new(address, port)).and_then(|_| {
                if kind == libc::SOCK_DGRAM {
                    return Ok(0);
                }
                // SAFETY: takes no pointers.
                check(unsafe { libc::listen(socket.as_raw_fd(), 1) })
            });
            if bound.is_ok() {
                through.push(format!("{address}:{port} with options {options}"));
            }
        }
    }
    through
}

/// Connects to one place from many sources; what is got is whatever answers there.
fn sources(address: &str, port: &str) -> Option<Through> {
    let target = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
    for source in [
        [127, 0, 0, 53],
        [8, 8, 8, 8],
        [198, 18, 0, 1],
        [203, 0, 113, 9],
    ] {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0).ok()?;
        bind(&socket, SocketAddr::new(source.into(), 0)).ok()?;
        let SocketAddr::V4(four) = target else {
            return None;
        };
        let raw = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: four.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(four.ip().octets()),
            },
            sin_zero: [0; 8],
        };
        let length = size_of_val(&raw) as u32;
        // SAFETY: pointer and length describe a live socket address.
        check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const raw).cast(), length) })
            .ok()?;
    }
    let transparent = socket(libc::AF_INET, libc::SOCK_STREAM, 0).ok()?;
    let set = set(&transparent, libc::SOL_IP, libc::IP_TRANSPARENT, 1);
    Some(
        set.ok()
            .map(|_| "IP_TRANSPARENT".to_owned())
            .into_iter()
            .collect(),
    )
}

/// Opens the kernel's settings of the network for writing, by every spelling.
fn settings() -> Through {
    let names = [
        "ipv4/ip_unprivileged_port_start",
        "ipv4/ip_nonlocal_bind",
        "ipv4/ip_forward",
        "ipv4/conf/lo/accept_local",
        "ipv4/conf/all/route_localnet",
        "ipv4/conf/all/rp_filter",
        "ipv4/tcp_fastopen",
        "ipv4/ping_group_range",
        "ipv6/conf/lo/disable_ipv6",
        "core/rmem_max",
        "unix/max_dgram_qlen",
    ];
    let roots = [
        "/proc/sys/net",
        "/proc/self/root/proc/sys/net",
        "/proc/thread-self/root/proc/sys/net",
        "/proc/1/root/proc/sys/net",
        "/proc/self/cwd/../proc/sys/net",
    ];
    let mut through = Vec::new();
    for path in roots
        .iter()
        .flat_map(|root| names.map(|name| format!("{root}/{name}")))
    {
        let Ok(name) = CString::new(path.clone()) else {
            continue;
        };
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_WRONLY | libc::O_TRUNC] {
            // SAFETY: the path is NUL-terminated.
            if check(unsafe { libc::open(name.as_ptr(), flags) }).is_ok() {
                through.push(path.clone());
            }
        }
        // SAFETY: as above.
        let number = unsafe { libc::open(name.as_ptr(), libc::O_PATH) };
        let again = format!("/proc/self/fd/{number}");
        if number >= 0 && std::fs::File::options().write(true).open(&again).is_ok() {
            through.push(format!("{path} by {again}"));
        }
    }
    through
}

/// Changes interfaces and routes by the old calls, and filters by theirs.
fn interfaces() -> Through {
    // linux/sockios.h
    let calls: [(&str, u64); 12] = [
        ("SIOCADDRT", 0x890B),
        ("SIOCDELRT", 0x890C),
        ("SIOCSIFFLAGS", 0x8914),
        ("SIOCSIFADDR", 0x8916),
        ("SIOCSIFNETMASK", 0x891C),
        ("SIOCSIFMTU", 0x8922),
        ("SIOCSIFNAME", 0x8923),
        ("SIOCSIFHWADDR", 0x8924),
        ("SIOCSIFTXQLEN", 0x8943),
        ("SIOCDIFADDR", 0x8936),
        ("SIOCBRADDBR", 0x89A0),
        ("SIOCADDTUNNEL", 0x89F1),
    ];
    let mut through = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let Ok(socket) = socket(family, libc::SOCK_DGRAM, 0) else {
            continue;
        };
        for (name, call) in calls {
            let mut request = [0_u8; 256];
            request[..2].copy_from_slice(b"lo");
            // An address of the family, where one is expected.
            request[16] = family as u8;
            // SAFETY: the buffer is longer than any structure these calls take.
            let result =
                unsafe { libc::ioctl(socket.as_raw_fd(), call as _, request.as_mut_ptr()) };
            if result >= 0 {
                through.push(format!("{name} of family {family}"));
            }
        }
        // IPT_SO_SET_REPLACE, EBT_SO_SET_ENTRIES, MRT_INIT.
        for option in [64, 128, 200] {
            let level = if family == libc::AF_INET { 0 } else { 41 };
            if set(&socket, level, option, 1).is_ok() {
                through.push(format!("option {option} of family {family}"));
            }
        }
    }
    through
}

/// Sockets and options that speak below TCP and UDP.
fn raw() -> Through {
    let mut through = Vec::new();
    for (what, family, kind, protocol) in [
        ("packets", libc::AF_PACKET, libc::SOCK_RAW, 0x0300),
        ("cooked packets", libc::AF_PACKET, libc::SOCK_DGRAM, 0x0300),
        ("old packets", libc::AF_INET, PACKETS, 0x0300),
        ("raw IPv4", libc::AF_INET, libc::SOCK_RAW, 255),
        ("raw IPv6", libc::AF_INET6, libc::SOCK_RAW, 58),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW, 0),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        ("XDP", libc::AF_XDP, libc::SOCK_RAW, 0),
    ] {
        if socket(family, kind, protocol).is_ok() {
            through.push(what.to_owned());
        }
    }
    if let Ok(socket) = socket(libc::AF_INET, libc::SOCK_STREAM, 0) {
        for (what, level, option) in [
            ("TCP_REPAIR", libc::IPPROTO_TCP, libc::TCP_REPAIR),
            ("IP_TRANSPARENT", libc::SOL_IP, libc::IP_TRANSPARENT),
            ("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK),
            ("SO_RCVBUFFORCE", libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
        ] {
            if set(&socket, level, option, 1).is_ok() {
                through.push(what.to_owned());
            }
        }
    }
    through
}

/// Looks for sockets that were left open, here and in the init.
fn descriptors() -> Through {
    let mut through = Vec::new();
    for number in 0..4096 {
        let mut kind = 0_i32;
        let mut length = size_of::<i32>() as u32;
        // SAFETY: pointers and length describe live numbers.
        let result = unsafe {
            libc::getsockopt(
                number,
                libc::SOL_SOCKET,
                libc::SO_TYPE,
                (&raw mut kind).cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            through.push(format!("descriptor {number} is a socket of type {kind}"));
        }
    }
    if std::fs::read_dir("/proc/1/fd").is_ok_and(|mut entries| entries.next().is_some()) {
        through.push("/proc/1/fd can be listed".to_owned());
    }
    // SAFETY: takes no pointers.
    let init = unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) };
    for number in 0..256 {
        // SAFETY: takes no pointers.
        if unsafe { libc::syscall(libc::SYS_pidfd_getfd, init, number, 0) } >= 0 {
            through.push(format!("descriptor {number} of the init"));
        }
    }
    through
}

/// Looks for other paths to files that were laid in, and writes to them by every path.
fn twins() -> Through {
    let mut laid: Vec<PathBuf> = ["hosts", "hostname", "resolv.conf", "nsswitch.conf"]
        .iter()
        .map(|name| Path::new("/etc").join(name))
        .collect();
    laid.extend(files(Path::new("/nightcrew/etc")));
    laid.extend(files(Path::new("/etc/ssl")));
    laid.extend(files(Path::new("/etc/pki")));
    let mut through = Vec::new();
    let key = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let keys: Vec<_> = laid.iter().filter_map(|path| key(path)).collect();
    for folder in ["/run", "/tmp", "/home", "/work", "/dev/shm"] {
        for path in files(Path::new(folder)) {
            if key(&path).is_some_and(|found| keys.contains(&found)) {
                through.push(format!("{} is a twin", path.display()));
            }
        }
    }
    for path in laid {
        let open = |path: &Path| std::fs::File::options().append(true).open(path).is_ok();
        if open(&path) {
            through.push(format!("{} can be written", path.display()));
        }
        if let Ok(file) = std::fs::File::open(&path)
            && open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
        {
            through.push(format!("{} can be reopened", path.display()));
        }
        let other = path.with_extension("attacked");
        if std::fs::rename(&path, &other).is_ok()
            || std::fs::hard_link(&path, "/tmp/link").is_ok()
            || std::fs::remove_file(&path).is_ok()
            || std::fs::write(other, "").is_ok()
        {
            through.push(format!("{} can be replaced", path.display()));
        }
    }
    through
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            // What a link leads to is looked at by itself.
            _ => {}
        }
    }
    found
}
