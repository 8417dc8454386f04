//! Changes of a request where they cannot be avoided: one value is replaced in place, and every
//! other byte stays.

use std::ops::Range;

use bytes::Bytes;

use super::Facts;

/// A text as JSON. Names of models are plain ASCII, so quotes and backslashes are all there is.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The body with what stands at this place replaced.
#[must_use]
pub fn replaced(body: &Bytes, at: &Range<usize>, text: &str) -> Bytes {
    let before = body.get(..at.start).unwrap_or_default();
    let after = body.get(at.end..).unwrap_or_default();
    [before, text.as_bytes(), after].concat().into()
}

/// The body with another name of the model.
#[must_use]
pub fn renamed(body: &Bytes, facts: &Facts, name: &str) -> Bytes {
    if facts.model == name {
        return body.clone();
    }
    replaced(body, &facts.model_at, &quoted(name))
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

/// The body of a streamed Chat Completion that asks for its usage: without it, nobody tells what
/// the call did cost. What else `stream_options` says stays.
#[must_use]
pub fn telling_usage(body: &Bytes, facts: &Facts) -> Option<Bytes> {
    const ASKED: &str = "\"include_usage\":true";
    if facts.include_usage || !facts.stream {
        return None;
    }
    let Some(at) = &facts.stream_options_at else {
        let put = format!("\"stream_options\":{{{ASKED}}}");
        return Some(reshaped(body, facts, &[], &[put]));
    };
    let old = body.get(at.clone()).unwrap_or_default();
    let mut options: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(old).unwrap_or_default();
    options.insert("include_usage".to_owned(), true.into());
    let text = serde_json::Value::Object(options).to_string();
    Some(replaced(body, at, &text))
}
