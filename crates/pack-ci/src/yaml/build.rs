//! From parser events to the tree, within bounds.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Node, Pair, Pos, Value};
use crate::ConvertError;

/// Larger files are refused: the largest real configuration is a hundredth of this.
const MAX_BYTES: usize = 1 << 20;
/// Nodes after expansion of aliases and merge keys.
const MAX_NODES: u64 = 100_000;
/// Nesting after expansion.
const MAX_DEPTH: usize = 48;

/// Parse the first document of `text`; an empty text is an empty map.
pub(crate) fn parse(text: &str) -> Result<Rc<Node>, ConvertError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(ConvertError::new(
            Pos { line: 1, column: 1 },
            format!("the file has {} bytes", text.len()),
            format!("split it: the limit is {MAX_BYTES} bytes"),
        ));
    }
    if let Some(at) = control_character(text) {
        return Err(ConvertError::new(
            at,
            "a control character is not allowed in YAML",
            "remove the character",
        ));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            ConvertError::new(
                Pos {
                    line: marker.line().max(1),
                    column: marker.col() + 1,
                },
                format!("YAML does not parse: {}", error.info()),
                "correct the syntax at this place (indentation by spaces, quotes closed)",
            )
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or_else(|| {
        Rc::new(node(
            Pos { line: 1, column: 1 },
            Value::Map(Vec::new()),
            false,
        ))
    }))
}

fn control_character(text: &str) -> Option<Pos> {
    let (index, _) = text
        .char_indices()
        .find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}'))?;
    let before = &text[..index];
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Some(Pos {
        line: before.matches('\n').count() + 1,
        column,
    })
}

fn node(pos: Pos, value: Value, anchored: bool) -> Node {
    let (size, depth) = match &value {
        Value::Scalar { .. } => (0, 0),
        Value::List(items) => measure(items.iter()),
        Value::Map(pairs) => measure(pairs.iter().map(|pair| &pair.value)),
    };
    Node {
        pos,
        value,
        anchored,
        size: size.saturating_add(1),
        depth: depth + 1,
    }
}

fn measure<'a>(children: impl Iterator<Item = &'a Rc<Node>>) -> (u64, usize) {
    children.fold((0, 0), |(size, depth), child| {
        (
            u64::saturating_add(size, child.size),
            usize::max(depth, child.depth),
        )
    })
}

/// A collection whose end has not been seen yet.
struct Open {
    pos: Pos,
    anchor: usize,
    items: Vec<Rc<Node>>,
    map: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), ConvertError> {
        let pos = Pos {
            line: span.start.line().max(1),
            column: span.start.col() + 1,
        };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                self.finish(pos, Value::Scalar { text, plain }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(ConvertError::new(
                        pos,
                        "the alias refers to itself or to nothing",
                        "define the anchor completely before its use",
                    ));
                };
                self.attach(target);
                Ok(())
            }
            Event::SequenceStart(anchor, _) => self.begin(pos, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(pos, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let value = if open.map {
                        Value::Map(pairs(open.items))
                    } else {
                        Value::List(open.items)
                    };
                    self.finish(open.pos, value, open.anchor)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, pos: Pos, anchor: usize, map: bool) -> Result<(), ConvertError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_large(pos, "nested too deeply"));
        }
        self.open.push(Open {
            pos,
            anchor,
            items: Vec::new(),
            map,
        });
        Ok(())
    }

    fn finish(&mut self, pos: Pos, value: Value, anchor: usize) -> Result<(), ConvertError> {
        let made = Rc::new(node(pos, value, anchor != 0));
        if made.size > MAX_NODES {
            return Err(too_large(pos, "its aliases expand to too many nodes"));
        }
        if made.depth > MAX_DEPTH {
            return Err(too_large(pos, "nested too deeply"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&made));
        }
        self.attach(made);
        Ok(())
    }

    fn attach(&mut self, made: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.items.push(made),
            None => self.root = Some(made),
        }
    }
}

fn too_large(pos: Pos, cause: &str) -> ConvertError {
    ConvertError::new(pos, cause, "write it flatter, with fewer aliases")
}

/// Key and value nodes in turn become entries; merge keys are resolved, the later of two equal
/// keys wins as it does in Ruby, which reads the file for Travis.
fn pairs(nodes: Vec<Rc<Node>>) -> Vec<Pair> {
    let mut made: Vec<Pair> = Vec::new();
    let mut merges: Vec<Pair> = Vec::new();
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        let text = match &key.value {
            Value::Scalar { text, .. } => text.clone(),
            _ => "(a collection as key)".to_owned(),
        };
        if text == "<<" && merge(&value, &mut merges) {
            continue;
        }
        if let Some(earlier) = made.iter_mut().rfind(|pair| pair.key == text) {
            earlier.replaced_at = Some(key.pos.line);
        }
        made.push(Pair {
            key: text,
            pos: key.pos,
            value,
            replaced_at: None,
        });
    }
    for pair in merges {
        if !made.iter().any(|own| own.key == pair.key) {
            made.push(pair);
        }
    }
    made
}

/// Collect the entries of a merge value; `false` when it is no map and no list of maps.
fn merge(value: &Rc<Node>, into: &mut Vec<Pair>) -> bool {
    let mut add = |node: &Node| -> bool {
        let Value::Map(entries) = &node.value else {
            return false;
        };
        for entry in entries.iter().filter(|entry| entry.replaced_at.is_none()) {
            into.push(entry.clone());
        }
        true
    };
    match &value.value {
        Value::Map(_) => add(value),
        Value::List(items) => {
            items.iter().all(|item| matches!(item.value, Value::Map(_)))
                && items.iter().all(|item| add(item))
        }
        Value::Scalar { .. } => false,
    }
}
