//! `bench build`: a clean release build.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Common;
use super::report::Page;
use crate::shell::{cargo, must};

/// Measures, and writes `docs/benchmarks/build.md`.
#[expect(clippy::cast_precision_loss, reason = "a file's size")]
pub(super) fn execute(common: &Common) -> Result<bool> {
    let scratch = common.scratch()?;
    must(&mut cargo(&["fetch", "--quiet"]))?;
    let began = Instant::now();
    let mut build = cargo(&["build", "--release", "--quiet", "-p", "nightcrew"]);
    must(build.env("CARGO_TARGET_DIR", scratch.path()))?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let binary = scratch.path().join("release/nightcrew");
    let size = std::fs::metadata(&binary)
        .context("find the program")?
        .len() as f64
        / (1024.0 * 1024.0);
    let mut page = Page::new(
        "build",
        "A clean release build",
        "`cargo build --release`, nothing built before, sources downloaded.",
    );
    page.at_most("time", minutes, 8.0, " min");
    page.at_most("size of the program", size, 40.0, " MiB");
    page.write(common, "build")
}
