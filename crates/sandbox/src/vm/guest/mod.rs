//! The first process of a guest: mounts what the host shares, brings up the same layers as on a
//! host, and serves the host's orders.
//!
//! It is this same program, packed into the guest's initramfs. It never returns: when it ends, the
//! guest's kernel panics, and with it the machine ends.

mod place;
mod serve;
mod step;

pub(in crate::vm) use step::GONE;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::frame::{self, Kind, Setup};
use super::qemu::PORT;
use crate::message::{Failure, Stage};
use crate::sys::{c_path, creds, file, process};
use crate::wire::Writer;

/// First argument of the first process, from the kernel's command line.
pub(super) const ARGUMENT: &str = "__guest-init";
/// What the guest's last line on the console begins with, when it cannot go on.
pub(super) const LAST_WORDS: &str = "nightcrew guest: cannot";
/// How long the port may take to appear; the kernel makes it in the background.
const PORT_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks for it.
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// Runs the guest if this is the first process of one; otherwise returns.
pub(super) fn main() -> i32 {
    if creds::process_id() != 1 {
        return 64;
    }
    let outcome = catch_unwind(AssertUnwindSafe(run));
    // Read by the host, from the console, when the kernel panics at our end.
    if let Ok(Err(failure)) = outcome {
        let line = format!(
            "{LAST_WORDS} {}: {}\n",
            failure.stage,
            std::io::Error::from_raw_os_error(failure.errno)
        );
        let _ = std::fs::write("/dev/console", line);
    }
    1
}

fn run() -> Result<(), Failure> {
    process::set_name(c"nc-guest");
    file::set_umask(0o022);
    place::kernel_files()?;
    let port = open_port()?;
    let mut writer = File::from(port.try_clone().stage("share the port")?);
    let mut hello = Writer::default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    hello
        .number(frame::VERSION)
        .bytes(release.trim().as_bytes());
    frame::write(&mut writer, Kind::Hello, 0, &hello.finish()).stage("greet the host")?;
    let setup = loop {
        let mut reader = &File::from(port.try_clone().stage("share the port")?);
        match frame::read(&mut reader).stage("hear from the host")? {
            Some(first) if first.kind == Kind::Setup => {
                break Setup::decode(&first.body).map_err(|_| Failure {
                    stage: "understand the host".to_owned(),
                    errno: libc::EBADMSG,
                })?;
            }
            Some(_) => {}
            None => return Ok(()),
        }
    };
    if let Err(failure) = set_up(setup) {
        let body = frame::refusal(&failure.stage, failure.errno);
        let _ = frame::write(&mut writer, Kind::Refused, 0, &body);
        return Err(failure);
    }
    serve::run(port, setup)
}

fn set_up(setup: Setup) -> Result<(), Failure> {
    place::enter(setup.sharing)?;
    if setup.single_user {
        place::own_users()?;
    }
    Ok(())
}

/// The port the host listens at, found by its name.
fn open_port() -> Result<OwnedFd, Failure> {
    let stage = "open the port to the host";
    let end = Instant::now() + PORT_PATIENCE;
    loop {
        if let Some(path) = find_port() {
            let path = c_path(&path).stage(stage)?;
            match file::open(&path, libc::O_RDWR) {
                Ok(port) => return Ok(port),
                Err(error) if Instant::now() >= end => return Err(error).stage(stage),
                Err(_) => {}
            }
        } else if Instant::now() >= end {
            return Err(Failure {
                stage: stage.to_owned(),
                errno: libc::ENODEV,
            });
        }
        // Nothing to wait on: devices appear without a sign to the first process.
        std::thread::sleep(PORT_PAUSE);
    }
}

fn find_port() -> Option<PathBuf> {
    std::fs::read_dir("/sys/class/virtio-ports")
        .ok()?
        .flatten()
        .find(|entry| {
            std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        })
        .map(|entry| Path::new("/dev").join(entry.file_name()))
}
