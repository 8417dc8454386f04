//! What a task finds at `/nightcrew/in`: what it is about, as files of JSON, and the files of its
//! automation.

use std::fs;
use std::io;
use std::path::{Component, Path};

use model::protocol::Assignment;

/// Writes the inputs into a fresh folder.
pub(crate) fn write(folder: &Path, assignment: &Assignment) -> io::Result<()> {
    fs::write(
        folder.join("event.json"),
        serde_json::to_vec(&assignment.event.to_cloudevent())?,
    )?;
    fs::write(
        folder.join("task.json"),
        serde_json::to_vec(&assignment.task)?,
    )?;
    fs::write(
        folder.join("repository.json"),
        serde_json::to_vec(&assignment.repository)?,
    )?;
    for (name, text) in &assignment.automation.files {
        let name = Path::new(name);
        // Names come from whoever applied the automation; they stay inside the folder.
        if !name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            continue;
        }
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    sandbox::prepare_base(folder).map_err(|error| io::Error::other(crate::halt::chain(&error)))
}
