//! What makes no sense in a recipe, with the field's name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::environment::references;
use super::{Command, ImageSource, Ready, Recipe, Root, Service};
use crate::oci::Reference;
use crate::{Cache, Error};

/// Most commands, services, files or caches in one list.
const LONGEST_LIST: usize = 1000;
/// Most bytes of one command or value.
const LONGEST_TEXT: usize = 64 * 1024;
/// Longest readiness time of a service, in seconds.
const LONGEST_WAIT: u64 = 3600;
/// What belongs to us inside an environment.
const OURS: &[&str] = &["/nightcrew", "/proc", "/sys", "/dev"];
/// What is ours there as a whole, though there may be something in it.
const WHOLE: &[&str] = &["/tmp", "/etc", "/home", "/home/agent"];

impl Recipe {
    /// Checks everything that can be checked without looking at files.
    ///
    /// # Errors
    /// [`Error::Field`] with the first field that makes no sense.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_root()?;
        bounded("setup", self.setup.len())?;
        for (number, step) in self.setup.iter().enumerate() {
            let field = format!("setup[{number}]");
            command(&format!("{field}.run"), &step.run)?;
            variables(&format!("{field}.env"), &step.env)?;
            bounded(&format!("{field}.files"), step.files.len())?;
            for (place, file) in step.files.iter().enumerate() {
                relative(&format!("{field}.files[{place}]"), file)?;
            }
            if let Some(folder) = &step.folder {
                let field = format!("{field}.folder");
                relative(&field, folder)?;
                let below = format!("{}/", folder.trim_end_matches('/'));
                if !step.files.iter().any(|file| file.starts_with(&below)) {
                    return Err(Error::field(field, "has none of the command's files"));
                }
            }
        }
        for (name, commands) in [("prepare", &self.prepare), ("start", &self.start)] {
            bounded(name, commands.len())?;
            for (number, one) in commands.iter().enumerate() {
                command(&format!("{name}[{number}]"), one)?;
            }
        }
        variables("env", &self.env)?;
        for (name, value) in &self.env {
            references(value).map_err(|problem| Error::field(format!("env.{name}"), problem))?;
        }
        if let Some(path) = &self.workspace {
            free("workspace", path)?;
        }
        if let Some(path) = &self.workdir {
            inside("workdir", path)?;
        }
        let workspace = self.workspace().trim_end_matches('/');
        if workspace.starts_with("/work/") {
            let problem = "is below /work, where the workspace is in any case";
            return Err(Error::field("workspace", problem));
        }
        if Path::new(self.workdir()).strip_prefix(workspace).is_err() {
            let problem = format!("is not in the workspace, `{workspace}`");
            return Err(Error::field("workdir", problem));
        }
        self.validate_caches()?;
        self.validate_services()?;
        for (tool, wanted) in &self.toolchains {
            text(&format!("toolchains.{tool}"), wanted)?;
        }
        Ok(())
    }

    fn validate_root(&self) -> Result<(), Error> {
        match &self.root {
            Root::Host(host) => {
                bounded("root.host.folders", host.folders.len())?;
                for (number, folder) in host.folders.iter().enumerate() {
                    inside(&format!("root.host.folders[{number}]"), folder)?;
                }
                Ok(())
            }
            Root::Folder { path } => absolute("root.folder.path", path),
            Root::Image(image) => match &image.source {
                ImageSource::Layout(path) => text("root.image.layout", path),
                ImageSource::Tarball(path) => text("root.image.tarball", path),
                ImageSource::Registry(reference) => {
                    let reference: Reference = reference.parse().map_err(|error: Error| {
                        Error::field("root.image.registry", error.to_string())
                    })?;
                    match (reference.digest, image.digest) {
                        (Some(one), Some(other)) if one != other => Err(Error::field(
                            "root.image.digest",
                            format!("says {other}, the reference says {one}"),
                        )),
                        _ => Ok(()),
                    }
                }
            },
        }
    }

    fn validate_caches(&self) -> Result<(), Error> {
        bounded("caches", self.caches.len())?;
        let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (number, cache) in self.caches.iter().enumerate() {
            let field = format!("caches[{number}]");
            if let Cache::Folder { name, path } = cache {
                plain(&format!("{field}.name"), name)?;
                free(&format!("{field}.path"), path)?;
            }
            if !names.insert(cache.name()) {
                return Err(Error::field(field, "has the name of one before it"));
            }
            if !seen.insert(cache.place()) {
                return Err(Error::field(
                    field,
                    "stands at the same place as one before it",
                ));
            }
        }
        Ok(())
    }

    fn validate_services(&self) -> Result<(), Error> {
        bounded("services", self.services.len())?;
        let mut names = BTreeSet::new();
        for (number, service) in self.services.iter().enumerate() {
            let field = format!("services[{number}]");
            service.validate(&field)?;
            if !names.insert(&service.name) {
                let problem = format!("`{}` is used twice", service.name);
                return Err(Error::field(format!("{field}.name"), problem));
            }
        }
        Ok(())
    }
}

impl Service {
    fn validate(&self, field: &str) -> Result<(), Error> {
        plain(&format!("{field}.name"), &self.name)?;
        command(&format!("{field}.command"), &self.command)?;
        variables(&format!("{field}.env"), &self.env)?;
        match &self.ready {
            Ready::Command(ready) => command(&format!("{field}.ready.command"), ready)?,
            Ready::Port(0) => return Err(Error::field(format!("{field}.ready.port"), "is 0")),
            Ready::Port(_) => {}
            Ready::File(path) => absolute(&format!("{field}.ready.file"), path)?,
        }
        let seconds = self.timeout.as_secs_f64();
        if seconds <= 0.0 || seconds > LONGEST_WAIT as f64 {
            return Err(Error::field(
                format!("{field}.timeout"),
                "is not between 1ms and 1h",
            ));
        }
        Ok(())
    }
}

fn bounded(field: &str, length: usize) -> Result<(), Error> {
    if length > LONGEST_LIST {
        return Err(Error::field(
            field,
            format!("has more than {LONGEST_LIST} entries"),
        ));
    }
    Ok(())
}

fn text(field: &str, text: &str) -> Result<(), Error> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.contains('\0') {
        "has a zero byte".to_owned()
    } else if text.len() > LONGEST_TEXT {
        format!("is longer than {LONGEST_TEXT} bytes")
    } else {
        return Ok(());
    };
    Err(Error::field(field, problem))
}

fn command(field: &str, command: &Command) -> Result<(), Error> {
    match command {
        Command::Line(line) if line.trim().is_empty() => Err(Error::field(field, "is empty")),
        Command::Line(line) => text(field, line),
        Command::Program(argv) => {
            bounded(field, argv.len())?;
            let Some(program) = argv.first() else {
                return Err(Error::field(field, "is empty"));
            };
            text(&format!("{field}[0]"), program)?;
            for (number, word) in argv.iter().enumerate().skip(1) {
                if !word.is_empty() {
                    text(&format!("{field}[{number}]"), word)?;
                }
            }
            Ok(())
        }
    }
}

fn variables(field: &str, variables: &BTreeMap<String, String>) -> Result<(), Error> {
    bounded(field, variables.len())?;
    for (name, value) in variables {
        if !is_variable(name) {
            let problem = format!(
                "has `{}`, which is not a variable's name",
                crate::error::clean(name.as_bytes())
            );
            return Err(Error::field(field, problem));
        }
        if !value.is_empty() {
            text(&format!("{field}.{name}"), value)?;
        }
    }
    Ok(())
}

/// Letters, digits and `_`, not beginning with a digit.
pub(super) fn is_variable(name: &str) -> bool {
    name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// A name that is also a file's name.
fn plain(field: &str, name: &str) -> Result<(), Error> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 100 && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::field(
        field,
        "is not a plain name (letters, digits, `_`, `-`, `.`)",
    ))
}

fn components(field: &str, path: &str) -> Result<(), Error> {
    text(field, path)?;
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Err(Error::field(field, format!("`{path}` has a `.` or `..`")));
    }
    Ok(())
}

fn relative(field: &str, path: &str) -> Result<(), Error> {
    components(field, path)?;
    if path.starts_with('/') {
        return Err(Error::field(
            field,
            format!("`{path}` is absolute; write it relative to the repository"),
        ));
    }
    Ok(())
}

fn absolute(field: &str, path: &str) -> Result<(), Error> {
    components(field, path)?;
    if !path.starts_with('/') {
        return Err(Error::field(field, format!("`{path}` is not absolute")));
    }
    Ok(())
}

/// A place inside the environment where a folder that environments write to can be shown.
fn free(field: &str, path: &str) -> Result<(), Error> {
    inside(field, path)?;
    let path = Path::new(path);
    let problem = if path.starts_with("/run") {
        "is below `/run`, which is not free"
    } else if path.starts_with("/home") && !path.starts_with("/home/agent") {
        "is in a home that is not there: the only one is `/home/agent`"
    } else if WHOLE.iter().any(|whole| path == Path::new(whole)) {
        "would cover a folder that is the environment's own"
    } else {
        return Ok(());
    };
    Err(Error::field(field, problem))
}

/// A place inside the environment that may be covered by something else.
fn inside(field: &str, path: &str) -> Result<(), Error> {
    absolute(field, path)?;
    let normal: String = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| format!("/{p}"))
        .collect();
    let below = |ours: &&&str| normal == **ours || normal.starts_with(&format!("{ours}/"));
    if normal.is_empty() {
        return Err(Error::field(field, "is the root itself"));
    }
    match OURS.iter().find(below) {
        Some(ours) => Err(Error::field(
            field,
            format!("`{path}` is below `{ours}`, which is not free"),
        )),
        None => Ok(()),
    }
}
