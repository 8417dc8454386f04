//! A lenient YAML tree in which every node knows its line and column.
//!
//! Scalars stay text (`1.10` is not `1.1`), duplicate keys are kept and reported, anchors and
//! merge keys are resolved by sharing, so that an alias bomb costs nothing before it is refused.

mod build;
mod cursor;

use std::rc::Rc;

pub(crate) use build::parse;
pub(crate) use cursor::At;

/// A place in a text: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Pos {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// One node of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
    /// Whether the source gave it an anchor.
    pub(crate) anchored: bool,
    /// Number of nodes below and including this one, aliases counted as often as they are used.
    size: u64,
    /// Nesting depth below and including this one.
    depth: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    /// A scalar; `plain` when it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Rc<Node>>),
    /// A mapping in source order, duplicates included.
    Map(Vec<Pair>),
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) pos: Pos,
    pub(crate) value: Rc<Node>,
    /// Line of the later entry with the same key that replaces this one.
    pub(crate) replaced_at: Option<usize>,
}

impl Node {
    /// Whether it is YAML's null: nothing, `~` or `null` without quotes.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null"))
    }
}

#[cfg(test)]
mod tests;
