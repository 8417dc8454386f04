//! From what an automation says an environment is made of to a recipe.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model::automation::{CacheKind, Command, EnvironmentDefinition, InlineRecipe, Readiness};
pub use recipe::devcontainer::Context;
use recipe::{Cache, Ecosystem, HostRoot, Image, ImageSource, Recipe, Root, Service, SetupStep};

use super::RootError;

/// The recipe that an environment's definition means. `repository` is a tree with the repository's
/// content, for `devcontainer`, and `context` what is known beside it.
///
/// # Errors
/// [`RootError::Recipe`] for a `devcontainer.json` that makes no recipe, [`RootError::Digest`].
pub fn recipe_of(
    definition: &EnvironmentDefinition,
    repository: Option<&Path>,
    context: &Context,
) -> Result<(Recipe, Vec<String>), RootError> {
    let host = || {
        Root::Host(HostRoot {
            folders: definition.folders.clone(),
        })
    };
    let Some(inline) = definition.recipe.inline() else {
        return Ok((Recipe::new(host()), Vec::new()));
    };
    let mut notes = Vec::new();
    let mut recipe = match (&inline.devcontainer, repository) {
        (Some(file), Some(folder)) => {
            let reading = recipe::devcontainer::read(folder, file, context)?;
            notes.extend(
                reading
                    .notes
                    .iter()
                    .map(|(key, text)| format!("{file}: `{key}` {text}")),
            );
            reading.recipe
        }
        (Some(_), None) => {
            return Err(RootError::Unsupported {
                what: "`devcontainer` without a repository".to_owned(),
                instead: "name an image or a folder",
            });
        }
        (None, _) => Recipe::new(root_of(inline)?.unwrap_or_else(host)),
    };
    recipe
        .setup
        .extend(inline.setup.iter().map(|command| SetupStep {
            run: command_of(command),
            files: Vec::new(),
            env: BTreeMap::new(),
            folder: None,
        }));
    recipe.caches.extend(
        inline
            .caches
            .iter()
            .map(|cache| Cache::Ecosystem(ecosystem(*cache))),
    );
    for service in &inline.services {
        recipe.services.push(Service {
            name: service.name.clone(),
            command: command_of(&service.command),
            env: service.env.clone(),
            ready: ready_of(service.ready.as_ref()),
            timeout: service
                .timeout
                .map_or(Duration::from_mins(1), |length| length.0),
        });
    }
    for (tool, version) in &inline.toolchains {
        recipe
            .toolchains
            .insert(tool.name().to_owned(), version.clone());
    }
    recipe.validate()?;
    Ok((recipe, notes))
}

fn root_of(inline: &InlineRecipe) -> Result<Option<Root>, RootError> {
    if let Some(path) = &inline.folder {
        return Ok(Some(Root::Folder { path: path.clone() }));
    }
    let Some(image) = &inline.image else {
        return Ok(None);
    };
    Ok(Some(Root::Image(Image {
        source: image_source(image),
        digest: inline.digest.as_deref().map(str::parse).transpose()?,
    })))
}

/// A path is a layout folder or a tarball; anything else names an image in a registry. What begins as no
/// name of an image can (`/`, `.`) is a path also when nothing is there.
#[must_use]
pub fn image_source(text: &str) -> ImageSource {
    let path = Path::new(text);
    if path.is_dir() {
        ImageSource::Layout(text.to_owned())
    } else if path.is_file() || text.starts_with(['/', '.']) {
        ImageSource::Tarball(text.to_owned())
    } else {
        ImageSource::Registry(text.to_owned())
    }
}

fn command_of(command: &Command) -> recipe::Command {
    match command {
        Command::Line(line) => recipe::Command::Line(line.clone()),
        Command::Arguments(arguments) => recipe::Command::Program(arguments.clone()),
    }
}

const fn ecosystem(cache: CacheKind) -> Ecosystem {
    match cache {
        CacheKind::Cargo => Ecosystem::Cargo,
        CacheKind::Npm => Ecosystem::Npm,
        CacheKind::Pip => Ecosystem::Pip,
        CacheKind::Go => Ecosystem::Go,
        CacheKind::Maven => Ecosystem::Maven,
    }
}

/// At once, where nothing is said: a command that always succeeds.
fn ready_of(ready: Option<&Readiness>) -> recipe::Ready {
    match ready {
        Some(Readiness {
            command: Some(command),
            ..
        }) => recipe::Ready::Command(command_of(command)),
        Some(Readiness {
            port: Some(port), ..
        }) => recipe::Ready::Port(*port),
        Some(Readiness {
            file: Some(file), ..
        }) => recipe::Ready::File(file.clone()),
        _ => recipe::Ready::Command(recipe::Command::Program(vec!["true".to_owned()])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(yaml: &str) -> EnvironmentDefinition {
        let text = format!("name: a\nsteps: [{{command: x}}]\nenvironment: {yaml}\n");
        engine::definition::read(&text, "a.yaml")
            .unwrap()
            .environment
    }

    #[test]
    fn the_words_of_an_automation_become_a_recipe() {
        let (recipe, notes) = recipe_of(
            &definition("{recipe: {image: 'registry.example/a:1', setup: ['echo hi'], caches: [npm], services: [{name: db, command: [pg], ready: {port: 5432}}]}, folders: [/opt]}"),
            None,
            &Context::default(),
        )
        .unwrap();
        assert!(notes.is_empty());
        assert!(
            matches!(&recipe.root, Root::Image(image) if matches!(&image.source, ImageSource::Registry(_)))
        );
        assert_eq!(recipe.setup[0].run.argv(), ["sh", "-c", "echo hi"]);
        assert_eq!(recipe.services[0].ready, recipe::Ready::Port(5432));
        assert_eq!(recipe.caches.len(), 1);
    }

    #[test]
    fn without_a_recipe_the_root_is_the_hosts_with_the_folders_named() {
        let (recipe, _) =
            recipe_of(&definition("{folders: [/opt]}"), None, &Context::default()).unwrap();
        assert_eq!(
            recipe.root,
            Root::Host(HostRoot {
                folders: vec!["/opt".to_owned()]
            })
        );
        assert!(!recipe.reproducible());
    }

    #[test]
    fn a_devcontainer_is_read_from_the_repository_and_from_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".devcontainer")).unwrap();
        std::fs::write(
            folder.path().join(".devcontainer/devcontainer.json"),
            r#"{"image": "registry.example/dev:2", "containerEnv": {"A": "b", "ID": "${devcontainerId}"}, "postCreateCommand": "make deps"}"#,
        )
        .unwrap();
        let wanted = definition("{recipe: {devcontainer: .devcontainer/devcontainer.json}}");
        let context = |repository: &str| Context {
            repository: repository.to_owned(),
            default_registry: None,
        };
        let read = |name: &str| {
            recipe_of(&wanted, Some(folder.path()), &context(name))
                .unwrap()
                .0
        };
        let (one, other) = (read("one"), read("other"));
        assert_eq!(one.env["A"], "b");
        assert_eq!(one, read("one"));
        assert_ne!(
            one.env["ID"], other.env["ID"],
            "each repository has its own"
        );
        assert!(recipe_of(&wanted, None, &context("one")).is_err());
    }
}
