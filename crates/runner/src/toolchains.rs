//! Versions of tools that a repository or its recipe asks for, compared with those that are there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub use recipe::toolchain::Tool;
use recipe::toolchain::{Comparison, Hint, compare, found, hints, required};

/// Time for a tool to say its version.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its answer that are looked at.
pub const ANSWER: usize = 16 * 1024;
/// Most sentences that are passed on.
const MOST: usize = 20;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Wanted {
    hints: Vec<Hint>,
    required: Vec<Hint>,
    problem: Option<String>,
}

/// What came of it, a sentence each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What files of the repository ask for and is not there: steps run all the same.
    pub warnings: Vec<String>,
    /// What the recipe requires and is not there.
    pub missing: Vec<String>,
}

impl Wanted {
    /// What files at the top of `repository` ask for, and what the recipe does. Files that are not
    /// understood become a warning.
    #[must_use]
    pub fn read(repository: Option<&Path>, toolchains: &BTreeMap<String, String>) -> Self {
        let (hints, problem) = match repository.map_or_else(|| Ok(Vec::new()), hints) {
            Ok(hints) => (hints, None),
            Err(error) => (Vec::new(), Some(crate::halt::chain(&error))),
        };
        Self {
            hints,
            required: required(toolchains),
            problem,
        }
    }

    /// Tools whose version must be known, with what is wanted of each.
    #[must_use]
    pub fn tools(&self) -> BTreeMap<Tool, Vec<String>> {
        let mut tools: BTreeMap<Tool, Vec<String>> = BTreeMap::new();
        for hint in self.hints.iter().chain(&self.required) {
            if hint.tool.version_command().is_some() {
                let wanted = tools.entry(hint.tool.clone()).or_default();
                wanted.push(hint.wanted.clone());
            }
        }
        tools
    }

    /// Compares with what is there; a tool that is absent from `versions` is not there.
    #[must_use]
    pub fn judge(&self, versions: &BTreeMap<Tool, Option<String>>) -> Judged {
        let sentence = |hint: &Hint| {
            let version = versions.get(&hint.tool).and_then(Option::as_deref);
            match compare(hint, version) {
                Comparison::Fits => None,
                Comparison::Mismatch(text) | Comparison::Unknown(text) => Some(text),
            }
        };
        let warnings = self.problem.iter().cloned();
        Judged {
            warnings: warnings
                .chain(self.hints.iter().filter_map(sentence))
                .take(MOST)
                .collect(),
            missing: self.required.iter().filter_map(sentence).collect(),
        }
    }
}

/// The version that a tool's answer names, standard output and error together.
#[must_use]
pub fn version(tool: &Tool, answer: &[u8]) -> Option<String> {
    let answer = &answer[..answer.len().min(ANSWER)];
    found(tool, &String::from_utf8_lossy(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_warn_and_the_recipe_requires() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".nvmrc"), "18\n").unwrap();
        std::fs::write(folder.path().join("go.mod"), "module x\ngo 1.20\n").unwrap();
        let toolchains = BTreeMap::from([("python".to_owned(), "3.11".to_owned())]);
        let wanted = Wanted::read(Some(folder.path()), &toolchains);
        let tools: Vec<_> = wanted.tools().into_keys().collect();
        assert_eq!(tools, [Tool::Node, Tool::Python, Tool::Go]);
        let versions = BTreeMap::from([
            (Tool::Node, Some("20.1.0".to_owned())),
            (Tool::Go, Some("1.22.3".to_owned())),
            (Tool::Python, None),
        ]);
        let judged = wanted.judge(&versions);
        assert_eq!(judged.warnings.len(), 1, "{judged:?}");
        assert!(judged.warnings[0].starts_with(".nvmrc:1 wants Node.js 18"));
        assert!(judged.missing[0].contains("`toolchains.python` wants Python 3.11"));
    }

    #[test]
    fn a_file_that_is_no_version_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".nvmrc"), "\u{1b}[2J\n").unwrap();
        let judged = Wanted::read(Some(folder.path()), &BTreeMap::new()).judge(&BTreeMap::new());
        assert_eq!(judged.warnings.len(), 1, "{judged:?}");
    }
}
