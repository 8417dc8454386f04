//! The rooms of the workspace and what each may know, read from `cargo metadata` and the sources.
#![expect(clippy::unwrap_used, reason = "what cargo says has this shape")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Rooms that touch something outside of this process: only `runner` joins them (and the binary,
/// which wires everything).
const OUTSIDE: &[&str] = &["sandbox", "egress", "forge", "agent"];
/// Programs and tools, which are no rooms.
const WIRING: &[&str] = &["nightcrew", "xtask", "testkit"];

struct Workspace {
    /// Dependencies of each crate in its product code: no tests, no build scripts.
    arrows: BTreeMap<String, BTreeSet<String>>,
    folders: BTreeMap<String, PathBuf>,
}

fn workspace() -> Workspace {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut arrows, mut folders) = (BTreeMap::new(), BTreeMap::new());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        let known = package["dependencies"].as_array().unwrap().iter();
        let known = known.filter(|dependency| dependency["kind"].is_null());
        arrows.insert(
            name.clone(),
            known
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect(),
        );
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        folders.insert(name, manifest.parent().unwrap().to_owned());
    }
    Workspace { arrows, folders }
}

impl Workspace {
    fn own(&self, name: &str) -> BTreeSet<&str> {
        self.arrows[name]
            .iter()
            .map(String::as_str)
            .filter(|other| self.arrows.contains_key(*other))
            .collect()
    }

    fn reaches(&self, name: &str) -> BTreeSet<&str> {
        let (mut seen, mut left) = (BTreeSet::new(), vec![name]);
        while let Some(name) = left.pop() {
            for next in self.arrows.get(name).into_iter().flatten() {
                if self.arrows.contains_key(next) && seen.insert(next.as_str()) {
                    left.push(next);
                }
            }
        }
        seen
    }

    fn rooms(&self) -> impl Iterator<Item = &str> {
        self.arrows
            .keys()
            .map(String::as_str)
            .filter(|name| !WIRING.contains(name))
    }
}

#[test]
fn model_knows_no_other_room() {
    assert_eq!(workspace().own("model"), BTreeSet::new());
}

#[test]
fn engine_knows_only_model_and_no_async_runtime() {
    let workspace = workspace();
    assert_eq!(workspace.own("engine"), BTreeSet::from(["model"]));
    for name in ["engine", "model"] {
        for runtime in [
            "tokio",
            "tokio-util",
            "futures-util",
            "async-trait",
            "async-std",
            "smol",
        ] {
            assert!(
                !workspace.arrows[name].contains(runtime),
                "{name} knows {runtime}"
            );
        }
    }
}

#[test]
fn recipe_knows_no_other_room_and_no_async_runtime() {
    let workspace = workspace();
    assert_eq!(workspace.own("recipe"), BTreeSet::new());
    assert!(!workspace.arrows["recipe"].contains("tokio"));
}

#[test]
fn nothing_but_the_binary_knows_server() {
    let workspace = workspace();
    let knowing = workspace
        .arrows
        .iter()
        .filter(|(_, known)| known.contains("server"));
    assert_eq!(
        knowing.map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["nightcrew"]
    );
}

#[test]
fn store_and_forge_never_see_each_other() {
    let workspace = workspace();
    assert!(!workspace.reaches("store").contains("forge"));
    assert!(!workspace.reaches("forge").contains("store"));
}

#[test]
fn packs_never_see_the_store() {
    let workspace = workspace();
    let may = BTreeSet::from(["pack", "blob", "model"]);
    for name in workspace.rooms().filter(|name| name.starts_with("pack")) {
        let others: Vec<_> = workspace
            .reaches(name)
            .into_iter()
            .filter(|other| !may.contains(other))
            .collect();
        assert!(others.is_empty(), "{name} reaches {others:?}");
    }
}

#[test]
fn only_runner_joins_the_rooms_that_touch_the_outside() {
    let workspace = workspace();
    for name in workspace.rooms().filter(|name| *name != "runner") {
        let joined: Vec<_> = workspace
            .own(name)
            .into_iter()
            .filter(|other| OUTSIDE.contains(other))
            .collect();
        assert!(joined.len() < 2, "{name} joins {joined:?}");
    }
}

#[test]
fn only_sandbox_is_unsafe_and_every_crate_takes_the_lints() {
    let workspace = workspace();
    for (name, folder) in &workspace.folders {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not take the workspace's lints"
        );
        if name == "sandbox" {
            continue;
        }
        for file in sources(folder) {
            // Written apart, so that this file does not find itself.
            let lint = concat!("unsafe", "_code");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(
                !text.contains(lint),
                "{} relaxes the lint against unsafe code",
                file.display()
            );
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                left.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}
