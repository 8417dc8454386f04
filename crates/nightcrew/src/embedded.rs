//! The demo fleet and the shipped automations, inside the binary.

use std::collections::BTreeMap;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../demo"]
#[exclude = "fleet/README.md"]
struct Demo;

#[derive(RustEmbed)]
#[folder = "../../automations"]
struct Automations;

/// A file of a repository.
pub(crate) struct EmbeddedFile {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) executable: bool,
}

/// The repositories of the demo fleet, by name.
pub(crate) fn fleet() -> BTreeMap<String, Vec<EmbeddedFile>> {
    collect("fleet/")
}

/// Files that the demo commits to a repository after its change was proposed, by repository.
pub(crate) fn conflicts() -> BTreeMap<String, Vec<EmbeddedFile>> {
    collect("conflicts/")
}

fn collect(below: &str) -> BTreeMap<String, Vec<EmbeddedFile>> {
    let mut all: BTreeMap<String, Vec<EmbeddedFile>> = BTreeMap::new();
    for full in Demo::iter() {
        let Some((name, path)) = full
            .strip_prefix(below)
            .and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let Some(file) = Demo::get(&full) else {
            continue;
        };
        let content = file.data.into_owned();
        let executable = path.ends_with(".sh")
            || path.split('/').any(|part| part == "bin")
            || content.starts_with(b"#!");
        all.entry(name.to_owned()).or_default().push(EmbeddedFile {
            path: path.to_owned(),
            content,
            executable,
        });
    }
    all
}

/// A shipped automation: its file, and the files beside it.
pub(crate) fn automation(name: &str) -> Option<(String, BTreeMap<String, String>)> {
    let text =
        |path: &str| Some(String::from_utf8_lossy(&Automations::get(path)?.data).into_owned());
    let source = text(&format!("{name}/automation.yaml"))?;
    let mut files = BTreeMap::new();
    for full in Automations::iter() {
        let Some(path) = full.strip_prefix(&format!("{name}/")) else {
            continue;
        };
        if path != "automation.yaml" && source.contains(path) {
            files.insert(path.to_owned(), text(&full)?);
        }
    }
    Some((source, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_is_whole_and_every_repository_can_test_itself() {
        let fleet = fleet();
        assert!(fleet.len() >= 24, "{}", fleet.len());
        for (name, files) in &fleet {
            let smoke = files.iter().find(|file| file.path == "ci/smoke.sh");
            assert!(
                smoke.is_some_and(|file| file.executable),
                "{name} has no ci/smoke.sh to execute"
            );
        }
        assert!(conflicts().keys().all(|name| fleet.contains_key(name)));
    }

    #[test]
    fn shipped_automations_read_back() {
        for name in ["travis-to-actions", "licence-header", "toolchain-report"] {
            let (source, files) = automation(name).unwrap();
            let definition = engine::definition::read(&source, name).unwrap();
            assert_eq!(definition.name, name);
            for step in &definition.steps {
                if let Some(change) = &step.change
                    && change.body.ends_with(".md")
                {
                    assert!(
                        files.contains_key(&change.body),
                        "{name} lacks {}",
                        change.body
                    );
                }
            }
        }
    }
}
