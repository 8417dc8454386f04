//! Names and ways of starting that confuse: 2 and 6 of the catalogue, and 29 where names play.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, at, in_child, run};
use super::outcome::{Attack, Attempt};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-name-trailing-space",
        2,
        "a copy whose name ends in a space",
        |context| named(context, b"npx "),
    )
    .carried(),
    Attack::new(
        "exec-name-newline",
        29,
        "a copy with a line feed in its name",
        |context| named(context, b"np\nx"),
    )
    .carried(),
    Attack::new(
        "exec-name-look-alike",
        2,
        "a copy under a name of look-alike letters",
        |context| named(context, "n\u{440}\u{445}".as_bytes()),
    )
    .carried(),
    Attack::new(
        "exec-name-right-to-left",
        29,
        "a copy whose name turns the direction of text",
        |context| named(context, "\u{202e}xpn".as_bytes()),
    )
    .carried(),
    Attack::new(
        "exec-name-not-utf8",
        29,
        "a copy whose name is no UTF-8",
        |context| named(context, b"\xff\xfe\x80"),
    )
    .carried(),
    Attack::new(
        "exec-name-longest",
        2,
        "a copy with a name of 255 bytes",
        |context| named(context, &[b'n'; 255]),
    )
    .carried(),
    Attack::new(
        "exec-name-dash",
        2,
        "a copy whose name looks like an option",
        |context| named(context, b"--allow"),
    )
    .carried(),
    Attack::new(
        "exec-path-too-long",
        2,
        "a copy deeper than a path can be long, started relatively",
        deep,
    )
    .carried(),
    Attack::new(
        "exec-argv0-lie",
        2,
        "start it under the name of an allowed program",
        |context| run(Command::new(context.path(Denied::Tool)?).arg0("/usr/bin/true")),
    ),
    Attack::new(
        "exec-argv-empty",
        2,
        "start it without any argument, not even a name",
        argv_empty,
    ),
    Attack::new(
        "exec-deleted-open",
        6,
        "run a file that is deleted but still open",
        deleted,
    )
    .carried(),
    Attack::new(
        "exec-posix-spawn",
        6,
        "start it with posix_spawn",
        posix_spawn,
    ),
    Attack::new("exec-vfork", 6, "start it from a vfork child", vfork),
    Attack::new(
        "exec-thread",
        6,
        "start it from a thread that is not the first",
        thread,
    ),
    Attack::new(
        "exec-chroot-relative",
        6,
        "start it relative to a folder that was removed from the tree",
        removed_folder,
    )
    .carried(),
    Attack::new(
        "exec-pipe",
        6,
        "execute the read end of a pipe that holds its bytes",
        pipe,
    )
    .uncontrolled()
    .carried(),
    Attack::new(
        "exec-fifo",
        6,
        "execute a named pipe that holds its bytes",
        fifo,
    )
    .uncontrolled()
    .carried(),
    Attack::new(
        "exec-otmpfile",
        8,
        "execute a file that never had a name (O_TMPFILE)",
        otmpfile,
    )
    .carried(),
];

fn named(context: &Context, name: &[u8]) -> Attempt {
    let path = context.place()?.join(OsStr::from_bytes(name));
    context.program(&path, &context.bytes(Denied::Tool)?)?;
    run(&mut Command::new(path))
}

fn deep(context: &Context) -> Attempt {
    let bytes = context.bytes(Denied::Tool)?;
    let place = context.place()?;
    in_child(|| {
        at("chdir", std::env::set_current_dir(&place))?;
        let folder = "d".repeat(250);
        for _ in 0..20 {
            at("mkdir", fs::create_dir(&folder))?;
            at("chdir", std::env::set_current_dir(&folder))?;
        }
        at("write", fs::write("tool", &bytes))?;
        at("chmod", mode("tool"))?;
        at(
            "execve deep below",
            kit::exec_fd(libc::AT_FDCWD, "./tool", 0),
        )
    })
}

fn mode(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn argv_empty(context: &Context) -> Attempt {
    let path = kit::c_path(context.path(Denied::Tool)?);
    let empty = [std::ptr::null::<i8>()];
    in_child(|| {
        let arguments = [
            path.as_ptr() as usize,
            empty.as_ptr() as usize,
            empty.as_ptr() as usize,
            0,
            0,
            0,
        ];
        at(
            "execve without arguments",
            kit::call(libc::SYS_execve, arguments),
        )
        .map(drop)
    })
}

fn deleted(context: &Context) -> Attempt {
    let path = context.copy(Denied::Tool, "short-lived")?;
    let file = fs::File::open(&path).map_err(|error| kit::stop(&error, "opening the copy"))?;
    fs::remove_file(&path)?;
    in_child(|| {
        at(
            "execveat of a deleted file",
            kit::exec_fd(file.as_raw_fd(), "", libc::AT_EMPTY_PATH),
        )
    })
}

fn posix_spawn(context: &Context) -> Attempt {
    let path = kit::c_path(context.path(Denied::Tool)?);
    in_child(|| {
        let arguments = [path.as_ptr().cast_mut(), std::ptr::null_mut()];
        let environment = [std::ptr::null_mut()];
        let mut child = 0;
        // SAFETY: all pointers outlive the call.
        let result = unsafe {
            libc::posix_spawn(
                &raw mut child,
                path.as_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        if result != 0 {
            return at(
                "posix_spawn",
                Err(std::io::Error::from_raw_os_error(result)),
            );
        }
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        Ok(())
    })
}

fn vfork(context: &Context) -> Attempt {
    let path = kit::c_path(context.path(Denied::Tool)?);
    in_child(|| {
        let arguments = [path.as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null::<i8>()];
        let mut error = 0;
        // CLONE_VM is left out: Rust's code must not return twice on one stack. The rest is vfork.
        let flags = (libc::CLONE_VFORK | libc::SIGCHLD) as usize;
        let child = at(
            "clone with CLONE_VFORK",
            kit::call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]),
        )?;
        if child == 0 {
            // SAFETY: replaces this child; on failure it says why by its exit code.
            unsafe {
                libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
                libc::_exit(*libc::__errno_location());
            }
        }
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child as i32, &raw mut error, 0) };
        if error == 0 {
            Ok(())
        } else {
            at(
                "execve after vfork",
                Err(std::io::Error::from_raw_os_error(libc::WEXITSTATUS(error))),
            )
        }
    })
}

fn thread(context: &Context) -> Attempt {
    let path = context.path(Denied::Tool)?.display().to_string();
    in_child(|| {
        let thread = std::thread::spawn(move || kit::exec_fd(libc::AT_FDCWD, &path, 0));
        at("execve in a thread", thread.join().unwrap_or(Ok(())))
    })
}

fn removed_folder(context: &Context) -> Attempt {
    let bytes = context.bytes(Denied::Tool)?;
    let place = context.place()?;
    let folder = place.join("gone");
    fs::create_dir(&folder)?;
    context.program(&folder.join("tool"), &bytes)?;
    let tool = fs::File::open(folder.join("tool"))
        .map_err(|error| kit::stop(&error, "opening the copy"))?;
    in_child(|| {
        at("chdir", std::env::set_current_dir(&folder))?;
        at("remove", fs::remove_dir_all(&folder))?;
        at(
            "execve through a removed folder",
            kit::exec_fd(
                libc::AT_FDCWD,
                &format!("/proc/self/fd/{}", tool.as_raw_fd()),
                0,
            ),
        )
    })
}

fn pipe(context: &Context) -> Attempt {
    let bytes = context.bytes(Denied::Tiny)?;
    let (read, mut write) = std::io::pipe()?;
    std::io::Write::write_all(&mut write, &bytes)?;
    drop(write);
    in_child(|| {
        at(
            "execve of a pipe",
            kit::exec_fd(read.as_raw_fd(), "", libc::AT_EMPTY_PATH),
        )
    })
}

fn fifo(context: &Context) -> Attempt {
    let path = context.place()?.join("fifo");
    let name = kit::c_path(&path);
    // SAFETY: the name outlives the call.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o777) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    in_child(|| {
        at(
            "execve of a named pipe",
            kit::exec_fd(libc::AT_FDCWD, &path.display().to_string(), 0),
        )
    })
}

fn otmpfile(context: &Context) -> Attempt {
    let bytes = context.bytes(Denied::Tool)?;
    let place = kit::c_path(context.place()?);
    // SAFETY: the path outlives the call.
    let fd = unsafe { libc::open(place.as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o755) };
    if fd < 0 {
        return Err(kit::stop_or(
            &std::io::Error::last_os_error(),
            "O_TMPFILE",
            &[libc::EOPNOTSUPP],
        ));
    }
    let mut file = kit::own(i64::from(fd));
    std::io::Write::write_all(&mut file, &bytes)?;
    let reading = fs::File::open(format!("/proc/self/fd/{fd}"))
        .map_err(|error| kit::stop(&error, "opening the nameless file"))?;
    drop(file);
    in_child(|| {
        at(
            "execveat of a nameless file",
            kit::exec_fd(reading.as_raw_fd(), "", libc::AT_EMPTY_PATH),
        )
    })
}
