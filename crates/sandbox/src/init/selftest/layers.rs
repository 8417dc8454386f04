//! Probes of single layers: the system call filter, Landlock, W^X, terminals, cgroups.

use std::ffi::CStr;

use super::{Seen, errno, refused};
use crate::init::confine::Confined;
use crate::message::Create;
use crate::sys::spawn::Program;
use crate::sys::{file, memory, net, seccomp};

/// Files that a probe makes, in folders that environments write to.
const PROGRAMS: [&CStr; 4] = [
    c"/tmp/.probe",
    c"/work/.nightcrew-probe",
    c"/home/agent/.probe",
    c"/dev/shm/.probe",
];

/// The probes that apply, by name.
pub(super) fn probes(request: &Create, confined: &Confined) -> Vec<(&'static str, Seen)> {
    let mut probes = vec![
        ("memory-files-refused", memory_files()),
        ("io-uring-refused", by_filter(seccomp::make_ring())),
        (
            "terminal-injection-refused",
            by_filter(seccomp::inject_into_terminal()),
        ),
        ("raw-network-refused", raw_network()),
        ("terminals-own", own_terminals()),
        ("cgroups-unseen", unseen_cgroups()),
    ];
    if confined.landlock > 0 {
        probes.push(("landlock-enforced", ruled_files(confined.landlock)));
    }
    if confined.no_new_code {
        probes.push(("new-code-refused", refused(memory::make_code())));
    }
    if request.forbids_new_programs() {
        probes.push(("new-programs-refused", new_programs()));
    }
    probes
}

/// Refused with the filter's errno: the kernel has another one for what these probes ask.
fn by_filter(result: std::io::Result<()>) -> Seen {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok("EPERM".to_owned()),
        Err(error) => Err(format!("{}, not by the filter", errno(&error))),
        Ok(()) => Err("it was permitted".to_owned()),
    }
}

fn memory_files() -> Seen {
    let [file, secret] = seccomp::make_memory_files();
    by_filter(file)?;
    by_filter(secret)
}

fn raw_network() -> Seen {
    by_filter(net::can_make_socket(libc::AF_INET, libc::SOCK_RAW))?;
    refused(net::can_make_socket(libc::AF_VSOCK, libc::SOCK_STREAM))
}

/// The environment's own instance of /dev/pts, with nothing in it yet.
fn own_terminals() -> Seen {
    let names: Vec<_> = std::fs::read_dir("/dev/pts")
        .map_err(|error| errno(&error))?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    if names == ["ptmx"] {
        Ok("none but its own".to_owned())
    } else {
        Err(format!("{names:?}"))
    }
}

/// Neither where it stands in the host's cgroups nor their file system.
fn unseen_cgroups() -> Seen {
    let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| errno(&error))?;
    if let Some(line) = groups.lines().find(|line| !line.ends_with(":/")) {
        return Err(line.to_owned());
    }
    match file::reachable(c"/sys/fs") {
        Err(error) => Ok(errno(&error)),
        Ok(()) => Err("/sys/fs is there".to_owned()),
    }
}

/// Landlock is asked before the kernel finds that there is no capability for this (EPERM), in a folder
/// where everything else may be made. (Devices without a number, which need no capability, are no
/// proof: Linux 6.12 lets them pass.)
fn ruled_files(version: u32) -> Seen {
    const DEVICE: &CStr = c"/tmp/.nightcrew-probe-device";
    match file::make_block_device(DEVICE) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            Ok(format!("EACCES, version {version}"))
        }
        Err(error) => Err(format!("{}, not by Landlock", errno(&error))),
        Ok(()) => {
            let _ = file::remove(DEVICE);
            Err("a device can be made".to_owned())
        }
    }
}

/// An empty file is no program: where execution is permitted, the kernel finds that out (ENOEXEC).
fn new_programs() -> Seen {
    for path in PROGRAMS {
        file::make_program(path).map_err(|error| errno(&error))?;
        let error =
            Program::new(vec![path.to_owned()], vec![path.to_owned()], Vec::new()).execute();
        let _ = file::remove(path);
        if error.raw_os_error() != Some(libc::EACCES) {
            return Err(format!("{}: {}", path.to_string_lossy(), errno(&error)));
        }
    }
    Ok("EACCES".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the host, where no layer is in force, probes must say so.
    #[test]
    fn a_probe_fails_where_its_layer_is_absent() {
        assert!(memory_files().is_err());
        assert!(by_filter(seccomp::make_ring()).is_err());
        assert!(by_filter(seccomp::inject_into_terminal()).is_err());
        assert!(ruled_files(0).is_err());
        assert!(refused(memory::make_code()).is_err());
        assert!(unseen_cgroups().is_err());
    }
}
