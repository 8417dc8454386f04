//! Landlock: the second wall around files, by the kernel's own rules (`linux/landlock.h`,
//! landlock(7)). System call numbers and constants are the same on every architecture.

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{check, file};

const CREATE_RULESET: libc::c_long = 444;
const ADD_RULE: libc::c_long = 445;
const RESTRICT_SELF: libc::c_long = 446;

/// Version that covers all that is asked of it here: files, truncation, devices, abstract sockets
/// and signals (Linux 6.12).
pub(crate) const WHOLE: u32 = 6;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;

/// `LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF`.
const QUIET: u32 = 1;

/// Rights over files, as bits of [`Access`].
mod right {
    pub(super) const EXECUTE: u64 = 1 << 0;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    /// The thirteen rights of the first version: those above, and making and removing of all kinds.
    pub(super) const FIRST: u64 = (1 << 13) - 1;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEV: u64 = 1 << 15;
    /// Making devices: never granted.
    pub(super) const MAKE_CHAR: u64 = 1 << 6;
    pub(super) const MAKE_BLOCK: u64 = 1 << 11;
    /// What a rule for a single file may grant.
    pub(super) const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`.
const SCOPES: u64 = 0b11;

/// `struct landlock_ruleset_attr`, as of version 6. Older kernels accept the larger structure when
/// what they do not know is zero.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// What may be done below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access(u64);

impl Access {
    /// Reading files and listing folders.
    pub(crate) const READ: Self = Self(right::READ_FILE | right::READ_DIR);
    /// Executing files.
    pub(crate) const EXECUTE: Self = Self(right::EXECUTE);
    /// Writing, making and removing everything but devices.
    pub(crate) const CHANGE: Self = Self(
        (right::FIRST
            & !right::EXECUTE
            & !right::READ_FILE
            & !right::READ_DIR
            & !right::MAKE_CHAR
            & !right::MAKE_BLOCK)
            | right::REFER
            | right::TRUNCATE,
    );
    /// Writing to, and controlling, devices that exist.
    pub(crate) const DEVICES: Self = Self(right::WRITE_FILE | right::TRUNCATE | right::IOCTL_DEV);

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The version of the interface: 0 where the kernel has no Landlock or has it switched off.
pub(crate) fn version() -> u32 {
    // SAFETY: a null pointer and a size of 0 are what asking for the version takes.
    let version = unsafe { libc::syscall(CREATE_RULESET, std::ptr::null::<u8>(), 0, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Rights that versions of the interface know.
fn known(version: u32) -> u64 {
    let mut rights = right::FIRST;
    for (since, right) in [
        (2, right::REFER),
        (3, right::TRUNCATE),
        (5, right::IOCTL_DEV),
    ] {
        if version >= since {
            rights |= right;
        }
    }
    rights
}

/// Rules under assembly.
pub(crate) struct Ruleset {
    fd: OwnedFd,
    known: u64,
    version: u32,
}

impl Ruleset {
    /// A ruleset that refuses everything its version knows; `version` is at least 1.
    pub(crate) fn new(version: u32) -> io::Result<Self> {
        let known = known(version);
        let attributes = RulesetAttributes {
            files: known,
            network: 0,
            scoped: if version >= 6 { SCOPES } else { 0 },
        };
        // SAFETY: pointer and size describe a live structure that the kernel only reads.
        let fd = check(unsafe {
            libc::syscall(
                CREATE_RULESET,
                &raw const attributes,
                size_of::<RulesetAttributes>(),
                0,
            )
        })?;
        Ok(Self {
            fd: file::adopt(fd as i32)?,
            known,
            version,
        })
    }

    /// Permits `access` to the file, or everything below the folder, at `path`. An absent path is
    /// left out.
    pub(crate) fn permit(&self, path: &CStr, access: Access) -> io::Result<()> {
        let place = match file::open(path, libc::O_PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            place => place?,
        };
        let rule = PathBeneath {
            allowed: access.0 & self.known,
            parent: place.as_fd().as_raw_fd(),
        };
        match self.add(&rule) {
            // Rights over folders are nothing that a single file can have.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.add(&PathBeneath {
                allowed: access.0 & self.known & right::OF_FILES,
                ..rule
            }),
            result => result,
        }
    }

    fn add(&self, rule: &PathBeneath) -> io::Result<()> {
        // SAFETY: the pointer is to a live structure that the kernel only reads.
        check(unsafe {
            libc::syscall(
                ADD_RULE,
                self.fd.as_raw_fd(),
                PATH_BENEATH,
                std::ptr::from_ref(rule),
                0,
            )
        })
        .map(drop)
    }

    /// Puts the rules on this process and all it will start, for good. Needs no-new-privileges.
    pub(crate) fn enforce(self) -> io::Result<()> {
        // The self-test is refused things on purpose; the host's audit log need not fill with that.
        let flags = if self.version >= 7 { QUIET } else { 0 };
        // SAFETY: takes no pointers.
        check(unsafe { libc::syscall(RESTRICT_SELF, self.fd.as_raw_fd(), flags) }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_asked_for_a_right_it_does_not_know() {
        assert_eq!(known(1), 0x1FFF);
        assert_eq!(known(2), 0x3FFF);
        assert_eq!(known(3), 0x7FFF);
        assert_eq!(known(4), 0x7FFF);
        assert_eq!(known(5), 0xFFFF);
        assert_eq!(known(99), 0xFFFF);
    }

    #[test]
    fn changing_is_neither_reading_nor_executing_nor_making_devices() {
        let change = Access::CHANGE;
        assert_eq!(change.0 & Access::READ.0, 0);
        assert_eq!(change.0 & Access::EXECUTE.0, 0);
        assert_eq!(change.0 & (right::MAKE_CHAR | right::MAKE_BLOCK), 0);
        let all = change.and(Access::READ).and(Access::EXECUTE).0;
        assert_eq!(
            all | right::MAKE_CHAR | right::MAKE_BLOCK | right::IOCTL_DEV,
            known(99)
        );
    }
}
