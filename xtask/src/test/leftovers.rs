//! What tests forgot: processes and files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Lets every user make files here, as in `/tmp`: tests also work as other users.
pub(super) fn open_to_all(place: &Path) -> Result<()> {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o1777))
        .context("open the temporary folder")
}

/// Orphans of processes below become children of this process.
pub(super) fn adopt() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).context("become a reaper of orphans")
}

/// Ends all children; the command lines of those that were still running.
pub(super) fn end_processes() -> Vec<String> {
    let mut found = Vec::new();
    // Ending one may hand its own children over.
    for _ in 0..32 {
        let children = children();
        if children.is_empty() {
            break;
        }
        for child in children {
            if !is_zombie(child) {
                found.push(command_line(child));
                let _ = kill(child, Signal::SIGKILL);
            }
            let _ = waitpid(child, None);
        }
    }
    found
}

/// Names of everything in a folder.
pub(super) fn names(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn children() -> Vec<Pid> {
    let own = Pid::this().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid: &i32| stat(*pid, 1).is_some_and(|parent| parent == own))
        .map(Pid::from_raw)
        .collect()
}

fn is_zombie(pid: Pid) -> bool {
    stat(pid.as_raw(), 0).is_none_or(|state| state == "Z")
}

/// A field of `/proc/PID/stat` after the name: 0 is the state, 1 the parent (proc(5)).
fn stat(pid: i32, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = text.rsplit_once(") ")?.1;
    after.split(' ').nth(field).map(str::to_owned)
}

fn command_line(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
    format!("{pid} {}", words.trim())
}
