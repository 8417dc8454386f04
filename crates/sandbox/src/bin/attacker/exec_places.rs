//! Other places, new mounts, handlers, other doors into the kernel: 17 to 21 of the catalogue.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, at, in_child, run};
use super::outcome::{Attack, Attempt, Outcome, Stop};

macro_rules! places {
    ($($name:literal $mapped:literal $path:literal;)*) => {
        const PLACES: &[Attack] = &[$(
            Attack::new($name, 2, concat!("a copy in ", $path), |context| in_place(context, $path.as_ref())).carried(),
            Attack::new($mapped, 7, concat!("the dynamic loader runs a copy in ", $path), |context| ldso_in_place(context, $path.as_ref())).carried(),
        )*];
    };
}

places! {
    "exec-place-tmp" "exec-place-tmp-ldso" "/tmp";
    "exec-place-shm" "exec-place-shm-ldso" "/dev/shm";
    "exec-place-run" "exec-place-run-ldso" "/run";
    "exec-place-home" "exec-place-home-ldso" "/home/agent";
    "exec-place-var-tmp" "exec-place-var-tmp-ldso" "/var/tmp";
    "exec-place-out" "exec-place-out-ldso" "/nightcrew/out";
    "exec-place-work" "exec-place-work-ldso" "/work";
}

const REST: &[Attack] = &[
    Attack::new(
        "exec-place-in",
        2,
        "the tool lies in /nightcrew/in",
        |context| given(context, false),
    ),
    Attack::new(
        "exec-place-in-ldso",
        7,
        "the dynamic loader runs the tool in /nightcrew/in",
        |context| given(context, true),
    ),
    Attack::new(
        "exec-new-mount-tmpfs",
        17,
        "a new tmpfs in a nested user namespace holds a copy",
        |context| mounted(context, Mount::Tmpfs),
    )
    .carried(),
    Attack::new(
        "exec-new-mount-bind",
        17,
        "a bind mount in a nested user namespace shows the tool",
        |context| mounted(context, Mount::Bind),
    ),
    Attack::new(
        "exec-new-mount-overlay",
        17,
        "an overlay in a nested user namespace shows the tool",
        |context| mounted(context, Mount::Overlay),
    ),
    Attack::new(
        "exec-new-mount-remount",
        17,
        "a nested user namespace takes noexec off a mount",
        |context| mounted(context, Mount::Remount),
    )
    .uncontrolled()
    .carried(),
    Attack::new(
        "exec-new-mount-ramfs",
        17,
        "a new ramfs in a nested user namespace holds a copy",
        |context| mounted(context, Mount::Ramfs),
    )
    .carried(),
    Attack::new(
        "exec-new-mount-fuse",
        17,
        "a FUSE device is opened to serve changing bytes",
        fuse,
    )
    .root(),
    Attack::new(
        "exec-new-mount-api",
        17,
        "fsopen and fsmount make a tmpfs without mount(2)",
        fsopen,
    )
    .root(),
    Attack::new(
        "exec-binfmt-misc",
        18,
        "register a handler for programs in a nested user namespace",
        binfmt,
    ),
];

/// Both lists.
pub(crate) const ATTACKS: &[Attack] = &{
    let mut all = [REST[0]; PLACES.len() + REST.len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = if index < PLACES.len() {
            PLACES[index]
        } else {
            REST[index - PLACES.len()]
        };
        index += 1;
    }
    all
};

/// In a control the place's twin is a temporary folder: the host need not have the environment's.
fn room(context: &Context, place: &Path) -> Result<std::path::PathBuf, Stop> {
    if context.control {
        return context.place();
    }
    let error = match context.place_in(place) {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    // A place that cannot be written holds no copy.
    let probe = place.join("probe");
    match fs::write(&probe, "") {
        Ok(()) => {
            let _ = fs::remove_file(probe);
            Err(error)
        }
        Err(error) => Err(kit::stop(&error, "writing there")),
    }
}

fn in_place(context: &Context, place: &Path) -> Attempt {
    let path = room(context, place)?.join("tool");
    context.program(&path, &context.bytes(Denied::Tool)?)?;
    run(&mut Command::new(path))
}

fn ldso_in_place(context: &Context, place: &Path) -> Attempt {
    let path = room(context, place)?.join("tool");
    context.program(&path, &context.bytes(Denied::Tool)?)?;
    run(Command::new(kit::loader()?).arg(path))
}

fn given(context: &Context, by_loader: bool) -> Attempt {
    let path = context.variable("TARGET_IN")?;
    if by_loader {
        run(Command::new(kit::loader()?).arg(path))
    } else {
        run(&mut Command::new(path))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    Tmpfs,
    Ramfs,
    Bind,
    Overlay,
    Remount,
}

/// New user and mount namespaces for this child.
fn unshare() -> io::Result<()> {
    // SAFETY: plain call in a child with one thread.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    kit::call(
        libc::SYS_unshare,
        [
            (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as usize,
            0,
            0,
            0,
            0,
            0,
        ],
    )?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, target, kind, data) = (
        kit::c_path(source),
        kit::c_path(target),
        kit::c_path(kind),
        kit::c_path(data),
    );
    kit::call(
        libc::SYS_mount,
        [
            source.as_ptr() as usize,
            target.as_ptr() as usize,
            kind.as_ptr() as usize,
            flags as usize,
            data.as_ptr() as usize,
            0,
        ],
    )
    .map(drop)
}

fn mounted(context: &Context, kind: Mount) -> Attempt {
    let tool = context.path(Denied::Tool)?;
    let bytes = if matches!(kind, Mount::Bind | Mount::Overlay) {
        Vec::new()
    } else {
        context.bytes(Denied::Tool)?
    };
    let place = context.place()?;
    let (folder, name) = (
        tool.parent().unwrap_or(Path::new("/")).to_owned(),
        tool.file_name().unwrap_or_default().to_owned(),
    );
    in_child(|| {
        at("unshare of user and mount namespace", unshare())?;
        let path = match kind {
            Mount::Bind => {
                at(
                    "bind mount",
                    mount(&folder.display().to_string(), &place, "", libc::MS_BIND, ""),
                )?;
                place.join(&name)
            }
            Mount::Overlay => {
                let data = format!("lowerdir={}:{}", folder.display(), place.display());
                at("overlay mount", mount("x", &place, "overlay", 0, &data))?;
                place.join(&name)
            }
            Mount::Remount => {
                let tmp = Path::new("/tmp");
                at(
                    "remount",
                    mount("", tmp, "", libc::MS_REMOUNT | libc::MS_BIND, ""),
                )?;
                at("write", write_program(&tmp.join("tool"), &bytes))?;
                tmp.join("tool")
            }
            Mount::Tmpfs | Mount::Ramfs => {
                let name = if kind == Mount::Tmpfs {
                    "tmpfs"
                } else {
                    "ramfs"
                };
                at("mount", mount("x", &place, name, 0, ""))?;
                at("write", write_program(&place.join("tool"), &bytes))?;
                place.join("tool")
            }
        };
        at(
            "execve there",
            kit::exec_fd(libc::AT_FDCWD, &path.display().to_string(), 0),
        )
    })
}

fn write_program(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn fuse(_: &Context) -> Attempt {
    match fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(Outcome::Bypass("/dev/fuse is open".into())),
        Err(error) => Err(kit::stop(&error, "opening /dev/fuse")),
    }
}

fn fsopen(_: &Context) -> Attempt {
    let name = kit::c_path("tmpfs");
    match kit::call(libc::SYS_fsopen, [name.as_ptr() as usize, 0, 0, 0, 0, 0]) {
        Ok(fd) => {
            drop(kit::own(fd));
            Ok(Outcome::Bypass("fsopen gave a new file system".into()))
        }
        Err(error) => Err(kit::stop(&error, "fsopen")),
    }
}

fn binfmt(context: &Context) -> Attempt {
    let place = context.place()?;
    in_child(|| {
        at("unshare of user and mount namespace", unshare())?;
        // A handler needs its file system first; since Linux 6.7 a nested namespace may have its own.
        at(
            "mount of binfmt_misc",
            mount("x", &place, "binfmt_misc", 0, ""),
        )?;
        let register = place.join("register");
        at(
            "registering",
            fs::write(register, ":attack:E::attack::/bin/true:"),
        )?;
        let line = format!("{}\n", super::context::MARKER);
        // SAFETY: writes a line of this process to its own output.
        unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
        Ok(())
    })
}
