//! The workflow file.

use super::{
    format::{Lines, flow_scalar, no_expression, scalar},
    matrix::{self, Cell, Entry, Layout},
    pins::{self, Action},
    tools,
};
use crate::pipeline::{Act, EnvValue, Job, Pipeline, RUNNER, Service, Step, When};

/// A workflow, and the actions in it that are not pinned to a commit.
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) unpinned: Vec<String>,
}

/// Minutes after which Travis ended a job.
const TIMEOUT_MINUTES: u32 = 50;

/// Write `pipeline` as a workflow.
pub(crate) fn write(pipeline: &Pipeline) -> Written {
    let mut writer = Writer::default();
    writer.head(pipeline);
    writer.out.line(0, "jobs:");
    for (index, job) in pipeline.jobs.iter().enumerate() {
        if index > 0 {
            writer.out.gap();
        }
        writer.job(job);
    }
    Written {
        text: writer.out.text,
        unpinned: writer.unpinned,
    }
}

#[derive(Default)]
struct Writer {
    out: Lines,
    unpinned: Vec<String>,
}

impl Writer {
    fn head(&mut self, pipeline: &Pipeline) {
        let out = &mut self.out;
        out.line(0, "name: CI");
        out.gap();
        out.line(0, "on:");
        let triggers = &pipeline.triggers;
        out.line(1, "push:");
        list(out, "branches", &triggers.branches);
        list(out, "branches-ignore", &triggers.branches_ignore);
        list(out, "tags", &triggers.tags);
        list(out, "tags-ignore", &triggers.tags_ignore);
        if !triggers.branches_ignore.is_empty() && triggers.tags_ignore.is_empty() {
            list(out, "tags", &["**".to_owned()]);
        }
        out.line(1, "pull_request:");
        list(out, "branches", &triggers.branches);
        list(out, "branches-ignore", &triggers.branches_ignore);
        out.gap();
        out.line(0, "permissions:");
        out.line(1, "contents: read");
        out.gap();
        out.line(0, "concurrency:");
        out.line(1, "group: ${{ github.workflow }}-${{ github.ref }}");
        out.line(
            1,
            "cancel-in-progress: ${{ github.event_name == 'pull_request' }}",
        );
        out.gap();
        if !pipeline.env.is_empty() {
            out.line(0, "env:");
            env(out, 1, &pipeline.env, &Layout::default());
            out.gap();
        }
    }

    fn job(&mut self, job: &Job) {
        let layout = matrix::layout(job);
        let out = &mut self.out;
        out.line(1, &format!("{}:", job.id));
        if let Some(name) = name(job, &layout) {
            out.line(2, &format!("name: {}", scalar(&name)));
        }
        match job.needs.as_slice() {
            [] => {}
            [one] => out.line(2, &format!("needs: {one}")),
            several => out.line(2, &format!("needs: [{}]", several.join(", "))),
        }
        if let Some(condition) = &job.condition {
            out.line(2, &format!("if: ${{{{ {condition} }}}}"));
        }
        out.line(2, &format!("runs-on: {}", column(RUNNER, &layout)));
        out.line(2, &format!("timeout-minutes: {TIMEOUT_MINUTES}"));
        match may_fail(job) {
            MayFail::Never => {}
            MayFail::Always => out.line(2, "continue-on-error: true"),
            MayFail::ByRow => out.line(
                2,
                &format!(
                    "continue-on-error: ${{{{ matrix.{} == true }}}}",
                    matrix::MAY_FAIL
                ),
            ),
        }
        strategy(out, &layout);
        services(out, &job.services);
        if !job.env.is_empty() {
            out.line(2, "env:");
            env(out, 3, &job.env, &layout);
        }
        if job.windows {
            out.line(2, "defaults:");
            out.line(3, "run:");
            out.line(4, "shell: bash -e {0}");
        }
        out.line(2, "steps:");
        for (index, step) in job.steps.iter().enumerate() {
            if index > 0 {
                self.out.gap();
            }
            self.step(step, &layout);
        }
    }

    fn step(&mut self, step: &Step, layout: &Layout) {
        let mut lines = Lines::default();
        if let Some(name) = &step.name {
            lines.line(0, &format!("name: {}", scalar(name)));
        }
        if let Some(id) = step.id {
            lines.line(0, &format!("id: {id}"));
        }
        match step.when {
            When::Before => {}
            When::ScriptFailed => lines.line(
                0,
                "if: ${{ failure() && steps.script.outcome == 'failure' }}",
            ),
            When::ScriptRan => lines.line(
                0,
                "if: ${{ !cancelled() && contains(fromJSON('[\"success\", \"failure\"]'), steps.script.outcome) }}",
            ),
        }
        if step.may_fail {
            lines.line(0, "continue-on-error: true");
        }
        if !step.env.is_empty() {
            lines.line(0, "env:");
            env(&mut lines, 1, &step.env, layout);
        }
        self.act(&step.act, layout, &mut lines);
        for (index, line) in lines.text.lines().enumerate() {
            if line.is_empty() {
                self.out.gap();
            } else if index == 0 {
                self.out.line(3, &format!("- {line}"));
            } else {
                self.out.line(4, line);
            }
        }
    }

    fn act(&mut self, act: &Act, layout: &Layout, lines: &mut Lines) {
        match act {
            Act::Checkout {
                depth,
                submodules,
                lfs,
            } => {
                lines.line(0, &self.uses(&pins::CHECKOUT));
                lines.line(0, "with:");
                if let Some(depth) = depth {
                    lines.line(1, &format!("fetch-depth: {depth}"));
                }
                if *submodules {
                    lines.line(1, "submodules: recursive");
                }
                if *lfs {
                    lines.line(1, "lfs: true");
                }
                lines.line(1, "persist-credentials: false");
            }
            Act::Setup { axis, also } => {
                let Some(tool) = tools::find(axis) else {
                    return;
                };
                lines.line(0, &self.uses(&tool.action));
                lines.line(0, "with:");
                for (key, text) in tool.fixed {
                    lines.line(1, &format!("{key}: {}", scalar(text)));
                }
                let version = column(tools::column(axis), layout);
                lines.line(1, &format!("{}: {version}", tool.input));
                for (key, cell) in also {
                    lines.line(1, &format!("{key}: {}", value(cell, layout)));
                }
            }
            Act::Cache { paths, lock_files } => {
                lines.line(0, &self.uses(&pins::CACHE));
                lines.line(0, "with:");
                match paths.as_slice() {
                    [one] => lines.line(1, &format!("path: {}", scalar(one))),
                    several => lines.script(1, "path", &several.join("\n")),
                }
                let key = "${{ runner.os }}-${{ github.job }}-";
                lines.line(1, &format!("key: {key}${{{{ hashFiles({lock_files}) }}}}"));
                lines.line(1, &format!("restore-keys: {key}"));
            }
            Act::Run(text) => lines.script(0, "run", &no_expression(text)),
        }
    }

    fn uses(&mut self, action: &Action) -> String {
        let name = format!("{}@{}", action.repository, action.reference);
        if action.version.is_empty() {
            if !self.unpinned.contains(&name) {
                self.unpinned.push(name.clone());
            }
            return format!("uses: {name}");
        }
        format!("uses: {name} # {}", action.version)
    }
}

enum MayFail {
    Never,
    Always,
    ByRow,
}

fn may_fail(job: &Job) -> MayFail {
    match job.rows.iter().filter(|row| row.may_fail).count() {
        0 => MayFail::Never,
        all if all == job.rows.len() && all == 1 => MayFail::Always,
        _ => MayFail::ByRow,
    }
}

/// The job's own name, or the expression for the names of its rows.
fn name(job: &Job, layout: &Layout) -> Option<String> {
    if layout.matrix.is_none() {
        return job.name.as_deref().map(no_expression);
    }
    let named = job.rows.iter().filter(|row| row.name.is_some()).count();
    match named {
        0 => None,
        all if all == job.rows.len() => Some("${{ matrix.name }}".to_owned()),
        _ => Some(format!("${{{{ matrix.name || '{}' }}}}", job.id)),
    }
}

fn list(out: &mut Lines, key: &str, values: &[String]) {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(|text| flow_scalar(text)).collect();
        out.line(2, &format!("{key}: [{}]", values.join(", ")));
    }
}

fn env(out: &mut Lines, indent: usize, env: &[(String, EnvValue)], layout: &Layout) {
    for (name, held) in env {
        out.line(
            indent,
            &format!("{}: {}", scalar(name), value(held, layout)),
        );
    }
}

/// A variable's value as YAML.
fn value(held: &EnvValue, layout: &Layout) -> String {
    match held {
        EnvValue::Text(text) => scalar(&no_expression(text)),
        EnvValue::Column(name) => column(name, layout),
        EnvValue::InWorkspace(name) => scalar(&format!(
            "${{{{ github.workspace }}}}/{}",
            raw_column(name, layout)
        )),
        EnvValue::Secret(name) => format!("${{{{ secrets.{name} }}}}"),
        EnvValue::Expression(text) => {
            match text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
                Some(constant) if !constant.contains('\'') => scalar(constant),
                _ => format!("${{{{ {text} }}}}"),
            }
        }
        EnvValue::Choice { column, cases } => choice(column, cases, layout),
    }
}

fn choice(name: &str, cases: &[(String, String)], layout: &Layout) -> String {
    if let Some(constant) = layout.constants.get(name) {
        let chosen = cases
            .iter()
            .find(|(from, _)| from == constant)
            .map_or(constant, |(_, to)| to);
        return scalar(&no_expression(chosen));
    }
    let reference = reference(name, layout);
    let present = |from: &str| {
        layout.matrix.as_ref().is_none_or(|matrix| {
            matrix::expand(matrix)
                .iter()
                .any(|row| row.get(name) == Some(&Cell::Text(from.to_owned())))
        })
    };
    let mut parts: Vec<String> = cases
        .iter()
        .filter(|(from, _)| present(from))
        .map(|(from, to)| format!("{reference} == {} && {}", quoted(from), quoted(to)))
        .collect();
    parts.push(reference);
    format!("${{{{ {} }}}}", parts.join(" || "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn reference(name: &str, layout: &Layout) -> String {
    if layout.nested.iter().any(|held| held == name) {
        format!("matrix.env.{name}")
    } else {
        format!("matrix.{name}")
    }
}

fn raw_column(name: &str, layout: &Layout) -> String {
    match layout.constants.get(name) {
        Some(constant) => no_expression(constant),
        None => format!("${{{{ {} }}}}", reference(name, layout)),
    }
}

fn column(name: &str, layout: &Layout) -> String {
    scalar(&raw_column(name, layout))
}

fn strategy(out: &mut Lines, layout: &Layout) {
    let Some(matrix) = &layout.matrix else {
        return;
    };
    out.line(2, "strategy:");
    out.line(3, "fail-fast: false");
    out.line(3, "matrix:");
    for (axis, values) in &matrix.axes {
        let maps = values.iter().any(|value| matches!(value, Cell::Map(_)));
        let texts: Vec<String> = values.iter().map(cell).collect();
        let short = texts.iter().map(String::len).sum::<usize>() < 72;
        if maps || !short {
            out.line(4, &format!("{axis}:"));
            for text in texts {
                out.line(5, &format!("- {text}"));
            }
        } else {
            out.line(4, &format!("{axis}: [{}]", texts.join(", ")));
        }
    }
    for (key, entries) in [("exclude", &matrix.exclude), ("include", &matrix.include)] {
        if entries.is_empty() {
            continue;
        }
        out.line(4, &format!("{key}:"));
        for entry in entries {
            self::entry(out, entry);
        }
    }
}

fn entry(out: &mut Lines, entry: &Entry) {
    for (index, (key, value)) in entry.iter().enumerate() {
        let mark = if index == 0 { "- " } else { "  " };
        let value = if key == matrix::MAY_FAIL {
            "true".to_owned()
        } else {
            cell(value)
        };
        out.line(5, &format!("{mark}{key}: {value}"));
    }
}

fn cell(value: &Cell) -> String {
    match value {
        Cell::Text(text) => flow_scalar(&no_expression(text)),
        Cell::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow_scalar(&no_expression(value))))
                .collect();
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
    }
}

fn services(out: &mut Lines, services: &[Service]) {
    if services.is_empty() {
        return;
    }
    out.line(2, "services:");
    for service in services {
        out.line(3, &format!("{}:", service.name));
        out.line(4, &format!("image: {}", scalar(&service.image)));
        if !service.env.is_empty() {
            out.line(4, "env:");
            for (name, value) in &service.env {
                out.line(5, &format!("{name}: {}", scalar(value)));
            }
        }
        out.line(4, "ports:");
        out.line(5, &format!("- {0}:{0}", service.port));
        if let Some(health) = service.health {
            out.line(4, "options: >-");
            out.line(5, &format!("--health-cmd \"{health}\""));
            out.line(
                5,
                "--health-interval 5s --health-timeout 5s --health-retries 10",
            );
        }
    }
}
