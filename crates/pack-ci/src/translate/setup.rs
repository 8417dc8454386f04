//! Runner and tool versions of a job: its row, its set-up steps, its variables.

use super::{Context, versions};
use crate::{
    actions::tools,
    matrix::{JobIdentity, SourceJob, is_mac},
    pipeline::{Act, EnvValue, Job, RUNNER, Row, Step, When},
    travis::{Phase, Text, languages},
    variables,
};

/// Fill in the runner and every version of `source`.
pub(crate) fn setup(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    job: &mut Job,
    row: &mut Row,
    identity: &mut JobIdentity,
) {
    runner(context, source, job, row, identity);
    for axis in languages::AXES {
        if matches!(axis, "os" | "arch") {
            continue;
        }
        if let Some((text, original)) = version(context, source, axis) {
            one_axis(context, axis, &text, &original, job, row);
            identity.versions.insert(axis.to_owned(), text);
        }
    }
}

fn runner(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    job: &mut Job,
    row: &mut Row,
    identity: &mut JobIdentity,
) {
    let os = source.axes.get("os");
    let name = os.map_or_else(
        || {
            if source.language == "objective-c" {
                "osx"
            } else {
                "linux"
            }
            .to_owned()
        },
        |os| os.text.trim().to_ascii_lowercase(),
    );
    let arch = source
        .axes
        .get("arch")
        .map_or("amd64", |arch| arch.text.as_str());
    let dist = source
        .include
        .and_then(|entry| entry.dist.as_ref())
        .or(context.config.root.dist.as_ref());
    let label = if is_mac(&name) {
        "macos-15".to_owned()
    } else if matches!(name.as_str(), "windows" | "win") {
        job.windows = true;
        "windows-2022".to_owned()
    } else if matches!(name.as_str(), "linux" | "linux-ppc64le" | "ubuntu") {
        linux_runner(context, source, arch, dist)
    } else {
        if let Some(os) = os {
            let why = "there is no hosted runner for this system: register one with this label";
            context.claims.manual(&os.path, why);
        }
        safe_label(&name)
    };
    if let Some(os) = os {
        context.claims.mapped(&os.path, format!("runner `{label}`"));
    }
    if let Some(arch) = source.axes.get("arch") {
        context
            .claims
            .mapped(&arch.path, format!("runner `{label}`"));
    }
    if let Some(dist) = dist {
        context.claims.mapped(
            &dist.path,
            format!("runner `{label}`, the nearest image that is still offered"),
        );
    }
    (identity.os, identity.arch) = tools::of_runner(&label);
    row.cells.push((RUNNER.to_owned(), label));
}

fn linux_runner(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    arch: &str,
    dist: Option<&Text>,
) -> String {
    let image = match dist.map(|dist| dist.text.as_str()) {
        Some("noble") => "ubuntu-24.04",
        _ => "ubuntu-22.04",
    };
    match arch {
        "amd64" => image.to_owned(),
        "arm64" | "arm64-graviton2" | "aarch64" => format!("{image}-arm"),
        other => {
            if let Some(arch) = source.axes.get("arch") {
                let why =
                    "there is no hosted runner for this processor: register one with this label";
                context.claims.manual(&arch.path, why);
            }
            safe_label(&format!("linux-{other}"))
        }
    }
}

fn safe_label(text: &str) -> String {
    let label: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .collect();
    if label.is_empty() {
        "self-hosted".to_owned()
    } else {
        label
    }
}

/// The version of `axis` for the target and as the file has it.
fn version(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    axis: &'static str,
) -> Option<(String, String)> {
    let Some(value) = source.axes.get(axis) else {
        let default = default_version(context, source, axis)?;
        return Some((default.to_owned(), default.to_owned()));
    };
    let version = versions::translate(axis, &value.text);
    match version.manual {
        Some(why) => context.claims.manual(&value.path, why),
        None if axis == "osx_image" && source.language != "objective-c" => context.claims.mapped(
            &value.path,
            "runner `macos-15`: the image is no longer offered",
        ),
        None if tools::is_foreign(axis) => context.claims.manual(
            &value.path,
            format!("install this version of `{axis}` in a step; the job has it in a variable"),
        ),
        None => context
            .claims
            .mapped(&value.path, format!("`{axis}` {}", version.text)),
    }
    Some((version.text, value.text.clone()))
}

/// What Travis took where the file names no version.
fn default_version(
    context: &Context<'_>,
    source: &SourceJob<'_>,
    axis: &str,
) -> Option<&'static str> {
    let language = source.language.as_str();
    if axis == "jdk"
        && matches!(
            language,
            "java" | "groovy" | "kotlin" | "android" | "scala" | "clojure"
        )
    {
        let dist = context.config.root.dist.as_ref();
        let old = dist.is_some_and(|dist| matches!(dist.text.as_str(), "trusty" | "precise"));
        return Some(if old { "8" } else { "11" });
    }
    languages::find(language)
        .filter(|known| known.axis == Some(axis) && !known.default_version.is_empty())
        .map(|known| known.default_version)
}

fn one_axis(
    context: &Context<'_>,
    axis: &'static str,
    text: &str,
    original: &str,
    job: &mut Job,
    row: &mut Row,
) {
    let column = tools::column(axis).to_owned();
    row.cells.push((column.clone(), text.to_owned()));
    let mut variable = variables::of_axis(axis);
    let mut needed = context.used.contains(&variable);
    if axis == "gemfile" {
        variable = "BUNDLE_GEMFILE".to_owned();
        needed = true;
    }
    if tools::has_action(axis) {
        if axis == "otp_release" && row.cells.iter().any(|(held, _)| held == "elixir") {
            // One step sets up both; the step of `elixir` already stands.
            let also = ("otp-version", EnvValue::Column(column.clone()));
            for step in &mut job.steps {
                if let Act::Setup {
                    axis: "elixir",
                    also: inputs,
                } = &mut step.act
                {
                    inputs.push(also.clone());
                }
            }
        } else {
            job.steps.push(plain_step(
                Act::Setup {
                    axis,
                    also: Vec::new(),
                },
                None,
            ));
        }
    } else {
        needed = true;
    }
    if needed {
        let value = if axis == "gemfile" {
            EnvValue::InWorkspace(column.clone())
        } else if text == original || !context.used.contains(&variable) {
            EnvValue::Column(column.clone())
        } else {
            EnvValue::Choice {
                column: column.clone(),
                cases: vec![(text.to_owned(), original.to_owned())],
            }
        };
        job.env.push((variable, value));
    }
    match axis {
        "compiler" => compilers(&column, job),
        "rust" => job.steps.push(plain_step(
            Act::Run("rustup toolchain install \"$TRAVIS_RUST_VERSION\" --profile minimal\nrustup default \"$TRAVIS_RUST_VERSION\"".to_owned()),
            Some("Set up Rust"),
        )),
        _ => {}
    }
}

fn compilers(column: &str, job: &mut Job) {
    let cases = |list: &[(&str, &str)]| EnvValue::Choice {
        column: column.to_owned(),
        cases: list
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
    };
    job.env.push((
        "CC".to_owned(),
        cases(&[("g++", "gcc"), ("clang++", "clang")]),
    ));
    job.env.push((
        "CXX".to_owned(),
        cases(&[("gcc", "g++"), ("clang", "clang++")]),
    ));
}

/// A step that runs while nothing has failed.
pub(crate) fn plain_step(act: Act, name: Option<&str>) -> Step {
    Step {
        name: name.map(str::to_owned),
        id: None,
        when: When::Before,
        may_fail: false,
        env: Vec::new(),
        act,
    }
}

/// Variables of Travis that depend on the job.
pub(crate) fn variables(context: &Context<'_>, source: &SourceJob<'_>, job: &mut Job) {
    let mut add = |name: &str, value: EnvValue| {
        if context.used.contains(name) {
            job.env.push((name.to_owned(), value));
        }
    };
    let text = |text: &str| EnvValue::Text(text.to_owned());
    add(
        "TRAVIS_OS_NAME",
        EnvValue::Choice {
            column: RUNNER.to_owned(),
            cases: tools::OS_NAMES
                .iter()
                .map(|(label, name)| ((*label).to_owned(), (*name).to_owned()))
                .collect(),
        },
    );
    add("TRAVIS_LANGUAGE", text(&source.language));
    add("TRAVIS_BUILD_STAGE_NAME", text(&source.stage));
    let arch = source.axes.get("arch").map_or("amd64", |arch| &arch.text);
    add("TRAVIS_CPU_ARCH", text(arch));
    let dist = source
        .include
        .and_then(|entry| entry.dist.as_ref())
        .or(context.config.root.dist.as_ref());
    add(
        "TRAVIS_DIST",
        text(dist.map_or("xenial", |dist| &dist.text)),
    );
    add(
        "TRAVIS_JOB_NUMBER",
        EnvValue::Expression("format('{0}.{1}', github.run_number, strategy.job-index)".to_owned()),
    );
}

/// The default command of a phase of the job's language.
pub(crate) fn default_command(language: &str, phase: Phase) -> Option<String> {
    crate::travis::defaults::command(language, phase).map(str::to_owned)
}
