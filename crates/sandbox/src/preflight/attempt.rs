//! The trials: in a forked child, so that this process stays as it is.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::landlock::{Access, Ruleset};
use crate::sys::process::{self, Forked, Waited};
use crate::sys::{c_path, creds, file, landlock, memory, mount, seccomp};

/// Things tried, in order.
pub(super) const NAMES: [&str; 13] = [
    "user-namespace",
    "mount-namespace",
    "network-namespace",
    "tmpfs",
    "mount-attributes",
    "noexec",
    "terminals",
    "seccomp",
    "seccomp-notify",
    "landlock",
    "wx",
    "proc",
    "overlay",
];

/// The errno of each refusal, by the order of [`NAMES`].
pub(super) fn all() -> Errors {
    attempt().unwrap_or_else(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        [Some(errno); NAMES.len()]
    })
}

/// The errno of each refusal, by the order of [`NAMES`].
pub(super) type Errors = [Option<i32>; NAMES.len()];

/// Tries everything in a child, so that this process stays as it is.
fn attempt() -> io::Result<Errors> {
    let place = Place::new()?;
    let (read, write) = file::pipe()?;
    let maps = [
        CString::new(format!("0 {} 1", creds::effective_gid())).unwrap_or_default(),
        CString::new(format!("0 {} 1", creds::effective_uid())).unwrap_or_default(),
    ];
    let filter = seccomp::Filter::compile();
    match process::fork()? {
        Forked::Child => {
            // Only plain system calls from here: another thread may have held the heap's lock.
            let errors = try_all(&place, &maps, &filter);
            file::write_all(&write, &encode(errors));
            process::exit_now(0)
        }
        Forked::Parent(pid) => {
            drop(write);
            let mut message = Vec::new();
            let read = io::Read::read_to_end(&mut std::fs::File::from(read), &mut message);
            let _: Option<Waited> = process::wait_for(pid).ok();
            read?;
            decode(&message).ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))
        }
    }
}

fn encode(errors: Errors) -> [u8; NAMES.len()] {
    // Linux error numbers that system calls return this way fit: 0 stands for success.
    errors.map(|errno| errno.map_or(0, |errno| errno.clamp(1, 255) as u8))
}

fn decode(message: &[u8]) -> Option<Errors> {
    let message: [u8; NAMES.len()] = message.try_into().ok()?;
    Some(message.map(|byte| (byte != 0).then_some(i32::from(byte))))
}

/// Folders for trying mounts.
struct Place {
    root: std::path::PathBuf,
    target: CString,
    /// A file below `target`.
    program: CString,
    proc: CString,
    overlay: CString,
}

impl Place {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        // Several threads of one process may ask at once.
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let count = ASKED.fetch_add(1, Ordering::Relaxed);
        let name = format!("nightcrew-preflight-{}-{count}", std::process::id());
        let root = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&root)?;
        let target = c_path(&root)?;
        let program = c_path(&root.join("program"))?;
        let proc = c_path(&root.join("proc"))?;
        for folder in ["proc", "lower", "upper", "work"] {
            std::fs::create_dir(root.join(folder))?;
        }
        let folder = |name: &str| escaped(&root.join(name));
        let overlay = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            folder("lower"),
            folder("upper"),
            folder("work")
        );
        let overlay = CString::new(overlay)?;
        Ok(Self {
            root,
            target,
            program,
            proc,
            overlay,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = crate::layer::remove_layer(&self.root);
    }
}

/// A path inside mount options, where commas and colons mean something.
fn escaped(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace(':', "\\:")
}

fn try_all(place: &Place, maps: &[CString; 2], filter: &seccomp::Filter) -> Errors {
    let mut errors = [Some(libc::ECANCELED); NAMES.len()];
    let mut steps: [&mut dyn FnMut() -> io::Result<()>; NAMES.len()] = [
        &mut || user_namespace(maps),
        &mut || {
            process::unshare(libc::CLONE_NEWNS)
                .and_then(|()| mount::set_propagation(c"/", libc::MS_PRIVATE))
        },
        &mut || process::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS),
        &mut || {
            mount::mount(c"try", &place.target, Some(c"tmpfs"), mount::PLAIN, None)?;
            mount::detach(&place.target)
        },
        &mut || {
            mount::bind(&place.target, &place.target, false)?;
            mount::set_attributes(&place.target, libc::MOUNT_ATTR_NOSUID, true)
        },
        &mut || {
            mount::mount(
                c"try",
                &place.target,
                Some(c"tmpfs"),
                mount::PLAIN | libc::MS_NOEXEC,
                None,
            )?;
            file::make_program(&place.program)?;
            let executable = file::executable(&place.program);
            mount::detach(&place.target)?;
            refused(&executable)
        },
        &mut || {
            let options = Some(c"newinstance,ptmxmode=0666");
            let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
            mount::mount(c"try", &place.target, Some(c"devpts"), flags, options)?;
            mount::detach(&place.target)
        },
        // From here in children of its own, because it cannot be undone.
        &mut || in_child(&|| creds::forbid_new_privileges().and_then(|()| filter.apply())),
        &mut || in_child(&|| creds::forbid_new_privileges().and_then(|()| seccomp::try_listener())),
        &mut || in_child(&|| rule_over(&place.target)),
        &mut || {
            in_child(&|| memory::forbid_new_code().and_then(|()| refused(&memory::make_code())))
        },
        // Leaves this process unable to fork: its pid namespace has lost its first process.
        &mut || process_files(place),
        &mut || {
            mount::mount(
                c"try",
                &place.proc,
                Some(c"overlay"),
                mount::PLAIN,
                Some(&place.overlay),
            )
        },
    ];
    for (at, (step, error)) in steps.iter_mut().zip(&mut errors).enumerate() {
        *error = step()
            .err()
            .map(|error| error.raw_os_error().unwrap_or(libc::EIO));
        // Nothing after these two can be tried without them.
        if error.is_some() && at < 2 {
            break;
        }
    }
    errors
}

/// What must not be possible was tried: success is the refusal.
fn refused(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Err(io::Error::from_raw_os_error(libc::ENOTSUP)),
        Err(_) => Ok(()),
    }
}

/// Permits nothing but reading a folder, and tries to write in it.
fn rule_over(folder: &std::ffi::CStr) -> io::Result<()> {
    creds::forbid_new_privileges()?;
    let rules = match landlock::version() {
        0 => return Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        version => Ruleset::new(version)?,
    };
    rules.permit(folder, Access::READ)?;
    rules.enforce()?;
    file::enter(folder)?;
    refused(&file::open(c"file", libc::O_WRONLY | libc::O_CREAT).map(drop))
}

fn user_namespace(maps: &[CString; 2]) -> io::Result<()> {
    process::unshare(libc::CLONE_NEWUSER)?;
    file::write_once(c"/proc/self/setgroups", b"deny")?;
    file::write_once(c"/proc/self/gid_map", maps[0].to_bytes())?;
    file::write_once(c"/proc/self/uid_map", maps[1].to_bytes())
}

/// /proc can only be mounted by the first process of a new pid namespace.
fn process_files(place: &Place) -> io::Result<()> {
    process::unshare(libc::CLONE_NEWPID)?;
    in_child(&|| {
        mount::mount(c"proc", &place.proc, Some(c"proc"), mount::PLAIN, None)?;
        mount::detach(&place.proc)
    })
}

/// Tries something in a forked child and returns what it returned.
fn in_child(attempt: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    match process::fork()? {
        Forked::Child => {
            let errno = attempt()
                .err()
                .map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            process::exit_now(errno.clamp(0, 255))
        }
        Forked::Parent(pid) => match process::wait_for(pid)? {
            Waited::Reaped(reaped) => match reaped.code {
                Some(0) => Ok(()),
                code => Err(io::Error::from_raw_os_error(code.unwrap_or(libc::EIO))),
            },
            _ => Err(io::Error::from_raw_os_error(libc::ECHILD)),
        },
    }
}
