//! Jobs: keys, order, matrix, steps and the actions they use.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problems, expression};
use crate::yaml::At;

const JOB_KEYS: [&str; 19] = [
    "name",
    "permissions",
    "needs",
    "if",
    "runs-on",
    "environment",
    "concurrency",
    "outputs",
    "env",
    "defaults",
    "steps",
    "timeout-minutes",
    "strategy",
    "continue-on-error",
    "container",
    "services",
    "uses",
    "with",
    "secrets",
];

const STEP_KEYS: [&str; 11] = [
    "id",
    "if",
    "name",
    "uses",
    "run",
    "working-directory",
    "shell",
    "with",
    "env",
    "continue-on-error",
    "timeout-minutes",
];

const JOB_CONTEXTS: [&str; 7] = [
    "github", "needs", "strategy", "matrix", "secrets", "inputs", "vars",
];
const STEP_CONTEXTS: [&str; 11] = [
    "github", "needs", "strategy", "matrix", "secrets", "inputs", "vars", "job", "runner", "env",
    "steps",
];

/// Actions whose older major versions no longer run.
const RETIRED: [(&str, u32); 9] = [
    ("actions/checkout", 4),
    ("actions/cache", 4),
    ("actions/setup-node", 4),
    ("actions/setup-python", 5),
    ("actions/setup-go", 5),
    ("actions/setup-java", 4),
    ("actions/setup-dotnet", 4),
    ("actions/upload-artifact", 4),
    ("actions/download-artifact", 4),
];

/// Check all jobs.
pub(crate) fn check(jobs: &At<'_>, problems: &mut Problems) {
    let entries = jobs.entries();
    let ids: BTreeSet<&str> = entries.iter().map(|(id, _)| *id).collect();
    let mut needs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, job) in &entries {
        if !is_id(id) {
            problems.add(job.pos(), format!("`{id}` cannot be the id of a job"));
        }
        if !job.is_map() {
            problems.add(job.pos(), format!("the job `{id}` is no mapping"));
            continue;
        }
        needs.insert(id, needs_of(job, &ids, problems));
        one(id, job, problems);
    }
    for (id, job) in &entries {
        if reaches_itself(id, &needs) {
            problems.add(job.pos(), format!("the job `{id}` waits for itself"));
        }
    }
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn needs_of(job: &At<'_>, ids: &BTreeSet<&str>, problems: &mut Problems) -> Vec<String> {
    let mut names = Vec::new();
    for item in job.get("needs").map_or_else(Vec::new, |at| at.items()) {
        let name = item.text().unwrap_or_default();
        if !ids.contains(name) {
            problems.add(item.pos(), format!("needs `{name}`, which is no job"));
        }
        names.push(name.to_owned());
    }
    names
}

fn reaches_itself(id: &str, needs: &BTreeMap<&str, Vec<String>>) -> bool {
    let mut open: Vec<&String> = needs.get(id).into_iter().flatten().collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == id {
            return true;
        }
        if seen.insert(next) {
            open.extend(needs.get(next.as_str()).into_iter().flatten());
        }
    }
    false
}

fn one(id: &str, job: &At<'_>, problems: &mut Problems) {
    for (key, value) in job.entries() {
        if !JOB_KEYS.contains(&key) {
            problems.add(value.pos(), format!("unknown key `{key}` of a job"));
        }
    }
    let called = job.get("uses").is_some();
    if !called {
        for key in ["runs-on", "steps"] {
            if job.get(key).is_none() {
                problems.add(job.pos(), format!("the job `{id}` has no `{key}`"));
            }
        }
    } else if job.get("steps").is_some() {
        problems.add(
            job.pos(),
            format!("the job `{id}` has both `uses` and `steps`"),
        );
    }
    if let Some(condition) = job.get("if") {
        let contexts = ["github", "needs", "inputs", "vars"];
        expression::check_condition(&condition, &contexts, problems);
    }
    for key in [
        "env",
        "name",
        "runs-on",
        "continue-on-error",
        "timeout-minutes",
        "services",
    ] {
        expression::check(job.get(key).as_ref(), &JOB_CONTEXTS, problems);
    }
    matrix(job, problems);
    let mut ids = BTreeSet::new();
    if let Some(steps) = job.get("steps") {
        if !steps.is_list() {
            problems.add(steps.pos(), "`steps` is a list");
        } else if steps.items().is_empty() {
            problems.add(steps.pos(), "`steps` has no step");
        }
        for item in steps.items() {
            step(&item, &mut ids, problems);
        }
    }
}

/// Every `matrix.x` used in the job is a key of its matrix.
fn matrix(job: &At<'_>, problems: &mut Problems) {
    let strategy = job.get("strategy");
    let matrix = strategy.as_ref().and_then(|at| at.get("matrix"));
    let mut keys: BTreeSet<String> = BTreeSet::new();
    if let Some(matrix) = &matrix {
        if matrix.text().is_some() {
            // The whole matrix is an expression: its keys are not known here.
            return;
        }
        if matrix.entries().is_empty() {
            problems.add(matrix.pos(), "the matrix is empty");
        }
        for (key, value) in matrix.entries() {
            if key == "include" {
                for (key, _) in value.items().iter().flat_map(At::entries) {
                    keys.insert(key.to_ascii_lowercase());
                }
            } else if key != "exclude" {
                keys.insert(key.to_ascii_lowercase());
                if value.is_list() && value.items().is_empty() {
                    problems.add(value.pos(), format!("the matrix key `{key}` has no value"));
                }
            }
        }
        if let Some(exclude) = matrix.get("exclude") {
            for (key, value) in exclude.items().iter().flat_map(At::entries) {
                if !keys.contains(&key.to_ascii_lowercase()) {
                    problems.add(value.pos(), format!("excludes by `{key}`, which is no key"));
                }
            }
        }
    }
    uses_of_matrix(job, &keys, problems);
}

fn uses_of_matrix(at: &At<'_>, keys: &BTreeSet<String>, problems: &mut Problems) {
    if let Some(text) = at.text() {
        for field in expression::fields(text, "matrix") {
            if !keys.contains(&field.to_ascii_lowercase()) {
                problems.add(
                    at.pos(),
                    format!("`matrix.{field}` is no key of the matrix"),
                );
            }
        }
    }
    if at.is_list() {
        for item in at.items() {
            uses_of_matrix(&item, keys, problems);
        }
    }
    for (_, value) in at.entries() {
        uses_of_matrix(&value, keys, problems);
    }
}

fn step(step: &At<'_>, ids: &mut BTreeSet<String>, problems: &mut Problems) {
    for (key, value) in step.entries() {
        if !STEP_KEYS.contains(&key) {
            problems.add(value.pos(), format!("unknown key `{key}` of a step"));
        }
    }
    match (step.get("uses"), step.get("run")) {
        (Some(_), Some(_)) => problems.add(step.pos(), "a step has both `uses` and `run`"),
        (None, None) => problems.add(step.pos(), "a step has neither `uses` nor `run`"),
        (Some(uses), None) => action(&uses, problems),
        (None, Some(run)) => untrusted(&run, problems),
    }
    if let Some(id) = step.get("id") {
        let name = id.text().unwrap_or_default();
        if !is_id(name) || !ids.insert(name.to_owned()) {
            problems.add(id.pos(), format!("`{name}` cannot be the id of this step"));
        }
    }
    if let Some(condition) = step.get("if") {
        expression::check_condition(&condition, &STEP_CONTEXTS, problems);
        for field in expression::fields(condition.text().unwrap_or_default(), "steps") {
            if !ids.contains(field) {
                problems.add(
                    condition.pos(),
                    format!("`steps.{field}` is no earlier step"),
                );
            }
        }
    }
    for key in [
        "name",
        "run",
        "with",
        "env",
        "continue-on-error",
        "working-directory",
    ] {
        expression::check(step.get(key).as_ref(), &STEP_CONTEXTS, problems);
    }
}

fn action(uses: &At<'_>, problems: &mut Problems) {
    let text = uses.text().unwrap_or_default();
    if text.starts_with("./") || text.starts_with("docker://") {
        return;
    }
    let Some((name, reference)) = text.split_once('@') else {
        problems.add(uses.pos(), format!("`{text}` names no version"));
        return;
    };
    if name.split('/').count() < 2 || reference.is_empty() {
        problems.add(uses.pos(), format!("`{text}` is no action"));
        return;
    }
    let major = reference
        .strip_prefix('v')
        .and_then(|rest| rest.split('.').next())
        .and_then(|number| number.parse::<u32>().ok());
    let oldest = RETIRED
        .iter()
        .find(|(retired, _)| name == *retired || name.starts_with(&format!("{retired}/")));
    if let (Some(major), Some((_, oldest))) = (major, oldest)
        && major < *oldest
    {
        problems.add(
            uses.pos(),
            format!("`{text}` no longer runs: use v{oldest} or later"),
        );
    }
}

/// Texts that strangers choose must not become part of a shell script.
fn untrusted(run: &At<'_>, problems: &mut Problems) {
    const PARTS: [&str; 9] = [
        "github.head_ref",
        "github.event.pull_request.title",
        "github.event.pull_request.body",
        "github.event.pull_request.head.ref",
        "github.event.issue.title",
        "github.event.issue.body",
        "github.event.comment.body",
        "github.event.head_commit.message",
        "github.event.commits",
    ];
    let text = run.text().unwrap_or_default();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${{") {
        let inside = after.split("}}").next().unwrap_or_default();
        if let Some(part) = PARTS.iter().find(|part| inside.contains(**part)) {
            problems.add(
                run.pos(),
                format!("`{part}` is chosen by strangers: pass it through `env`"),
            );
        }
        rest = after;
    }
}
