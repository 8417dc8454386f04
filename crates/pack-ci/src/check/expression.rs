//! `${{ }}`: balanced, not empty, and only contexts that exist where it stands.

use super::Problems;
use crate::yaml::At;

const FUNCTIONS: [&str; 13] = [
    "contains",
    "startswith",
    "endswith",
    "format",
    "join",
    "tojson",
    "fromjson",
    "hashfiles",
    "success",
    "always",
    "cancelled",
    "failure",
    "case",
];

/// Check every text under `at`; `contexts` are those available there.
pub(crate) fn check(at: Option<&At<'_>>, contexts: &[&str], problems: &mut Problems) {
    let Some(at) = at else { return };
    if let Some(text) = at.text() {
        for message in in_text(text, contexts) {
            problems.add(at.pos(), message);
        }
    }
    if at.is_list() {
        for item in at.items() {
            check(Some(&item), contexts, problems);
        }
    }
    for (_, value) in at.entries() {
        check(Some(&value), contexts, problems);
    }
}

/// Check the text of an `if`, which is an expression with or without brackets.
pub(crate) fn check_condition(at: &At<'_>, contexts: &[&str], problems: &mut Problems) {
    let text = at.text().unwrap_or_default();
    let messages = if text.contains("${{") {
        in_text(text, contexts)
    } else {
        one(text, contexts)
    };
    for message in messages {
        problems.add(at.pos(), message);
    }
}

fn in_text(text: &str, contexts: &[&str]) -> Vec<String> {
    let mut messages = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        let body = &rest[start + 3..];
        let Some(end) = end(body) else {
            messages.push("an expression is not closed with `}}`".to_owned());
            return messages;
        };
        messages.extend(one(&body[..end], contexts));
        rest = &body[end + 2..];
    }
    messages
}

/// Where the closing brackets stand, texts in quotes skipped.
fn end(body: &str) -> Option<usize> {
    let mut quoted = false;
    for (index, c) in body.char_indices() {
        if c == '\'' {
            quoted = !quoted;
        } else if !quoted && body[index..].starts_with("}}") {
            return Some(index);
        }
    }
    None
}

fn one(expression: &str, contexts: &[&str]) -> Vec<String> {
    let mut messages = Vec::new();
    if expression.trim().is_empty() {
        messages.push("an expression is empty".to_owned());
        return messages;
    }
    let mut depth = 0_i32;
    let mut bare = String::new();
    let mut quoted = false;
    for c in expression.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                bare.push(' ');
            }
            _ if quoted => {}
            '(' | '[' => {
                depth += 1;
                bare.push(c);
            }
            ')' | ']' => {
                depth -= 1;
                bare.push(c);
                if depth < 0 {
                    break;
                }
            }
            '"' => {
                messages.push("texts in expressions stand in single quotes".to_owned());
                return messages;
            }
            c => bare.push(c),
        }
    }
    if quoted || depth != 0 {
        messages.push(format!("unbalanced expression `{}`", expression.trim()));
        return messages;
    }
    names(&bare, contexts, &mut messages);
    messages
}

/// Every name that begins a path is a context, a function or a word.
fn names(bare: &str, contexts: &[&str], messages: &mut Vec<String>) {
    let mut previous = ' ';
    let mut chars = bare.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if !(c.is_ascii_alphabetic() || c == '_') {
            previous = c;
            continue;
        }
        let field = previous == '.' || previous.is_ascii_digit();
        let mut end = start + c.len_utf8();
        while let Some((index, c)) =
            chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        {
            end = index + c.len_utf8();
        }
        let name = bare[start..end].to_ascii_lowercase();
        previous = 'a';
        if field {
            continue;
        }
        let call = bare[end..].trim_start().starts_with('(');
        if call {
            if !FUNCTIONS.contains(&name.as_str()) {
                messages.push(format!("unknown function `{name}`"));
            }
        } else if !matches!(name.as_str(), "true" | "false" | "null")
            && !contexts.contains(&name.as_str())
        {
            messages.push(format!("the context `{name}` does not exist here"));
        }
    }
}

/// Names of the fields of `context` used in `text`.
pub(crate) fn fields<'t>(text: &'t str, context: &str) -> Vec<&'t str> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        let body = &rest[start + 3..];
        let end = end(body).unwrap_or(body.len());
        let mut inside = &body[..end];
        while let Some(found) = inside.find(context) {
            let whole = !inside[..found]
                .ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
            let after = &inside[found + context.len()..];
            if let Some(name) = after.strip_prefix('.').filter(|_| whole) {
                let length = name
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
                    .unwrap_or(name.len());
                fields.push(&name[..length]);
            }
            inside = after;
        }
        rest = &body[end..];
    }
    fields
}
