//! A coding agent for the story of the sandbox: its makers' program, from the npm registry, below the
//! build folder and never shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{must, on_path, say, target_dir};

/// The version that was tried; another is as good if it speaks the same protocol.
const AGENT: &str = "@anthropic-ai/claude-code@2.1.197";

/// Provides the agent; a line about it when there is none.
pub(super) fn provide() -> Result<Option<String>> {
    // Where the sandbox's story looks.
    let place = target_dir().join("story-agents");
    let named = std::env::var_os("NIGHTCREW_STORY_AGENTS").is_some();
    if named || has_agent(&place) {
        return Ok(None);
    }
    let Err(error) = install(&place) else {
        return Ok(None);
    };
    let line = format!(
        "SKIP no coding agent ({error:#}); npm install --prefix {} {AGENT}",
        place.display()
    );
    say(&line);
    Ok(Some(line))
}

fn has_agent(place: &Path) -> bool {
    place
        .join("node_modules/@anthropic-ai/claude-code/bin/claude.exe")
        .is_file()
}

fn install(place: &Path) -> Result<()> {
    ensure!(on_path("npm"), "npm is not there");
    say(format!(
        "Installing from npm: {AGENT}, the coding agent that the sandbox's story is told with (about 250 MB)."
    ));
    // Complete, or absent: a folder that is there is taken as it is.
    let part = PathBuf::from(format!("{}.part", place.display()));
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    must(
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
            .arg("--prefix")
            .arg(&part)
            .arg(AGENT)
            .stdin(Stdio::null()),
    )?;
    ensure!(has_agent(&part), "{AGENT} holds no program of its own");
    let _ = fs::remove_dir_all(place);
    fs::rename(&part, place).context("put the agent in its place")
}
