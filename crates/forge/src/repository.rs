//! Answers, pages, repositories: the nouns of a forge are its own, so that it knows nothing of the rest of the system.

use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RepoName;
use crate::git::Oid;

/// How much a forge still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests left.
    pub remaining: u64,
    /// When the count starts again.
    pub reset_at: Timestamp,
}

/// An answer with the rate that came with it; `None` from a forge without limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// What the forge said about its limits.
    pub rate: Option<Rate>,
}

impl<T> Answer<T> {
    /// An answer of a forge without limits.
    pub const fn unlimited(value: T) -> Self {
        Self { value, rate: None }
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part starts; `None` at the end. For events always present: the place to ask from later.
    pub next: Option<Cursor>,
    /// What the forge said about its limits.
    pub rate: Option<Rate>,
}

/// A place in a list; opaque, made by the forge it is given back to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Which forge this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// Bare repositories on this machine.
    Local,
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Forgejo or Gitea.
    Forgejo,
}

/// Who we are at a forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Which kind of forge.
    pub kind: ForgeKind,
    /// The name of the forge: a host name, or `local`.
    pub host: String,
    /// The name of the account we write with.
    pub account: String,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryInfo {
    /// Its name.
    pub name: RepoName,
    /// Its default branch, whether or not it has a commit.
    pub default_branch: String,
    /// The head of the default branch; `None` for an empty repository.
    pub head: Option<Oid>,
    /// Whether it takes no changes any more.
    pub archived: bool,
    /// What [`crate::git::clone_base`] takes.
    pub clone_url: String,
}
