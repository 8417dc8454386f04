//! Coding agents for the story of the sandbox and the tests of the gateway: their makers' programs,
//! from the npm registry, below the build folder and never shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{must, on_path, say, target_dir};

/// The versions that were tried; others are as good if they speak the same protocols.
const AGENTS: [&str; 2] = ["@anthropic-ai/claude-code@2.1.197", "@openai/codex@0.169"];

/// What the tests start of them.
const PROGRAMS: [&str; 2] = [
    "node_modules/@anthropic-ai/claude-code/bin/claude.exe",
    "node_modules/@openai/codex/bin/codex.js",
];

/// Provides the agents; a line about it when there are none.
pub(super) fn provide() -> Result<Option<String>> {
    // Where the tests look.
    let place = target_dir().join("story-agents");
    let named = std::env::var_os("NIGHTCREW_STORY_AGENTS").is_some();
    if named || has_agents(&place) {
        return Ok(None);
    }
    let Err(error) = install(&place) else {
        return Ok(None);
    };
    let line = format!(
        "SKIP no coding agents ({error:#}); npm install --prefix {} {}",
        place.display(),
        AGENTS.join(" ")
    );
    say(&line);
    Ok(Some(line))
}

fn has_agents(place: &Path) -> bool {
    PROGRAMS.iter().all(|program| place.join(program).is_file())
}

fn install(place: &Path) -> Result<()> {
    ensure!(on_path("npm"), "npm is not there");
    say(format!(
        "Installing from npm: {}, the coding agents that tests drive (about 650 MB).",
        AGENTS.join(" and ")
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
            .args(AGENTS)
            .stdin(Stdio::null()),
    )?;
    ensure!(
        has_agents(&part),
        "{} hold no programs of their own",
        AGENTS.join(" and ")
    );
    let _ = fs::remove_dir_all(place);
    fs::rename(&part, place).context("put the agent in its place")
}
