//! The trees of an environment on the client's side: folders made, held, and copied where overlays
//! are refused.

use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::layer::{self, Hold, UPPER};
use crate::message::{Create, Stack};
use crate::spec::{EnvironmentSpec, Workspace};
use crate::sys::btrfs;

/// What holds the layers of an environment while it lives.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<Hold>);

/// What the layers of an environment are to be.
pub(crate) struct Prepared {
    pub(crate) workspace: Stack,
    pub(crate) home: Option<Stack>,
    pub(crate) held: Held,
}

/// Makes and holds all layers that the environment writes to.
pub(crate) fn prepare(spec: &EnvironmentSpec) -> Result<Prepared, SandboxError> {
    let mut held = Held::default();
    let workspace = stack(&spec.workspace, &mut held)?;
    let home = spec.home.as_ref().map(|home| stack(home, &mut held));
    let home = home.transpose()?;
    let mounts = spec.mounts.iter().filter_map(|mount| mount.upper.as_ref());
    for folder in mounts.chain(&spec.root.writable) {
        held.0.push(layer::prepare(folder)?.held);
    }
    Ok(Prepared {
        workspace,
        home,
        held,
    })
}

fn stack(tree: &Workspace, held: &mut Held) -> Result<Stack, SandboxError> {
    let folders = layer::prepare(&tree.layer)?;
    held.0.push(folders.held);
    let frozen = tree.frozen.iter().map(|layer| absolute(&layer.join(UPPER)));
    let mut lowers: Vec<PathBuf> = tree.base.iter().map(|base| absolute(base)).collect();
    lowers.extend(frozen);
    if lowers.is_empty() {
        lowers.push(absolute(&folders.nothing));
    }
    Ok(Stack {
        lowers,
        upper: absolute(&folders.upper),
        work: absolute(&folders.work),
    })
}

/// Lets the file system keep the environment to its quota, where it can. Where it cannot, the watch
/// does.
pub(super) fn limit(spec: &EnvironmentSpec) {
    let Some(bytes) = spec.limits.disk_bytes else {
        return;
    };
    for tree in trees(spec).filter(|tree| btrfs::is_subvolume(&tree.layer)) {
        let _ = btrfs::limit(&tree.layer, bytes);
    }
}

/// Whether a layer of the environment is a copy, which is never laid over anything.
pub(super) fn has_copies(spec: &EnvironmentSpec) -> bool {
    trees(spec).any(|tree| layer::is_copy(&tree.layer))
}

/// Whether the environment cannot be without overlays.
pub(super) fn needs_overlays(spec: &EnvironmentSpec) -> bool {
    spec.root.tree.is_some() || spec.mounts.iter().any(|mount| mount.upper.is_some())
}

/// Copies what is underneath into the layers, and makes the request one for such copies; whether
/// there was anything.
pub(super) fn copy(spec: &EnvironmentSpec, request: &mut Create) -> Result<bool, SandboxError> {
    let mut lowers = std::mem::take(&mut request.frozen);
    // A first frozen layer stands where the base would.
    let lowest = request
        .base
        .take()
        .filter(|_| spec.workspace.base.is_some() || !spec.workspace.frozen.is_empty());
    if let Some(lowest) = lowest {
        lowers.insert(0, lowest);
    }
    let mut copied = copy_tree(&spec.workspace, lowers, &request.upper)?;
    if let (Some(home), Some(stack)) = (&spec.home, &mut request.home) {
        let mut lowers = std::mem::take(&mut stack.lowers);
        if home.base.is_none() && home.frozen.is_empty() {
            lowers.clear();
        }
        copied |= copy_tree(home, lowers, &stack.upper)?;
    }
    Ok(copied)
}

fn copy_tree(
    tree: &Workspace,
    mut lowers: Vec<PathBuf>,
    upper: &Path,
) -> Result<bool, SandboxError> {
    if lowers.is_empty() {
        return Ok(false);
    }
    lowers.reverse();
    layer::copy_into(&tree.layer, upper, &lowers).map(|()| true)
}

fn trees(spec: &EnvironmentSpec) -> impl Iterator<Item = &Workspace> {
    [&spec.workspace].into_iter().chain(&spec.home)
}

/// As the supervisor, which has a working directory of its own, understands it.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
