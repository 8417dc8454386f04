//! The proof: every promise of isolation tried with the credentials steps have, by system calls
//! only, before the first step.

mod layers;
mod network;

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::confine::Confined;
use super::setup::Network;
use crate::gate::door;
use crate::message::Create;
use crate::network::Kind;
use crate::report::ProbeResult;
use crate::supervisor::Workshop;
use crate::sys::{c_path, creds, file, mount, net, process};

/// What a probe saw: `Ok` when isolation held.
type Seen = Result<String, String>;

/// Runs every probe. Names are stable: reports, tests and documentation use them.
pub(super) fn run(
    workshop: &Workshop,
    request: &Create,
    confined: &Confined,
    network: &Network,
) -> Vec<ProbeResult> {
    let probes: [(&str, Seen); 17] = [
        ("own-pid-namespace", own_pid_namespace()),
        ("uid-mapped", uid_mapped()),
        ("no-capabilities", no_capabilities()),
        ("no-new-privileges", no_new_privileges()),
        ("host-root-unreachable", unreachable(c"/root", request)),
        ("host-home-empty", home_is_own(request)),
        (
            "host-passwords-unreachable",
            unreachable(c"/etc/shadow", request),
        ),
        ("host-data-unreachable", host_data(request)),
        ("system-read-only", system_read_only(request)),
        (
            "mount-refused",
            refused(mount::bind(c"/tmp", c"/mnt", false)),
        ),
        (
            "unshare-refused",
            refused(process::unshare(libc::CLONE_NEWUSER)),
        ),
        ("setns-refused", refused(process::enter_namespace_of_init())),
        (
            "outside-signal-refused",
            outside_signal(workshop.process_id),
        ),
        ("internet-unreachable", internet(request)),
        (
            "host-loopback-unreachable",
            host_loopback(workshop, network),
        ),
        (
            "host-abstract-socket-unreachable",
            not_connected(net::connect_abstract(&workshop.bait.name)),
        ),
        (
            "netlink-refused",
            refused(net::can_make_socket(libc::AF_NETLINK, libc::SOCK_RAW)),
        ),
    ];
    let gate = request
        .gated
        .then(|| ("refused-content-refused", door::refuses_canary()));
    let brokered = request.network.as_ref();
    let brokered = brokered.map(|spec| network::probes(spec, network));
    let probes: Vec<(&str, Seen)> = probes
        .into_iter()
        .chain(layers::probes(request, confined))
        .chain(brokered.into_iter().flatten())
        .chain(gate)
        .collect();
    network::forget(network);
    probes
        .into_iter()
        .map(|(name, seen)| ProbeResult {
            name: name.to_owned(),
            passed: seen.is_ok(),
            detail: seen.unwrap_or_else(|detail| detail),
        })
        .collect()
}

/// The short name of an errno: what `detail` shows.
fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::EACCES) => "EACCES".to_owned(),
        Some(libc::ENOENT) => "ENOENT".to_owned(),
        Some(libc::ESRCH) => "ESRCH".to_owned(),
        Some(libc::EROFS) => "EROFS".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::ENOEXEC) => "ENOEXEC".to_owned(),
        Some(libc::ENETUNREACH) => "ENETUNREACH".to_owned(),
        Some(libc::ECONNREFUSED) => "ECONNREFUSED".to_owned(),
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT".to_owned(),
        other => format!("errno {}", other.unwrap_or(0)),
    }
}

fn refused(result: io::Result<()>) -> Seen {
    match result {
        Ok(()) => Err("it was permitted".to_owned()),
        Err(error) => Ok(errno(&error)),
    }
}

fn own_pid_namespace() -> Seen {
    let pid = creds::process_id();
    if pid != 1 {
        return Err(format!("process id {pid}"));
    }
    let others: Vec<String> = std::fs::read_dir("/proc")
        .map_err(|error| errno(&error))?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && name != "1")
        .collect();
    if others.is_empty() {
        Ok("alone as 1".to_owned())
    } else {
        Err(format!("processes {others:?}"))
    }
}

fn uid_mapped() -> Seen {
    let (uid, gid) = (creds::effective_uid(), creds::effective_gid());
    let map = std::fs::read_to_string("/proc/1/uid_map").map_err(|error| errno(&error))?;
    let fields: Vec<&str> = map.split_ascii_whitespace().collect();
    match fields.as_slice() {
        ["0", _, "1"] if uid == 0 && gid == 0 => Ok("one user, 0".to_owned()),
        _ => Err(format!("uid {uid}, gid {gid}, map {fields:?}")),
    }
}

fn no_capabilities() -> Seen {
    match creds::has_capabilities() {
        Ok(false) if creds::bounding_set_is_empty() => Ok("none held, none to gain".to_owned()),
        Ok(false) => Err("some to gain".to_owned()),
        Ok(true) => Err("some held".to_owned()),
        Err(error) => Err(errno(&error)),
    }
}

fn no_new_privileges() -> Seen {
    if creds::new_privileges_forbidden() {
        Ok("set".to_owned())
    } else {
        Err("not set".to_owned())
    }
}

/// A toolchain of the recipe may lie below the path: then its own folder is all that may be there.
fn unreachable(path: &'static CStr, request: &Create) -> Seen {
    let shown = Path::new(OsStr::from_bytes(path.to_bytes()));
    let targets = request.mounts.iter().map(|mount| &mount.target);
    let targets = targets.chain(&request.also);
    if request
        .root
        .extra
        .iter()
        .chain(targets)
        .any(|extra| extra.starts_with(shown))
    {
        return Ok("only the recipe's folders".to_owned());
    }
    // Of the host's folders, only the recipe's are in a root that is a tree of its own.
    if request.root.tree.is_some() && path == c"/root" {
        return Ok("the root is a tree of its own".to_owned());
    }
    match file::reachable(path) {
        Err(error) => Ok(errno(&error)),
        Ok(()) => Err("it is there".to_owned()),
    }
}

fn home_is_own(request: &Create) -> Seen {
    if request
        .root
        .extra
        .iter()
        .any(|extra| extra.starts_with("/home"))
    {
        return Ok("only its own and the recipe's folders".to_owned());
    }
    let names: Vec<_> = std::fs::read_dir("/home")
        .map_err(|error| errno(&error))?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    if names == ["agent"] {
        Ok("only its own".to_owned())
    } else {
        Err(format!("{names:?}"))
    }
}

fn host_data(request: &Create) -> Seen {
    for path in &request.hidden {
        let shown = request
            .root
            .extra
            .iter()
            .any(|extra| path.starts_with(extra))
            || inside(path);
        let c = c_path(path).map_err(|error| errno(&error))?;
        if !shown && file::reachable(&c).is_ok() {
            return Err(format!("{} is there", path.display()));
        }
    }
    Ok("ENOENT".to_owned())
}

/// Paths whose names may exist inside too, for the environment's own things.
fn inside(path: &Path) -> bool {
    let own = [
        "/usr",
        "/work",
        "/nightcrew",
        "/proc",
        "/dev",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
    ];
    own.iter().any(|own| path.starts_with(own)) || path == "/tmp" || path == "/run"
}

fn system_read_only(request: &Create) -> Seen {
    let paths = [
        c"/proc/sys/kernel/hostname",
        c"/usr/.probe",
        c"/etc/.probe",
        c"/.probe",
    ];
    // Set-up commands write to a layer over the root.
    let tried = if request.root.writable.is_some() {
        1
    } else {
        4
    };
    for path in &paths[..tried] {
        if file::open(path, libc::O_WRONLY | libc::O_CREAT).is_ok() {
            return Err(format!("{} can be written", path.to_string_lossy()));
        }
    }
    Ok("EROFS".to_owned())
}

fn outside_signal(supervisor: i32) -> Seen {
    // The number may by chance be our own; no other process exists here.
    if supervisor == creds::process_id() {
        return Ok("its number means this process".to_owned());
    }
    refused(process::kill(supervisor, 0))
}

fn not_connected(result: io::Result<()>) -> Seen {
    match result {
        Ok(()) => Err("connected".to_owned()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Err("a connection is under way".to_owned())
        }
        Err(error) => Ok(errno(&error)),
    }
}

/// Where every address is the environment's own, other probes look into what that means.
fn internet(request: &Create) -> Seen {
    if request.network.is_some() {
        return Ok("every address is its own".to_owned());
    }
    not_connected(net::connect_tcp([1, 1, 1, 1], 9, false))
}

fn host_loopback(workshop: &Workshop, network: &Network) -> Seen {
    let Some(port) = workshop.bait.port else {
        return Ok("the host has no loopback".to_owned());
    };
    if network.kinds.contains(&Kind::Tcp(port)) {
        let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
        return network::leads_to(address, network);
    }
    not_connected(net::connect_tcp([127, 0, 0, 1], port, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the host, where nothing is isolated, probes must say so.
    #[test]
    fn a_probe_fails_where_isolation_is_absent() {
        assert!(own_pid_namespace().is_err());
        let (_listener, port) = net::listen_tcp_loopback().unwrap();
        assert!(not_connected(net::connect_tcp([127, 0, 0, 1], port, true)).is_err());
        let name = format!("nightcrew-test-{}", std::process::id()).into_bytes();
        let _listener = net::listen_abstract(&name).unwrap();
        assert!(not_connected(net::connect_abstract(&name)).is_err());
        assert!(refused(net::can_make_socket(libc::AF_NETLINK, libc::SOCK_RAW)).is_err());
        assert!(refused(process::kill(creds::process_id(), 0)).is_err());
        assert!(uid_mapped().is_err());
    }

    #[test]
    fn a_path_that_is_there_is_reported_and_one_that_is_not_passes() {
        let request = crate::message::tests::request();
        assert!(unreachable(c"/etc/passwd", &request).is_err());
        assert!(unreachable(c"/absent", &request).is_ok());
        assert!(host_data(&request).is_ok());
        let mut request = request;
        request.hidden = vec!["/etc/passwd".into()];
        assert!(host_data(&request).is_err());
        // What the recipe shows is no leak.
        request.root.extra = vec!["/etc".into()];
        assert!(host_data(&request).is_ok());
    }
}
