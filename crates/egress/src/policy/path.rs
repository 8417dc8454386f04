//! Paths of requests, understood as every server would understand them, or not at all.

/// Longest path, in bytes as sent.
pub const LONGEST_PATH: usize = 8192;

/// A path without anything that servers read differently.
///
/// One difference remains because registries need it (`/@scope%2fname`): an encoded slash. Such a
/// path is kept in both readings, and a rule must permit both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath {
    whole: Vec<String>,
    split: Option<Vec<String>>,
}

/// The path is not one that all servers read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "servers read this path differently: it has `.` or `..`, empty segments, or encoded separators or control characters"
)]
pub struct AmbiguousPath;

impl RequestPath {
    /// Reads a path as sent, without the query.
    ///
    /// # Errors
    /// [`AmbiguousPath`] for everything that some servers resolve, merge, cut or decode once more:
    /// dot segments, `//`, `;`, `\`, `#`, `?`, `%` and control characters however encoded, wrong
    /// escapes, bytes that are not UTF-8, and what does not begin with a slash.
    pub fn parse(text: &str) -> Result<Self, AmbiguousPath> {
        let rest = text.strip_prefix('/').ok_or(AmbiguousPath)?;
        if text.len() > LONGEST_PATH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AmbiguousPath);
        }
        let whole = rest
            .split('/')
            .map(decode)
            .collect::<Result<Vec<String>, _>>()?;
        let parts: Vec<&str> = whole
            .iter()
            .flat_map(|segment| segment.split('/'))
            .collect();
        let (last, inner) = parts.split_last().ok_or(AmbiguousPath)?;
        // An empty segment at the end is a slash at the end; nothing else may be empty.
        if inner.iter().any(|part| is_dots(part) || part.is_empty())
            || (is_dots(last) && !last.is_empty())
            || whole.last().is_some_and(|segment| segment.ends_with('/'))
        {
            return Err(AmbiguousPath);
        }
        let split = (parts.len() != whole.len())
            .then(|| parts.iter().map(|part| (*part).to_owned()).collect());
        Ok(Self { whole, split })
    }

    /// Every way to read it: one, or two where slashes are encoded.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &[String]> {
        std::iter::once(self.whole.as_slice()).chain(self.split.as_deref())
    }

    /// The segments, if there is one way to read it.
    pub(crate) fn plain(&self) -> Option<&[String]> {
        self.split.is_none().then_some(self.whole.as_slice())
    }
}

/// A segment that some file systems take for one of dots.
fn is_dots(segment: &str) -> bool {
    segment
        .trim_matches(|letter| letter == '.' || letter == ' ')
        .is_empty()
}

fn decode(segment: &str) -> Result<String, AmbiguousPath> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => unescape(rest.next(), rest.next()).ok_or(AmbiguousPath)?,
            plain => plain,
        };
        bytes.push(decoded);
    }
    let text = String::from_utf8(bytes).map_err(|_| AmbiguousPath)?;
    let strange = |letter: char| letter.is_control() || r"%?#;\".contains(letter);
    if text.contains(strange) {
        return Err(AmbiguousPath);
    }
    Ok(text)
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn unescape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::glob::Glob;

    #[test]
    fn every_traversal_of_the_attack_lists_is_ambiguous() {
        for text in [
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/.%2e/admin",
            "/v1/%252e%252e/admin",
            "/v1/..%2fadmin",
            "/v1/..%2Fadmin",
            "/v1/..%5cadmin",
            "/v1/..\\admin",
            "/v1//../../admin",
            "//admin",
            "/v1/./../admin",
            "/v1/..;/admin",
            "/v1;/../admin",
            "/v1/%c0%ae%c0%ae/admin",
            "/v1/%u002e%u002e/admin",
            "/v1/x/..%00/admin",
            "/%76%31/../admin",
            "/v1/..?/admin",
            "/v1/..#/admin",
            "/v1/..%3f/admin",
            "/v1/..%23/admin",
            "/./admin",
            "/V1/../admin",
            "/v1/..",
            "/v1/.",
            "/v1/...",
            "/v1/%20",
            "/v1/.. ",
            "/v1/..%20/admin",
            "/v1/x%",
            "/v1/x%2",
            "/v1/%zz",
            "/v1/x%0d%0a",
            "/v1/x%7f",
            "/v1/%ff",
            "/v1/é",
            "/v1/a b",
            "v1",
            "",
            "*",
            "https://evil.example.test/",
            "/v1/x%2f",
            "/v1/%2fx",
            "/v1/x%2f%2fy",
            "/v1/x%2f..%2fy",
            "/v1/..%252f..%252fadmin",
            "/v1/x%3b",
            "/v1/x%25",
            "/v1//",
            "/public/..;/v1/x",
        ] {
            assert_eq!(RequestPath::parse(text), Err(AmbiguousPath), "{text}");
        }
        assert!(RequestPath::parse(&format!("/{}", "a".repeat(LONGEST_PATH))).is_err());
    }

    #[test]
    fn ordinary_paths_are_read() {
        for (text, segments) in [
            ("/", vec![""]),
            ("/v1/ping", vec!["v1", "ping"]),
            ("/%76%31/x/", vec!["v1", "x", ""]),
            (
                "/pool/main/g/g++_1%3a2~rc%2b1.deb",
                vec!["pool", "main", "g", "g++_1:2~rc+1.deb"],
            ),
            (
                "/github.com/!burnt!sushi/toml/@v/list",
                vec!["github.com", "!burnt!sushi", "toml", "@v", "list"],
            ),
            ("/a/%C3%A9", vec!["a", "é"]),
            ("/a/.well-known/..x", vec!["a", ".well-known", "..x"]),
        ] {
            assert_eq!(RequestPath::parse(text).unwrap().whole, segments, "{text}");
        }
    }

    #[test]
    fn an_encoded_slash_has_two_readings() {
        let path = RequestPath::parse("/@types%2fnode").unwrap();
        assert!(path.plain().is_none());
        let readings: Vec<String> = path.readings().map(|segments| segments.join("|")).collect();
        assert_eq!(readings, ["@types/node", "@types|node"]);
    }

    /// A server that decodes and resolves as eagerly as any.
    fn eager(path: &str) -> Vec<String> {
        let mut text = path.to_owned();
        for _ in 0..3 {
            let bytes = text.as_bytes();
            let mut decoded = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let byte = (bytes[at] == b'%')
                    .then(|| unescape(bytes.get(at + 1).copied(), bytes.get(at + 2).copied()))
                    .flatten();
                decoded.push(byte.unwrap_or(bytes[at]));
                at += if byte.is_some() { 3 } else { 1 };
            }
            text = String::from_utf8_lossy(&decoded)
                .into_owned()
                .replace('\\', "/");
        }
        let cut = text.split(['?', '#', '\0']).next().unwrap_or_default();
        let mut segments = Vec::new();
        for segment in cut
            .split('/')
            .map(|part| part.split(';').next().unwrap_or_default())
        {
            match segment.trim_end() {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                other => segments.push(other.to_owned()),
            }
        }
        segments
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_server_leaves_what_the_rule_permits(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "/", "v1", "..", ".", "%2e", "%2f", "%5c", "\\", ";", "%3b", "%25", "2e", "2f", "x", "//", "%00", "?", "%3f", "#", " ", "%20", "admin",
            ]), 0..12)
        ) {
            let text = format!("/v1/{}", parts.concat());
            if let Ok(path) = RequestPath::parse(&text) {
                let rule = Glob::parse("v1/**").unwrap();
                prop_assert!(path.readings().all(|segments| rule.matches(segments)), "{}", text);
                let served = eager(&text);
                prop_assert!(served.first().is_some_and(|first| first == "v1"), "{}", text);
            }
        }
    }
}
