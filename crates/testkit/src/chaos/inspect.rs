//! What a trial left: in the store, at the forge, on the host.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::plot::{Plot, items, text};
use crate::api::Api;
use crate::server::{Program, mounts_below, processes_of};

/// How everything ended, without what differs between two runs of the same campaign (ids, times).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Runs, campaigns and tasks.
    pub counts: (usize, usize, usize),
    /// State, reason and class of diff of each repository's task, by repository.
    pub tasks: BTreeMap<String, String>,
    /// What the forge holds of each repository: changes, branches of ours, tree and length of `main`.
    pub forge: BTreeMap<String, String>,
}

impl Ending {
    /// In what it differs from an undisturbed one.
    #[must_use]
    pub fn differences(&self, undisturbed: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.counts != undisturbed.counts {
            found.push(format!(
                "runs, campaigns, tasks: {:?} instead of {:?}",
                self.counts, undisturbed.counts
            ));
        }
        let none = String::from("nothing");
        for (what, ours, theirs) in [
            ("task", &self.tasks, &undisturbed.tasks),
            ("forge", &self.forge, &undisturbed.forge),
        ] {
            let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let (is, was) = (
                    ours.get(name).unwrap_or(&none),
                    theirs.get(name).unwrap_or(&none),
                );
                if is != was {
                    found.push(format!("{what} {name}: `{is}` instead of `{was}`"));
                }
            }
        }
        found
    }
}

/// Reads the ending from a server and from the repositories of its forge.
pub(super) fn ending(
    api: &mut Api,
    program: &Program,
    plot: &Plot,
    problems: &mut Vec<String>,
) -> io::Result<Ending> {
    let tasks = api.get("/tasks?limit=1000")?;
    let runs = items(&api.get("/runs?limit=100")?).len();
    let campaigns = items(&api.get("/campaigns?limit=100")?).len();
    let mut ending = Ending {
        counts: (runs, campaigns, items(&tasks).len()),
        ..Ending::default()
    };
    for task in items(&tasks) {
        let repository = task
            .pointer("/target/repository")
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        let change = task.get("change").and_then(serde_json::Value::as_u64);
        let words = format!(
            "{} {} {} change {change:?}",
            text(task, "status"),
            text(task, "reason"),
            text(task, "diff_class")
        );
        ending.tasks.insert(repository.to_owned(), words);
    }
    for name in &plot.repositories {
        let bare = program.data_dir.join("forge").join(format!("{name}.git"));
        ending
            .forge
            .insert(name.clone(), at_forge(&bare, name, problems)?);
    }
    Ok(ending)
}

fn at_forge(bare: &Path, name: &str, problems: &mut Vec<String>) -> io::Result<String> {
    let refs = git(bare, &["for-each-ref", "--format=%(refname)"])?;
    let branches = refs
        .lines()
        .filter(|name| name.starts_with("refs/heads/nightcrew/"))
        .count();
    let changes = refs
        .lines()
        .filter(|name| name.starts_with("refs/nightcrew/changes/") && name.ends_with("/meta"))
        .count();
    if branches > changes || changes > 1 {
        problems.push(format!(
            "{name} has {branches} branches of ours and {changes} changes"
        ));
    }
    let sound = Command::new("git")
        .args(["fsck", "--connectivity-only"])
        .current_dir(bare)
        .stdin(Stdio::null())
        .output()?;
    if !sound.status.success() {
        problems.push(format!(
            "git fsck of {name}: {}",
            String::from_utf8_lossy(&sound.stderr).trim()
        ));
    }
    let tree = git(bare, &["rev-parse", "main^{tree}"])?;
    let length = git(bare, &["rev-list", "--count", "main"])?;
    Ok(format!(
        "{changes} changes, {branches} branches, main has {length} commits and tree {tree}"
    ))
}

fn git(bare: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(bare)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!(
        "git {} in {}: {words}",
        arguments.join(" "),
        bare.display()
    )))
}

/// What a stopped server may not leave: processes, mounts, folders of tasks.
pub(super) fn leftovers(program: &Program, problems: &mut Vec<String>) {
    for process in processes_of(&program.path, &program.data_dir) {
        problems.push(format!("a process is left: {process}"));
    }
    for mount in mounts_below(&program.data_dir) {
        problems.push(format!("a mount is left: {mount}"));
    }
    let layers = std::fs::read_dir(program.data_dir.join("runner/layers"))
        .into_iter()
        .flatten()
        .flatten();
    for layer in layers {
        problems.push(format!(
            "the folder of a task is left: {}",
            layer.file_name().to_string_lossy()
        ));
    }
}

/// Lets ledger and store check themselves, the ledger against a checkpoint taken before a kill.
pub(super) fn stores(
    program: &Program,
    checkpoint: Option<&str>,
    problems: &mut Vec<String>,
) -> io::Result<()> {
    let file = program.data_dir.with_file_name("checkpoint");
    let file_name = file.to_string_lossy();
    let mut arguments = vec!["ledger", "verify"];
    match checkpoint {
        Some(text) => {
            std::fs::write(&file, text)?;
            arguments.extend(["--checkpoint", &*file_name]);
        }
        None => problems.push("no checkpoint was ever seen".to_owned()),
    }
    for arguments in [arguments.as_slice(), &["store", "verify"]] {
        let said = program.say(arguments)?;
        if said.code != Some(0) {
            problems.push(format!(
                "`nightcrew {}`: {}{}",
                arguments.join(" "),
                said.out.trim(),
                said.err.trim()
            ));
        }
    }
    Ok(())
}
