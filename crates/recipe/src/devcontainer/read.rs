//! From the file to the recipe.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde_json::{Map, Value};

use super::Treatment;
use super::features::{self, Feature};
use super::jsonc::to_json;
use super::lifecycle::commands;
use super::mounts::Mount;
use super::substitute::Variables;
use super::table::row_of;
use crate::files::{open_root, read_small};
use crate::oci::Reference;
use crate::oci::reference::is_loopback;
use crate::recipe::{Image, ImageSource, Recipe, Root, WORKSPACE};
use crate::{Command, Digest, Error};

/// Largest file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Where the file may be.
const PLACES: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];

/// Commands of every new workspace, and of every start.
const PREPARE: [&str; 3] = [
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
];
const START: [&str; 2] = ["postStartCommand", "postAttachCommand"];

/// What is known beside the file.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// A stable name of the repository.
    pub repository: String,
    /// The registry of images whose names have none; such names are refused if absent.
    pub default_registry: Option<String>,
}

/// A file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it says.
    pub recipe: Recipe,
    /// Keys that make no difference, each with a sentence.
    pub notes: Vec<(String, &'static str)>,
}

/// The file of the repository in `folder`, relative to it, if there is one.
///
/// # Errors
/// [`Error::Io`] if a file of that name cannot be opened, is a symbolic link, or no regular file.
pub fn find(folder: &Path) -> Result<Option<&'static str>, Error> {
    let root = open_root(folder).map_err(Error::io("open", folder))?;
    for place in PLACES {
        if read_small(&root, place, LARGEST)?.is_some() {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Reads the file `file` of the repository in `folder`.
///
/// # Errors
/// [`Error::Devcontainer`] with the key that cannot be had or is not understood; [`Error::Field`] where a
/// value makes no recipe; [`Error::Io`].
pub fn read(folder: &Path, file: &str, context: &Context) -> Result<Reading, Error> {
    let root = open_root(folder).map_err(Error::io("open", folder))?;
    let missing = || problem(file, "", "is missing");
    let text = read_small(&root, file, LARGEST)?.ok_or_else(missing)?;
    let mut object = parse(file, &text)?;
    let notes = sort_out(file, &object)?;
    object.retain(|_, value| !value.is_null());
    let mut reader = Reader::new(file, &object, context)?;
    let features = features::read(&root, file, &object, &reader.variables)?;
    reader.features(&features)?;
    reader.take()?;
    reader.recipe.prepare = reader.commands(&PREPARE, &features)?;
    reader.recipe.start = reader.commands(&START, &features)?;
    reader.recipe.validate()?;
    Ok(Reading {
        recipe: reader.recipe,
        notes,
    })
}

/// The members of a JSON file with comments.
pub(super) fn parse(file: &str, text: &str) -> Result<Map<String, Value>, Error> {
    match serde_json::from_str(&to_json(text)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(problem(file, "", "is not a map")),
        Err(error) => Err(problem(
            file,
            "",
            format!(
                "is no JSON: {}",
                crate::error::clean(error.to_string().as_bytes())
            ),
        )),
    }
}

pub(super) fn problem(file: &str, key: &str, problem: impl Into<String>) -> Error {
    Error::Devcontainer {
        file: file.to_owned(),
        key: crate::error::clean(key.as_bytes()),
        problem: problem.into(),
    }
}

/// Whether a value asks for nothing.
pub(super) fn asks_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Refuses what must be refused, and notes what makes no difference.
fn sort_out(file: &str, object: &Map<String, Value>) -> Result<Vec<(String, &'static str)>, Error> {
    let mut notes = Vec::new();
    for (key, value) in object {
        let unknown = || {
            problem(
                file,
                key,
                "is not a key of the format; correct or remove it",
            )
        };
        let row = row_of(key).ok_or_else(unknown)?;
        match row.treatment {
            Treatment::Supported => {}
            Treatment::Ignored => notes.push((key.clone(), row.sentence)),
            Treatment::Refused if asks_nothing(value) => {}
            Treatment::Refused => return Err(problem(file, key, row.sentence)),
        }
        if let ("hostRequirements", Value::Object(parts)) = (key.as_str(), value) {
            for (part, value) in parts {
                let key = format!("{key}.{part}");
                let row = row_of(&key).ok_or_else(|| {
                    problem(
                        file,
                        &key,
                        "is not a key of the format; correct or remove it",
                    )
                })?;
                let optional = value.as_str() == Some("optional");
                if row.treatment == Treatment::Refused && !asks_nothing(value) && !optional {
                    return Err(problem(file, &key, row.sentence));
                }
            }
        }
    }
    Ok(notes)
}

struct Reader<'a> {
    file: &'a str,
    object: &'a Map<String, Value>,
    variables: Variables,
    recipe: Recipe,
}

impl<'a> Reader<'a> {
    /// Root and workspace, which all else refers to.
    fn new(
        file: &'a str,
        object: &'a Map<String, Value>,
        context: &Context,
    ) -> Result<Self, Error> {
        let image = object.get("image").ok_or_else(|| {
            problem(
                file,
                "image",
                "is missing, and nothing else says what the root is",
            )
        })?;
        let image = image
            .as_str()
            .ok_or_else(|| problem(file, "image", "is no text"))?;
        let mut variables = Variables {
            workspace: WORKSPACE.to_owned(),
            id: Digest::of(format!("devcontainer\0{}", context.repository).as_bytes()).hex()[..52]
                .to_owned(),
            container: BTreeMap::new(),
        };
        let image = variables
            .in_text(image)
            .map_err(|text| problem(file, "image", text))?;
        let reference = match &context.default_registry {
            Some(host) => Reference::complete(&image, host),
            None => image.parse(),
        };
        let reference = reference.map_err(|error| problem(file, "image", error.to_string()))?;
        // The one place that is spoken to without TLS by itself. A repository must not choose which
        // services of this machine are asked for what.
        if is_loopback(&reference.registry)
            && context.default_registry.as_deref() != Some(reference.registry.as_str())
        {
            let text = "names a registry of this machine, which a repository may not; name the image in the automation or on the command line";
            return Err(problem(file, "image", text));
        }
        let root = Root::Image(Image {
            digest: None,
            source: ImageSource::Registry(reference.to_string()),
        });
        let mut recipe = Recipe::new(root);
        let mut reader = Place {
            file,
            object,
            variables: &mut variables,
            recipe: &mut recipe,
        };
        reader.workspace()?;
        Ok(Self {
            file,
            object,
            variables,
            recipe,
        })
    }

    fn problem(&self, key: &str) -> impl FnOnce(String) -> Error {
        let (file, key) = (self.file.to_owned(), key.to_owned());
        move |text| problem(&file, &key, text)
    }

    /// What features add comes first, so that the file's own words win.
    fn features(&mut self, features: &[Feature]) -> Result<(), Error> {
        for feature in features {
            self.recipe.setup.push(feature.step.clone());
            for (name, value) in &feature.env {
                let value = self
                    .variables
                    .in_env(value)
                    .map_err(self.problem("features"))?;
                self.variables.container.insert(name.clone(), value.clone());
                self.recipe.env.insert(name.clone(), value);
            }
            self.recipe.caches.extend(feature.caches.iter().cloned());
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), Error> {
        for key in ["containerEnv", "remoteEnv"] {
            self.env(key)?;
        }
        // Set-up commands learn of the user as the format says. It is always the one there is: files
        // could be given to no other.
        for step in &mut self.recipe.setup {
            for (name, value) in [("USER", "root"), ("USER_HOME", "/home/agent")] {
                for whose in ["_REMOTE", "_CONTAINER"] {
                    step.env.insert(format!("{whose}_{name}"), value.to_owned());
                }
            }
        }
        let mounts = match self.object.get("mounts") {
            None => &Vec::new(),
            Some(Value::Array(mounts)) => mounts,
            Some(_) => return Err(problem(self.file, "mounts", "is no list")),
        };
        for mount in mounts {
            let cache = Mount::read(mount, &self.variables)
                .and_then(|mount| mount.into_cache(&self.variables));
            self.recipe
                .caches
                .push(cache.map_err(self.problem("mounts"))?);
        }
        Ok(())
    }

    fn env(&mut self, key: &str) -> Result<(), Error> {
        let map = match self.object.get(key) {
            None => return Ok(()),
            Some(Value::Object(map)) => map,
            Some(_) => return Err(problem(self.file, key, "is no map")),
        };
        let known = self.variables.container.clone();
        for (name, value) in map {
            match value {
                Value::Null if key == "remoteEnv" => {
                    self.recipe.env.remove(name);
                }
                Value::String(value) => {
                    let value = self
                        .variables
                        .in_env(value)
                        .map_err(self.problem(&format!("{key}.{name}")))?;
                    self.recipe.env.insert(name.clone(), value);
                }
                _ => return Err(problem(self.file, &format!("{key}.{name}"), "is no text")),
            }
        }
        if key == "containerEnv" {
            // Only now: values do not refer to each other.
            self.variables.container = known.into_iter().chain(self.recipe.env.clone()).collect();
        }
        Ok(())
    }

    /// Commands under these keys, those of features first.
    fn commands(&self, keys: &[&str], features: &[Feature]) -> Result<Vec<Command>, Error> {
        let mut all = Vec::new();
        for key in keys {
            for feature in features {
                all.extend(feature.commands.get(key).into_iter().flatten().cloned());
            }
            let own = self
                .object
                .get(*key)
                .map(|value| commands(value, &self.variables));
            all.extend(
                own.transpose()
                    .map_err(self.problem(key))?
                    .unwrap_or_default(),
            );
        }
        Ok(all)
    }
}

fn text_of<'a>(
    file: &str,
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, Error> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(problem(file, key, "is no text")),
    }
}

/// Where the workspace is.
struct Place<'a> {
    file: &'a str,
    object: &'a Map<String, Value>,
    variables: &'a mut Variables,
    recipe: &'a mut Recipe,
}

impl Place<'_> {
    fn workspace(&mut self) -> Result<(), Error> {
        let folder = text_of(self.file, self.object, "workspaceFolder")?;
        let fill_in = |text: &str| {
            self.variables
                .in_text(text)
                .map_err(|text| problem(self.file, "workspaceFolder", text))
        };
        let folder = folder.map(fill_in).transpose()?;
        let mount = self
            .object
            .get("workspaceMount")
            .filter(|value| !asks_nothing(value));
        match (mount, folder) {
            (Some(value), folder) => {
                let key = "workspaceMount";
                let mount = Mount::read(value, self.variables)
                    .map_err(|text| problem(self.file, key, text))?;
                if mount.kind != "bind"
                    || mount.source.trim_end_matches('/') != "${localWorkspaceFolder}"
                {
                    let source = crate::error::clean(mount.source.as_bytes());
                    let text = format!(
                        "mounts `{source}`; only `${{localWorkspaceFolder}}` is there to be mounted"
                    );
                    return Err(problem(self.file, key, text));
                }
                self.variables.workspace.clone_from(&mount.target);
                self.recipe.workspace = Some(mount.target);
                self.recipe.workdir = folder;
            }
            (None, Some(folder)) => {
                self.variables.workspace.clone_from(&folder);
                self.recipe.workspace = Some(folder);
            }
            (None, None) => {}
        }
        Ok(())
    }
}

/// A file beneath the repository, for features.
pub(super) fn small(root: &File, path: &str) -> Result<Option<String>, Error> {
    read_small(root, path, LARGEST)
}
