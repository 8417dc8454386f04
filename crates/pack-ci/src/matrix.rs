//! Travis' matrix expansion as a pure function, and the identity by which job sets are compared.
//!
//! The rules are those of Travis' own `travis-yml` library: the product of the expansion keys; a
//! single product job makes way for `jobs.include`; included jobs inherit the first value of
//! every key; `exclude` matches on equality; equal jobs are one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::travis::{
    Config, JobConfig, Pattern, Text,
    env::{EnvLine, VarValue},
    languages,
};

/// What makes a job the job it is: the target must have exactly the jobs of the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct JobIdentity {
    /// `linux`, `osx` or `windows`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub arch: String,
    /// Version by tool (`python` → `3.8`).
    pub versions: BTreeMap<String, String>,
    /// Variables of `env` with their values as written; secrets are `<secret>`; empty ones left out.
    pub env: BTreeMap<String, String>,
    /// Whether its failure leaves the build green.
    pub may_fail: bool,
}

/// One job of the expanded matrix.
#[derive(Debug, Clone)]
pub(crate) struct SourceJob<'a> {
    pub(crate) language: String,
    pub(crate) axes: BTreeMap<&'static str, Text>,
    /// Lines of the job itself, without the global ones.
    pub(crate) env: Vec<EnvLine>,
    /// The entry of `jobs.include` it comes from.
    pub(crate) include: Option<&'a JobConfig<'a>>,
    pub(crate) stage: String,
    pub(crate) may_fail: bool,
}

/// The language Travis takes when the file names none.
pub(crate) const DEFAULT_LANGUAGE: &str = "ruby";
/// More jobs than this are an input error: Travis allowed 200.
const MAX_JOBS: usize = 2000;

/// The jobs a file stands for, in order. `None` when there are absurdly many.
pub(crate) fn expand<'a>(config: &'a Config<'a>) -> Option<Vec<SourceJob<'a>>> {
    let language = language_of(config.root.language.as_ref());
    let mut jobs = product(config, &language)?;
    let from_axes = jobs.len();
    if from_axes == 1 && !config.include.is_empty() {
        jobs.clear();
    }
    let had_none = from_axes == 0 && config.include.is_empty();
    if had_none {
        jobs.push(default_job(&language));
    }
    jobs.extend(included(config, &language));
    let kept = |job: &SourceJob<'_>| !config.exclude.iter().any(|pattern| matches(pattern, job));
    if jobs.iter().any(kept) {
        jobs.retain(kept);
    } else {
        // Files that exclude everything were written for the older rule: included jobs stay.
        jobs.retain(|job| job.include.is_some());
    }
    for job in &mut jobs {
        job.may_fail = config
            .allow_failures
            .iter()
            .any(|pattern| matches(pattern, job));
    }
    Some(unique(jobs))
}

fn language_of(text: Option<&Text>) -> String {
    text.map_or_else(
        || DEFAULT_LANGUAGE.to_owned(),
        |text| {
            languages::find(&text.text).map_or_else(
                || text.text.to_ascii_lowercase(),
                |known| known.name.to_owned(),
            )
        },
    )
}

fn default_job<'a>(language: &str) -> SourceJob<'a> {
    SourceJob {
        language: language.to_owned(),
        axes: BTreeMap::new(),
        env: Vec::new(),
        include: None,
        stage: "test".to_owned(),
        may_fail: false,
    }
}

/// The product of the root's keys; no key, no job.
fn product<'a>(config: &'a Config<'a>, language: &str) -> Option<Vec<SourceJob<'a>>> {
    let mut jobs: Vec<SourceJob<'a>> = Vec::new();
    for axis in languages::AXES {
        let Some(values) = config.root.axes.get(axis) else {
            continue;
        };
        if !languages::supports(language, axis) {
            continue;
        }
        if jobs.is_empty() {
            jobs.push(default_job(language));
        }
        jobs = jobs
            .iter()
            .flat_map(|job| {
                values.iter().map(|value| {
                    let mut made = job.clone();
                    made.axes.insert(axis, value.clone());
                    made
                })
            })
            .take(MAX_JOBS + 1)
            .collect();
    }
    if let Some(lines) = &config.root.env {
        if jobs.is_empty() {
            jobs.push(default_job(language));
        }
        jobs = jobs
            .iter()
            .flat_map(|job| {
                lines.iter().map(|line| SourceJob {
                    env: vec![line.clone()],
                    ..job.clone()
                })
            })
            .take(MAX_JOBS + 1)
            .collect();
    }
    for job in &mut jobs {
        drop_unsupported(job);
    }
    (jobs.len() <= MAX_JOBS).then_some(jobs)
}

/// Keys that mean nothing on a job's system (`osx_image` on Linux) do not count.
fn drop_unsupported(job: &mut SourceJob<'_>) {
    let mac = job
        .axes
        .get("os")
        .map_or(job.language == "objective-c", |os| is_mac(&os.text));
    if !mac {
        job.axes.remove("osx_image");
    }
}

/// Whether the text is one of Travis' names for macOS.
pub(crate) fn is_mac(os: &str) -> bool {
    matches!(
        os.trim().to_ascii_lowercase().as_str(),
        "osx" | "macos" | "mac"
    )
}

fn included<'a>(config: &'a Config<'a>, root_language: &str) -> Vec<SourceJob<'a>> {
    let mut stage = "test".to_owned();
    let mut jobs = Vec::new();
    for entry in &config.include {
        if let Some(own) = &entry.stage {
            stage = own.text.to_ascii_lowercase();
        }
        let language = entry
            .language
            .as_ref()
            .map_or_else(|| root_language.to_owned(), |own| language_of(Some(own)));
        let mut axes: BTreeMap<&'static str, Text> = BTreeMap::new();
        for (axis, values) in config.root.axes.iter().chain(&entry.axes) {
            if languages::supports(&language, axis)
                && let Some(first) = values.first()
            {
                axes.insert(axis, first.clone());
            }
        }
        let first_env = || config.root.env.iter().flatten().next().cloned();
        let env = match &entry.env {
            Some(lines) => lines.clone(),
            None => first_env().into_iter().collect(),
        };
        let mut job = SourceJob {
            language,
            axes,
            env,
            include: Some(entry),
            stage: stage.clone(),
            may_fail: false,
        };
        drop_unsupported(&mut job);
        jobs.push(job);
    }
    jobs
}

fn matches(pattern: &Pattern, job: &SourceJob<'_>) -> bool {
    if pattern.impossible {
        return false;
    }
    let axes = pattern.axes.iter().all(|(axis, wanted)| {
        let value = job.axes.get(axis).map(|value| value.text.as_str());
        value.map_or_else(
            || *axis == "os" && wanted.text == "linux",
            |value| value == wanted.text,
        )
    });
    let env = pattern
        .env
        .as_ref()
        .is_none_or(|wanted| assignments(wanted) == assignments(&job.env));
    let stage = pattern
        .stage
        .as_ref()
        .is_none_or(|wanted| wanted.text.eq_ignore_ascii_case(&job.stage));
    let name = pattern.name.as_ref().is_none_or(|wanted| {
        job.include
            .and_then(|entry| entry.name.as_ref())
            .is_some_and(|name| name.text == wanted.text)
    });
    let dist = pattern.dist.as_ref().is_none_or(|wanted| {
        job.include
            .and_then(|entry| entry.dist.as_ref())
            .is_some_and(|dist| dist.text == wanted.text)
    });
    let language = pattern
        .language
        .as_ref()
        .is_none_or(|wanted| language_of(Some(wanted)) == job.language);
    axes && env && stage && name && dist && language
}

fn assignments(lines: &[EnvLine]) -> Vec<(&str, &VarValue)> {
    lines.iter().flat_map(EnvLine::assignments).collect()
}

/// Equal jobs of the product run once. Included jobs differ by where they come from.
fn unique(jobs: Vec<SourceJob<'_>>) -> Vec<SourceJob<'_>> {
    let mut kept: Vec<SourceJob<'_>> = Vec::with_capacity(jobs.len());
    let mut seen = std::collections::HashSet::new();
    for job in jobs {
        let axes: Vec<_> = job
            .axes
            .iter()
            .map(|(axis, value)| (*axis, value.text.clone()))
            .collect();
        let env: Vec<_> = job
            .env
            .iter()
            .flat_map(|line| &line.vars)
            .map(|var| (var.name.clone(), var.value.clone()))
            .collect();
        let from = job.include.map(|entry| entry.path.clone());
        if seen.insert((axes, env, from, job.language.clone())) {
            kept.push(job);
        }
    }
    kept
}
