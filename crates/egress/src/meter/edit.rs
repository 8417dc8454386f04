//! Changes of a request where they cannot be avoided: one value is replaced in place, and every
//! other byte stays.

use std::ops::Range;

use bytes::Bytes;

use super::Facts;

/// What stands at a place, and what shall stand there.
pub type Edit = (Range<usize>, String);

/// The body with these edits, which do not overlap.
#[must_use]
pub fn edited(body: &Bytes, mut edits: Vec<Edit>) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    let mut changed = Vec::with_capacity(body.len() + 64);
    let mut copied = 0;
    for (at, text) in edits {
        changed.extend_from_slice(body.get(copied..at.start).unwrap_or_default());
        changed.extend_from_slice(text.as_bytes());
        copied = at.end;
    }
    changed.extend_from_slice(body.get(copied..).unwrap_or_default());
    changed.into()
}

/// Another name of the model, where it has one.
#[must_use]
pub fn renamed(facts: &Facts, name: &str) -> Option<Edit> {
    let quoted = serde_json::Value::from(name).to_string();
    (facts.model != name).then(|| (facts.model_at.clone(), quoted))
}

/// Has a streamed Chat Completion tell its usage: without that, nobody says what the call did cost.
/// What else `stream_options` says stays.
#[must_use]
pub fn telling_usage(body: &Bytes, facts: &Facts) -> Option<Edit> {
    const ASKED: &str = "\"include_usage\":true";
    if facts.include_usage || !facts.stream {
        return None;
    }
    let Some(at) = &facts.stream_options_at else {
        let first = facts.members.first().map(|(_, at)| at.start)?;
        let put = format!("\"stream_options\":{{{ASKED}}},");
        return Some((first..first, put));
    };
    let old = body.get(at.clone()).unwrap_or_default();
    let mut options: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(old).unwrap_or_default();
    options.insert("include_usage".to_owned(), true.into());
    Some((at.clone(), serde_json::Value::Object(options).to_string()))
}

/// The body with other members at its top: those named in `without` are left out, `put` comes
/// first. Members that stay are the same bytes.
#[must_use]
pub fn reshaped(body: &Bytes, facts: &Facts, without: &[&str], put: &[String]) -> Bytes {
    let kept = facts
        .members
        .iter()
        .filter(|(name, _)| !without.contains(&name.as_str()))
        .filter_map(|(_, at)| body.get(at.clone()));
    let mut shaped = vec![b'{'];
    for (number, member) in put.iter().map(String::as_bytes).chain(kept).enumerate() {
        if number > 0 {
            shaped.push(b',');
        }
        shaped.extend_from_slice(member);
    }
    shaped.push(b'}');
    shaped.into()
}
