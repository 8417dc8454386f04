//! From Travis' meaning to the intermediate model, with a claim for everything used.

mod addons;
mod cache;
pub(crate) mod environment;
mod group;
mod job;
mod remarks;
mod services;
mod setup;
mod steps;
mod triggers;
pub(crate) mod versions;

pub(crate) use environment::is_apart;

use std::collections::BTreeSet;

use crate::{
    ConvertError,
    account::Claims,
    matrix::{self, JobIdentity},
    pipeline::Pipeline,
    travis::Config,
    variables,
    yaml::At,
};

/// The model, and the identity of each job of the source.
pub(crate) struct Translated {
    pub(crate) pipeline: Pipeline,
    pub(crate) jobs: Vec<JobIdentity>,
}

/// What all jobs need to know.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config<'a>,
    pub(crate) claims: &'a Claims,
    /// Travis variables used anywhere in the file or, as the caller found, in the repository.
    pub(crate) used: BTreeSet<String>,
}

/// Translate a whole file.
pub(crate) fn translate(
    root: &At<'_>,
    config: &Config<'_>,
    claims: &Claims,
    extra_variables: &[String],
) -> Result<Translated, ConvertError> {
    let Some(source_jobs) = matrix::expand(config) else {
        return Err(ConvertError::new(
            root.pos(),
            "the matrix multiplies to more than 2000 jobs",
            "shorten its lists",
        ));
    };
    if source_jobs.is_empty() {
        return Err(ConvertError::new(
            root.pos(),
            "every job of the matrix is excluded",
            "take the wanted jobs out of `exclude`",
        ));
    }
    let context = Context {
        config,
        claims,
        used: used_variables(root, extra_variables),
    };
    let built = source_jobs
        .iter()
        .map(|source| job::build(&context, source))
        .collect();
    remarks::remarks(root, config, &source_jobs, claims);
    let (jobs, identities) = group::group(built, config);
    Ok(Translated {
        pipeline: Pipeline {
            triggers: triggers::triggers(config.branches.as_ref(), claims),
            env: environment::global(&context),
            jobs,
        },
        jobs: identities,
    })
}

fn used_variables(root: &At<'_>, extra: &[String]) -> BTreeSet<String> {
    let mut used: BTreeSet<String> = extra.iter().cloned().collect();
    let mut open = vec![root.clone()];
    while let Some(at) = open.pop() {
        if let Some(text) = at.text() {
            used.extend(variables::used_in(text).into_iter().map(str::to_owned));
        }
        if at.is_list() {
            open.extend(at.items());
        }
        open.extend(at.entries().into_iter().map(|(_, value)| value));
    }
    used
}
