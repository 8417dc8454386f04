//! The CI migration pack: readers, the intermediate model of CI, writers, total accounting.
//!
//! [`convert`] turns a `.travis.yml` into a GitHub Actions workflow, says of every construct what
//! became of it, and compares the job sets of both files. [`check_workflow`] validates any
//! workflow file without a tool. Both take text and give values; nothing here reads or writes.

mod account;
mod actions;
mod check;
mod error;
mod matrix;
mod pipeline;
mod secrets;
mod shell;
mod summary;
mod translate;
mod travis;
mod variables;
mod yaml;

use serde::Serialize;

pub use account::{Entry, Outcome};
pub use check::{Problem, check_workflow};
pub use error::ConvertError;
pub use matrix::JobIdentity;
pub use secrets::Secret;
pub use yaml::Pos;

/// What a caller can say about a conversion.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of `TRAVIS_*` variables that files of the repository use beside its configuration:
    /// the workflow defines them too.
    pub used_variables: Vec<String>,
}

/// The result of a conversion; serialised it is `migration.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Conversion {
    /// Where the workflow belongs in the repository.
    pub path: String,
    /// The workflow file.
    pub workflow: String,
    /// Every leaf of the source with what became of it, in source order.
    pub accounting: Vec<Entry>,
    /// Leaves that are in the workflow.
    pub mapped: usize,
    /// Leaves that need no counterpart.
    pub not_needed: usize,
    /// Leaves that somebody has to act on.
    pub manual: usize,
    /// Of `manual`, those that are only about creating a secret.
    pub manual_secrets: usize,
    /// The jobs that Travis would run.
    pub jobs_source: Vec<JobIdentity>,
    /// The jobs that the workflow stands for, read back from its text.
    pub jobs_target: Vec<JobIdentity>,
    /// Whether both sets are equal.
    pub equal: bool,
    /// Encrypted values, to be created anew as repository secrets.
    pub secrets: Vec<Secret>,
    /// What a reader of the change should know besides.
    pub notes: Vec<String>,
}

/// Where the workflow is written.
pub const WORKFLOW_PATH: &str = ".github/workflows/ci.yml";

/// Convert the text of a `.travis.yml`.
///
/// # Errors
/// When the text is no YAML, no mapping, or beyond the bounds of size, nesting and aliases.
pub fn convert(source: &str, options: &Options) -> Result<Conversion, ConvertError> {
    let tree = yaml::parse(source)?;
    let root = yaml::At::root(&tree);
    if !root.is_map() && !tree.is_null() {
        return Err(ConvertError::new(
            root.pos(),
            "the file is no mapping of keys to values",
            "start it with a key such as `language: …`",
        ));
    }
    let claims = account::Claims::default();
    let config = travis::read(&root, &claims);
    let translated = translate::translate(&root, &config, &claims, &options.used_variables)?;
    let written = actions::write(&translated.pipeline);
    let accounting = account::account(&tree, &claims);
    let mut jobs_source = translated.jobs;
    let mut jobs_target = actions::readback::jobs(&written.text).unwrap_or_default();
    jobs_source.sort();
    jobs_target.sort();
    let count = |outcome| {
        accounting
            .iter()
            .filter(|entry: &&Entry| entry.outcome == outcome)
            .count()
    };
    Ok(Conversion {
        path: WORKFLOW_PATH.to_owned(),
        mapped: count(Outcome::Mapped),
        not_needed: count(Outcome::NotNeeded),
        manual: count(Outcome::Manual),
        manual_secrets: accounting
            .iter()
            .filter(|entry| secrets::is_about_secret(entry))
            .count(),
        equal: jobs_source == jobs_target,
        jobs_source,
        jobs_target,
        secrets: secrets::find(&root, source),
        notes: notes(&written.unpinned),
        workflow: written.text,
        accounting,
    })
}

fn notes(unpinned: &[String]) -> Vec<String> {
    unpinned
        .iter()
        .map(|action| format!("`{action}` is not yet pinned to a commit"))
        .collect()
}
