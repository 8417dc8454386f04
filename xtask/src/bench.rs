//! `cargo xtask bench`: measures what the project promises, and writes it down.

mod build;
mod console;
mod events;
mod fleet;
mod idle;
mod report;
mod sandbox;
mod usage;

use std::path::{Path, PathBuf};

use anyhow::Result;
use testkit::server::Program;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// A campaign beside `xargs -P2` doing the same, in pairs
    Fleet(fleet::Options),
    /// Events admitted per second, and time from an event to its first step
    Events(Common),
    /// Time to a console page with 10,000 tasks stored
    Console(Common),
    /// CPU and memory of a server with nothing to do
    Idle(Common),
    /// Environments beside bubblewrap, crun and runc: start, many, forks, opens, builds, churn
    Sandbox(sandbox::Options),
    /// Clean release build: time and size
    Build(Common),
}

/// What every measurement takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// The program to measure [default: a release build]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Date to write into the page
    #[arg(long, default_value = "not given")]
    date: String,
    /// Folder for everything that is written while measuring [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    place: Option<PathBuf>,
}

impl Common {
    /// A folder of its own, which other users may pass through: environments run as one.
    fn scratch(&self) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("nightcrew-bench.");
        let scratch = match &self.place {
            Some(place) => builder.tempdir_in(place)?,
            None => builder.tempdir()?,
        };
        testkit::server::passable(scratch.path())?;
        Ok(scratch)
    }
}

/// Measures; whether every target was reached.
pub(crate) fn execute(bench: &Bench) -> Result<bool> {
    match bench {
        Bench::Fleet(options) => fleet::execute(options),
        Bench::Events(common) => events::execute(common),
        Bench::Console(common) => console::execute(common),
        Bench::Idle(common) => idle::execute(common),
        Bench::Sandbox(options) => sandbox::execute(options),
        Bench::Build(common) => build::execute(common),
    }
}

/// A program with a data directory below `scratch`.
fn at(program: &Path, scratch: &Path, name: &str) -> Program {
    Program {
        path: program.to_owned(),
        data_dir: scratch.join(name),
    }
}

/// The value below which this share of the values lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (share * last as f64).ceil() as usize;
    sorted.get(at.min(last)).copied().unwrap_or_default()
}
