//! What only the host can see: whether an attack that ran to its end had an effect.

use std::path::Path;

use sandbox::{Environment, Supervisor};

use crate::adapter::{Mode, Tier, make_environment};
use crate::common::{named, sh};
use crate::scene::Scene;

/// What held, or what broke.
pub(crate) fn judge(
    supervisor: &Supervisor,
    scene: &Scene,
    tier: Tier,
    mode: Mode,
    environment: Environment,
    name: &str,
) -> Result<String, String> {
    match name {
        "proc-daemonise" | "proc-survive-signals" | "proc-survive-storm" => survivors(),
        "proc-kill-init" | "proc-kill-all" => serves(&environment),
        "audit-forge-lines" => Ok("they stand in the step's own output and nowhere else".into()),
        "fs-snapshot-deleted" | "fs-snapshot-overwritten" => {
            match find(&scene.layer(name), b"NIGHTCREW-SECRET-IN-LAYER-4711") {
                Some(path) => Err(format!("the secret stands in {path}")),
                None => Ok("the layer does not hold it".into()),
            }
        }
        "fs-link-out-of-outputs" | "fs-link-swap-in-outputs" => links(scene, name),
        "fs-link-swap-watched" => match scene.closed_mode() {
            0 => Ok("the host's folder is closed still".into()),
            mode => Err(format!("the host's folder has mode {mode:o}")),
        },
        // The rest left something behind: the same layer must serve again, and be removable, which
        // the matrix does for every attack.
        _ => {
            again(supervisor, scene, tier, mode, environment, name)?;
            match std::fs::read_dir(scene.trap()).map(Iterator::count) {
                Ok(0) => Ok("the layer serves again, and the host executed nothing of it".into()),
                _ => Err("the host executed what was left behind".into()),
            }
        }
    }
}

fn survivors() -> Result<String, String> {
    // The step has ended, so everything it started must have.
    let left = named("nc-survivor");
    if left.is_empty() {
        Ok("nothing was left when the step had ended".into())
    } else {
        Err(format!("{} processes outlive the step", left.len()))
    }
}

fn serves(environment: &Environment) -> Result<String, String> {
    let ran = sh(environment, "echo alive");
    if ran.out == "alive\n" {
        Ok("the environment serves on".into())
    } else {
        Err(format!("the environment does not serve: {ran:?}"))
    }
}

/// Links may lie in the outputs. They must be links still, not what they point to, and the host's
/// file must not have been reached through them by what this crate does.
fn links(scene: &Scene, name: &str) -> Result<String, String> {
    let outputs = scene.outputs(name);
    let entries = std::fs::read_dir(&outputs).map_err(|error| error.to_string())?;
    for entry in entries.flatten() {
        let kind = entry.file_type().map_err(|error| error.to_string())?;
        if !kind.is_symlink() && find(&entry.path(), b"NIGHTCREW-HOST-SECRET").is_some() {
            return Err(format!("{} holds the host's file", entry.path().display()));
        }
    }
    Ok("they are links still, for readers that follow none".into())
}

/// Another environment over the same layer.
fn again(
    supervisor: &Supervisor,
    scene: &Scene,
    tier: Tier,
    mode: Mode,
    environment: Environment,
    name: &str,
) -> Result<(), String> {
    serves(&environment)?;
    drop(environment);
    let second = make_environment(supervisor, scene, tier, mode, name)
        .map_err(|error| format!("the layer cannot be used again: {error}"))?;
    serves(&second).map(drop)
}

/// The first file below that contains these bytes.
fn find(place: &Path, bytes: &[u8]) -> Option<String> {
    let mut places = vec![place.to_owned()];
    while let Some(path) = places.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            places.extend(entries.map(|entry| entry.path()));
        } else if metadata.is_file() {
            let content = std::fs::read(&path).unwrap_or_default();
            if content.windows(bytes.len()).any(|window| window == bytes) {
                return Some(path.display().to_string());
            }
        }
    }
    None
}
