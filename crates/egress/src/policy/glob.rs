//! Patterns of paths, repositories and refs: `*` is a part of one segment, `**` any number of
//! segments, none among them.

/// Longest pattern, in bytes.
pub(crate) const LONGEST_PATTERN: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Any number of segments.
    Any,
    /// One segment; the parts stand between stars.
    One(Vec<String>),
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Segment>);

impl Glob {
    /// Compiles a pattern of segments that slashes part.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let shown = || model::egress::harmless(text);
        if text.len() > LONGEST_PATTERN {
            return Err(format!("a pattern has at most {LONGEST_PATTERN} bytes"));
        }
        let strange = |letter: char| letter.is_control() || r"%?#;\".contains(letter);
        if text.contains(strange) {
            return Err(format!(
                "`{}` has a character that no pattern has (control characters and any of `%?#;\\`)",
                shown()
            ));
        }
        text.split('/')
            .map(segment)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "in `{}`, `**` is not a segment of its own, or a segment is `.` or `..`",
                    shown()
                )
            })
    }

    /// Whether these segments are what the pattern describes.
    pub(crate) fn matches<S: AsRef<str>>(&self, segments: &[S]) -> bool {
        let (mut at, mut place) = (0, 0);
        // Where to go on when what follows the last `**` does not fit: one segment more under it.
        let mut back: Option<(usize, usize)> = None;
        while place < segments.len() || at < self.0.len() {
            match (self.0.get(at), segments.get(place)) {
                (Some(Segment::Any), _) => {
                    back = Some((at, place));
                    at += 1;
                    continue;
                }
                (Some(Segment::One(parts)), Some(text)) if fits(parts, text.as_ref()) => {
                    at += 1;
                    place += 1;
                    continue;
                }
                _ => {}
            }
            match back {
                Some((any, from)) if from < segments.len() => {
                    back = Some((any, from + 1));
                    at = any + 1;
                    place = from + 1;
                }
                _ => return false,
            }
        }
        true
    }
}

fn segment(text: &str) -> Option<Segment> {
    match text {
        "**" => Some(Segment::Any),
        "." | ".." => None,
        _ if text.contains("**") => None,
        _ => Some(Segment::One(text.split('*').map(str::to_owned).collect())),
    }
}

/// Whether a segment has these parts in this order. An empty segment has no part that a star could
/// stand for.
fn fits(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == text);
    };
    if text.is_empty() {
        return false;
    }
    let Some(mut rest) = text
        .strip_prefix(first.as_str())
        .and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let segments: Vec<&str> = text.split('/').collect();
        Glob::parse(pattern).unwrap().matches(&segments)
    }

    #[test]
    fn a_star_stays_in_its_segment_and_two_do_not() {
        for (pattern, text, expected) in [
            ("/v1/**", "/v1/x/y", true),
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v10", false),
            ("/v1/**", "/V1/x", false),
            ("/v1/*", "/v1/x", true),
            ("/v1/*", "/v1/", false),
            ("/v1/*", "/v1/x/y", false),
            ("/**", "/", true),
            ("/", "/", true),
            ("/", "/x", false),
            ("/a*c", "/abbc", true),
            ("/a*c", "/ac", true),
            ("/a*b*c", "/a1b2c", true),
            ("/a*a", "/a", false),
            ("/**/z", "/a/b/z", true),
            ("/**/z", "/a/z/b", false),
            ("/**/a/**/b", "/a/x/a/y/b", true),
            ("/**/a/*/b", "/a/a/a/x/b", true),
            ("refs/heads/nc/task-1", "refs/heads/nc/task-10", false),
            ("refs/heads/nc/*", "refs/heads/nc/a/b", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for pattern in [
            "/a**", "/**b", "/***", "/../x", "/./x", "/a%2fb", "/a?b", "/a;b", "/a\\b", "/a\nb",
        ] {
            assert!(Glob::parse(pattern).is_err(), "{pattern:?}");
        }
        assert!(Glob::parse(&"a".repeat(LONGEST_PATTERN + 1)).is_err());
    }

    /// The same by trying everything.
    fn slow(pattern: &[&str], text: &[&str]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            ([one, rest @ ..], [first, others @ ..]) => {
                (one == first || (*one == "*" && !first.is_empty())) && slow(rest, others)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(
            pattern in proptest::collection::vec(proptest::sample::select(vec!["**", "*", "a", "b"]), 0..7),
            text in proptest::collection::vec(proptest::sample::select(vec!["a", "b", ""]), 0..9),
        ) {
            let compiled = Glob(pattern.iter().map(|part| segment(part).unwrap()).collect());
            prop_assert_eq!(compiled.matches(&text), slow(&pattern, &text));
        }
    }
}
