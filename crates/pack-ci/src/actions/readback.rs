//! The jobs a workflow file stands for, read from its text alone.
//!
//! This is the other half of the proof that a conversion keeps the job set: it shares the YAML
//! reader and the tables of tools with the writer, and nothing else.

use std::collections::BTreeMap;

use super::{
    matrix::{self, Cell, Entry, Matrix},
    tools,
};
use crate::{
    matrix::JobIdentity,
    travis::languages::AXES,
    variables,
    yaml::{self, At},
};

/// Expand every job of the workflow `text`. `None` if it does not parse.
pub(crate) fn jobs(text: &str) -> Option<Vec<JobIdentity>> {
    let root = yaml::parse(text).ok()?;
    let root = At::root(&root);
    let global = pairs(root.get("env").as_ref());
    let mut identities = Vec::new();
    for (_, job) in root.get("jobs")?.entries() {
        let mut combinations = match job.get("strategy").and_then(|s| s.get("matrix")) {
            Some(at) => matrix::expand(&read_matrix(&at)),
            None => Vec::new(),
        };
        if combinations.is_empty() {
            combinations.push(BTreeMap::new());
        }
        for combination in &combinations {
            identities.push(identity(&job, &global, combination));
        }
    }
    Some(identities)
}

fn pairs(at: Option<&At<'_>>) -> Vec<(String, String)> {
    at.map_or_else(Vec::new, At::entries)
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.text()?.to_owned())))
        .collect()
}

fn read_matrix(at: &At<'_>) -> Matrix {
    let mut made = Matrix::default();
    for (key, value) in at.entries() {
        match key {
            "include" => made.include = value.items().iter().map(read_entry).collect(),
            "exclude" => made.exclude = value.items().iter().map(read_entry).collect(),
            _ => made.axes.push((
                key.to_owned(),
                value.items().iter().map(read_cell).collect(),
            )),
        }
    }
    made
}

fn read_entry(at: &At<'_>) -> Entry {
    at.entries()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), read_cell(&value)))
        .collect()
}

fn read_cell(at: &At<'_>) -> Cell {
    match at.text() {
        Some(text) => Cell::Text(unescape(text)),
        None => Cell::Map(
            pairs(Some(at))
                .into_iter()
                .map(|(key, value)| (key, unescape(&value)))
                .collect(),
        ),
    }
}

fn unescape(text: &str) -> String {
    text.replace("${{ '${{' }}", "${{")
}

fn identity(
    job: &At<'_>,
    global: &[(String, String)],
    combination: &BTreeMap<String, Cell>,
) -> JobIdentity {
    let fill = |text: &str| substitute(text, combination);
    let runner = job
        .get("runs-on")
        .and_then(|at| at.text().map(fill))
        .unwrap_or_default();
    let (os, arch) = tools::of_runner(&runner);
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in global.iter().chain(&pairs(job.get("env").as_ref())) {
        all.insert(name.clone(), fill(value));
    }
    let mut versions = BTreeMap::new();
    for step in job.get("steps").map_or_else(Vec::new, |at| at.items()) {
        read_step(&step, &fill, &mut versions, &mut all);
    }
    for axis in AXES {
        if tools::has_action(axis) {
            continue;
        }
        if axis == "gemfile" {
            let below = all
                .get("BUNDLE_GEMFILE")
                .and_then(|path| path.strip_prefix("${{ github.workspace }}/"));
            versions.extend(below.map(|path| (axis.to_owned(), path.to_owned())));
        } else if let Some(version) = all.get(&variables::of_axis(axis)) {
            versions.insert(axis.to_owned(), version.clone());
        }
    }
    if let Some(compiler) = versions.get("compiler") {
        for name in ["CC", "CXX"] {
            if all.get(name).is_some_and(|value| {
                value.contains("${{ matrix.compiler ==") || tools::is_of_compiler(compiler, value)
            }) {
                all.remove(name);
            }
        }
    }
    let may_fail = job
        .get("continue-on-error")
        .and_then(|at| at.text().map(fill))
        .is_some_and(|text| {
            text == "true"
                || text.contains("matrix.experimental")
                    && combination.get(matrix::MAY_FAIL) == Some(&Cell::Text("true".to_owned()))
        });
    all.retain(|name, value| {
        !value.is_empty()
            && !crate::translate::is_apart(name)
            && !value.starts_with("${{ github.workspace }}/")
    });
    for value in all.values_mut() {
        if value.starts_with("${{ secrets.") {
            "<secret>".clone_into(value);
        }
        *value = unescape(value);
    }
    JobIdentity {
        os,
        arch,
        versions,
        env: all,
        may_fail,
    }
}

fn read_step(
    step: &At<'_>,
    fill: &dyn Fn(&str) -> String,
    versions: &mut BTreeMap<String, String>,
    all: &mut BTreeMap<String, String>,
) {
    if let Some(uses) = step.get("uses").and_then(|at| at.text()) {
        let repository = uses.split('@').next().unwrap_or_default();
        for tool in tools::TOOLS
            .iter()
            .filter(|tool| tool.action.repository == repository)
        {
            let version = step.get("with").and_then(|with| with.get(tool.input));
            if let Some(version) = version.and_then(|at| at.text().map(fill)) {
                versions.insert(tool.axis.to_owned(), version);
            }
        }
    }
    if step.get("name").and_then(|at| at.text()) == Some("Set environment") {
        let run = step.get("run");
        let text = run.as_ref().and_then(At::text).unwrap_or_default();
        let text = unescape(text);
        // One assignment may go over several lines, up to the line that hands it on.
        let mut rest = text.as_str();
        while let Some((name, after)) = rest
            .strip_prefix("export ")
            .and_then(|tail| tail.split_once('='))
        {
            let end = format!("\necho \"{name}=${name}\" >> \"$GITHUB_ENV\"");
            let Some((value, tail)) = after.split_once(&end) else {
                break;
            };
            all.insert(name.to_owned(), value.to_owned());
            rest = tail.trim_start_matches('\n');
        }
    }
}

/// Put the combination's values in the place of `${{ matrix.… }}`.
fn substitute(text: &str, combination: &BTreeMap<String, Cell>) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{ matrix.") {
        made.push_str(before);
        let Some((name, tail)) = after.split_once(" }}") else {
            made.push_str("${{ matrix.");
            rest = after;
            continue;
        };
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if plain {
            made.push_str(&look_up(name, combination));
        } else {
            made.push_str("${{ matrix.");
            made.push_str(name);
            made.push_str(" }}");
        }
        rest = tail;
    }
    made.push_str(rest);
    made
}

fn look_up(name: &str, combination: &BTreeMap<String, Cell>) -> String {
    if let Some(Cell::Text(text)) = combination.get(name) {
        return text.clone();
    }
    let field = name.split_once('.').and_then(|(column, field)| {
        let Some(Cell::Map(pairs)) = combination.get(column) else {
            return None;
        };
        pairs.iter().find(|(key, _)| key == field)
    });
    field.map_or_else(String::new, |(_, value)| value.clone())
}
