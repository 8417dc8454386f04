//! Secrets in added lines: tokens of known shape, private keys, and assignments of random-looking
//! values to names that say so. The value itself is never repeated in a finding.

use jiff::Timestamp;

use crate::diff::added_lines;
use crate::sweep::shapes::{self, entropy};

/// Parts of names whose values are secrets.
const NAMES: &[&str] = &[
    "secret",
    "token",
    "password",
    "passwd",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
];

/// Shortest value that can look random.
const SHORTEST_VALUE: usize = 20;
/// Bits per character from which a value looks random.
const RANDOM: f64 = 3.5;

/// What looks like a secret, by place.
pub(super) fn find(patch: &str, now: Timestamp) -> Vec<String> {
    added_lines(patch)
        .into_iter()
        .filter_map(|added| {
            let what = secret(added.text, now)?;
            Some(format!("{}:{}: looks like {what}", added.path, added.line))
        })
        .collect()
}

fn secret(line: &str, now: Timestamp) -> Option<&'static str> {
    // Travis's `secure:` holds what only Travis can decrypt.
    let line = line
        .split_once("secure:")
        .map_or(line, |(before, _)| before);
    if let Some((_, rest)) = line.split_once("-----BEGIN ")
        && rest.split_once("-----").is_some_and(|(kind, _)| {
            kind.ends_with("PRIVATE KEY") || kind.ends_with("PRIVATE KEY BLOCK")
        })
    {
        return Some("a private key");
    }
    let shaped = shapes::find(line, now).first().map(|hit| hit.what);
    shaped.or_else(|| assignment(line))
}

/// `some_token = "value"` and its relatives.
fn assignment(line: &str) -> Option<&'static str> {
    let lower = line.to_ascii_lowercase();
    let at = lower.find(['=', ':'])?;
    let name = lower[..at].trim_matches(|c: char| c.is_whitespace() || "\"'-".contains(c));
    if !NAMES.iter().any(|part| name.contains(part)) {
        return None;
    }
    // Lower case keeps lengths: the places are the same.
    let value = line
        .get(at + 1..)?
        .trim_start_matches(['=', ':', '>', ' ', '\t']);
    let value = value.trim_start_matches(['"', '\'', '`']);
    let end = value
        .find(|c: char| c.is_whitespace() || "\"'`,;)".contains(c))
        .unwrap_or(value.len());
    let value = &value[..end];
    let plain = value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+/=_-.".contains(c));
    let mixed = value.contains(|c: char| c.is_ascii_digit())
        && value.contains(|c: char| c.is_ascii_alphabetic());
    (plain && mixed && value.len() >= SHORTEST_VALUE && entropy(value) >= RANDOM)
        .then_some("a secret in an assignment")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(line: &str) -> Option<&'static str> {
        super::secret(line, Timestamp::UNIX_EPOCH)
    }

    fn find(patch: &str) -> Vec<String> {
        super::find(patch, Timestamp::UNIX_EPOCH)
    }

    /// Put together here, so that no scanner takes this file for a leak.
    fn fake(prefix: &str) -> String {
        format!("{prefix}{}", "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0")
    }

    #[test]
    fn tokens_of_known_shape_are_found() {
        for prefix in ["ghp_", "glpat-", "xoxb-", "npm_", "github_pat_"] {
            assert!(
                secret(&format!("x: {}", fake(prefix))).is_some(),
                "{prefix}"
            );
            assert!(
                secret(&format!("x{}", fake(prefix))).is_none(),
                "{prefix} inside a word"
            );
        }
        assert!(secret(&format!("id = {}{}", "AKIA", "Q8ZT3VN1XB7MK5WR")).is_some());
        assert!(secret(&format!("-----BEGIN {} PRIVATE KEY-----", "RSA")).is_some());
        assert!(secret("-----BEGIN PUBLIC KEY-----").is_none());
    }

    #[test]
    fn random_values_of_telling_names_are_found_and_references_are_not() {
        assert!(secret("API_TOKEN=q8Zt3vN1xB7mK5wR2yP9sL4c").is_some());
        assert!(secret("  \"client_secret\": \"q8Zt3vN1xB7mK5wR2yP9sL4c\",").is_some());
        for fine in [
            "token: ${{ secrets.GITHUB_TOKEN }}",
            "password = os.environ['DATABASE_PASSWORD_1']",
            "token: aaaaaaaaaaaaaaaaaaaaaaa1",
            "sha = q8Zt3vN1xB7mK5wR2yP9sL4c",
            "api_key: \"your-api-key-goes-here\"",
            "env: { secure: \"token=q8Zt3vN1xB7mK5wR2yP9sL4c\" }",
            "tokenizer: some.package.name.that.is.long",
        ] {
            assert_eq!(secret(fine), None, "{fine}");
        }
    }

    #[test]
    fn removed_lines_are_not_looked_at_and_values_are_not_repeated() {
        let token = fake("ghp_");
        let patch = format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{token}\n+clean\n");
        assert!(find(&patch).is_empty());
        let patch = format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-clean\n+{token}\n");
        assert_eq!(find(&patch), ["x:1: looks like a GitHub token"]);
    }
}
