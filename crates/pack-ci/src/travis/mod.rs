//! The Travis CI reader: a tolerant view of `.travis.yml` as typed values that keep their paths.
//!
//! Rules follow Travis' published build-configuration reference and its `travis-yml` parser, which
//! accepts far more than the published schema does.

pub(crate) mod condition;
pub(crate) mod defaults;
pub(crate) mod env;
pub(crate) mod languages;
mod read;

use std::collections::BTreeMap;

use env::EnvLine;

use crate::yaml::{At, Pos};

pub(crate) use read::read;

/// A scalar of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) path: String,
    pub(crate) pos: Pos,
}

/// The phases of a Travis job, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    BeforeInstall,
    Install,
    BeforeScript,
    Script,
    BeforeCache,
    AfterSuccess,
    AfterFailure,
    AfterScript,
}

impl Phase {
    pub(crate) const ALL: [Self; 8] = [
        Self::BeforeInstall,
        Self::Install,
        Self::BeforeScript,
        Self::Script,
        Self::BeforeCache,
        Self::AfterSuccess,
        Self::AfterFailure,
        Self::AfterScript,
    ];

    /// The key in the file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::BeforeInstall => "before_install",
            Self::Install => "install",
            Self::BeforeScript => "before_script",
            Self::Script => "script",
            Self::BeforeCache => "before_cache",
            Self::AfterSuccess => "after_success",
            Self::AfterFailure => "after_failure",
            Self::AfterScript => "after_script",
        }
    }
}

/// The lines of one phase as written; present but empty means "do nothing".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) path: String,
    pub(crate) lines: Vec<Text>,
}

/// What the root or one entry of `jobs.include` says about a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobConfig<'a> {
    pub(crate) path: String,
    pub(crate) language: Option<Text>,
    /// Expansion keys (`os`, `arch`, `python`, `jdk` …) with their values.
    pub(crate) axes: BTreeMap<&'static str, Vec<Text>>,
    /// `None` when the entry has no `env` at all.
    pub(crate) env: Option<Vec<EnvLine>>,
    pub(crate) phases: BTreeMap<Phase, Lines>,
    pub(crate) dist: Option<Text>,
    pub(crate) stage: Option<Text>,
    pub(crate) name: Option<Text>,
    pub(crate) condition: Option<Text>,
    /// Everything kept as a tree: services, addons, cache, git, …
    pub(crate) rest: BTreeMap<&'static str, At<'a>>,
}

/// One pattern of `jobs.exclude` or `jobs.allow_failures`.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) path: String,
    pub(crate) language: Option<Text>,
    pub(crate) axes: BTreeMap<&'static str, Text>,
    pub(crate) env: Option<Vec<EnvLine>>,
    pub(crate) stage: Option<Text>,
    pub(crate) name: Option<Text>,
    pub(crate) dist: Option<Text>,
    /// Whether it holds keys that no job can be matched by.
    pub(crate) impossible: bool,
}

/// One entry of `stages`.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) name: Text,
    pub(crate) condition: Option<Text>,
}

/// A whole file.
#[derive(Debug, Clone)]
pub(crate) struct Config<'a> {
    pub(crate) root: JobConfig<'a>,
    pub(crate) global_env: Vec<EnvLine>,
    pub(crate) include: Vec<JobConfig<'a>>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) allow_failures: Vec<Pattern>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) branches: Option<At<'a>>,
}

/// The keys kept as trees in [`JobConfig::rest`], read where they are translated.
pub(crate) const TREES: [&str; 19] = [
    "services",
    "addons",
    "cache",
    "git",
    "osx_image",
    "deploy",
    "before_deploy",
    "after_deploy",
    "bundler_args",
    "npm_args",
    "composer_args",
    "go_import_path",
    "gobuild_args",
    "android",
    "solution",
    "virtualenv",
    "apt_packages",
    "xcode_project",
    "xcode_workspace",
];
