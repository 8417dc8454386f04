//! From the tree to [`Config`].

use std::collections::BTreeMap;

use super::{
    Config, JobConfig, Lines, Pattern, Phase, Stage, TREES, Text,
    env::{self, EnvLine},
    languages::{AXES, canonical_key},
};
use crate::{account::Claims, yaml::At};

/// Read a file. What is wrong in it is claimed as manual and left out.
pub(crate) fn read<'a>(root: &At<'a>, claims: &Claims) -> Config<'a> {
    let mut job = job(root, claims);
    let mut global_env = Vec::new();
    if let Some(at) = find(root, "env") {
        let (global, lines) = root_env(&at);
        global_env = global;
        job.env = lines;
    }
    let mut config = Config {
        root: job,
        global_env,
        include: Vec::new(),
        exclude: Vec::new(),
        allow_failures: Vec::new(),
        stages: find(root, "stages").map_or_else(Vec::new, |at| stages(&at, claims)),
        branches: root.get("branches"),
    };
    for key in ["matrix", "jobs"] {
        if let Some(at) = root.get(key) {
            matrix(&at, &mut config, claims);
        }
    }
    config
}

/// The value under `key` or an older spelling of it.
fn find<'a>(at: &At<'a>, key: &str) -> Option<At<'a>> {
    at.get(key).or_else(|| {
        at.entries()
            .into_iter()
            .find(|(name, value)| canonical_key(name) == key && !value.node.is_null())
            .map(|(_, value)| value)
    })
}

fn text(at: &At<'_>) -> Option<Text> {
    at.text().map(|text| Text {
        text: text.trim().to_owned(),
        path: at.path.clone(),
        pos: at.pos(),
    })
}

/// The first scalar of a scalar or a list; further elements are left to be reported.
fn first_text(at: &At<'_>) -> Option<Text> {
    at.items().first().and_then(text)
}

fn matrix<'a>(at: &At<'a>, config: &mut Config<'a>, claims: &Claims) {
    // A list directly under `jobs` means `jobs.include`.
    if at.is_list() {
        include(at, config, claims);
        return;
    }
    for (key, value) in at.entries() {
        match key {
            "include" => include(&value, config, claims),
            "exclude" => config.exclude.extend(patterns(&value)),
            "allow_failures" | "allowed_failures" | "allow-failures" => {
                config.allow_failures.extend(patterns(&value));
            }
            "fast_finish" | "fail_fast" => claims.not_needed(
                &value.path,
                "every job runs to its end (`fail-fast: false`); GitHub shows each result as it comes",
            ),
            _ => {}
        }
    }
}

fn include<'a>(at: &At<'a>, config: &mut Config<'a>, claims: &Claims) {
    for item in at.items() {
        // An alias to a list of jobs stands for its jobs.
        for entry in item.items() {
            if entry.is_map() {
                let mut made = job(&entry, claims);
                made.env = find(&entry, "env").map(|env| one_job_env(&env));
                config.include.push(made);
            }
        }
    }
}

fn job<'a>(at: &At<'a>, claims: &Claims) -> JobConfig<'a> {
    let mut made = JobConfig {
        path: at.path.clone(),
        language: find(at, "language").and_then(|value| first_text(&value)),
        dist: find(at, "dist").and_then(|value| first_text(&value)),
        stage: at.get("stage").and_then(|value| text(&value)),
        name: at.get("name").and_then(|value| text(&value)),
        condition: at.get("if").and_then(|value| text(&value)),
        ..JobConfig::default()
    };
    for axis in AXES {
        if let Some(value) = find(at, axis) {
            let values: Vec<Text> = flat(&value).iter().filter_map(text).collect();
            if !values.is_empty() {
                made.axes.insert(axis, values);
            }
        }
    }
    for phase in Phase::ALL {
        if let Some(value) = at.get(phase.key()) {
            made.phases.insert(phase, lines(&value, claims));
        }
    }
    for key in TREES {
        if let Some(value) = at.get(key) {
            made.rest.insert(key, value);
        }
    }
    made
}

/// The elements, those of nested lists (aliases to lists) included.
fn flat<'a>(at: &At<'a>) -> Vec<At<'a>> {
    at.items()
        .into_iter()
        .flat_map(|item| {
            if item.is_list() {
                flat(&item)
            } else {
                vec![item]
            }
        })
        .collect()
}

fn lines(at: &At<'_>, claims: &Claims) -> Lines {
    let mut made = Vec::new();
    for item in flat(at) {
        if item.node.is_null() {
            claims.not_needed(&item.path, "an empty line does nothing");
        } else if let Some(text) = item.text() {
            made.push(Text {
                text: text.trim_end().to_owned(),
                path: item.path.clone(),
                pos: item.pos(),
            });
        } else if let Some(text) = command_with_colon(&item) {
            made.push(text);
        }
    }
    Lines {
        path: at.path.clone(),
        lines: made,
    }
}

/// `- echo "a: b` written without quotes reads as a map; Travis could not run it either.
fn command_with_colon(item: &At<'_>) -> Option<Text> {
    let entries = item.entries();
    let [(key, value)] = entries.as_slice() else {
        return None;
    };
    let value = value.text()?;
    key.starts_with("echo ").then(|| Text {
        text: format!("{key}: {value}"),
        path: item.path.clone(),
        pos: item.pos(),
    })
}

/// The root's `env`: global lines, and the lines that multiply jobs.
fn root_env(at: &At<'_>) -> (Vec<EnvLine>, Option<Vec<EnvLine>>) {
    let keyed = at.entries().iter().any(|(key, value)| {
        matches!(*key, "global" | "matrix" | "jobs") && !(value.text().is_some() && *key == "jobs")
    });
    if !keyed {
        return (Vec::new(), Some(env::lines(at)).filter(|l| !l.is_empty()));
    }
    let mut global = Vec::new();
    let mut lines = Vec::new();
    for (key, value) in at.entries() {
        match key {
            "global" => global.extend(env::lines(&value)),
            "matrix" | "jobs" => lines.extend(env::lines(&value)),
            // Travis takes further keys beside `global` as global variables.
            "secure" => {}
            _ => {}
        }
    }
    (global, Some(lines).filter(|lines| !lines.is_empty()))
}

/// The `env` of one included job: all its lines are set together.
fn one_job_env(at: &At<'_>) -> Vec<EnvLine> {
    let (mut global, lines) = root_env(at);
    global.extend(lines.unwrap_or_default());
    global
}

fn patterns(at: &At<'_>) -> Vec<Pattern> {
    at.items()
        .iter()
        .flat_map(|item| item.items())
        .filter(At::is_map)
        .map(|item| pattern(&item))
        .collect()
}

fn pattern(at: &At<'_>) -> Pattern {
    let mut made = Pattern {
        path: at.path.clone(),
        language: None,
        axes: BTreeMap::new(),
        env: None,
        stage: None,
        name: None,
        dist: None,
        impossible: false,
    };
    for (key, value) in at.entries() {
        let key = canonical_key(key);
        if key == "env" {
            made.env = Some(one_job_env(&value));
        } else if let Some(axis) = AXES.iter().find(|axis| **axis == key) {
            match first_text(&value) {
                Some(text) => drop(made.axes.insert(axis, text)),
                None => made.impossible = true,
            }
        } else {
            match key {
                "language" => made.language = first_text(&value),
                "stage" => made.stage = text(&value),
                "name" => made.name = text(&value),
                "dist" => made.dist = first_text(&value),
                // Both are ignored by Travis when it matches.
                "sudo" | "fast_finish" => {}
                _ => made.impossible = true,
            }
        }
    }
    made
}

fn stages(at: &At<'_>, claims: &Claims) -> Vec<Stage> {
    let mut made = Vec::new();
    for item in at.items() {
        if let Some(name) = text(&item) {
            claims.mapped(&item.path, "order of the jobs (`needs`)");
            made.push(Stage {
                name,
                condition: None,
            });
        } else if let Some(name) = item.get("name").and_then(|name| text(&name)) {
            claims.mapped(&name.path, "order of the jobs (`needs`)");
            made.push(Stage {
                name,
                condition: item.get("if").and_then(|condition| text(&condition)),
            });
        }
    }
    made
}
