//! Total accounting: every leaf of the source ends as exactly one outcome.
//!
//! The converter files *claims* about paths. The walker below knows nothing of the converter: it
//! visits every leaf of the tree, and a leaf that no claim covers is reported as manual.

use std::{cell::RefCell, collections::HashMap};

use serde::Serialize;

use crate::yaml::{Node, Pos, Value};

/// What became of one construct of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has no effect any more, or the target does it by itself.
    NotNeeded,
    /// It is in the workflow.
    Mapped,
    /// A person or an agent has to do something.
    Manual,
}

/// One leaf of the source and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Path from the root, such as `matrix.include[0].python`.
    pub path: String,
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the source, from 1.
    pub column: usize,
    /// What became of it.
    pub outcome: Outcome,
    /// To what it was mapped, why it is not needed, or what must be done.
    pub detail: String,
    /// The construct the outcome was decided for: the path itself or one above it.
    pub construct: String,
}

/// The detail of a leaf that no claim covers.
pub(crate) const NOT_UNDERSTOOD: &str = "not understood: decide what it should become";

/// Claims by path; of several about one path the strictest holds.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_path: RefCell<HashMap<String, (Outcome, String)>>,
}

impl Claims {
    /// It is in the workflow as `what`.
    pub(crate) fn mapped(&self, path: &str, what: impl Into<String>) {
        self.file(path, Outcome::Mapped, what.into());
    }

    /// It is not needed because of `why`.
    pub(crate) fn not_needed(&self, path: &str, why: impl Into<String>) {
        self.file(path, Outcome::NotNeeded, why.into());
    }

    /// Somebody must do `what`.
    pub(crate) fn manual(&self, path: &str, what: impl Into<String>) {
        self.file(path, Outcome::Manual, what.into());
    }

    fn file(&self, path: &str, outcome: Outcome, detail: String) {
        let mut by_path = self.by_path.borrow_mut();
        match by_path.get_mut(path) {
            Some(held) if held.0 >= outcome => {}
            Some(held) => *held = (outcome, detail),
            None => {
                by_path.insert(path.to_owned(), (outcome, detail));
            }
        }
    }
}

/// Every leaf under `root` with its outcome, in source order.
pub(crate) fn account(root: &Node, claims: &Claims) -> Vec<Entry> {
    let claims = claims.by_path.borrow();
    let mut entries: Vec<Entry> = leaves(root)
        .into_iter()
        .map(|leaf| entry(leaf, &claims))
        .collect();
    entries.sort_by_key(|entry| (entry.line, entry.column));
    entries
}

fn entry(leaf: Leaf, claims: &HashMap<String, (Outcome, String)>) -> Entry {
    let (outcome, detail, construct) = match leaf.replaced_at {
        Some(line) => (
            Outcome::NotNeeded,
            format!("the same key on line {line} replaces it, as it did on Travis"),
            leaf.path.clone(),
        ),
        None => match covering(&leaf.path, claims) {
            Some((path, (outcome, detail))) => (*outcome, detail.clone(), path.to_owned()),
            None if leaf.null => (
                Outcome::NotNeeded,
                "it has no value".to_owned(),
                leaf.path.clone(),
            ),
            None => (
                Outcome::Manual,
                NOT_UNDERSTOOD.to_owned(),
                leaf.path.clone(),
            ),
        },
    };
    Entry {
        path: leaf.path,
        line: leaf.pos.line,
        column: leaf.pos.column,
        outcome,
        detail,
        construct,
    }
}

/// The claim nearest above `path`.
fn covering<'a, 'p>(
    path: &'p str,
    claims: &'a HashMap<String, (Outcome, String)>,
) -> Option<(&'p str, &'a (Outcome, String))> {
    let mut rest = path;
    loop {
        if let Some(claim) = claims.get(rest) {
            return Some((rest, claim));
        }
        rest = &rest[..rest.rfind(['.', '['])?];
    }
}

struct Leaf {
    path: String,
    pos: Pos,
    replaced_at: Option<usize>,
    null: bool,
}

fn leaves(root: &Node) -> Vec<Leaf> {
    let mut found = Vec::new();
    visit(root, root.pos, String::new(), None, &mut found);
    found
}

fn visit(node: &Node, key: Pos, path: String, replaced_at: Option<usize>, found: &mut Vec<Leaf>) {
    match &node.value {
        Value::Map(pairs) if !pairs.is_empty() => {
            for pair in pairs {
                let below = if path.is_empty() {
                    pair.key.clone()
                } else {
                    format!("{path}.{}", pair.key)
                };
                visit(
                    &pair.value,
                    pair.pos,
                    below,
                    replaced_at.or(pair.replaced_at),
                    found,
                );
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let below = format!("{path}[{index}]");
                visit(item, item.pos, below, replaced_at, found);
            }
        }
        // The root of an empty file is no construct.
        _ if path.is_empty() => {}
        _ => found.push(Leaf {
            path,
            pos: key,
            replaced_at,
            null: node.is_null(),
        }),
    }
}
