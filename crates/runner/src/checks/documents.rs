//! Checks of whole files: what is wrong after the change and was not before.

use std::collections::HashMap;

use forge::git::Oid;

use crate::diff::{Diff, Touched};
use crate::options::Checks;

/// What a check found in the touched files.
pub(super) struct Found {
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
    /// What to say when nothing is new.
    pub(super) good: String,
}

/// Whether the check of this name wants to read a file.
pub(super) fn concerns(check: &str, file: &Touched) -> bool {
    file.is_file() && is_about(check, &file.path)
}

fn is_about(check: &str, path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_yaml = lower.ends_with(".yml") || lower.ends_with(".yaml");
    match check {
        "yaml" => is_yaml,
        "json" => lower.ends_with(".json"),
        "workflow" => is_yaml && path.starts_with(".github/workflows/"),
        // These look at added lines.
        "secrets" | "whitespace" | "conflict-markers" => false,
        _ => true,
    }
}

/// Runs a check over the touched files; `None` when there is no such check here.
pub(super) fn find(
    checks: &Checks,
    check: &str,
    diff: &Diff,
    contents: &HashMap<Oid, Vec<u8>>,
) -> Option<Found> {
    let own = checks.get(check);
    if own.is_none() && check != "json" {
        return None;
    }
    let problems = |path: &str, oid: Option<Oid>| -> Vec<String> {
        let Some(bytes) = oid.and_then(|oid| contents.get(&oid)) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(bytes);
        let found = own.map_or_else(|| json(&text), |check| check(path, &text));
        found
            .into_iter()
            .map(|problem| {
                if problem.starts_with(path) {
                    problem
                } else {
                    format!("{path}: {problem}")
                }
            })
            .collect()
    };
    let mut found = Found {
        before: Vec::new(),
        after: Vec::new(),
        good: String::new(),
    };
    let mut looked_at = 0;
    for file in diff.files.iter().filter(|file| concerns(check, file)) {
        found.before.extend(problems(&file.path, file.before));
        found.after.extend(problems(&file.path, file.after));
        looked_at += 1;
    }
    found.good = match looked_at {
        0 => "the change touches no file that it is about".to_owned(),
        1 => "1 file is fine".to_owned(),
        many => format!("{many} files are fine"),
    };
    Some(found)
}

fn json(text: &str) -> Vec<String> {
    let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    parsed
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect()
}

/// What `after` has beyond `before`, each as often as it has it more. Numbers do not count: lines
/// move.
pub(super) fn beyond(before: &[String], after: &[String]) -> Vec<String> {
    let shape = |text: &str| -> String {
        text.split(|c: char| c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .collect()
    };
    let mut known: HashMap<String, usize> = HashMap::new();
    for text in before {
        *known.entry(shape(text)).or_default() += 1;
    }
    let is_new = |text: &&String| match known.get_mut(&shape(text)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    after.iter().filter(is_new).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn file(path: &str, before: Option<Oid>, after: Option<Oid>) -> Touched {
        Touched {
            path: path.to_owned(),
            old_path: None,
            before,
            after,
            mode: 0o100_644,
        }
    }

    #[test]
    fn what_was_wrong_before_is_not_new() {
        let (old, new) = (Oid::from_bytes([1; 20]), Oid::from_bytes([2; 20]));
        let contents = HashMap::from([(old, b"{".to_vec()), (new, b"{\n\n".to_vec())]);
        let diff = Diff {
            files: vec![file("a.json", Some(old), Some(new))],
            ..Diff::default()
        };
        let found = find(&Checks::new(), "json", &diff, &contents).unwrap();
        assert_eq!((found.before.len(), found.after.len()), (1, 1));
        assert!(beyond(&found.before, &found.after).is_empty());
        assert_eq!(beyond(&[], &found.after).len(), 1);
    }

    #[test]
    fn a_check_that_is_not_here_is_missing_and_one_that_is_sees_its_files() {
        let oid = Oid::from_bytes([1; 20]);
        let contents = HashMap::from([(oid, b"on: push".to_vec())]);
        let diff = Diff {
            files: vec![
                file(".github/workflows/a.yml", None, Some(oid)),
                file("b.yml", None, Some(oid)),
            ],
            ..Diff::default()
        };
        assert!(find(&Checks::new(), "workflow", &diff, &contents).is_none());
        let mut checks = Checks::new();
        checks.insert(
            "workflow".to_owned(),
            Arc::new(|_, text| vec![format!("saw {text}")]),
        );
        let found = find(&checks, "workflow", &diff, &contents).unwrap();
        assert_eq!(found.after, [".github/workflows/a.yml: saw on: push"]);
    }
}
