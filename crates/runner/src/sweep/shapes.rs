//! Tokens that are known by their shape, as their issuers document it.
//!
//! A shape alone is not enough: what repeats itself, counts up, or says that it is an example is
//! none.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

/// A token by how it begins.
struct Shape {
    prefix: &'static str,
    /// Characters that follow.
    least: usize,
    most: usize,
    alphabet: fn(u8) -> bool,
    what: &'static str,
}

const fn shape(
    prefix: &'static str,
    (least, most): (usize, usize),
    alphabet: fn(u8) -> bool,
    what: &'static str,
) -> Shape {
    Shape {
        prefix,
        least,
        most,
        alphabet,
        what,
    }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn hexadecimal(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn dashed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn slashed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/'
}

const LONG: usize = 4096;

const SHAPES: &[Shape] = &[
    shape("AKIA", (16, 16), upper, "an AWS access key"),
    shape("ASIA", (16, 16), upper, "an AWS session key"),
    shape("ghp_", (36, 251), alphanumeric, "a GitHub token"),
    shape("gho_", (36, 251), alphanumeric, "a GitHub token"),
    shape("ghu_", (36, 251), alphanumeric, "a GitHub token"),
    shape("ghs_", (36, LONG), dotted, "a GitHub token"),
    shape("ghr_", (36, 251), alphanumeric, "a GitHub token"),
    shape("github_pat_", (40, 251), dashed, "a GitHub token"),
    shape("glpat-", (20, 300), dotted, "a GitLab token"),
    shape("xoxb-", (20, 255), dashed, "a Slack token"),
    shape("xoxp-", (20, 255), dashed, "a Slack token"),
    shape("xoxa-", (20, 255), dashed, "a Slack token"),
    shape("xoxr-", (20, 255), dashed, "a Slack token"),
    shape("xoxs-", (20, 255), dashed, "a Slack token"),
    shape("xapp-", (40, 255), dashed, "a Slack token"),
    shape(
        "hooks.slack.com/services/T",
        (35, 90),
        slashed,
        "the address of a Slack hook",
    ),
    shape("npm_", (36, 64), alphanumeric, "an npm token"),
    shape("pypi-AgE", (50, LONG), dashed, "a PyPI token"),
    shape("AIza", (35, 35), dashed, "a Google API key"),
    shape("GOCSPX-", (28, 28), dashed, "a Google client secret"),
    shape("sk_live_", (24, 255), alphanumeric, "a Stripe key"),
    shape("rk_live_", (24, 255), alphanumeric, "a Stripe key"),
    shape("whsec_", (32, 64), alphanumeric, "a Stripe hook's secret"),
    shape("sk-ant-", (40, 255), dashed, "an Anthropic key"),
    shape("sk-proj-", (40, 255), dashed, "an OpenAI key"),
    shape("sk-svcacct-", (40, 255), dashed, "an OpenAI key"),
    shape("sk-admin-", (40, 255), dashed, "an OpenAI key"),
    shape("sk-or-v1-", (64, 64), hexadecimal, "an OpenRouter key"),
    shape("sk-", (48, 48), alphanumeric, "an OpenAI key"),
    shape("hf_", (34, 37), alphanumeric, "a Hugging Face token"),
    shape("hvs.", (24, 255), dashed, "a Vault token"),
    shape("dop_v1_", (64, 64), hexadecimal, "a DigitalOcean token"),
    shape("SG.", (66, 70), dotted, "a SendGrid key"),
    shape(
        egress::credential::PREFIX,
        (egress::credential::RANDOM, egress::credential::RANDOM),
        alphanumeric,
        "the placeholder of a credential",
    ),
    shape("AGE-SECRET-KEY-1", (58, 58), upper, "an age key"),
];

/// Parts of texts that are written where a token is meant and none is given.
const SAMPLES: &[&str] = &[
    "example",
    "placeholder",
    "changeme",
    "redacted",
    "dummy",
    "your-",
    "your_",
    "sample",
    "xxxxx",
    "abcdefghij",
    "0123456789",
    "1234567890",
    "00000000",
    "aaaaaaaa",
    "-----",
];

/// Longest header line of a private key in its older form.
const LONGEST_HEADER: usize = 80;

/// Bits per character from which a text looks random.
const RANDOM: f64 = 2.8;

/// A token at some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Which bytes.
    pub(crate) range: Range<usize>,
    /// What it is.
    pub(crate) what: &'static str,
}

/// Every token of known shape in a text, in order of their places.
pub(crate) fn find(text: &str, now: Timestamp) -> Vec<Hit> {
    let mut hits: Vec<Hit> = SHAPES.iter().flat_map(|shape| shape.find(text)).collect();
    hits.extend(private_keys(text));
    hits.extend(web_tokens(text, now));
    hits.extend(amazon(text));
    hits.sort_by_key(|hit| (hit.range.start, hit.range.end));
    // One prefix may begin with another.
    hits.dedup_by_key(|hit| hit.range.start);
    hits
}

impl Shape {
    fn find(&self, text: &str) -> Vec<Hit> {
        let bytes = text.as_bytes();
        let mut hits = Vec::new();
        for (at, _) in text.match_indices(self.prefix) {
            // `task-…` is no `sk-…`.
            if at > 0 && (dashed(bytes[at - 1]) && bytes[at - 1] != b'_' || bytes[at - 1] == b'.') {
                continue;
            }
            let from = at + self.prefix.len();
            // One more than there may be, so that a longer run is told.
            let run = bytes[from..].iter().take(self.most + 1);
            let run = run.take_while(|byte| (self.alphabet)(**byte)).count();
            let end = from + trimmed(&text[from..from + run]).len();
            let length = end - from;
            if (self.least..=self.most).contains(&length) && is_random(&text[from..end]) {
                hits.push(Hit {
                    range: at..end,
                    what: self.what,
                });
            }
        }
        hits
    }
}

/// Without the end of a sentence.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['.', '-', '/'])
}

/// Whether a text could have been drawn at random.
pub(crate) fn is_random(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    entropy(text) >= RANDOM && !SAMPLES.iter().any(|sample| lower.contains(sample))
}

/// Private keys in PEM (RFC 7468), also inside strings where line ends are escaped. The place is
/// that of the first piece of the key itself.
fn private_keys(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (at, begin) in text.match_indices("-----BEGIN ") {
        let rest = &text[at + begin.len()..];
        let Some((label, body)) = rest.split_once("-----") else {
            continue;
        };
        if label.len() > 40
            || !(label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK"))
        {
            continue;
        }
        let skipped = body.len() - after_headers(body).len();
        let from = at + begin.len() + label.len() + "-----".len() + skipped;
        let length = text[from..]
            .bytes()
            .take_while(|byte| alphanumeric(*byte) || b"+/=".contains(byte))
            .count();
        let piece = &text[from..from + length];
        if length >= 32 && is_random(piece) {
            hits.push(Hit {
                range: from..from + length,
                what: "a private key",
            });
        }
    }
    hits
}

/// The text behind line ends (real or escaped), quotes and the header lines of older forms.
fn after_headers(body: &str) -> &str {
    let mut rest = body;
    for _ in 0..8 {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "\"'+,".contains(c));
        match rest
            .strip_prefix("\\n")
            .or_else(|| rest.strip_prefix("\\r"))
        {
            Some(next) => rest = next,
            None => match rest
                .bytes()
                .take(LONGEST_HEADER)
                .position(|byte| byte == b'\n')
            {
                Some(end) if rest[..end].contains(": ") => rest = &rest[end + 1..],
                _ => break,
            },
        }
    }
    rest
}

/// Signed web tokens (RFC 7519) that are not over yet.
fn web_tokens(text: &str, now: Timestamp) -> Vec<Hit> {
    let bytes = text.as_bytes();
    let mut hits = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("eyJ") {
        let at = from + found;
        let length = bytes[at..]
            .iter()
            .take(LONG)
            .take_while(|byte| dotted(**byte))
            .count();
        from = at + length.max(3);
        if at > 0 && dotted(bytes[at - 1]) {
            continue;
        }
        let token = trimmed(&text[at..at + length]);
        if is_live(token, now) {
            hits.push(Hit {
                range: at..at + token.len(),
                what: "a signed web token",
            });
        }
    }
    hits
}

fn is_live(token: &str, now: Timestamp) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        return false;
    };
    let json = |part: &str| -> Option<serde_json::Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let (Some(head), Some(claims)) = (json(head), json(claims)) else {
        return false;
    };
    // The example of jwt.io and of the RFC.
    let sample = claims["sub"] == "1234567890" || claims["iss"] == "joe";
    let over = claims["exp"]
        .as_f64()
        .is_some_and(|end| end < now.as_second() as f64);
    head["alg"].is_string() && signature.len() >= 20 && is_random(signature) && !sample && !over
}

/// Secrets of AWS access keys: 40 characters of base64 on a line that says so.
fn amazon(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        if line.len() > 512 {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        let named = lower.find("secret").filter(|_| lower.contains("aws"));
        let Some(named) = named else { continue };
        let key = |c: char| c.is_ascii_alphanumeric() || c == '/' || c == '+';
        let mut place = named;
        for word in line[named..].split(|c: char| !key(c)) {
            let range = begin + place..begin + place + word.len();
            place += word.len();
            place += line[place..].chars().next().map_or(0, char::len_utf8);
            let mixed = word.bytes().any(|byte| byte.is_ascii_digit())
                && word.bytes().any(|byte| byte.is_ascii_uppercase())
                && word.bytes().any(|byte| byte.is_ascii_lowercase());
            if word.len() == 40 && mixed && entropy(word) >= 4.0 && is_random(word) {
                hits.push(Hit {
                    range,
                    what: "the secret of an AWS access key",
                });
            }
        }
    }
    hits
}

/// Shannon entropy in bits per character.
pub(crate) fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    let shares = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length);
    shares.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests;
