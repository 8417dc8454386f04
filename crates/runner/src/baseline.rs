//! What a check said about a base tree, remembered beside the tree: one commit, one command, one
//! answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::automation::EnvironmentDefinition;
use model::fence::Fence;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::failures::Outcome;

#[derive(Serialize, Deserialize)]
struct Note {
    names: BTreeSet<String>,
    missing: bool,
}

/// Where the answer of one command is kept.
pub(crate) fn place(
    results: &Path,
    argv: &[String],
    cwd: &str,
    environment: &EnvironmentDefinition,
    fence: &Fence,
) -> PathBuf {
    let question = serde_json::json!({
        "argv": argv, "cwd": cwd, "environment": environment, "fence": fence,
    });
    results.join(format!(
        "{}.json",
        hex::encode(Sha1::digest(question.to_string()))
    ))
}

/// The answer, if it is known.
pub(crate) fn load(place: &Path) -> Option<Outcome> {
    let note: Note = serde_json::from_slice(&std::fs::read(place).ok()?).ok()?;
    Some(Outcome {
        names: note.names,
        missing: note.missing,
    })
}

/// Remembers an answer. That it cannot be remembered is no harm.
pub(crate) fn save(place: &Path, outcome: &Outcome) {
    let note = Note {
        names: outcome.names.clone(),
        missing: outcome.missing,
    };
    let written = serde_json::to_vec(&note)
        .map_err(std::io::Error::other)
        .and_then(|bytes| {
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            // Renamed into place, so that nobody reads half of it.
            let half = place.with_extension("half");
            std::fs::write(&half, bytes)?;
            std::fs::rename(half, place)
        });
    if let Err(error) = written {
        tracing::debug!(place = %place.display(), %error, "a baseline is not remembered");
    }
}
