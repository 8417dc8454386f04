//! Claims that do not depend on one job: settings of Travis itself, and values no job uses.

use crate::{
    account::Claims,
    matrix::SourceJob,
    travis::{Config, JobConfig, Phase, TREES, languages},
    yaml::At,
};

/// File them. Called after the jobs are built: what they used keeps its stricter claim.
pub(crate) fn remarks(root: &At<'_>, config: &Config<'_>, jobs: &[SourceJob<'_>], claims: &Claims) {
    settings(root, true, claims);
    for key in ["matrix", "jobs"] {
        let Some(list) = root.get(key) else { continue };
        let entries = if list.is_list() {
            list
        } else if let Some(include) = list.get("include") {
            include
        } else {
            continue;
        };
        for entry in entries.items().iter().flat_map(At::items) {
            settings(&entry, false, claims);
        }
    }
    language(&config.root, claims);
    for entry in &config.include {
        language(entry, claims);
    }
    patterns(config, claims);
    unused(config, jobs, claims);
}

/// Keys with the same meaning whatever the jobs are.
fn settings(at: &At<'_>, is_root: bool, claims: &Claims) {
    for (key, value) in at.entries() {
        let path = value.path.as_str();
        match key {
            "sudo" => claims.not_needed(path, "every hosted runner has sudo"),
            "group" | "version" | "filter_secrets" | "trace" | "osx_build_fix" => {
                claims.not_needed(path, "a setting of Travis' own machines");
            }
            "fast_finish" => claims.not_needed(path, "every job runs to its end"),
            "notifications" => notifications(&value, claims),
            "deploy" => claims.manual(
                path,
                "deployment: write a job that needs the others, with its conditions and secrets",
            ),
            "before_deploy" | "after_deploy" => {
                claims.manual(path, "belongs to the deployment job");
            }
            "import" => claims.manual(path, "convert the imported file too"),
            "go_import_path" => claims.manual(
                path,
                "with modules drop it; without, check out under GOPATH at this path",
            ),
            "bundler_args" | "npm_args" | "composer_args" | "gobuild_args" | "yarn_args" => {
                claims.manual(path, "add these arguments to the install or script step");
            }
            "android" => claims.manual(path, "install these components with `sdkmanager`"),
            "virtualenv" => claims.manual(
                path,
                "the interpreter has no system packages: install what is needed with pip or apt",
            ),
            "branches" => {}
            key if is_root && is_anchor_holder(key, &value) => claims.not_needed(
                path,
                "only holds an anchor; its uses are accounted for where they stand",
            ),
            _ => {}
        }
    }
}

/// Keys that Travis does not know and that carry an anchor, by convention `_x`, `.x` or `x-…`.
fn is_anchor_holder(key: &str, value: &At<'_>) -> bool {
    let known = TREES.contains(&key)
        || languages::AXES.contains(&languages::canonical_key(key))
        || Phase::ALL.iter().any(|phase| phase.key() == key)
        || matches!(
            languages::canonical_key(key),
            "language" | "env" | "matrix" | "stages" | "dist" | "if" | "name" | "stage"
        );
    let conventional = key.starts_with(['_', '.']) || key.starts_with("x-");
    !known && (conventional || has_anchor(value, 0))
}

fn has_anchor(at: &At<'_>, depth: usize) -> bool {
    depth < 4
        && (at.node.anchored
            || at.is_list() && at.items().iter().any(|item| has_anchor(item, depth + 1))
            || at
                .entries()
                .iter()
                .any(|(_, value)| has_anchor(value, depth + 1)))
}

fn notifications(at: &At<'_>, claims: &Claims) {
    if !at.is_map() {
        claims.not_needed(&at.path, "GitHub notifies by the settings of each person");
        return;
    }
    for (key, value) in at.entries() {
        match key {
            "email" | "emails" | "recipients" | "on_success" | "on_failure" | "on_start"
            | "on_change" => {
                claims.not_needed(&value.path, "GitHub mails the author when a run fails");
            }
            "hipchat" | "flowdock" | "campfire" => {
                claims.not_needed(&value.path, "that service has closed");
            }
            _ if value.truth() == Some(false) => {
                claims.not_needed(&value.path, "switched off");
            }
            _ => claims.manual(
                &value.path,
                format!("notification by `{key}`: add a step or an app, with its secret"),
            ),
        }
    }
}

fn language(job: &JobConfig<'_>, claims: &Claims) {
    let Some(language) = &job.language else {
        return;
    };
    match languages::find(&language.text) {
        Some(known) => claims.mapped(
            &language.path,
            format!("tools and default commands of `{}`", known.name),
        ),
        None => claims.manual(
            &language.path,
            format!(
                "`{}` is no language of Travis: set up what is meant",
                language.text
            ),
        ),
    }
}

fn patterns(config: &Config<'_>, claims: &Claims) {
    for (patterns, effect) in [
        (&config.exclude, "the matrix leaves these jobs out"),
        (&config.allow_failures, "`continue-on-error` of these jobs"),
    ] {
        for pattern in patterns {
            if pattern.impossible {
                claims.not_needed(&pattern.path, "it matches no job, as on Travis");
            } else {
                claims.mapped(&pattern.path, effect);
            }
        }
    }
}

/// Values of the root that every job replaces, or that its language ignores.
fn unused(config: &Config<'_>, jobs: &[SourceJob<'_>], claims: &Claims) {
    const REPLACED: &str = "no job uses it: each has its own";
    let root_used = |has_own: &dyn Fn(&JobConfig<'_>) -> bool| {
        jobs.iter()
            .any(|job| job.include.is_none_or(|entry| !has_own(entry)))
    };
    for job in std::iter::once(&config.root).chain(&config.include) {
        for values in job.axes.values() {
            for (index, value) in values.iter().enumerate() {
                let why = if job.path.is_empty() || index == 0 {
                    "no job has it: the language or system ignores it, or it is excluded"
                } else {
                    "of a list in one job Travis takes the first value"
                };
                claims.not_needed(&value.path, why);
            }
        }
        for line in job.env.iter().flatten() {
            for var in &line.vars {
                claims.not_needed(&var.at.path, "no job has it");
            }
            if line.vars.is_empty() && line.stray.is_empty() {
                claims.not_needed(&line.path, "no job has it");
            }
        }
        for text in [&job.name, &job.stage, &job.condition, &job.dist]
            .into_iter()
            .flatten()
        {
            claims.not_needed(&text.path, "no job uses it");
        }
    }
    for (phase, lines) in &config.root.phases {
        if !root_used(&|entry| entry.phases.contains_key(phase)) {
            claims.not_needed(&lines.path, REPLACED);
        }
    }
    for (key, at) in &config.root.rest {
        if !root_used(&|entry| entry.rest.contains_key(key)) {
            claims.not_needed(&at.path, REPLACED);
        }
    }
    for entry in &config.include {
        if !jobs
            .iter()
            .any(|job| job.include.is_some_and(|of| of.path == entry.path))
        {
            claims.not_needed(&entry.path, "this job is excluded or equals another");
        }
    }
    for stage in &config.stages {
        if let Some(condition) = &stage.condition {
            claims.not_needed(&condition.path, "no job is in this stage");
        }
    }
}
