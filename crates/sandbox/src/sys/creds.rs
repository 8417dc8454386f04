//! Who a process is and what it may do.

use std::io;

use super::check;

/// Highest capability number to drop; the kernel refuses numbers it does not know.
const LAST_CAPABILITY: i32 = 63;
/// `_LINUX_CAPABILITY_VERSION_3`, see capget(2).
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE and the locks of all; see capabilities(7).
const SECURE_BITS: i32 = 0b1110_1111;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Effective user id.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::geteuid() }
}

/// Effective group id.
pub(crate) fn effective_gid() -> u32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::getegid() }
}

/// This process's id in its own pid namespace.
pub(crate) fn process_id() -> i32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::getpid() }
}

/// Drops supplementary groups.
pub(crate) fn drop_groups() -> io::Result<()> {
    // SAFETY: a count of zero reads no list.
    check(i64::from(unsafe { libc::setgroups(0, std::ptr::null()) })).map(drop)
}

/// Becomes user 0 and group 0 of the present user namespace, in all three ids.
pub(crate) fn become_inner_root() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::setresgid(0, 0, 0) }))?;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::setresuid(0, 0, 0) })).map(drop)
}

/// Gives up every capability for good: bounding, ambient, permitted, and those of user 0 at exec.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        // SAFETY: takes no pointers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            break;
        }
    }
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_SECUREBITS, SECURE_BITS, 0, 0, 0)
    }))?;
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let none = [CapabilityData::default(); 2];
    // SAFETY: version 3 of the interface takes a header and two data structures, both alive.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) }).map(drop)
}

/// Whether this process holds any capability, in any set but the bounding one.
pub(crate) fn has_capabilities() -> io::Result<bool> {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 of the interface takes a header and two data structures, both alive.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(data
        .iter()
        .any(|data| data.effective | data.permitted | data.inheritable != 0))
}

/// Whether the bounding set is empty, so that no program can regain a capability.
pub(crate) fn bounding_set_is_empty() -> bool {
    // SAFETY: takes no pointers; unknown numbers give -1.
    (0..=LAST_CAPABILITY)
        .all(|capability| unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) < 1 })
}

/// No program started from here on gains privileges. Irrevocable.
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    }))
    .map(drop)
}

/// Whether [`forbid_new_privileges`] is in force.
pub(crate) fn new_privileges_forbidden() -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Closes this process's memory and /proc entries to others of the same user.
pub(crate) fn forbid_inspection() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)
    }))
    .map(drop)
}

/// Opens this process's /proc entries to itself: they are closed since it changed its user.
pub(crate) fn permit_inspection() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0)
    }))
    .map(drop)
}

/// Leaves the host session's keyring for an empty one. Kernels without keyrings have none to leave.
pub(crate) fn new_keyring() {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING (1) with a null name makes an anonymous keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, 1, 0, 0, 0, 0) };
}

/// Names the host of the present UTS namespace.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(i64::from(unsafe {
        libc::sethostname(name.as_ptr().cast(), name.len())
    }))
    .map(drop)
}
