//! Lines of `env`: shell assignments, maps and encrypted values.

use super::Text;
use crate::yaml::At;

/// One variable of an `env` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Var {
    /// Its name; empty when it is hidden in an encrypted value.
    pub(crate) name: String,
    pub(crate) value: VarValue,
    pub(crate) at: Text,
}

/// What a variable is set to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum VarValue {
    /// The text itself.
    Literal(String),
    /// Shell text that the job's shell has to expand, as written.
    Shell(String),
    /// Encrypted: only its owner knows it.
    Secret,
}

/// One element of an `env` list: the variables of one job of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EnvLine {
    pub(crate) path: String,
    pub(crate) vars: Vec<Var>,
    /// Words that are no assignment.
    pub(crate) stray: Vec<String>,
}

impl EnvLine {
    /// Name and value of each variable, to compare lines by.
    pub(crate) fn assignments(&self) -> Vec<(&str, &VarValue)> {
        self.vars
            .iter()
            .map(|var| (var.name.as_str(), &var.value))
            .collect()
    }
}

/// Read a list (or one) of lines.
pub(crate) fn lines(at: &At<'_>) -> Vec<EnvLine> {
    at.items().iter().flat_map(nested).collect()
}

/// A list within a list (an alias to a list, mostly) stands for its lines.
fn nested(item: &At<'_>) -> Vec<EnvLine> {
    if item.is_list() {
        let deeper = item.items();
        return deeper.iter().map(line).collect();
    }
    vec![line(item)]
}

fn line(item: &At<'_>) -> EnvLine {
    let mut made = EnvLine {
        path: item.path.clone(),
        ..EnvLine::default()
    };
    if let Some(text) = item.text() {
        let at = text_at(item, text);
        parse(text, &at, &mut made);
    } else {
        map(item, &mut made);
    }
    made
}

fn map(item: &At<'_>, into: &mut EnvLine) {
    for (key, value) in item.entries() {
        let at = text_at(&value, value.text().unwrap_or_default());
        if key == "secure" {
            into.vars.push(Var {
                name: String::new(),
                value: VarValue::Secret,
                at,
            });
        } else if value.get("secure").is_some() {
            into.vars.push(Var {
                name: key.to_owned(),
                value: VarValue::Secret,
                at,
            });
        } else if let (Some(text), true) = (value.text(), is_name(key)) {
            let text = if value.node.is_null() { "" } else { text };
            into.vars.push(Var {
                name: key.to_owned(),
                value: raw_value(text),
                at,
            });
        } else {
            into.stray.push(key.to_owned());
        }
    }
}

fn text_at(item: &At<'_>, text: &str) -> Text {
    Text {
        text: text.to_owned(),
        path: item.path.clone(),
        pos: item.pos(),
    }
}

/// Whether `name` can be the name of an environment variable.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Read `A=1 B="two words" C=$HOME` into variables.
fn parse(text: &str, at: &Text, into: &mut EnvLine) {
    for word in words(text) {
        match word.split_once('=') {
            Some((name, value)) if is_name(name) => into.vars.push(Var {
                name: name.to_owned(),
                value: raw_value(value),
                at: at.clone(),
            }),
            _ if word == "export" => {}
            _ => into.stray.push(word),
        }
    }
}

/// Split at unquoted white space, quotes kept.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut parens = 0_usize;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('(', None) => parens += 1,
            (')', None) => parens = parens.saturating_sub(1),
            (c, None) if c.is_whitespace() && parens == 0 => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Shell text without anything to expand is its unquoted self.
fn raw_value(raw: &str) -> VarValue {
    let mut literal = String::new();
    let mut quote: Option<char> = None;
    for c in raw.chars() {
        match (c, quote) {
            ('$' | '`' | '\\', None | Some('"')) => return VarValue::Shell(raw.to_owned()),
            ('~', None) if literal.is_empty() => return VarValue::Shell(raw.to_owned()),
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => literal.push(c),
        }
    }
    // An unclosed quote (an apostrophe in a map's value) is part of the text.
    if quote.is_some() {
        return VarValue::Literal(raw.to_owned());
    }
    VarValue::Literal(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, VarValue)> {
        let mut line = EnvLine::default();
        let at = Text {
            text: String::new(),
            path: String::new(),
            pos: crate::yaml::Pos::default(),
        };
        parse(text, &at, &mut line);
        line.vars
            .into_iter()
            .map(|var| (var.name, var.value))
            .collect()
    }

    #[test]
    fn one_line_holds_several_variables() {
        assert_eq!(
            read("A=1 B='two words' C=\"x\""),
            [
                ("A".to_owned(), VarValue::Literal("1".to_owned())),
                ("B".to_owned(), VarValue::Literal("two words".to_owned())),
                ("C".to_owned(), VarValue::Literal("x".to_owned())),
            ]
        );
    }

    #[test]
    fn what_the_shell_would_expand_stays_shell_text() {
        assert_eq!(
            read("P=$HOME/bin:$PATH Q='$x'"),
            [
                (
                    "P".to_owned(),
                    VarValue::Shell("$HOME/bin:$PATH".to_owned())
                ),
                ("Q".to_owned(), VarValue::Literal("$x".to_owned())),
            ]
        );
    }
}
