//! Whether a version will do, by the rules of each tool's own version manager.

use super::{Hint, Tool};

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It will do.
    Fits,
    /// It will not. A message with file, line, what is wanted, what was found, and the cure.
    Mismatch(String),
    /// Nobody here knows how to tell. A message with file and line.
    Unknown(String),
}

/// Long-term releases of Node.js by name.
const NODE_NAMES: &[(&str, u64)] = &[
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// Compares what a file wants with what the environment has; `None` if the tool is not there.
#[must_use]
pub fn compare(hint: &Hint, found: Option<&str>) -> Comparison {
    if matches!(hint.tool, Tool::Other(_)) {
        return Comparison::Unknown(format!(
            "{}: {} is not known here, so its version {} is not checked",
            hint.place(),
            hint.tool,
            hint.wanted
        ));
    }
    let Some(found) = found else {
        return Comparison::Mismatch(message(hint, "it is not there"));
    };
    let mut unknown = None;
    for wanted in hint.wanted.split('|') {
        match fits(hint, wanted, found) {
            Some(true) => return Comparison::Fits,
            Some(false) => {}
            None => unknown = Some(wanted),
        }
    }
    match unknown {
        Some(wanted) => Comparison::Unknown(format!(
            "{}: `{wanted}` is not a version of {} that can be compared with {}",
            hint.place(),
            hint.tool,
            crate::error::clean(found.as_bytes())
        )),
        None => Comparison::Mismatch(message(
            hint,
            &format!(
                "the environment has {}",
                crate::error::clean(found.as_bytes())
            ),
        )),
    }
}

fn message(hint: &Hint, found: &str) -> String {
    let (tool, place) = (&hint.tool, hint.place());
    let wanted = hint.wanted.replace('|', " or ");
    let newer = if hint.at_least { " or newer" } else { "" };
    format!(
        "{place} wants {tool} {wanted}{newer}, and {found}; use an image that has {tool} {wanted}, or install it in the recipe's set-up"
    )
}

/// Whether `found` is what `wanted` means; none if that cannot be told.
fn fits(hint: &Hint, wanted: &str, found: &str) -> Option<bool> {
    if matches!(wanted, "system" | "latest") {
        return Some(true);
    }
    match hint.tool {
        Tool::Rust => rust(wanted, found),
        Tool::Node => node(wanted, found),
        Tool::Python => prefix(wanted, found),
        Tool::Go if hint.at_least => Some(order(found)? >= order(wanted)?),
        Tool::Go => prefix(wanted, found),
        Tool::Java => java(wanted, found),
        Tool::Other(_) => None,
    }
}

/// rustup: `1.75` means any patch of it, a channel means its releases, a dated one that day's.
fn rust(wanted: &str, found: &str) -> Option<bool> {
    // A host may be appended: `stable-x86_64-unknown-linux-gnu`.
    let channel_of = |channel: &str| {
        let rest = wanted.strip_prefix(channel)?;
        (rest.is_empty() || rest.starts_with('-')).then_some(rest)
    };
    let number = found.split_whitespace().next()?;
    if channel_of("stable").is_some() {
        return Some(!number.contains('-'));
    }
    for channel in ["beta", "nightly"] {
        let Some(rest) = channel_of(channel) else {
            continue;
        };
        let is = number.contains(&format!("-{channel}"));
        return match rest.get(1..11).and_then(day) {
            // A nightly of a day is made of commits up to the day before.
            Some(wanted) => {
                let found = found.split(['(', ')']).nth(1).and_then(day)?;
                Some(is && (0..=1).contains(&(wanted - found)))
            }
            None => Some(is),
        };
    }
    let version = wanted.split('-').next()?;
    prefix(version, number)
}

/// nvm: `v` is optional; `lts/*` is any even version, `lts/NAME` one of them; `node` and `stable` are any.
fn node(wanted: &str, found: &str) -> Option<bool> {
    let major = *numbers(found)?.first()?;
    match wanted.strip_prefix("lts/") {
        Some("*") => return Some(major % 2 == 0 && major >= 4),
        Some(name) => {
            let named = NODE_NAMES
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known));
            return named.map(|(_, wanted)| *wanted == major);
        }
        None => {}
    }
    if matches!(wanted, "node" | "stable" | "current") {
        return Some(true);
    }
    prefix(wanted.strip_prefix('v').unwrap_or(wanted), found)
}

/// jenv and asdf: `17`, `17.0.9`, `temurin-17.0.9+9`; `1.8` is 8.
fn java(wanted: &str, found: &str) -> Option<bool> {
    let begin = wanted.find(|c: char| c.is_ascii_digit())?;
    let wanted = wanted[begin..].split('+').next()?;
    let modern = |version: &str| {
        version
            .strip_prefix("1.")
            .unwrap_or(version)
            .replace('_', ".")
    };
    prefix(&modern(wanted), &modern(found))
}

/// Whether `found` is `wanted`, or begins with it at a dot: `3.1` is `3.1.4` and not `3.11`. A suffix like
/// `-rc1` must be equal.
fn prefix(wanted: &str, found: &str) -> Option<bool> {
    if wanted == found {
        return Some(true);
    }
    let (want, have) = (numbers(wanted)?, numbers(found)?);
    let suffix = |text: &str| {
        text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .to_owned()
    };
    if want.len() < 3
        && suffix(wanted).is_empty()
        && !suffix(found).is_empty()
        && want.len() < have.len()
    {
        // A pre-release is not what a bare `1.75` means.
        return Some(false);
    }
    Some(have.starts_with(&want) && (suffix(wanted) == suffix(found)))
}

/// The leading numbers of a version; none if it begins with something else.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    let plain = version[..end].trim_end_matches('.');
    if plain.is_empty() {
        return None;
    }
    plain.split('.').map(|part| part.parse().ok()).collect()
}

/// A place in the order of Go's versions: `1.21` before `1.21rc1`'s release, `1.21rc1` before `1.21.0`.
fn order(version: &str) -> Option<([u64; 3], u8, u64)> {
    let numbers = numbers(version)?;
    let mut three = [0; 3];
    for (place, number) in three.iter_mut().zip(&numbers) {
        *place = *number;
    }
    let rest = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let candidate = |kind: &str| {
        rest.strip_prefix(kind)
            .and_then(|number| number.parse().ok())
    };
    if let Some(number) = candidate("beta") {
        return Some((three, 0, number));
    }
    if let Some(number) = candidate("rc") {
        return Some((three, 1, number));
    }
    Some((three, 2, 0))
}

/// Days since some day, of `YYYY-MM-DD`.
fn day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day): (i64, i64, i64) =
        (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !(1..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || parts.next().is_some()
    {
        return None;
    }
    // Years that begin in March put the odd day at their end.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    Some(365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tool: Tool, wanted: &str, at_least: bool) -> Hint {
        Hint {
            tool,
            wanted: wanted.into(),
            file: "f".into(),
            line: 1,
            at_least,
        }
    }

    fn check(tool: &Tool, wanted: &str, found: &str, fits: bool) {
        let comparison = compare(&of(tool.clone(), wanted, *tool == Tool::Go), Some(found));
        assert_eq!(
            comparison == Comparison::Fits,
            fits,
            "{tool:?} {wanted} {found}: {comparison:?}"
        );
    }

    #[test]
    fn versions_fit_by_the_rules_of_their_tools() {
        use Tool::{Go, Java, Node, Python, Rust};
        for (tool, wanted, found, fits) in [
            (Rust, "1.75", "1.75.0", true),
            (Rust, "1.75.0", "1.75.0", true),
            (Rust, "1.7", "1.75.0", false),
            (Rust, "1.75", "1.76.0", false),
            (Rust, "1.75", "1.75.0-nightly (2023-10-10)", false),
            (Rust, "stable", "1.95.0", true),
            (Rust, "stable-x86_64-unknown-linux-gnu", "1.95.0", true),
            (Rust, "1.75.0-x86_64-unknown-linux-gnu", "1.75.0", true),
            (Rust, "stable", "1.96.0-nightly (2026-03-01)", false),
            (Rust, "nightly", "1.96.0-nightly (2026-03-01)", true),
            (
                Rust,
                "nightly-2026-03-01",
                "1.96.0-nightly (2026-02-28)",
                true,
            ),
            (
                Rust,
                "nightly-2026-03-01",
                "1.96.0-nightly (2026-02-26)",
                false,
            ),
            (Rust, "beta", "1.96.0-beta.3 (2026-03-01)", true),
            (Node, "v18", "18.17.1", true),
            (Node, "18.17", "18.17.1", true),
            (Node, "18.1", "18.17.1", false),
            (Node, "lts/hydrogen", "18.17.1", true),
            (Node, "lts/Iron", "18.17.1", false),
            (Node, "lts/*", "20.0.0", true),
            (Node, "lts/*", "21.0.0", false),
            (Node, "node", "23.1.0", true),
            (Python, "3.11", "3.11.4", true),
            (Python, "3.1", "3.11.4", false),
            (Python, "3.11.4", "3.11.5", false),
            (Python, "3.13", "3.13.0rc1", false),
            (Python, "3.13.0rc1", "3.13.0rc1", true),
            (Python, "system", "3.9.1", true),
            (Go, "1.21", "1.22.3", true),
            (Go, "1.21", "1.21", true),
            (Go, "1.21.0", "1.21rc2", false),
            (Go, "1.21rc1", "1.21rc2", true),
            (Go, "1.22.4", "1.22.3", false),
            (Go, "1.9", "1.10", true),
            (Java, "17", "17.0.9", true),
            (Java, "temurin-17.0.9+9", "17.0.9", true),
            (Java, "1.8", "1.8.0_392", true),
            (Java, "8", "1.8.0_392", true),
            (Java, "11", "17.0.9", false),
        ] {
            check(&tool, wanted, found, fits);
        }
    }

    #[test]
    fn one_of_several_versions_is_enough() {
        check(&Tool::Python, "3.12.1|3.11.4", "3.11.4", true);
        check(&Tool::Python, "3.12.1|3.11.4", "3.10.0", false);
    }

    #[test]
    fn a_mismatch_says_where_what_and_what_to_do() {
        let hint = of(Tool::Node, "18", false);
        let Comparison::Mismatch(text) = compare(&hint, Some("20.1.0")) else {
            panic!("it does not fit");
        };
        assert_eq!(
            text,
            "f:1 wants Node.js 18, and the environment has 20.1.0; use an image that has Node.js 18, or install it in the recipe's set-up"
        );
        assert!(
            matches!(compare(&hint, None), Comparison::Mismatch(text) if text.contains("it is not there"))
        );
    }

    #[test]
    fn what_cannot_be_compared_is_said_to_be_so() {
        for (tool, wanted) in [
            (Tool::Python, "pypy3.10"),
            (Tool::Node, "lts/nothing"),
            (Tool::Other("deno".into()), "1"),
            (Tool::Rust, "mine"),
        ] {
            let comparison = compare(&of(tool, wanted, false), Some("3.11.4"));
            assert!(
                matches!(comparison, Comparison::Unknown(_)),
                "{wanted}: {comparison:?}"
            );
        }
    }
}
