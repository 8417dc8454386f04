//! From a spec to a request.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::layer;
use crate::message::Create;
use crate::spec::{EnvironmentSpec, RootRecipe};

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
pub(crate) fn of(spec: &EnvironmentSpec, folders: &layer::Layer) -> Create {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let optional = |path: &Option<PathBuf>| path.as_deref().map(absolute);
    let base = optional(&spec.workspace.base);
    let hidden = [optional(&Some(spec.workspace.layer.clone())), base.clone()];
    Create {
        id: spec.id.clone(),
        hostname: spec.hostname.clone(),
        base,
        upper: absolute(&folders.upper),
        work: absolute(&folders.work),
        inputs: optional(&spec.inputs),
        outputs: optional(&spec.outputs),
        program: optional(&spec.program),
        frozen: Vec::new(),
        root: RootRecipe {
            tree: optional(&spec.root.tree),
            layers: spec.root.layers.iter().map(|path| absolute(path)).collect(),
            writable: optional(&spec.root.writable),
            extra: spec.root.extra.iter().map(|path| absolute(path)).collect(),
        },
        home: optional(&spec.home),
        mounts: spec.mounts.clone(),
        exec: spec.exec.clone(),
        hidden: hidden.into_iter().flatten().collect(),
        limits: spec.limits.clone(),
        gated: false,
    }
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
    let folders = [&spec.workspace.base, &spec.inputs, &spec.outputs];
    for path in folders.into_iter().flatten().chain(&spec.root.extra) {
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
