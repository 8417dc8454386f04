//! A validator of GitHub workflow files that needs no tool and no network.
//!
//! It knows the published workflow syntax as far as mistakes in it are common: structure, jobs and
//! their order, steps, matrix keys, expressions and their contexts, and actions too old to run.

mod expression;
mod jobs;

use serde::Serialize;

use crate::yaml::{self, At, Node, Pos, Value};

/// Something wrong in a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

const TOP_LEVEL: [&str; 9] = [
    "name",
    "run-name",
    "on",
    "permissions",
    "env",
    "defaults",
    "concurrency",
    "jobs",
    "x-anchors",
];

/// Problems of the workflow file `text`, in the order of their places; none means valid.
#[must_use]
pub fn check_workflow(text: &str) -> Vec<Problem> {
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(error) => {
            return vec![Problem {
                line: error.line,
                column: error.column,
                message: error.cause,
            }];
        }
    };
    let mut problems = Problems::default();
    check_root(&At::root(&root), &mut problems);
    problems.duplicates(&root);
    let mut found = problems.found;
    found.sort_by_key(|problem| (problem.line, problem.column));
    found
}

/// Problems found so far.
#[derive(Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn add(&mut self, at: Pos, message: impl Into<String>) {
        self.found.push(Problem {
            line: at.line,
            column: at.column,
            message: message.into(),
        });
    }

    fn duplicates(&mut self, node: &Node) {
        match &node.value {
            Value::Map(pairs) => {
                for pair in pairs {
                    if let Some(line) = pair.replaced_at {
                        self.add(
                            pair.pos,
                            format!("the key `{}` stands again on line {line}", pair.key),
                        );
                    }
                    self.duplicates(&pair.value);
                }
            }
            Value::List(items) => {
                for item in items {
                    self.duplicates(item);
                }
            }
            Value::Scalar { .. } => {}
        }
    }
}

fn check_root(root: &At<'_>, problems: &mut Problems) {
    if !root.is_map() {
        problems.add(root.pos(), "a workflow is a mapping of keys to values");
        return;
    }
    for (key, value) in root.entries() {
        if !TOP_LEVEL.contains(&key) {
            problems.add(value.pos(), format!("unknown key `{key}` of a workflow"));
        }
    }
    triggers(root, problems);
    expression::check(
        root.get("env").as_ref(),
        &["github", "secrets", "inputs", "vars"],
        problems,
    );
    expression::check(
        root.get("concurrency").as_ref(),
        &["github", "inputs", "vars"],
        problems,
    );
    match root.get("jobs") {
        Some(jobs) if !jobs.entries().is_empty() => jobs::check(&jobs, problems),
        Some(jobs) => problems.add(jobs.pos(), "`jobs` has no job"),
        None => problems.add(root.pos(), "the key `jobs` is missing"),
    }
}

fn triggers(root: &At<'_>, problems: &mut Problems) {
    const EVENTS: [&str; 34] = [
        "push",
        "pull_request",
        "pull_request_target",
        "pull_request_review",
        "pull_request_review_comment",
        "schedule",
        "workflow_dispatch",
        "workflow_call",
        "workflow_run",
        "repository_dispatch",
        "release",
        "create",
        "delete",
        "deployment",
        "deployment_status",
        "fork",
        "gollum",
        "issues",
        "issue_comment",
        "label",
        "milestone",
        "page_build",
        "project",
        "project_card",
        "project_column",
        "public",
        "registry_package",
        "status",
        "watch",
        "check_run",
        "check_suite",
        "discussion",
        "discussion_comment",
        "merge_group",
    ];
    let Some(on) = root.get("on") else {
        problems.add(root.pos(), "the key `on` is missing");
        return;
    };
    let mut known = |name: &str, at: &At<'_>| {
        if !EVENTS.contains(&name) {
            problems.add(at.pos(), format!("unknown event `{name}`"));
        }
    };
    if on.is_map() {
        for (name, value) in on.entries() {
            known(name, &value);
        }
    } else {
        for item in on.items() {
            known(item.text().unwrap_or_default(), &item);
        }
    }
    for (name, event) in on.entries() {
        for (with, without) in [
            ("branches", "branches-ignore"),
            ("tags", "tags-ignore"),
            ("paths", "paths-ignore"),
        ] {
            if event.get(with).is_some()
                && let Some(at) = event.get(without)
            {
                problems.add(
                    at.pos(),
                    format!("`{with}` and `{without}` of `{name}` exclude each other"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
