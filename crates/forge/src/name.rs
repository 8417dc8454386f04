//! The name of a repository at a forge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ForgeError;

/// `name` or `owner/name`: letters, digits, `.`, `_`, `-`; a part starts with a letter, a digit or `_`.
///
/// Because of this form a name is always one or two path components below a root: it cannot climb out of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName(String);

impl RepoName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash, if there is one.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.0.split_once('/').map(|(owner, _)| owner)
    }

    /// The last part.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Makes a valid part of a name from any text: other characters become `-`.
    #[must_use]
    pub fn sanitise_part(text: &str) -> String {
        let text = text.strip_suffix(".git").unwrap_or(text);
        let kept: String = text
            .chars()
            .map(|c| if part_char(c) { c } else { '-' })
            .take(100)
            .collect();
        let kept = kept.trim_matches(['-', '.']);
        let kept = kept.strip_suffix(".lock").unwrap_or(kept);
        if kept.is_empty() {
            "unnamed".to_owned()
        } else {
            kept.replace("..", "-")
        }
    }
}

fn part_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

fn valid_part(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 100
        && part.chars().all(part_char)
        && !part.starts_with(['.', '-'])
        && !part.ends_with('.')
        && !part.contains("..")
        && !part.ends_with(".git")
        && !part.ends_with(".lock")
}

impl FromStr for RepoName {
    type Err = ForgeError;
    fn from_str(text: &str) -> Result<Self, ForgeError> {
        let text = text.strip_suffix(".git").unwrap_or(text);
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() <= 2 && parts.iter().all(|part| valid_part(part)) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text
            .chars()
            .take(120)
            .flat_map(char::escape_default)
            .collect();
        Err(ForgeError::Invalid(format!(
            "`{shown}` is not a repository name: use `name` or `owner/name` of letters, digits, `.`, `_` and `-`"
        )))
    }
}

impl TryFrom<String> for RepoName {
    type Error = ForgeError;
    fn try_from(text: String) -> Result<Self, ForgeError> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(name: RepoName) -> Self {
        name.0
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
