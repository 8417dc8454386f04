//! Reading automation files: what is wrong is said with file, line, column and key.

use std::collections::HashSet;

use model::automation::{Definition, StepDefinition, StepKind, Trigger, Validator};

use crate::condition::Condition;
use crate::schedule::Schedule;

mod environment;
mod network;

pub(crate) use network::check_host;

/// Something wrong in an automation file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct DefinitionError {
    /// File by name.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// Key it is about, as a path such as `steps[2].when`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

/// Names of checks that need no tool.
pub const BUILTINS: &[&str] = &[
    "workflow",
    "secrets",
    "whitespace",
    "conflict-markers",
    "yaml",
    "json",
];

/// Reads and checks an automation file.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read(text: &str, file: &str) -> Result<Definition, DefinitionError> {
    // `y` and `on` are texts here: only true and false are booleans.
    let options = serde_saphyr::options! { strict_booleans: true };
    let definition: Definition = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| syntax(&error, text, file))?;
    check(&definition).map_err(|problem| locate(problem, text, file))?;
    Ok(definition)
}

fn syntax(error: &serde_saphyr::Error, text: &str, file: &str) -> DefinitionError {
    let (line, column) = error
        .location()
        .map_or((1, 1), |place| (place.line(), place.column()));
    let full = error.without_snippet().to_string();
    // The place is said in front already.
    let message = full.lines().next().unwrap_or_default();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned();
    let key = text
        .lines()
        .nth(usize::try_from(line).unwrap_or(1).saturating_sub(1))
        .and_then(|line| line.trim_start_matches([' ', '-']).split(':').next())
        .unwrap_or_default()
        .trim()
        .to_owned();
    let hint = nearest_key(&message, &key);
    DefinitionError {
        file: file.to_owned(),
        line,
        column,
        key,
        message,
        hint,
    }
}

/// For "unknown field x, expected one of a, b": the listed name closest to `x`.
fn nearest_key(message: &str, given: &str) -> Option<String> {
    if !message.contains("unknown") {
        return None;
    }
    let listed = message.split_once("expected")?.1;
    let names = listed
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| name.len() > 1);
    let best = names.map(|name| (distance(given, name), name)).min()?;
    (best.0 <= 3).then(|| format!("did you mean `{}`?", best.1))
}

pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = if x == *y { corner } else { corner + 1 };
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

struct Problem {
    /// Keys from the top, with list positions.
    path: Vec<Place>,
    message: String,
    hint: Option<String>,
}

#[derive(Clone)]
enum Place {
    Key(&'static str),
    Item(usize),
}

fn problem(path: &[Place], message: impl Into<String>) -> Problem {
    Problem {
        path: path.to_vec(),
        message: message.into(),
        hint: None,
    }
}

fn check(definition: &Definition) -> Result<(), Problem> {
    let name_ok = !definition.name.is_empty()
        && definition.name.len() <= 60
        && definition
            .name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !name_ok {
        let message = format!(
            "`{}` is no name: lower case letters, digits and dashes, at most 60",
            definition.name
        );
        return Err(problem(&[Place::Key("name")], message));
    }
    for (index, trigger) in definition.triggers.iter().enumerate() {
        check_trigger(trigger, &[Place::Key("triggers"), Place::Item(index)])?;
    }
    check_targets(definition)?;
    environment::check(definition)?;
    if definition.steps.is_empty() {
        return Err(problem(
            &[Place::Key("steps")],
            "an automation has at least one step",
        ));
    }
    let mut ids = HashSet::new();
    for (index, step) in definition.steps.iter().enumerate() {
        let path = [Place::Key("steps"), Place::Item(index)];
        check_step(step, &path)?;
        if !ids.insert(step.id_at(index)) {
            return Err(problem(
                &path,
                format!("the id `{}` is used twice", step.id_at(index)),
            ));
        }
        if step.change.is_some() && index + 1 < definition.steps.len() {
            return Err(problem(
                &path,
                "`change` is the last step: nothing executes after it",
            ));
        }
    }
    if let Some(gate) = definition
        .campaign
        .as_ref()
        .and_then(|rules| rules.gate.as_ref())
    {
        for share in [gate.verified, gate.merged].into_iter().flatten() {
            if !(0.0..=1.0).contains(&share) {
                let message = format!("{share} is no share: write a number from 0 to 1");
                return Err(problem(
                    &[Place::Key("campaign"), Place::Key("gate")],
                    message,
                ));
            }
        }
    }
    Ok(())
}

fn check_targets(definition: &Definition) -> Result<(), Problem> {
    let targets = &definition.targets;
    let path = [Place::Key("targets")];
    if targets.list.is_some() && targets.query.is_some() {
        return Err(problem(&path, "`list` and `query` exclude each other"));
    }
    if let Some(query) = &targets.query {
        check_condition(query, &[Place::Key("targets"), Place::Key("query")])?;
    }
    Ok(())
}

fn check_condition(text: &str, path: &[Place]) -> Result<(), Problem> {
    Condition::compile(text)
        .map(|_| ())
        .map_err(|error| problem(path, error.to_string()))
}

fn check_trigger(trigger: &Trigger, path: &[Place]) -> Result<(), Problem> {
    let when = match trigger {
        Trigger::Manual => None,
        Trigger::Push(push) => push.when.as_ref(),
        Trigger::Comment(comment) => comment.when.as_ref(),
        Trigger::Change(change) => change.when.as_ref(),
        Trigger::Event(event) => event.when.as_ref(),
        Trigger::Schedule(schedule) => {
            Schedule::read(&schedule.cron, schedule.zone.as_deref())
                .map_err(|error| problem(path, error.to_string()))?;
            None
        }
    };
    when.map_or(Ok(()), |when| check_condition(when, path))
}

fn check_step(step: &StepDefinition, path: &[Place]) -> Result<(), Problem> {
    let kinds = step.kinds();
    let kind = match kinds.as_slice() {
        [kind] => *kind,
        [] => {
            let mut problem = problem(
                path,
                "a step needs one of command, validate, change, report, approve",
            );
            problem.hint = Some("for a shell line write `command: …`".to_owned());
            return Err(problem);
        }
        several => {
            let names: Vec<&str> = several.iter().map(|kind| kind.as_str()).collect();
            return Err(problem(
                path,
                format!("a step has one kind, and this has {}", names.join(" and ")),
            ));
        }
    };
    if kind != StepKind::Command
        && (step.timeout.is_some() || step.retries.is_some() || !step.env.is_empty())
    {
        return Err(problem(
            path,
            "timeout, retries and env belong to command steps",
        ));
    }
    if let Some(when) = &step.when {
        let mut place = path.to_vec();
        place.push(Place::Key("when"));
        check_condition(when, &place)?;
    }
    for validator in step.validate.iter().flatten() {
        check_validator(validator, path)?;
    }
    if let Some(accept) = step
        .report
        .as_ref()
        .and_then(|report| report.accept.as_ref())
    {
        check_condition(accept, path)?;
    }
    Ok(())
}

fn check_validator(validator: &Validator, path: &[Place]) -> Result<(), Problem> {
    match validator {
        Validator::Builtin(name) if !BUILTINS.contains(&name.as_str()) => {
            let message = format!(
                "there is no built-in check `{name}` (there are {})",
                BUILTINS.join(", ")
            );
            Err(problem(path, message))
        }
        Validator::Paths(globs) => {
            for glob in globs {
                globset::Glob::new(glob).map_err(|error| problem(path, error.to_string()))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Finds the line of a path of keys by indentation, which is right for block style and falls
/// back to the nearest enclosing key for flow style.
fn locate(problem: Problem, text: &str, file: &str) -> DefinitionError {
    let lines: Vec<&str> = text.lines().collect();
    let mut line = 0usize;
    let mut column = 1usize;
    let mut key = String::new();
    let mut end = lines.len();
    for place in &problem.path {
        match place {
            Place::Key(name) => {
                if !key.is_empty() {
                    key.push('.');
                }
                key.push_str(name);
                let wanted = format!("{name}:");
                let found = (line..end).find(|index| {
                    lines[*index]
                        .trim_start_matches([' ', '-', '{'])
                        .starts_with(&wanted)
                        || lines[*index].contains(&format!("{{{wanted}"))
                        || lines[*index].contains(&format!(", {wanted}"))
                });
                if let Some(found) = found {
                    line = found;
                    column = lines[found].find(name).unwrap_or(0) + 1;
                }
            }
            Place::Item(index) => {
                let _ = std::fmt::Write::write_fmt(&mut key, format_args!("[{index}]"));
                let Some((found, next)) = item(&lines, line, *index) else {
                    continue;
                };
                line = found;
                column = lines[found].len() - lines[found].trim_start().len() + 1;
                end = next;
            }
        }
    }
    DefinitionError {
        file: file.to_owned(),
        line: u64::try_from(line + 1).unwrap_or(1),
        column: u64::try_from(column).unwrap_or(1),
        key,
        message: problem.message,
        hint: problem.hint,
    }
}

/// Line of the `index`-th item of the block list under `parent`, and the line after it.
fn item(lines: &[&str], parent: usize, index: usize) -> Option<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines.get(parent)?);
    let mut starts = Vec::new();
    let mut depth = None;
    let mut end = lines.len();
    for (number, line) in lines.iter().enumerate().skip(parent + 1) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let here = indent(line);
        let is_item = line.trim_start().starts_with('-');
        if here < own || (here == own && !is_item) {
            end = number;
            break;
        }
        if is_item && *depth.get_or_insert(here) == here {
            starts.push(number);
        }
    }
    let start = *starts.get(index)?;
    Some((start, starts.get(index + 1).copied().unwrap_or(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> DefinitionError {
        read(text, "a.yaml").unwrap_err()
    }

    #[test]
    fn a_whole_automation_reads_back() {
        let text = "\
name: travis-to-actions
triggers: [manual, {push: {repository: x, branch: main}}, {schedule: {cron: '0 6 * * 1-5', zone: Europe/Berlin}}]
targets:
  query: 'repo.files.exists(f, f == \".travis.yml\") && !repo.archived'
environment: {limits: {time: 10m, processes: 256, memory: 2GiB}}
steps:
  - command: nightcrew ci convert --write
    id: convert
    retries: 2
  - validate: ['builtin:workflow', {cmd: ./ci/smoke.sh, baseline: true}, {paths: ['.github/**']}, {diff: {max_files: 20}}]
  - approve: {by: 'role:author', within: 24h, otherwise: deny}
    when: 'task.wave == 0'
  - report: {outputs: {manual: int}, accept: 'report.manual < 10'}
  - change: {title: 'ci: move', body: change.md}
campaign: {canary: 3, waves: [8, rest], gate: {verified: 0.5}, max_open: 100}
budget: {wall: 30m, per_task: {wall: 5m}}
";
        let definition = read(text, "a.yaml").unwrap();
        assert_eq!(definition.steps.len(), 5);
        let json = serde_json::to_string(&definition).unwrap();
        assert_eq!(
            serde_json::from_str::<Definition>(&json).unwrap(),
            definition
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_a_hint() {
        let error = error("name: a\nsteps:\n  - comand: x\n");
        assert_eq!(error.line, 3, "{error:?}");
        assert_eq!(error.key, "comand");
        assert!(error.message.contains("comand"), "{error:?}");
        assert_eq!(error.hint.as_deref(), Some("did you mean `command`?"));
    }

    #[test]
    fn broken_yaml_is_named_with_its_line() {
        let error = error("name: a\nsteps:\n  - command: 'x\n");
        assert!(error.line >= 3, "{error:?}");
    }

    #[test]
    fn what_parses_and_makes_no_sense_is_named_with_its_line() {
        let two =
            error("name: a\nsteps:\n  - command: x\n  - command: y\n    change: {title: t}\n");
        assert_eq!((two.line, two.key.as_str()), (4, "steps[1]"), "{two:?}");
        let condition = error("name: a\nsteps:\n  - command: x\n  - command: y\n    when: 'a ='\n");
        assert_eq!(
            (condition.line, condition.key.as_str()),
            (5, "steps[1].when"),
            "{condition:?}"
        );
        assert_eq!(error("name: A b\nsteps: [{command: x}]\n").line, 1);
        assert!(
            error("name: a\nsteps: []\n")
                .message
                .contains("at least one")
        );
        assert!(
            error("name: a\nsteps: [{validate: ['builtin:magic']}]\n")
                .message
                .contains("magic")
        );
        assert!(
            error("name: a\ntriggers: [{schedule: {cron: '* *'}}]\nsteps: [{command: x}]\n")
                .message
                .contains("cron")
        );
        assert!(
            error("name: a\nsteps: [{change: {title: t}}, {command: x}]\n")
                .message
                .contains("last")
        );
        assert!(
            error("name: a\ncampaign: {gate: {verified: 90}}\nsteps: [{command: x}]\n")
                .message
                .contains("share")
        );
    }
}
