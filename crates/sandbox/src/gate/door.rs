//! The environment's side of the gate: the init registers before anything runs, the self-test proves
//! that the gate answers, and the client keeps the link for events and new policies.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::environment::Register;
use super::{ASKS_REGISTER, SAYS_FAILED, SAYS_READY};
use crate::layer::UPPER;
use crate::message::{Create, Failure, Stage};
use crate::spec::RootRecipe;
use crate::sys::{file, other, socket};

/// The layer's name in reports.
pub(crate) const LAYER: &str = "exec-gate";

/// Registers the environment whose mounts are this process's; `pidfd` names its init. Returns the
/// end of the link that is the client's, when everything is watched.
pub(crate) fn register(
    request: &Create,
    root: &CStr,
    control: &OwnedFd,
    pidfd: &OwnedFd,
) -> Result<OwnedFd, Failure> {
    use std::os::unix::ffi::OsStrExt;
    let stage = "register with the gate";
    let (ours, theirs) = socket::pair().stage(stage)?;
    let root = PathBuf::from(std::ffi::OsStr::from_bytes(root.to_bytes()));
    let message = file::memory_file(&registration(request, root).encode()).stage(stage)?;
    let fds = [pidfd.as_fd(), theirs.as_fd(), message.as_fd()];
    socket::send(control.as_fd(), &[ASKS_REGISTER], &fds).stage(stage)?;
    drop(theirs);
    let mut buffer = [0; 1024];
    let answer = socket::receive(ours.as_fd(), &mut buffer).stage(stage)?;
    match answer {
        Some((_, _)) if buffer[0] == SAYS_READY => Ok(ours),
        Some((length, _)) if buffer[0] == SAYS_FAILED => Err(Failure {
            stage: format!("{stage}: {}", String::from_utf8_lossy(&buffer[1..length])),
            errno: libc::EIO,
        }),
        _ => Err(Failure {
            stage: stage.to_owned(),
            errno: libc::EPIPE,
        }),
    }
}

fn registration(request: &Create, root: PathBuf) -> Register {
    let mut uppers = vec![(PathBuf::from("/work"), request.upper.clone())];
    uppers.extend(
        request
            .also
            .iter()
            .map(|also| (also.clone(), request.upper.clone())),
    );
    if let Some(home) = &request.home {
        uppers.push((PathBuf::from("/home/agent"), home.upper.clone()));
    }
    for folder in &request.mounts {
        if let Some(upper) = &folder.upper {
            uppers.push((folder.target.clone(), upper.join(UPPER)));
        }
    }
    if let Some(writable) = &request.root.writable {
        uppers.push((PathBuf::from("/"), writable.join(UPPER)));
    }
    let mut lowers: Vec<PathBuf> = request.base.iter().cloned().collect();
    lowers.extend(request.frozen.iter().cloned());
    lowers.extend(
        request
            .home
            .iter()
            .flat_map(|home| home.lowers.iter().cloned()),
    );
    lowers.extend(request.mounts.iter().map(|folder| folder.source.clone()));
    lowers.extend(request.root.tree.iter().cloned());
    lowers.extend(request.root.layers.iter().cloned());
    Register {
        id: request.id.clone(),
        made: other::uptime(),
        policy: request.exec.clone(),
        root,
        trees: trees(&request.root),
        uppers,
        lowers,
    }
}

/// What a root is made of, highest first; nothing where it is the host's.
pub(crate) fn trees(recipe: &RootRecipe) -> Vec<PathBuf> {
    let Some(tree) = &recipe.tree else {
        return Vec::new();
    };
    recipe.layers.iter().rev().chain([tree]).cloned().collect()
}

/// Whether content that every policy refuses is refused: to be opened, and to be executed.
pub(crate) fn refuses_canary() -> Result<String, String> {
    const PLACE: &CStr = c"/run/canary";
    let failed = |what: &str, error: &io::Error| format!("cannot {what}: {error}");
    let path = "/run/canary";
    fs::write(path, super::policy::CANARY).map_err(|error| failed("write it", &error))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(|error| failed("make it executable", &error))?;
    let opened = file::open(PLACE, libc::O_RDONLY);
    // Its interpreter does not exist: this returns, whatever the gate does.
    let program =
        crate::sys::spawn::Program::new(vec![PLACE.to_owned()], vec![PLACE.to_owned()], Vec::new());
    let executed = program.execute();
    let removed = fs::remove_file(path);
    match opened {
        Ok(_) => return Err("it could be read".to_owned()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        Err(error) => return Err(failed("open it", &error)),
    }
    match executed.raw_os_error() {
        // Where nothing on scratch space executes, that is the first answer.
        Some(libc::EPERM | libc::EACCES) => {}
        _ => return Err(format!("executing it came as far as: {executed}")),
    }
    removed.map_err(|error| failed("remove it", &error))?;
    Ok("EPERM".to_owned())
}
