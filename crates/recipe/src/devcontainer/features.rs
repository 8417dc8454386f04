//! Features that are plain scripts: a folder with `install.sh`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rustix::fs::FileType;
use serde_json::{Map, Value};

use super::lifecycle::commands;
use super::mounts::Mount;
use super::read::{asks_nothing, parse, problem, small};
use super::substitute::Variables;
use crate::files::open_folder_beneath;
use crate::{Cache, Command, Error, SetupStep};

/// Most files of one feature.
const MOST_FILES: usize = 500;

/// Runs the script in a copy that it may write to, whether or not it may be executed where it is.
const RUN: &str =
    r#"copy=$(mktemp -d) && cp -R . "$copy" && cd "$copy" && chmod +x install.sh && ./install.sh"#;

/// Features that bring an engine for containers, which cannot run inside an environment.
const ENGINES: &[&str] = &[
    "docker-in-docker",
    "docker-outside-of-docker",
    "docker-from-docker",
    "docker",
    "moby",
    "podman",
    "podman-in-podman",
    "buildah",
    "kind",
    "k3d",
    "minikube",
    "kubectl-helm-minikube",
];

const REFUSED: &[(&str, &str)] = &[
    (
        "privileged",
        "asks for privileges, which nothing in an environment has",
    ),
    (
        "capAdd",
        "asks for capabilities, which nothing in an environment has",
    ),
    (
        "securityOpt",
        "loosens the fence, which a repository must not",
    ),
    (
        "entrypoint",
        "replaces the first process of the container, which is ours",
    ),
];

const KNOWN: &[&str] = &[
    "$schema",
    "id",
    "version",
    "name",
    "description",
    "documentationURL",
    "licenseURL",
    "keywords",
    "deprecated",
    "legacyIds",
    "options",
    "containerEnv",
    "installsAfter",
    "dependsOn",
    "customizations",
    "init",
    "mounts",
];

const COMMANDS: &[&str] = &[
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
    "postAttachCommand",
];

/// A feature, ready to become a part of the recipe.
#[derive(Debug)]
pub(super) struct Feature {
    /// As the file names it.
    name: String,
    /// Features that come before it if they are there.
    after: Vec<String>,
    /// Features that must be there, and come before it.
    needs: Vec<String>,
    pub(super) step: SetupStep,
    pub(super) env: BTreeMap<String, String>,
    pub(super) caches: Vec<Cache>,
    pub(super) commands: BTreeMap<&'static str, Vec<Command>>,
}

/// All features of a file, in the order in which they are installed.
pub(super) fn read(
    root: &File,
    file: &str,
    object: &Map<String, Value>,
    variables: &Variables,
) -> Result<Vec<Feature>, Error> {
    let named = match object.get("features") {
        None => return Ok(Vec::new()),
        Some(Value::Object(named)) => named,
        Some(_) => return Err(problem(file, "features", "is no map")),
    };
    let folder = Path::new(file)
        .parent()
        .and_then(Path::to_str)
        .unwrap_or_default();
    let mut features = Vec::new();
    for (name, options) in named {
        features.push(one(root, file, folder, name, options, variables)?);
    }
    for feature in &features {
        let absent = |other: &&String| !named.contains_key(other.as_str());
        if let Some(missing) = feature.needs.iter().find(absent) {
            let missing = crate::error::clean(missing.as_bytes());
            let text = format!("depends on `{missing}`, which is not among the file's features");
            return Err(problem(file, &format!("features.{}", feature.name), text));
        }
    }
    order(file, features, object.get("overrideFeatureInstallOrder"))
}

fn one(
    root: &File,
    file: &str,
    folder: &str,
    name: &str,
    options: &Value,
    variables: &Variables,
) -> Result<Feature, Error> {
    let key = format!("features.{name}");
    let fail = |text: String| problem(file, &key, text);
    refuse_engine(name).map_err(fail)?;
    let Some(local) = name.strip_prefix("./") else {
        let text = "does not lie beside the file; copy its folder there and name it `./NAME`: nothing is fetched that the repository does not have";
        return Err(fail(text.to_owned()));
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !local.split('/').all(plain) {
        return Err(fail(
            "is not the name of a folder beside the file".to_owned(),
        ));
    }
    let path = if folder.is_empty() {
        local.to_owned()
    } else {
        format!("{folder}/{local}")
    };
    let described = format!("{path}/devcontainer-feature.json");
    let text = small(root, &described)?.ok_or_else(|| fail(format!("has no `{described}`")))?;
    let description = parse(&described, &text)?;
    check_keys(&described, &description)?;
    if let Some(id) = description.get("id").and_then(Value::as_str) {
        refuse_engine(id).map_err(fail)?;
    }
    let files = files(root, &path).map_err(fail)?;
    if !files.contains(&format!("{path}/install.sh")) {
        return Err(fail(format!("has no `{path}/install.sh`")));
    }
    let mut caches = Vec::new();
    for mount in description
        .get("mounts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let cache = Mount::read(mount, variables).and_then(|mount| mount.into_cache(variables));
        caches.push(cache.map_err(|text| problem(&described, "mounts", text))?);
    }
    let mut hooks = BTreeMap::new();
    for hook in COMMANDS {
        if let Some(value) = description.get(*hook) {
            hooks.insert(
                *hook,
                commands(value, variables).map_err(|text| problem(&described, hook, text))?,
            );
        }
    }
    Ok(Feature {
        name: name.to_owned(),
        after: names(&description, "installsAfter"),
        needs: names(&description, "dependsOn"),
        step: SetupStep {
            run: Command::Line(RUN.to_owned()),
            files,
            env: option_variables(&description, options).map_err(fail)?,
            folder: Some(path),
        },
        env: container_env(&described, &description)?,
        caches,
        commands: hooks,
    })
}

fn refuse_engine(name: &str) -> Result<(), String> {
    let last = name.rsplit('/').next().unwrap_or_default();
    let id = last.split([':', '@']).next().unwrap_or_default();
    if ENGINES.contains(&id) {
        return Err(format!(
            "brings containers within the environment (`{id}`), which cannot run there; use `services` of a recipe"
        ));
    }
    Ok(())
}

fn check_keys(file: &str, description: &Map<String, Value>) -> Result<(), Error> {
    for (key, value) in description {
        if let Some((_, sentence)) = REFUSED.iter().find(|(refused, _)| refused == key) {
            if !asks_nothing(value) {
                return Err(problem(file, key, *sentence));
            }
        } else if !KNOWN.contains(&key.as_str()) && !COMMANDS.contains(&key.as_str()) {
            return Err(problem(
                file,
                key,
                "is not a key of the format; correct or remove it",
            ));
        }
    }
    Ok(())
}

fn files(root: &File, path: &str) -> Result<Vec<String>, String> {
    let folder = open_folder_beneath(root, Path::new(path))
        .map_err(|error| format!("cannot be opened: {error}"))?;
    let mut skipped = Vec::new();
    let mut found = crate::folder::walk(&folder, &mut skipped)
        .map_err(|error| format!("cannot be listed: {error}"))?;
    found.retain(|(_, stat)| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if let Some((file, error)) = skipped.first() {
        return Err(format!(
            "has `{}`, which cannot be listed: {error}",
            file.display()
        ));
    }
    if found.len() > MOST_FILES {
        return Err(format!("has more than {MOST_FILES} files"));
    }
    let mut files = Vec::new();
    for (name, _) in found {
        let name =
            String::from_utf8(name).map_err(|_| "has a file whose name is not UTF-8".to_owned())?;
        files.push(format!("{path}/{name}"));
    }
    files.sort();
    Ok(files)
}

/// Options as variables: those of the file, else the defaults.
fn option_variables(
    description: &Map<String, Value>,
    given: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let mut given = match given {
        Value::Object(map) => map.clone(),
        // The short form of the option `version`.
        Value::String(version) => {
            Map::from_iter([("version".to_owned(), Value::String(version.clone()))])
        }
        Value::Bool(_) | Value::Null => Map::new(),
        _ => return Err("has options that are neither a map nor a version".to_owned()),
    };
    let mut variables = BTreeMap::new();
    for (name, option) in description
        .get("options")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let value = given
            .remove(name)
            .or_else(|| option.get("default").cloned());
        let text = match value {
            None => continue,
            Some(Value::String(text)) => text,
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(_) => {
                return Err(format!(
                    "has an option `{name}` that is neither text nor boolean"
                ));
            }
        };
        let allowed = option.get("enum").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.iter().any(|one| one.as_str() == Some(&text))) {
            return Err(format!(
                "has an option `{name}` whose value is not one of those the feature allows"
            ));
        }
        variables.insert(variable(name), text);
    }
    match given.keys().next() {
        Some(unknown) => Err(format!(
            "has no option `{}`",
            crate::error::clean(unknown.as_bytes())
        )),
        None => Ok(variables),
    }
}

/// The name of an option's variable, by the format's rule.
fn variable(option: &str) -> String {
    let word = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = option.chars().map(word).collect();
    let rest = name.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    if rest.len() == name.len() {
        name
    } else {
        format!("_{rest}")
    }
}

fn container_env(
    file: &str,
    description: &Map<String, Value>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut env = BTreeMap::new();
    for (name, value) in description
        .get("containerEnv")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let value = value
            .as_str()
            .ok_or_else(|| problem(file, &format!("containerEnv.{name}"), "is no text"))?;
        // Here, and only here, the format has references as Dockerfiles do: `${PATH}`.
        let own = format!("${{{name}}}");
        env.insert(
            name.clone(),
            value.replace(&own, &format!("${{containerEnv:{name}}}")),
        );
    }
    Ok(env)
}

/// Names of other features in a list or a map.
fn names(description: &Map<String, Value>, key: &str) -> Vec<String> {
    match description.get(key) {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The format's order: what `overrideFeatureInstallOrder` names first, then as written, each after those
/// it wants to come after.
fn order(file: &str, features: Vec<Feature>, first: Option<&Value>) -> Result<Vec<Feature>, Error> {
    let first: Vec<&str> = first
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let rank = |feature: &Feature| {
        first
            .iter()
            .position(|name| *name == feature.name)
            .unwrap_or(usize::MAX)
    };
    let mut left = features;
    left.sort_by_key(rank);
    let mut done: Vec<Feature> = Vec::new();
    while !left.is_empty() {
        let waits = |feature: &Feature| {
            let before = |other: &Feature| {
                feature.after.contains(&other.name) || feature.needs.contains(&other.name)
            };
            left.iter()
                .any(|other| other.name != feature.name && before(other))
        };
        let Some(next) = left.iter().position(|feature| !waits(feature)) else {
            return Err(problem(
                file,
                "features",
                "has features that each want to come after the other",
            ));
        };
        done.push(left.remove(next));
    }
    Ok(done)
}
