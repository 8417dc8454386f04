//! The dynamic loader runs what the kernel would not: 7 of the catalogue.

use std::os::fd::AsRawFd;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, at, in_child, run};
use super::outcome::{Attack, Attempt};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-ldso",
        7,
        "the dynamic loader runs the tool",
        |context| run(Command::new(kit::loader()?).arg(context.path(Denied::Tool)?)),
    ),
    Attack::new(
        "exec-ldso-copy",
        7,
        "the dynamic loader runs a copy",
        |context| run(Command::new(kit::loader()?).arg(context.copy(Denied::Tool, "data.bin")?)),
    )
    .carried(),
    Attack::new(
        "exec-ldso-not-executable",
        7,
        "the dynamic loader runs a copy without the executable bit",
        not_executable,
    )
    .carried(),
    Attack::new(
        "exec-ldso-copied",
        7,
        "a copy of the dynamic loader runs the tool",
        |context| copied_loader(context, false),
    ),
    Attack::new(
        "exec-ldso-copied-copy",
        7,
        "a copy of the dynamic loader runs a copy",
        |context| copied_loader(context, true),
    )
    .carried(),
    Attack::new(
        "exec-ldso-proc-root",
        7,
        "the dynamic loader runs the tool through /proc/self/root",
        |context| {
            run(
                Command::new(format!("/proc/self/root{}", kit::loader()?.display())).arg(format!(
                    "/proc/self/root{}",
                    context.path(Denied::Tool)?.display()
                )),
            )
        },
    ),
    Attack::new(
        "exec-ldso-fd",
        7,
        "the dynamic loader runs an open descriptor",
        ldso_fd,
    )
    .carried(),
    Attack::new(
        "exec-ldso-preload",
        7,
        "LD_PRELOAD of a denied library",
        |context| run(Command::new("/bin/true").env("LD_PRELOAD", context.path(Denied::Library)?)),
    ),
    Attack::new(
        "exec-ldso-preload-copy",
        7,
        "LD_PRELOAD of a copy of a denied library",
        |context| {
            run(Command::new("/bin/true")
                .env("LD_PRELOAD", context.copy(Denied::Library, "libcopy.so")?))
        },
    )
    .carried(),
    Attack::new(
        "exec-ldso-preload-option",
        7,
        "the loader's --preload of a denied library",
        |context| {
            run(Command::new(kit::loader()?)
                .arg("--preload")
                .arg(context.path(Denied::Library)?)
                .arg("/bin/true"))
        },
    ),
    Attack::new(
        "exec-ldso-audit",
        7,
        "LD_AUDIT of a denied library",
        |context| run(Command::new("/bin/true").env("LD_AUDIT", context.path(Denied::Library)?)),
    ),
    Attack::new(
        "exec-ldso-audit-copy",
        7,
        "LD_AUDIT of a copy of a denied library",
        |context| {
            run(Command::new("/bin/true")
                .env("LD_AUDIT", context.copy(Denied::Library, "libcopy.so")?))
        },
    )
    .carried(),
    Attack::new(
        "exec-ldso-library-path",
        7,
        "LD_LIBRARY_PATH finds a copy under the name a program asks for",
        library_path,
    )
    .carried(),
    Attack::new("exec-dlopen", 7, "dlopen of a denied library", |context| {
        run(myself()?
            .args(["--helper", "dlopen"])
            .arg(context.path(Denied::Library)?))
    }),
    Attack::new(
        "exec-dlopen-copy",
        7,
        "dlopen of a copy of a denied library",
        |context| {
            run(myself()?
                .args(["--helper", "dlopen"])
                .arg(context.copy(Denied::Library, "libcopy.so")?))
        },
    )
    .carried(),
    Attack::new(
        "exec-python-ctypes",
        7,
        "python loads a copy of a denied library",
        |context| {
            run(Command::new(kit::program("python3")?)
                .args(["-c", "import ctypes,sys; ctypes.CDLL(sys.argv[1])"])
                .arg(context.copy(Denied::Library, "libcopy.so")?))
        },
    )
    .carried(),
];

/// This program again.
pub(crate) fn myself() -> std::io::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

fn not_executable(context: &Context) -> Attempt {
    let path = context.place()?.join("notes.txt");
    std::fs::write(&path, context.bytes(Denied::Tool)?)?;
    run(Command::new(kit::loader()?).arg(path))
}

fn copied_loader(context: &Context, copy: bool) -> Attempt {
    let loader = context.place()?.join("loader");
    let bytes =
        std::fs::read(kit::loader()?).map_err(|error| kit::stop(&error, "reading the loader"))?;
    context.program(&loader, &bytes)?;
    let tool = if copy {
        context.copy(Denied::Tool, "data.bin")?
    } else {
        context.path(Denied::Tool)?
    };
    run(Command::new(loader).arg(tool))
}

fn ldso_fd(context: &Context) -> Attempt {
    let copy = context.copy(Denied::Tool, "data.bin")?;
    let file = std::fs::File::open(&copy).map_err(|error| kit::stop(&error, "opening the copy"))?;
    std::fs::remove_file(&copy)?;
    let loader = kit::c_path(kit::loader()?);
    let path = kit::c_path(format!("/proc/self/fd/{}", file.as_raw_fd()));
    in_child(|| {
        // SAFETY: plain call on a descriptor this process owns; keeps it open over the exec.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
        // SAFETY: all pointers outlive the call; standard error goes where the output goes.
        unsafe { libc::dup2(1, 2) };
        let arguments = [loader.as_ptr(), path.as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null::<i8>()];
        at(
            "execve of the loader",
            kit::call(
                libc::SYS_execve,
                [
                    loader.as_ptr() as usize,
                    arguments.as_ptr() as usize,
                    environment.as_ptr() as usize,
                    0,
                    0,
                    0,
                ],
            ),
        )
        .map(drop)
    })
}

fn library_path(context: &Context) -> Attempt {
    let copy = context.copy(Denied::Library, "libneeded.so.1")?;
    let folder = copy
        .parent()
        .map(std::path::Path::to_owned)
        .unwrap_or_default();
    run(myself()?
        .args(["--helper", "dlopen", "libneeded.so.1"])
        .env("LD_LIBRARY_PATH", folder))
}
