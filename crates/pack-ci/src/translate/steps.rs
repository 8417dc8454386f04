//! The phases of a job as steps that mean what Travis meant.
//!
//! `before_install`, `install` and `before_script` stop at their first failing line. In `script`
//! every line runs and the job fails at the end. What comes after cannot fail the job. A phase
//! becomes a step of its own unless a line changes the shell for later phases: then they share one.

use crate::{
    pipeline::{Act, EnvValue, Step, When},
    shell,
    travis::Phase,
};

/// The lines of each phase that has any, in order.
pub(crate) type Phases = Vec<(Phase, Vec<String>)>;

/// The steps for `phases`.
pub(crate) fn steps(phases: &Phases) -> Vec<Step> {
    let shared_from = phases.iter().position(|(phase, lines)| {
        *phase <= Phase::Script && lines.iter().any(|line| shell::changes_shell(line))
    });
    match shared_from {
        Some(first) if first + 1 < phases.len() => {
            let mut steps: Vec<Step> = phases[..first].iter().map(separate).collect();
            steps.push(shared(&phases[first..]));
            steps
        }
        _ => {
            let scripted = phases.iter().any(|(phase, _)| *phase == Phase::Script);
            phases
                .iter()
                // Without a script nothing can fail it.
                .filter(|(phase, _)| scripted || *phase != Phase::AfterFailure)
                .map(|one| {
                    let mut step = separate(one);
                    if !scripted {
                        step.when = When::Before;
                        step.env.clear();
                    }
                    step
                })
                .collect()
        }
    }
}

/// The plain name of a phase.
pub(crate) fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::BeforeInstall => "Before install",
        Phase::Install => "Install",
        Phase::BeforeScript => "Before script",
        Phase::Script => "Script",
        Phase::BeforeCache => "Before cache",
        Phase::AfterSuccess => "After success",
        Phase::AfterFailure => "After failure",
        Phase::AfterScript => "After script",
    }
}

fn run(name: &str, text: &[String]) -> Step {
    Step {
        name: Some(name.to_owned()),
        id: None,
        when: When::Before,
        may_fail: false,
        env: Vec::new(),
        act: Act::Run(with_helpers(text)),
    }
}

fn with_helpers(lines: &[String]) -> String {
    let body = lines.join("\n");
    let mut all: Vec<&str> = shell::helpers(&body);
    all.push(&body);
    all.join("\n")
}

fn separate((phase, lines): &(Phase, Vec<String>)) -> Step {
    match phase {
        Phase::BeforeInstall | Phase::Install | Phase::BeforeScript => {
            let mut errexit = false;
            run(title(*phase), &asserted(lines, &mut errexit))
        }
        Phase::Script => Step {
            id: Some("script"),
            ..run(title(*phase), &alone(lines))
        },
        _ => after(*phase, lines),
    }
}

fn after(phase: Phase, lines: &[String]) -> Step {
    let mut text = Vec::new();
    if lines.len() > 1 || !lines.iter().all(|line| keeps_meaning(line)) {
        text.push("set +e".to_owned());
    }
    text.extend(lines.iter().cloned());
    let mut env = Vec::new();
    if uses_result(lines) {
        env.push((
            "TRAVIS_TEST_RESULT".to_owned(),
            EnvValue::Expression("steps.script.outcome == 'success' && '0' || '1'".to_owned()),
        ));
    }
    Step {
        when: match phase {
            Phase::AfterFailure => When::ScriptFailed,
            Phase::AfterScript => When::ScriptRan,
            _ => When::Before,
        },
        may_fail: true,
        env,
        ..run(title(phase), &text)
    }
}

fn uses_result(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains("TRAVIS_TEST_RESULT"))
}

/// Whether `bash -e` does the same with the line as a shell that checks only its end.
fn keeps_meaning(line: &str) -> bool {
    line.trim_start().starts_with('#') && !line.contains('\n')
        || !line.contains("<<") && (shell::is_one_command(line) || is_simple_if(line))
}

/// `if C; then one command; fi`, perhaps with `else one command`.
fn is_simple_if(line: &str) -> bool {
    let Some(inner) = line
        .trim()
        .strip_prefix("if ")
        .and_then(|rest| rest.strip_suffix("fi"))
    else {
        return false;
    };
    let Some((condition, branches)) = inner.split_once("then") else {
        return false;
    };
    let one = |text: &str| {
        let text = text.trim().trim_end_matches(';').trim();
        !text.is_empty() && shell::is_one_command(text)
    };
    condition.matches("if ").count() == 0
        && !branches.contains("elif")
        && branches.split("else").count() <= 2
        && branches.split("else").all(one)
}

/// Lines of which the first failing one ends the step.
fn asserted(lines: &[String], errexit: &mut bool) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            *errexit |= shell::sets_errexit(line);
            if *errexit || keeps_meaning(line) {
                line.clone()
            } else {
                format!("{{\n{line}\n}} || exit")
            }
        })
        .collect()
}

/// A script that shares its shell with nobody.
fn alone(lines: &[String]) -> Vec<String> {
    if let [line] = lines {
        if keeps_meaning(line) || shell::sets_errexit(line) {
            return vec![line.clone()];
        }
        return vec!["set +e".to_owned(), line.clone()];
    }
    let result = result_name(lines);
    let mut errexit = false;
    let mut text = collected(lines, result, &mut errexit);
    text.push(format!("exit \"${result}\""));
    text
}

fn result_name(lines: &[String]) -> &'static str {
    if uses_result(lines) {
        "TRAVIS_TEST_RESULT"
    } else {
        "result"
    }
}

/// Lines that all run; whether one failed is kept in `result`.
fn collected(lines: &[String], result: &str, errexit: &mut bool) -> Vec<String> {
    let mut text = vec![format!("{result}=0")];
    for line in lines {
        *errexit |= shell::sets_errexit(line);
        let comment = line.trim_start().starts_with('#');
        if *errexit || comment && !line.contains('\n') {
            text.push(line.clone());
        } else if keeps_meaning(line) {
            text.push(format!("{line} || {result}=1"));
        } else {
            text.push(format!("{{\n{line}\n}} || {result}=1"));
        }
    }
    text
}

/// Phases that share one shell.
fn shared(phases: &[(Phase, Vec<String>)]) -> Step {
    let lines_of = |wanted: Phase| {
        phases
            .iter()
            .find(|(phase, _)| *phase == wanted)
            .map(|(_, lines)| lines.as_slice())
    };
    let everything: Vec<String> = phases.iter().flat_map(|(_, lines)| lines.clone()).collect();
    let result = result_name(&everything);
    let mut errexit = false;
    let mut text = Vec::new();
    for (phase, lines) in phases.iter().filter(|(phase, _)| *phase < Phase::Script) {
        text.push(format!("# {}", phase.key()));
        text.extend(asserted(lines, &mut errexit));
    }
    if let Some(lines) = lines_of(Phase::Script) {
        text.push("# script".to_owned());
        text.extend(collected(lines, result, &mut errexit));
    } else {
        text.push(format!("{result}=0"));
    }
    let later = phases.iter().any(|(phase, _)| *phase > Phase::Script);
    if later {
        text.push("# What follows cannot fail the job.".to_owned());
        text.push("set +e".to_owned());
    }
    for (phase, condition) in [
        (Phase::BeforeCache, Some("-eq")),
        (Phase::AfterSuccess, Some("-eq")),
        (Phase::AfterFailure, Some("-ne")),
        (Phase::AfterScript, None),
    ] {
        let Some(lines) = lines_of(phase) else {
            continue;
        };
        text.push(format!("# {}", phase.key()));
        if let Some(operator) = condition {
            text.push(format!("if [ \"${result}\" {operator} 0 ]; then"));
            text.push(":".to_owned());
        }
        text.extend(lines.iter().cloned());
        if condition.is_some() {
            text.push("fi".to_owned());
        }
    }
    text.push(format!("exit \"${result}\""));
    Step {
        id: Some("script"),
        ..run("Install and test", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(phases: &[(Phase, &[&str])]) -> Vec<String> {
        let phases: Phases = phases
            .iter()
            .map(|(phase, lines)| (*phase, lines.iter().map(|&line| line.to_owned()).collect()))
            .collect();
        steps(&phases)
            .into_iter()
            .map(|step| match step.act {
                Act::Run(text) => text,
                _ => String::new(),
            })
            .collect()
    }

    #[test]
    fn every_line_of_a_script_runs_and_the_job_fails_at_the_end() {
        assert_eq!(
            texts(&[(Phase::Script, &["make lint", "make test; make more"])]),
            [
                "result=0\nmake lint || result=1\n{\nmake test; make more\n} || result=1\nexit \"$result\""
            ]
        );
    }

    #[test]
    fn a_script_of_one_command_stays_as_it_is() {
        assert_eq!(texts(&[(Phase::Script, &["npm test"])]), ["npm test"]);
    }

    #[test]
    fn a_changed_shell_is_shared_with_the_phases_after_it() {
        let made = texts(&[
            (Phase::Install, &["pip install x"]),
            (Phase::BeforeScript, &["cd build"]),
            (Phase::Script, &["make"]),
            (Phase::AfterSuccess, &["codecov"]),
        ]);
        assert_eq!(made.len(), 2);
        assert_eq!(made[0], "pip install x");
        assert!(made[1].contains("cd build\n# script\nresult=0\nmake || result=1\n"));
    }

    #[test]
    fn errexit_of_the_source_is_respected() {
        assert_eq!(
            texts(&[(Phase::Script, &["set -e", "a; b", "c"])]),
            ["result=0\nset -e\na; b\nc\nexit \"$result\""]
        );
    }
}
