//! Commands in their three forms.

use serde_json::Value;

use super::substitute::Variables;
use crate::Command;

/// A line, a program with arguments, or several of them by name. Those by name may run at the same time;
/// here they run one after another, in the order they are written.
pub(super) fn commands(value: &Value, variables: &Variables) -> Result<Vec<Command>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(named) => named
            .values()
            .map(|value| one(value, variables))
            .filter_map(Result::transpose)
            .collect(),
        value => Ok(one(value, variables)?.into_iter().collect()),
    }
}

fn one(value: &Value, variables: &Variables) -> Result<Option<Command>, String> {
    let wrong = || "is neither a line, nor a list of texts, nor a map of these".to_owned();
    match value {
        Value::String(line) if line.trim().is_empty() => Ok(None),
        Value::String(line) => Ok(Some(Command::Line(variables.in_text(line)?))),
        Value::Array(words) if words.is_empty() => Ok(None),
        Value::Array(words) => {
            let words = words
                .iter()
                .map(|word| variables.in_text(word.as_str().ok_or_else(wrong)?));
            Ok(Some(Command::Program(words.collect::<Result<_, _>>()?)))
        }
        _ => Err(wrong()),
    }
}
