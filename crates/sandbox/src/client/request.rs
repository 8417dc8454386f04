//! From a spec to a request.

use std::io;
use std::path::{Path, PathBuf};

use super::stack::{Prepared, absolute};
use crate::error::SandboxError;
use crate::layer::UPPER;
use crate::message::{Create, Stack};
use crate::network::NetworkSpec;
use crate::spec::{EnvironmentSpec, FolderMount, MAX_FROZEN, RootRecipe, Workspace};

/// Folders whose content is the environment's own: a folder of the host below them would be covered.
const OWN_FOLDERS: [&str; 9] = [
    "/tmp",
    "/run",
    "/dev",
    "/proc",
    "/sys",
    "/etc",
    "/work",
    "/nightcrew",
    "/home/agent",
];

/// What the supervisor is asked for.
pub(super) fn of(spec: &EnvironmentSpec, prepared: &Prepared) -> Create {
    let optional = |path: &Option<PathBuf>| path.as_deref().map(absolute);
    let Stack {
        mut lowers,
        upper,
        work,
    } = prepared.workspace.clone();
    let hidden = trees(spec)
        .flat_map(|tree| {
            [&tree.layer]
                .into_iter()
                .chain(&tree.base)
                .chain(&tree.frozen)
        })
        .map(|path| absolute(path))
        .collect();
    Create {
        id: spec.id.clone(),
        hostname: spec.hostname.clone(),
        base: Some(lowers.remove(0)),
        frozen: lowers,
        upper,
        work,
        also: spec.workspace_also.clone(),
        inputs: optional(&spec.inputs),
        outputs: optional(&spec.outputs),
        program: optional(&spec.program),
        root: RootRecipe {
            tree: optional(&spec.root.tree),
            layers: spec
                .root
                .layers
                .iter()
                .map(|path| absolute(&path.join(UPPER)))
                .collect(),
            writable: optional(&spec.root.writable),
            extra: spec.root.extra.iter().map(|path| absolute(path)).collect(),
        },
        home: prepared.home.clone(),
        mounts: spec
            .mounts
            .iter()
            .map(|mount| FolderMount {
                source: absolute(&mount.source),
                upper: optional(&mount.upper),
                ..mount.clone()
            })
            .collect(),
        exec: spec.exec.clone(),
        hidden,
        limits: spec.limits.clone(),
        network: spec.network.clone(),
        gated: false,
        unhidden: 0,
    }
}

fn trees(spec: &EnvironmentSpec) -> impl Iterator<Item = &Workspace> {
    [&spec.workspace].into_iter().chain(&spec.home)
}

/// Refuses what cannot work before anything is made.
pub(crate) fn check(spec: &EnvironmentSpec) -> Result<(), SandboxError> {
    let invalid = |field, reason: &str| {
        Err(SandboxError::InvalidSpec {
            field,
            reason: reason.to_owned(),
        })
    };
    let id = &spec.id;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if id.is_empty() || id.len() > 128 || !id.bytes().all(allowed) {
        return invalid(
            "id",
            "1 to 128 characters of A-Z a-z 0-9 . _ : - are needed",
        );
    }
    let name = &spec.hostname;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(allowed) {
        return invalid("hostname", "1 to 63 characters of a-z 0-9 - are needed");
    }
    if let Some(problem) = spec.network.as_ref().and_then(NetworkSpec::problem) {
        return invalid("network", &problem);
    }
    if spec.limits.tmp_bytes < 4096 {
        return invalid("limits.tmp_bytes", "at least 4096 are needed");
    }
    if spec
        .root
        .extra
        .iter()
        .any(|path| OWN_FOLDERS.iter().any(|own| path.starts_with(own)))
    {
        return invalid(
            "root.extra",
            "the environment has its own /tmp, /run, /dev, /proc, /sys, /etc, /work and /nightcrew",
        );
    }
    let root = &spec.root;
    if root.tree.is_none() && (root.writable.is_some() || !root.layers.is_empty()) {
        return invalid("root.tree", "layers of a root need a tree to lie on");
    }
    if trees(spec).any(|tree| tree.frozen.len() > MAX_FROZEN) || root.layers.len() > MAX_FROZEN {
        return invalid(
            "frozen",
            "these are more layers than the kernel takes; flatten them",
        );
    }
    if let Some(reason) = spec.mounts.iter().find_map(|mount| unusable(&mount.target)) {
        return invalid("mounts", reason);
    }
    if let Some(place) = &spec.workspace_also {
        if let Some(reason) = unusable(place) {
            return invalid("workspace_also", reason);
        }
        if place.starts_with("/work") {
            return invalid(
                "workspace_also",
                "the workspace cannot appear within itself",
            );
        }
    }
    let layers = trees(spec)
        .flat_map(|tree| &tree.frozen)
        .chain(&root.layers);
    let layers: Vec<PathBuf> = layers.map(|layer| layer.join(UPPER)).collect();
    let folders = [&spec.inputs, &spec.outputs, &root.tree];
    let folders = folders.into_iter().flatten().chain(&root.extra);
    let folders = folders.chain(trees(spec).filter_map(|tree| tree.base.as_ref()));
    let folders = folders.chain(spec.mounts.iter().map(|mount| &mount.source));
    for path in folders.chain(&layers) {
        if !path.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(SandboxError::Path {
                action: "find the folder",
                path: path.clone(),
                source,
            });
        }
    }
    Ok(())
}

/// Folders that hold only what the environment itself needs there.
const CLOSED: [&str; 5] = ["/proc", "/dev", "/sys", "/run", "/nightcrew"];
/// Where, in one of those, whoever asks for environments shows what belongs to them.
const OPEN: [&str; 2] = ["/nightcrew/cache", "/nightcrew/setup"];

/// Why a folder cannot be mounted where it is asked for.
fn unusable(target: &Path) -> Option<&'static str> {
    use std::path::Component;
    let mut parts = target.components();
    if parts.next() != Some(Component::RootDir)
        || !parts.all(|part| matches!(part, Component::Normal(_)))
        || target.as_os_str() == "/"
    {
        return Some("a target is an absolute path below /, without `.` and `..`");
    }
    let within = |folders: &[&str]| folders.iter().any(|own| target.starts_with(own));
    if within(&CLOSED) && !within(&OPEN) {
        return Some(
            "nothing can be mounted in /proc, /dev, /sys, /run and /nightcrew but below /nightcrew/cache and /nightcrew/setup",
        );
    }
    if target.starts_with("/home") && !target.starts_with("/home/agent") {
        return Some("the only home is /home/agent");
    }
    let whole = ["/tmp", "/work", "/home", "/home/agent", "/etc"];
    if whole.iter().any(|own| target == Path::new(own)) {
        return Some("a target must not cover /tmp, /work, /etc or a home");
    }
    None
}
