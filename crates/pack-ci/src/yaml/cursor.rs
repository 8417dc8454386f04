//! Reading the tree leniently, with the path of where one is.

use super::{Node, Pair, Pos, Value};

/// A node together with its path from the root, such as `matrix.include[2].env`.
#[derive(Debug, Clone)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

impl<'a> At<'a> {
    /// The root, whose path is empty.
    pub(crate) fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    /// Where it stands in the source.
    pub(crate) fn pos(&self) -> Pos {
        self.node.pos
    }

    fn child(&self, pair: &'a Pair) -> Self {
        Self {
            node: &pair.value,
            path: key_path(&self.path, &pair.key),
        }
    }

    /// The entries that count: of equal keys the last.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        match &self.node.value {
            Value::Map(pairs) => pairs
                .iter()
                .filter(|pair| pair.replaced_at.is_none())
                .map(|pair| (pair.key.as_str(), self.child(pair)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The value under `key`, if it is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        match &self.node.value {
            Value::Map(pairs) => pairs
                .iter()
                .rfind(|pair| pair.key == key && pair.replaced_at.is_none())
                .filter(|pair| !pair.value.is_null())
                .map(|pair| self.child(pair)),
            _ => None,
        }
    }

    /// The elements of a list; anything else is a list of itself, null the empty list.
    pub(crate) fn items(&self) -> Vec<Self> {
        match &self.node.value {
            Value::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(index, node)| Self {
                    node,
                    path: format!("{}[{index}]", self.path),
                })
                .collect(),
            _ if self.node.is_null() => Vec::new(),
            _ => vec![self.clone()],
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a mapping.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a sequence.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// YAML 1.1 truth, as Travis reads it.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// The path of `key` below `path`.
pub(crate) fn key_path(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
