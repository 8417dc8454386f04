//! Jobs of one shape become one job with a matrix; stages become an order.

use super::{environment, job::Built};
use crate::{
    matrix::JobIdentity,
    pipeline::{EnvValue, Job, RUNNER},
    travis::{Config, env::VarValue},
};

/// Group `built` into jobs, and give the identities that remain.
pub(crate) fn group(built: Vec<Built>, config: &Config<'_>) -> (Vec<Job>, Vec<JobIdentity>) {
    let mut jobs: Vec<Job> = Vec::new();
    let mut identities = Vec::new();
    for one in built {
        let place = jobs.iter().position(|job| same_shape(job, &one.shape));
        let place = match place {
            Some(place) => {
                join_cases(&mut jobs[place], one.shape.env);
                place
            }
            None => {
                jobs.push(one.shape);
                jobs.len() - 1
            }
        };
        let job = &mut jobs[place];
        // Versions that were two on Travis may be one now (`oraclejdk8`, `openjdk8`).
        let same = job.rows.iter().any(|row| {
            row.cells == one.row.cells
                && row.variables == one.row.variables
                && row.may_fail == one.row.may_fail
                && row.name == one.row.name
        });
        if !same {
            job.rows.push(one.row);
            identities.push(one.identity);
        }
    }
    for job in &mut jobs {
        variables(job, config);
    }
    order(&mut jobs, config);
    (jobs, identities)
}

fn same_shape(job: &Job, shape: &Job) -> bool {
    job.stage == shape.stage
        && job.condition == shape.condition
        && job.windows == shape.windows
        && job.services == shape.services
        && job.steps == shape.steps
        && same_env(job, shape)
}

/// Variables that choose by a column may differ in their cases: those are joined later.
fn same_env(job: &Job, shape: &Job) -> bool {
    job.env.len() == shape.env.len()
        && job.env.iter().zip(&shape.env).all(|(held, new)| {
            held.0 == new.0
                && match (column_of(&held.1), column_of(&new.1)) {
                    (Some(held), Some(new)) => held == new,
                    _ => held.1 == new.1,
                }
        })
}

fn column_of(value: &EnvValue) -> Option<&str> {
    match value {
        EnvValue::Column(column) | EnvValue::Choice { column, .. } => Some(column),
        _ => None,
    }
}

/// Add the cases of `new` to those of the job.
fn join_cases(job: &mut Job, new: Vec<(String, EnvValue)>) {
    for (held, new) in job.env.iter_mut().zip(new) {
        let EnvValue::Choice {
            column,
            cases: more,
        } = new.1
        else {
            continue;
        };
        if let EnvValue::Column(_) = held.1 {
            held.1 = EnvValue::Choice {
                column,
                cases: Vec::new(),
            };
        }
        if let EnvValue::Choice { cases, .. } = &mut held.1 {
            for case in more {
                if !cases.iter().any(|(from, _)| *from == case.0) {
                    cases.push(case);
                }
            }
        }
    }
}

/// Every row of a job gets the same variables as cells; a missing one has its global value or is
/// empty.
fn variables(job: &mut Job, config: &Config<'_>) {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in job.rows.iter().flat_map(|row| &row.variables) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut taken: Vec<String> = job.rows.first().map_or_else(Vec::new, |row| {
        row.cells.iter().map(|(name, _)| name.clone()).collect()
    });
    for name in names {
        let column = column(&name, &taken);
        taken.push(column.clone());
        let default = global(config, &name);
        for row in &mut job.rows {
            let value = row.variables.iter().find(|(held, _)| *held == name);
            let value = value.map_or_else(|| default.clone(), |(_, value)| value.clone());
            row.cells.push((column.clone(), value));
            row.variable_columns.push(column.clone());
        }
        job.env.retain(|(held, _)| *held != name);
        job.env.push((name, EnvValue::Column(column)));
    }
}

/// The text of a global variable.
fn global(config: &Config<'_>, name: &str) -> String {
    let found = environment::vars(&config.global_env)
        .filter(|var| var.name == name)
        .last();
    match found.map(|var| &var.value) {
        Some(VarValue::Literal(text)) => text.clone(),
        _ => String::new(),
    }
}

/// The column of a variable: its name, unless that means something else in a matrix, where
/// upper and lower case are the same.
fn column(name: &str, taken: &[String]) -> String {
    let reserved = ["include", "exclude", "name", "may_fail", "env", RUNNER];
    let lower = name.to_ascii_lowercase();
    if reserved.contains(&lower.as_str())
        || taken.iter().any(|held| held.to_ascii_lowercase() == lower)
    {
        format!("env_{name}")
    } else {
        name.to_owned()
    }
}

/// Ids, names, and `needs` from stage to stage.
fn order(jobs: &mut [Job], config: &Config<'_>) {
    let mut stages: Vec<String> = config
        .stages
        .iter()
        .map(|stage| stage.name.text.to_ascii_lowercase())
        .collect();
    for job in jobs.iter() {
        if !stages.contains(&job.stage) {
            stages.push(job.stage.clone());
        }
    }
    jobs.sort_by_key(|job| stages.iter().position(|stage| *stage == job.stage));
    let mut ids: Vec<String> = Vec::new();
    for job in jobs.iter_mut() {
        let id = free_id(job, &ids);
        ids.push(id.clone());
        job.id = id;
    }
    let placed: Vec<(String, String)> = jobs
        .iter()
        .map(|job| (job.stage.clone(), job.id.clone()))
        .collect();
    for job in jobs.iter_mut() {
        let present: Vec<&String> = stages
            .iter()
            .filter(|stage| placed.iter().any(|(held, _)| held == *stage))
            .collect();
        let before = present
            .iter()
            .position(|stage| **stage == job.stage)
            .and_then(|place| place.checked_sub(1))
            .map(|place| present[place]);
        if let Some(before) = before {
            job.needs = placed
                .iter()
                .filter(|(stage, _)| stage == before)
                .map(|(_, id)| id.clone())
                .collect();
        }
        if let [row] = job.rows.as_slice() {
            job.name.clone_from(&row.name);
        }
    }
}

fn free_id(job: &Job, taken: &[String]) -> String {
    let stage = slug(&job.stage);
    let stage = if stage.is_empty() {
        "test".to_owned()
    } else {
        stage
    };
    if !taken.contains(&stage) {
        return stage;
    }
    let mut wishes = Vec::new();
    if let [row] = job.rows.as_slice()
        && let Some(name) = &row.name
    {
        wishes.push(slug(name));
    }
    let runner = job
        .rows
        .first()
        .and_then(|row| row.cells.first())
        .map_or("", |(_, label)| label.as_str());
    if runner.starts_with("macos") {
        wishes.push(format!("{stage}-macos"));
    }
    if job.windows {
        wishes.push(format!("{stage}-windows"));
    }
    wishes.extend(
        (2..)
            .take(taken.len() + 2)
            .map(|number| format!("{stage}-{number}")),
    );
    wishes
        .into_iter()
        .find(|wish| !wish.is_empty() && !taken.contains(wish))
        .unwrap_or(stage)
}

/// A text as a job id: lower-case letters, digits and hyphens, a letter first.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.starts_with(|c: char| c.is_ascii_digit()) {
        format!("job-{slug}")
    } else {
        slug.to_owned()
    }
}
