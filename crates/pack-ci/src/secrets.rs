//! Encrypted values: nobody but their owner can read them, so they become a list.

use serde::Serialize;

use crate::{
    account::{Entry, Outcome},
    travis::env::is_name,
    yaml::At,
};

/// A secret to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The name of the variable, where the source shows it.
    pub name: Option<String>,
    /// Path of the encrypted value.
    pub path: String,
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the source, from 1.
    pub column: usize,
    /// The comment beside or above the value, which often says what it holds.
    pub hint: Option<String>,
    /// Paths of the constructs that use the variable.
    pub used_in: Vec<String>,
}

/// Every value under a key `secure`.
pub(crate) fn find(root: &At<'_>, source: &str) -> Vec<Secret> {
    let lines: Vec<&str> = source.lines().collect();
    let mut secrets = Vec::new();
    let mut texts = Vec::new();
    visit(root, None, &lines, &mut secrets, &mut texts);
    for secret in &mut secrets {
        if let Some(name) = &secret.name {
            secret.used_in = texts
                .iter()
                .filter(|(_, text)| mentions(text, name))
                .map(|(path, _)| path.clone())
                .collect();
        }
    }
    secrets
}

fn mentions(text: &str, name: &str) -> bool {
    text.contains(name)
        && text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .any(|word| word == name)
}

fn visit<'a>(
    at: &At<'a>,
    name: Option<&str>,
    lines: &[&str],
    secrets: &mut Vec<Secret>,
    texts: &mut Vec<(String, &'a str)>,
) {
    if let Some(text) = at.text() {
        texts.push((at.path.clone(), text));
    }
    if at.is_list() {
        for item in at.items() {
            visit(&item, None, lines, secrets, texts);
        }
    }
    for (key, value) in at.entries() {
        if key == "secure" && value.text().is_some() {
            let pos = value.pos();
            secrets.push(Secret {
                name: name
                    .filter(|name| is_name(name) && at.path.contains("env"))
                    .map(str::to_owned),
                path: value.path.clone(),
                line: pos.line,
                column: pos.column,
                hint: hint(lines, pos.line),
                used_in: Vec::new(),
            });
        } else {
            visit(&value, Some(key), lines, secrets, texts);
        }
    }
}

/// The comment in the line of a value or in the one above it.
fn hint(lines: &[&str], line: usize) -> Option<String> {
    let index = line.checked_sub(1)?;
    let own = lines
        .get(index)
        .and_then(|text| text.split_once(" #"))
        .map(|(_, comment)| comment);
    let above = || {
        let text = lines.get(index.checked_sub(1)?)?.trim();
        text.strip_prefix('#')
    };
    own.or_else(above)
        .map(|comment| comment.trim_start_matches('#').trim().to_owned())
        .filter(|comment| !comment.is_empty())
}

/// Whether an entry only says that a secret must be created.
pub(crate) fn is_about_secret(entry: &Entry) -> bool {
    entry.outcome == Outcome::Manual && entry.detail.starts_with("secret:")
}
