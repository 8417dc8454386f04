//! The denied tool under other paths: 1 to 6 of the catalogue.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, at, in_child, run};
use super::outcome::{Attack, Attempt, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-direct",
        1,
        "run the denied tool by its path",
        |context| run(&mut Command::new(context.path(Denied::Tool)?)),
    ),
    Attack::new(
        "exec-direct-static",
        1,
        "run a denied static program by its path",
        |context| run(&mut Command::new(context.path(Denied::Tiny)?)),
    ),
    Attack::new(
        "exec-renamed",
        2,
        "rename the tool in its folder",
        |context| moved(context, false),
    ),
    Attack::new(
        "exec-moved",
        2,
        "move the tool to another folder",
        |context| moved(context, true),
    ),
    Attack::new(
        "exec-moved-parent",
        2,
        "rename the folder the tool lies in",
        moved_parent,
    ),
    Attack::new(
        "exec-copied",
        2,
        "copy the tool to another name",
        |context| run(&mut Command::new(context.copy(Denied::Tool, "copied")?)),
    )
    .carried(),
    Attack::new(
        "exec-copied-static",
        2,
        "copy a static program to another name",
        |context| run(&mut Command::new(context.copy(Denied::Tiny, "copied")?)),
    )
    .carried(),
    Attack::new(
        "exec-copied-range",
        2,
        "copy inside the kernel with copy_file_range, reading nothing",
        copied_range,
    ),
    Attack::new(
        "exec-copied-sendfile",
        2,
        "copy inside the kernel with sendfile, reading nothing",
        copied_sendfile,
    ),
    Attack::new(
        "exec-symlink-chain",
        3,
        "run it through 14 symbolic links",
        symlink_chain,
    ),
    Attack::new(
        "exec-symlink-proc",
        3,
        "run it through a symbolic link into /proc/self/root",
        symlink_proc,
    ),
    Attack::new("exec-hardlink", 4, "run a hard link to it", hardlink),
    Attack::new(
        "exec-hardlink-fd",
        4,
        "run a hard link made from an open descriptor",
        hardlink_fd,
    ),
    Attack::new(
        "exec-proc-root",
        5,
        "run it through /proc/self/root",
        |context| under(context, "/proc/self/root"),
    ),
    Attack::new(
        "exec-proc-thread-root",
        5,
        "run it through /proc/thread-self/root",
        |context| under(context, "/proc/thread-self/root"),
    ),
    Attack::new(
        "exec-proc-pid-root",
        5,
        "run it through the root of an own process by its number",
        |context| under(context, &format!("/proc/{}/root", std::process::id())),
    ),
    Attack::new(
        "exec-proc-1-root",
        5,
        "run it through /proc/1/root",
        |context| under(context, &format!("/proc/{}/root", context.first_process()?)),
    )
    .root(),
    Attack::new(
        "exec-proc-cwd",
        5,
        "run it through /proc/self/cwd",
        proc_cwd,
    ),
    Attack::new(
        "exec-proc-fd",
        5,
        "run it through /proc/self/fd of a descriptor opened for reading",
        |context| proc_fd(context, 0),
    ),
    Attack::new(
        "exec-proc-fd-opath",
        5,
        "run it through /proc/self/fd of a descriptor that is only a path",
        |context| proc_fd(context, libc::O_PATH),
    ),
    Attack::new(
        "exec-dot-dot",
        5,
        "run it through a path with many steps up and down",
        |context| under(context, "/usr/bin/../../usr/./lib/../..//"),
    ),
    Attack::new(
        "exec-execveat-opath",
        6,
        "execveat with an empty path on an O_PATH descriptor",
        |context| execveat(context, libc::O_PATH),
    ),
    Attack::new(
        "exec-execveat-fd",
        6,
        "execveat with an empty path on a descriptor opened for reading (fexecve)",
        |context| execveat(context, libc::O_RDONLY),
    ),
    Attack::new(
        "exec-execveat-folder",
        6,
        "execveat relative to the descriptor of its folder",
        execveat_folder,
    ),
];

fn moved(context: &Context, elsewhere: bool) -> Attempt {
    let from = context.movable()?;
    let folder = if elsewhere {
        context.place()?
    } else {
        parent(&from)?.to_owned()
    };
    let to = folder.join("harmless-name");
    fs::rename(&from, &to).map_err(|error| kit::stop(&error, "rename"))?;
    let attempt = run(&mut Command::new(&to));
    let _ = fs::rename(&to, &from);
    attempt
}

fn parent(path: &Path) -> Result<&Path, Stop> {
    path.parent().ok_or_else(|| Stop::Fault("no parent".into()))
}

fn file_name(path: &Path) -> Result<PathBuf, Stop> {
    path.file_name()
        .map(PathBuf::from)
        .ok_or_else(|| Stop::Fault("no name".into()))
}

fn moved_parent(context: &Context) -> Attempt {
    let from = context.movable()?;
    let folder = parent(&from)?;
    let new = folder.with_extension("renamed");
    // A folder of a base cannot be renamed in an overlay without redirects: then nothing was tried.
    fs::rename(folder, &new).map_err(|error| match kit::number(&error) {
        libc::EXDEV => Stop::Blocked("rename of the folder: EXDEV".into()),
        _ => kit::stop(&error, "rename of the folder"),
    })?;
    let attempt = run(&mut Command::new(new.join(file_name(&from)?)));
    let _ = fs::rename(&new, folder);
    attempt
}

/// An empty executable file, open, and the tool, open for reading.
fn two_files(context: &Context) -> Result<(fs::File, fs::File, PathBuf, usize), Stop> {
    // In the workspace, so that both lie on one file system.
    let tool = context.movable()?;
    let from = fs::File::open(&tool).map_err(|error| kit::stop(&error, "opening the tool"))?;
    let length = from.metadata()?.len() as usize;
    let path = context.place()?.join("copied");
    let to = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)?;
    Ok((from, to, path, length))
}

fn copied_range(context: &Context) -> Attempt {
    let (from, to, path, length) = two_files(context)?;
    let mut done = 0;
    while done < length {
        let arguments = [
            from.as_raw_fd() as usize,
            0,
            to.as_raw_fd() as usize,
            0,
            length - done,
            0,
        ];
        match kit::call(libc::SYS_copy_file_range, arguments) {
            Ok(0) => break,
            Ok(bytes) => done += bytes as usize,
            Err(error) => {
                return Err(kit::stop_or(
                    &error,
                    "copy_file_range",
                    &[libc::EXDEV, libc::EINVAL],
                ));
            }
        }
    }
    drop(to);
    run(&mut Command::new(path))
}

fn copied_sendfile(context: &Context) -> Attempt {
    let (from, to, path, length) = two_files(context)?;
    let arguments = [
        to.as_raw_fd() as usize,
        from.as_raw_fd() as usize,
        0,
        length,
        0,
        0,
    ];
    kit::call(libc::SYS_sendfile, arguments).map_err(|error| kit::stop(&error, "sendfile"))?;
    drop(to);
    run(&mut Command::new(path))
}

fn symlink_chain(context: &Context) -> Attempt {
    let place = context.place()?;
    let mut last = context.path(Denied::Tool)?;
    for hop in 0..14 {
        let link = place.join(format!("hop-{hop}"));
        symlink(&last, &link)?;
        last = link;
    }
    run(&mut Command::new(last))
}

fn symlink_proc(context: &Context) -> Attempt {
    let link = context.place()?.join("link");
    symlink(
        format!("/proc/self/root{}", context.path(Denied::Tool)?.display()),
        &link,
    )?;
    run(&mut Command::new(link))
}

fn hardlink(context: &Context) -> Attempt {
    let from = context.movable()?;
    let to = context.place()?.join("linked");
    fs::hard_link(&from, &to).map_err(|error| kit::stop_or(&error, "link", &[libc::EXDEV]))?;
    run(&mut Command::new(to))
}

fn hardlink_fd(context: &Context) -> Attempt {
    let from = open(&context.movable()?, libc::O_PATH)?;
    let to = context.place()?.join("linked");
    let (old, new) = (
        kit::c_path(format!("/proc/self/fd/{}", from.as_raw_fd())),
        kit::c_path(&to),
    );
    let here = libc::AT_FDCWD as usize;
    let arguments = [
        here,
        old.as_ptr() as usize,
        here,
        new.as_ptr() as usize,
        libc::AT_SYMLINK_FOLLOW as usize,
        0,
    ];
    kit::call(libc::SYS_linkat, arguments)
        .map_err(|error| kit::stop_or(&error, "linkat", &[libc::EXDEV]))?;
    run(&mut Command::new(to))
}

fn under(context: &Context, prefix: &str) -> Attempt {
    run(&mut Command::new(format!(
        "{prefix}{}",
        context.path(Denied::Tool)?.display()
    )))
}

fn proc_cwd(context: &Context) -> Attempt {
    let tool = context.path(Denied::Tool)?;
    let path = Path::new("/proc/self/cwd").join(file_name(&tool)?);
    run(Command::new(path).current_dir(parent(&tool)?))
}

fn open(path: &Path, flags: i32) -> Result<fs::File, Stop> {
    fs::File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| kit::stop(&error, "opening the tool"))
}

fn proc_fd(context: &Context, flags: i32) -> Attempt {
    let tool = open(&context.path(Denied::Tool)?, flags)?;
    in_child(|| {
        let path = format!("/proc/self/fd/{}", tool.as_raw_fd());
        at(
            "execve of /proc/self/fd/N",
            kit::exec_fd(libc::AT_FDCWD, &path, 0),
        )
    })
}

fn execveat(context: &Context, flags: i32) -> Attempt {
    let tool = open(&context.path(Denied::Tool)?, flags)?;
    in_child(|| {
        at(
            "execveat with AT_EMPTY_PATH",
            kit::exec_fd(tool.as_raw_fd(), "", libc::AT_EMPTY_PATH),
        )
    })
}

fn execveat_folder(context: &Context) -> Attempt {
    let tool = context.path(Denied::Tool)?;
    let name = file_name(&tool)?.display().to_string();
    let folder = fs::File::open(parent(&tool)?)?;
    in_child(|| {
        at(
            "execveat in its folder",
            kit::exec_fd(folder.as_raw_fd(), &name, 0),
        )
    })
}
