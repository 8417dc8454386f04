//! One job of the expanded matrix as a model job with one row.

use crate::actions::tools;

use super::{Context, addons, cache, environment, services, setup, steps};
use crate::{
    matrix::{JobIdentity, SourceJob},
    pipeline::{Act, EnvValue, Job, Row, Step},
    travis::{Phase, env::Var, env::VarValue, languages},
    variables,
    yaml::At,
};

/// A job of the source, taken apart.
pub(crate) struct Built {
    /// Everything that jobs of one shape share; no rows yet.
    pub(crate) shape: Job,
    pub(crate) row: Row,
    pub(crate) identity: JobIdentity,
}

/// Translate one job.
pub(crate) fn build(context: &Context<'_>, source: &SourceJob<'_>) -> Built {
    let mut shape = Job {
        stage: source.stage.clone(),
        ..Job::default()
    };
    let mut row = Row {
        may_fail: source.may_fail,
        multiplied: source.include.is_none(),
        ..Row::default()
    };
    let mut identity = JobIdentity {
        os: String::new(),
        arch: String::new(),
        versions: std::collections::BTreeMap::new(),
        env: std::collections::BTreeMap::new(),
        may_fail: source.may_fail,
    };
    name_and_condition(context, source, &mut shape, &mut row);
    let phases = phases(context, source);
    shape.steps.push(checkout(context, source, &phases));
    setup::setup(context, source, &mut shape, &mut row, &mut identity);
    setup::variables(context, source, &mut shape);
    env(context, source, &mut shape, &mut row, &mut identity);
    surroundings(context, source, &identity.os, &mut shape);
    shape.steps.extend(steps::steps(&phases));
    Built {
        shape,
        row,
        identity,
    }
}

/// The value of a key kept as a tree: the job's own or the root's.
fn tree<'a>(context: &Context<'a>, source: &SourceJob<'a>, key: &str) -> Option<At<'a>> {
    source
        .include
        .and_then(|entry| entry.rest.get(key))
        .or_else(|| context.config.root.rest.get(key))
        .cloned()
}

fn name_and_condition(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    shape: &mut Job,
    row: &mut Row,
) {
    if let Some(name) = source.include.and_then(|entry| entry.name.as_ref()) {
        context.claims.mapped(&name.path, "name of the job");
        row.name = Some(name.text.clone());
    }
    if let Some(stage) = source.include.and_then(|entry| entry.stage.as_ref()) {
        context
            .claims
            .mapped(&stage.path, "order of the jobs (`needs`)");
    }
    let own = source.include.and_then(|entry| entry.condition.as_ref());
    let of_stage = context
        .config
        .stages
        .iter()
        .find(|stage| stage.name.text.eq_ignore_ascii_case(&source.stage))
        .and_then(|stage| stage.condition.as_ref());
    let of_root = context.config.root.condition.as_ref();
    let mut parts = Vec::new();
    for (condition, may_stop) in [(own, true), (of_stage, true), (of_root, false)] {
        let Some(condition) = condition else { continue };
        match crate::travis::condition::translate(&condition.text) {
            Some(expression) => {
                context
                    .claims
                    .mapped(&condition.path, format!("`if: {expression}`"));
                parts.push(expression);
            }
            None => {
                context.claims.manual(
                    &condition.path,
                    if may_stop {
                        "write this condition as a GitHub expression; until then the job does not run"
                    } else {
                        "write this condition as a GitHub expression; until then every event runs"
                    },
                );
                if may_stop {
                    parts.push("false".to_owned());
                }
            }
        }
    }
    parts.dedup();
    if !parts.is_empty() {
        shape.condition = Some(parts.join(" && "));
    }
}

/// The lines of every phase that does something.
fn phases(context: &Context<'_>, source: &SourceJob<'_>) -> steps::Phases {
    let mut made = Vec::new();
    for phase in Phase::ALL {
        let own = source.include.and_then(|entry| entry.phases.get(&phase));
        let lines = own.or_else(|| context.config.root.phases.get(&phase));
        match lines {
            Some(lines) if !lines.lines.is_empty() => {
                let place = format!("step `{}`", steps::title(phase));
                let mut kept: Vec<String> = Vec::new();
                for line in &lines.lines {
                    line_claim(context, line, &place);
                    kept.push(line.text.clone());
                }
                if !is_nothing(&kept) {
                    made.push((phase, kept));
                }
            }
            found => {
                if let Some(lines) = found {
                    context
                        .claims
                        .not_needed(&lines.path, "an empty phase runs the default");
                }
                if let Some(command) = default_command(context, source, phase) {
                    made.push((phase, vec![command]));
                }
            }
        }
    }
    made
}

fn default_command(context: &Context<'_>, source: &SourceJob<'_>, phase: Phase) -> Option<String> {
    let language = source.language.as_str();
    let command = setup::default_command(language, phase);
    let stated = source
        .include
        .and_then(|entry| entry.language.as_ref())
        .or(context.config.root.language.as_ref());
    if command.is_none() && phase == Phase::Script && !languages::is_plain(language) {
        let path = stated.map_or("language", |stated| &stated.path);
        context.claims.manual(
            path,
            format!("there is no default `script` for `{language}`: write what tests the project"),
        );
    }
    command
}

/// Whether the lines only say that nothing is to be done.
fn is_nothing(lines: &[String]) -> bool {
    matches!(lines, [line] if matches!(line.trim(), "" | "true" | "skip" | ":" | "false" | "ignore"))
}

fn line_claim(context: &Context<'_>, line: &crate::travis::Text, place: &str) {
    let unknown: Vec<&str> = variables::used_in(&line.text)
        .into_iter()
        .filter(|name| !variables::is_known(name) && !is_defined(context, name))
        .collect();
    if unknown.is_empty() {
        context.claims.mapped(&line.path, place);
    } else {
        context.claims.manual(
            &line.path,
            format!(
                "{place}, but it uses what has no counterpart: {}",
                unknown.join(", ")
            ),
        );
    }
}

fn is_defined(context: &Context<'_>, name: &str) -> bool {
    environment::vars(&context.config.global_env).any(|var| var.name == name)
        || context
            .config
            .root
            .env
            .iter()
            .flatten()
            .any(|line| line.vars.iter().any(|var| var.name == name))
}

fn checkout(context: &Context<'_>, source: &SourceJob<'_>, phases: &steps::Phases) -> Step {
    let git = tree(context, source, "git");
    let git = git.as_ref();
    let mut depth = None;
    let mut submodules = true;
    let mut lfs = false;
    for (key, value) in git.map_or_else(Vec::new, At::entries) {
        match key {
            "depth" => {
                let number = value
                    .text()
                    .and_then(|text| text.trim().parse::<u32>().ok());
                depth = match (value.truth(), number) {
                    (Some(false), _) => Some("0".to_owned()),
                    (_, Some(number)) => Some(number.to_string()),
                    _ => None,
                };
                context
                    .claims
                    .mapped(&value.path, "`fetch-depth` of the checkout");
            }
            "submodules" if value.truth().is_some() => {
                submodules = value.truth() == Some(true);
                context
                    .claims
                    .mapped(&value.path, "`submodules` of the checkout");
            }
            "lfs_skip_smudge" => {
                context
                    .claims
                    .mapped(&value.path, "the checkout fetches no large files");
            }
            "submodules_depth" | "quiet" | "strategy" => {
                context
                    .claims
                    .not_needed(&value.path, "only about how the clone is made");
            }
            _ => {}
        }
    }
    let text: String = phases
        .iter()
        .flat_map(|(_, lines)| lines.clone())
        .collect::<Vec<_>>()
        .join("\n");
    if text.contains("git lfs") {
        lfs = true;
    }
    let history = [
        "git describe",
        "git log",
        "git diff",
        "git rev-list",
        "git merge-base",
        "COMMIT_RANGE",
    ];
    if depth.is_none() && history.iter().any(|word| text.contains(word)) {
        // Travis cloned fifty commits; such commands need them.
        depth = Some("50".to_owned());
    }
    setup::plain_step(
        Act::Checkout {
            depth,
            submodules,
            lfs,
        },
        None,
    )
}

fn env(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    shape: &mut Job,
    row: &mut Row,
    identity: &mut JobIdentity,
) {
    environment::claim(context, &context.config.global_env, "`env` of the workflow");
    environment::claim(context, &source.env, "`env` of the job");
    let global: Vec<&Var> = environment::vars(&context.config.global_env).collect();
    let own: Vec<&Var> = environment::vars(&source.env).collect();
    for var in &own {
        if let VarValue::Secret = var.value
            && !var.name.is_empty()
        {
            environment::set(
                &mut shape.env,
                &var.name,
                EnvValue::Secret(var.name.clone()),
            );
        }
        if let VarValue::Literal(text) = &var.value {
            row.variables.retain(|(held, _)| *held != var.name);
            row.variables.push((var.name.clone(), text.clone()));
            // The job's own value takes the place of one that the set-up defined.
            shape.env.retain(|(held, _)| held != &var.name);
        }
    }
    let all: Vec<&Var> = global.iter().chain(&own).copied().collect();
    identity.env = environment::identity(all.iter().copied());
    if let Some(compiler) = identity.versions.get("compiler") {
        // What the set-up of the compiler defines anyway says nothing more.
        identity.env.retain(|name, value| {
            !(name == "CC" || name == "CXX") || !tools::is_of_compiler(compiler, value)
        });
    }
    shape.steps.extend(environment::shell_step(&all));
}

/// Services, packages and caches.
fn surroundings(context: &Context<'_>, source: &SourceJob<'_>, os: &str, shape: &mut Job) {
    let mut needs = services::Needs::default();
    let mut commands = Vec::new();
    let linux = os == "linux";
    for key in ["addons", "apt_packages"] {
        if let Some(at) = tree(context, source, key) {
            commands.extend(if linux {
                addons::linux(&at, context.claims, &mut needs)
            } else {
                addons::mac(&at, context.claims)
            });
        }
    }
    if let Some(at) = tree(context, source, "services") {
        if linux {
            services::services(&at, context.claims, &mut needs);
        } else {
            context.claims.not_needed(
                &at.path,
                "no job that Travis applied it to: it is for Linux",
            );
        }
    }
    if !commands.is_empty() {
        let act = Act::Run(commands.join("\n"));
        shape
            .steps
            .push(setup::plain_step(act, Some("Install packages")));
    }
    if !needs.commands.is_empty() {
        let act = Act::Run(needs.commands.join("\n"));
        shape
            .steps
            .push(setup::plain_step(act, Some("Start services")));
    }
    for (name, value) in needs.env {
        let defined =
            is_defined(context, name) || environment::vars(&source.env).any(|var| var.name == name);
        if !defined {
            shape
                .env
                .push((name.to_owned(), EnvValue::Text(value.to_owned())));
        }
    }
    shape.services = needs.services;
    if let Some(at) = tree(context, source, "cache") {
        shape
            .steps
            .extend(cache::step(&at, &source.language, context.claims));
    }
}
