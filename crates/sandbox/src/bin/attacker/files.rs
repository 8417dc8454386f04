//! Ways out of the view: 22, 23, 25, 26 of the catalogue.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::Context;
use super::kit::{self, stop, stop_or};
use super::outcome::{Attack, Attempt, Outcome, Stop};

/// For how long the host is looked at while it looks: some dozen times.
const SWAPPING: Duration = Duration::from_secs(2);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "fs-traversal-dot-dot",
        22,
        "read a host file by climbing above the root",
        |context| {
            canary(context, |path| {
                format!("/../../../../../../../..{path}").into()
            })
        },
    ),
    Attack::new(
        "fs-traversal-absolute",
        22,
        "read a host file by its absolute path",
        |context| canary(context, |path| path.into()),
    ),
    Attack::new(
        "fs-traversal-symlink",
        22,
        "read a host file through a symbolic link of the workspace",
        through_link,
    ),
    Attack::new(
        "fs-traversal-proc-root",
        22,
        "read a host file through /proc/1/root",
        |context| through_process(context, "root"),
    )
    .root(),
    Attack::new(
        "fs-traversal-proc-cwd",
        22,
        "read a host file through the working folder of another process",
        |context| through_process(context, "cwd/../../../../.."),
    )
    .root(),
    Attack::new(
        "fs-link-out-of-outputs",
        22,
        "leave links in the outputs that point to host files",
        links_in_outputs,
    )
    .uncontrolled(),
    Attack::new(
        "fs-link-swap-in-outputs",
        22,
        "swap folders and links in the outputs while the host looks",
        swap_in_outputs,
    )
    .uncontrolled(),
    Attack::new(
        "fs-link-swap-watched",
        22,
        "swap a closed folder and a link to one of the host's while the host measures what is written",
        swap_watched,
    )
    .uncontrolled(),
    Attack::new(
        "fs-hardlink-system",
        23,
        "hard-link a system program into the workspace and write to it",
        |context| hard_link(context, Path::new("/usr/bin/env")),
    )
    .uncontrolled(),
    Attack::new(
        "fs-hardlink-inputs",
        23,
        "hard-link an input into the outputs and write to it",
        |context| hard_link(context, Path::new("/nightcrew/in/input")),
    )
    .uncontrolled(),
    Attack::new(
        "fs-mknod-block",
        23,
        "make a device file of the host's disk",
        |context| mknod(context, libc::S_IFBLK, 254, 0),
    )
    .root(),
    Attack::new(
        "fs-mknod-memory",
        23,
        "make a device file of the machine's memory",
        |context| mknod(context, libc::S_IFCHR, 1, 1),
    )
    .root(),
    Attack::new(
        "fs-mknod-kmsg",
        23,
        "make a device file of the kernel's log",
        |context| mknod(context, libc::S_IFCHR, 1, 11),
    )
    .root(),
    Attack::new(
        "fs-mknod-whiteout",
        23,
        "make an overlay whiteout that hides files from the host",
        whiteout,
    ),
    Attack::new(
        "fs-open-by-handle",
        23,
        "open a file by its handle, past every path",
        by_handle,
    )
    .root(),
    Attack::new(
        "fs-overlay-xattr",
        23,
        "set overlay attributes that redirect to host folders",
        overlay_attribute,
    )
    .root(),
];

fn canary(context: &Context, way: impl Fn(&str) -> PathBuf) -> Attempt {
    let path = context.variable("HOST_CANARY")?;
    read_canary(&way(&path))
}

fn through_process(context: &Context, link: &str) -> Attempt {
    let process = context.first_process()?;
    canary(context, |path| {
        format!("/proc/{process}/{link}{path}").into()
    })
}

fn read_canary(path: &Path) -> Attempt {
    match fs::read_to_string(path) {
        Ok(text) if text.contains("NIGHTCREW-HOST-SECRET") => {
            Ok(Outcome::Bypass(format!("read {}", path.display())))
        }
        Ok(_) => Err(Stop::Fault(format!("{} is another file", path.display()))),
        Err(error) => Err(stop(&error, "reading the host's file")),
    }
}

fn through_link(context: &Context) -> Attempt {
    let link = context.place()?.join("link");
    symlink(context.variable("HOST_CANARY")?, &link)?;
    read_canary(&link)
}

fn links_in_outputs(context: &Context) -> Attempt {
    let target = context.variable("HOST_CANARY")?;
    let outputs = Path::new("/nightcrew/out");
    for (name, to) in [
        ("change.bundle", target.as_str()),
        ("intents.json", "/etc/shadow"),
        ("folder", "/etc"),
        ("loop", "loop"),
    ] {
        let _ = fs::remove_file(outputs.join(name));
        symlink(to, outputs.join(name)).map_err(|error| stop(&error, "symlink in the outputs"))?;
    }
    Ok(Outcome::HostJudges("four links lie in the outputs".into()))
}

fn swap_in_outputs(context: &Context) -> Attempt {
    let target = context.variable("HOST_CANARY")?;
    let outputs = Path::new("/nightcrew/out");
    let (file, link) = (outputs.join("swap"), outputs.join("swap.link"));
    for _ in 0..2000 {
        let _ = fs::remove_file(&link);
        symlink(&target, &link).map_err(|error| stop(&error, "symlink in the outputs"))?;
        fs::rename(&link, &file)?;
        fs::write(&link, "harmless")?;
        fs::rename(&link, &file)?;
    }
    let _ = fs::remove_file(&link);
    symlink(&target, &link)?;
    fs::rename(&link, &file)?;
    Ok(Outcome::HostJudges("a link lies where a file was".into()))
}

/// Whoever looks, finds the folder closed, opens it and walks on by its path, opens the host's.
fn swap_watched(context: &Context) -> Attempt {
    let place = context.place()?;
    let (folder, link) = (place.join("swap"), place.join("swap.link"));
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000))?;
    symlink(context.variable("HOST_CLOSED")?, &link)?;
    let (folder, link) = (kit::c_path(&folder), kit::c_path(&link));
    let here = libc::AT_FDCWD as usize;
    let until = Instant::now() + SWAPPING;
    while Instant::now() < until {
        kit::call(
            libc::SYS_renameat2,
            [
                here,
                folder.as_ptr() as usize,
                here,
                link.as_ptr() as usize,
                libc::RENAME_EXCHANGE as usize,
                0,
            ],
        )
        .map_err(|error| stop_or(&error, "renameat2", &[libc::EINVAL]))?;
    }
    Ok(Outcome::HostJudges(format!(
        "swapped for {} s",
        SWAPPING.as_secs()
    )))
}

fn hard_link(context: &Context, from: &Path) -> Attempt {
    let to = if from.starts_with("/nightcrew") {
        context.place_in("/nightcrew/out".as_ref())?
    } else {
        context.place()?
    }
    .join("linked");
    if !from.exists() {
        return Err(Stop::Fault(format!("{} is not there", from.display())));
    }
    fs::hard_link(from, &to).map_err(|error| stop_or(&error, "link", &[libc::EXDEV]))?;
    match fs::File::options().write(true).open(&to) {
        Ok(_) => Ok(Outcome::Bypass(format!(
            "{} is writable by another name",
            from.display()
        ))),
        Err(error) => Err(stop(&error, "opening the link for writing")),
    }
}

fn mknod(context: &Context, kind: libc::mode_t, major: u32, minor: u32) -> Attempt {
    let path = context.place()?.join("device");
    let name = kit::c_path(&path);
    let device = libc::makedev(major, minor);
    let here = libc::AT_FDCWD as usize;
    kit::call(
        libc::SYS_mknodat,
        [
            here,
            name.as_ptr() as usize,
            (kind | 0o666) as usize,
            device as usize,
            0,
            0,
        ],
    )
    .map_err(|error| stop(&error, "mknod"))?;
    match fs::File::open(&path) {
        Ok(_) => Ok(Outcome::Bypass("the device was made and opened".into())),
        // Made without being opened is too much already: the host sees a device.
        Err(error) => Ok(Outcome::Bypass(format!(
            "the device was made (opening it: {})",
            kit::name(kit::number(&error))
        ))),
    }
}

/// Linux lets everybody make these: what must not happen is that the host loses sight of files by it.
fn whiteout(context: &Context) -> Attempt {
    mknod(context, libc::S_IFCHR, 0, 0)
}

fn by_handle(_: &Context) -> Attempt {
    let path = kit::c_path("/");
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    let here = libc::AT_FDCWD as usize;
    kit::call(
        libc::SYS_name_to_handle_at,
        [
            here,
            path.as_ptr() as usize,
            handle.as_mut_ptr() as usize,
            (&raw mut mount) as usize,
            0,
            0,
        ],
    )
    .map_err(|error| stop_or(&error, "name_to_handle_at", &[libc::EOPNOTSUPP]))?;
    let root = fs::File::open("/")?;
    use std::os::fd::AsRawFd;
    match kit::call(
        libc::SYS_open_by_handle_at,
        [
            root.as_raw_fd() as usize,
            handle.as_ptr() as usize,
            libc::O_PATH as usize,
            0,
            0,
            0,
        ],
    ) {
        Ok(fd) => {
            drop(kit::own(fd));
            Ok(Outcome::Bypass("the root was opened by its handle".into()))
        }
        Err(error) => Err(stop_or(&error, "open_by_handle_at", &[libc::EOPNOTSUPP])),
    }
}

/// On overlay, `user.overlay.*` and `trusted.overlay.*` would redirect a folder when resumed.
fn overlay_attribute(context: &Context) -> Attempt {
    let place = context.place()?;
    let path = kit::c_path(&place);
    let mut last = String::new();
    for name in ["trusted.overlay.redirect", "trusted.overlay.opaque"] {
        let attribute = kit::c_path(name);
        let value = b"/";
        match kit::call(
            libc::SYS_setxattr,
            [
                path.as_ptr() as usize,
                attribute.as_ptr() as usize,
                value.as_ptr() as usize,
                1,
                0,
                0,
            ],
        ) {
            Ok(_) => return Ok(Outcome::Bypass(format!("{name} was set"))),
            Err(error) => last = stop_or_text(&error)?,
        }
    }
    Ok(Outcome::Blocked(last))
}

fn stop_or_text(error: &io::Error) -> Result<String, Stop> {
    match stop_or(error, "setxattr", &[libc::EOPNOTSUPP]) {
        Stop::Blocked(text) => Ok(text),
        other => Err(other),
    }
}
