//! `env`: of the whole workflow, of a job, and what only a shell can expand.

use std::collections::BTreeMap;

use super::Context;
use crate::{
    pipeline::{Act, EnvValue, Step, When},
    travis::env::{EnvLine, Var, VarValue},
    variables,
};

/// Variables that service set-ups define; they say nothing about a job's identity.
pub(crate) const OF_SERVICES: [&str; 3] = ["PGHOST", "PGUSER", "DISPLAY"];

/// What an encrypted value is called in an identity.
pub(crate) const SECRET: &str = "<secret>";

/// Variables of every job: those of Travis that are used, then the global ones of the file.
pub(crate) fn global(context: &Context<'_>) -> Vec<(String, EnvValue)> {
    let mut env: Vec<(String, EnvValue)> = Vec::new();
    for variable in &variables::BUILD {
        if context.used.contains(variable.name) && !defines(context, variable.name) {
            env.push((
                variable.name.to_owned(),
                EnvValue::Expression(variable.expression.to_owned()),
            ));
        }
    }
    for var in vars(&context.config.global_env) {
        let value = match &var.value {
            VarValue::Literal(text) => EnvValue::Text(text.clone()),
            VarValue::Secret if !var.name.is_empty() => EnvValue::Secret(var.name.clone()),
            VarValue::Secret | VarValue::Shell(_) => continue,
        };
        set(&mut env, &var.name, value);
    }
    env
}

/// Whether the file sets a variable of that name for every job.
fn defines(context: &Context<'_>, name: &str) -> bool {
    vars(&context.config.global_env).any(|var| var.name == name)
}

pub(crate) fn vars(lines: &[EnvLine]) -> impl Iterator<Item = &Var> {
    lines.iter().flat_map(|line| &line.vars)
}

/// Set `name`, in place of an earlier value.
pub(crate) fn set(env: &mut Vec<(String, EnvValue)>, name: &str, value: EnvValue) {
    match env.iter_mut().find(|(held, _)| held == name) {
        Some(held) => held.1 = value,
        None => env.push((name.to_owned(), value)),
    }
}

/// The step that sets what only a shell can expand.
pub(crate) fn shell_step(lines: &[&Var]) -> Option<Step> {
    let mut text = Vec::new();
    for (index, var) in lines.iter().enumerate() {
        let replaced = lines[index + 1..]
            .iter()
            .any(|later| later.name == var.name);
        if let (VarValue::Shell(raw), false) = (&var.value, replaced) {
            text.push(format!("export {}={raw}", var.name));
            text.push(format!("echo \"{0}=${0}\" >> \"$GITHUB_ENV\"", var.name));
        }
    }
    (!text.is_empty()).then(|| Step {
        name: Some("Set environment".to_owned()),
        id: None,
        when: When::Before,
        may_fail: false,
        env: Vec::new(),
        act: Act::Run(text.join("\n")),
    })
}

/// The variables of a job as part of its identity.
pub(crate) fn identity<'v>(all: impl Iterator<Item = &'v Var>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for var in all {
        if var.name.is_empty() || is_apart(&var.name) {
            continue;
        }
        let text = match &var.value {
            VarValue::Literal(text) | VarValue::Shell(text) => text.clone(),
            VarValue::Secret => SECRET.to_owned(),
        };
        env.insert(var.name.clone(), text);
    }
    env.retain(|_, value| !value.is_empty());
    env
}

/// Whether a variable is left out of identities because the converter itself may define it.
pub(crate) fn is_apart(name: &str) -> bool {
    variables::is_known(name) || OF_SERVICES.contains(&name)
}

/// Claim every variable of `lines`.
pub(crate) fn claim(context: &Context<'_>, lines: &[EnvLine], place: &str) {
    for line in lines {
        for var in &line.vars {
            let path = &var.at.path;
            match &var.value {
                VarValue::Secret if var.name.is_empty() => context.claims.manual(
                    path,
                    "secret: only its owner can read it; create it as a repository secret and set it in `env`",
                ),
                VarValue::Secret => context.claims.manual(
                    path,
                    format!("secret: create the repository secret `{}`", var.name),
                ),
                VarValue::Shell(_) => {
                    context.claims.mapped(path, "step `Set environment`");
                }
                VarValue::Literal(_) => context.claims.mapped(path, place),
            }
        }
        if !line.stray.is_empty() {
            context.claims.manual(
                &line.path,
                format!("no assignment of a variable: `{}`", line.stray.join(" ")),
            );
        } else if line.vars.is_empty() {
            context
                .claims
                .mapped(&line.path, "a job without further variables");
        }
    }
}
