//! `cargo xtask fleet`: a folder of bare repositories to import.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use testkit::fleet::{Source, build};

use crate::shell::say;

/// Which fleet, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Repositories
    #[arg(long, default_value_t = 50)]
    count: usize,
    /// Folder to make them in
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Make configurations up instead of taking real ones
    #[arg(long)]
    synthetic: bool,
}

/// Builds the fleet.
pub(crate) fn execute(options: &Options) -> Result<bool> {
    let source = source(options.synthetic);
    let names = build(&options.out, &source, options.count)
        .with_context(|| format!("build {}", options.out.display()))?;
    let from = if source == Source::Synthetic {
        "made-up"
    } else {
        "real"
    };
    say(format!(
        "{} repositories with {from} configurations in {}",
        names.len(),
        options.out.display()
    ));
    Ok(true)
}

/// Real configurations where they are, made-up ones otherwise.
pub(crate) fn source(synthetic: bool) -> Source {
    match Source::archive() {
        Some(archive) if !synthetic => archive,
        _ => Source::Synthetic,
    }
}
