//! The inventory: repositories and what is known of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A repository of the inventory with its facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// Name at its forge, unique in the inventory.
    pub name: String,
    /// Which configured forge holds it (`local` by default).
    pub forge: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Branch that changes are proposed against.
    pub default_branch: String,
    /// Commit of that branch when the facts were taken; `None` for an empty repository.
    pub head: Option<String>,
    /// No longer written to.
    pub archived: bool,
    /// Paths at `head`, lossily decoded, at most [`Repository::MAX_FILES`] of them.
    pub files: Vec<String>,
    /// Number of files at `head`, also where `files` was cut.
    pub file_count: u64,
    /// Share of files by language, recognised by file ending, most first.
    pub languages: Vec<String>,
    /// Further facts, by name, from packs and people.
    #[serde(default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// When the facts were taken.
    pub seen_at: Timestamp,
}

impl Repository {
    /// So many paths are kept for queries; a bigger tree is cut and says so in `file_count`.
    pub const MAX_FILES: usize = 5000;
}
