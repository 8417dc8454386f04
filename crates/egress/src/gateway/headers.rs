//! Which headers pass. What is not named does not: neither keys, organisations and sessions of the
//! caller, nor what an answer tells about the account behind it.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of requests that pass, beyond those that begin with [`REQUEST_BEGINS`].
const REQUEST: &[&str] = &[
    "accept",
    "anthropic-version",
    "anthropic-dangerous-direct-browser-access",
    "content-type",
    "idempotency-key",
    "originator",
    "user-agent",
    "x-app",
];
const REQUEST_BEGINS: &[&str] = &["x-stainless-"];

/// Headers of answers that pass.
const ANSWER: &[&str] = &[
    "cache-control",
    // None is asked for; what is compressed all the same passes, and is charged in full.
    "content-encoding",
    "content-type",
    "openai-model",
    "openai-processing-ms",
    "request-id",
    "retry-after",
    "x-request-id",
    "x-should-retry",
];

/// Beginnings of `anthropic-beta` that neither cost more than the table says nor have the vendor's
/// servers do things by themselves.
const BETAS: &[&str] = &[
    "adaptive-thinking-",
    "advanced-tool-use-",
    "cache-diagnosis-",
    "claude-code-",
    "compact-",
    "computer-use-",
    "context-1m-",
    "context-management-",
    "effort-",
    "extended-cache-ttl-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "max-tokens-",
    "mid-conversation-system-",
    "output-128k-",
    "prompt-caching-",
    "redact-thinking-",
    "structured-outputs-",
    "summarize-connector-text-",
    "thinking-",
    "token-efficient-tools-",
    "tool-examples-",
    "tool-search-tool-",
];

/// Most names of `anthropic-beta` that are read.
const MOST_BETAS: usize = 64;

/// What passes of a request's headers, without `anthropic-beta`.
#[must_use]
pub fn of_request(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let known = REQUEST.contains(&name.as_str())
            || REQUEST_BEGINS
                .iter()
                .any(|begin| name.as_str().starts_with(begin));
        // The first of each name: what comes twice is not for two readers to understand.
        if known && !passed.contains_key(name) {
            passed.insert(name.clone(), value.clone());
        }
    }
    passed
}

/// The names of `anthropic-beta` that pass, each once.
#[must_use]
pub fn betas(headers: &HeaderMap, more: &BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let values = headers.get_all("anthropic-beta").iter();
    let asked = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    for name in asked.take(MOST_BETAS) {
        let known = BETAS.iter().any(|begin| name.starts_with(begin))
            || more.iter().any(|begin| name.starts_with(begin.as_str()));
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if known && plain && !names.iter().any(|kept| kept == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// What passes of an answer's headers.
#[must_use]
pub fn of_answer(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in ANSWER {
        if let Some(value) = headers.get(*name) {
            passed.insert(HeaderName::from_static(name), value.clone());
        }
    }
    passed
}

/// Whether a body of this type and coding is JSON as it is.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(HeaderValue::to_str);
        match (first, values.next()) {
            (None, _) => Some(""),
            (Some(Ok(value)), None) => Some(value),
            _ => None,
        }
    };
    let kind = one(header::CONTENT_TYPE).map(|kind| kind.to_ascii_lowercase().replace(' ', ""));
    let kind = matches!(
        kind.as_deref(),
        Some("application/json" | "application/json;charset=utf-8")
    );
    kind && matches!(one(header::CONTENT_ENCODING), Some("" | "identity"))
}

/// A header's value that is a secret: marked, so that nothing prints it.
#[must_use]
pub fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_account_of_the_caller_passes() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-api-key",
            "authorization",
            "api-key",
            "x-goog-api-key",
            "openai-organization",
            "openai-project",
            "cookie",
            "proxy-authorization",
            "x-amz-security-token",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "content-encoding",
            "x-forwarded-for",
            "openai-beta",
            "chatgpt-account-id",
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        assert!(of_request(&headers).is_empty());
        headers.append("anthropic-version", HeaderValue::from_static("1"));
        headers.append("anthropic-version", HeaderValue::from_static("2"));
        assert_eq!(
            of_request(&headers)
                .get_all("anthropic-version")
                .iter()
                .count(),
            1
        );
    }

    #[test]
    fn only_betas_that_are_known_pass() {
        let mut headers = HeaderMap::new();
        headers.append(
            "anthropic-beta",
            HeaderValue::from_static(
                "claude-code-20250219, mcp-client-2025-04-04,files-api-2025-04-14",
            ),
        );
        headers.append(
            "anthropic-beta",
            HeaderValue::from_static(
                "context-1m-2025-08-07,claude-code-20250219,own-1,context-1m-_",
            ),
        );
        assert_eq!(
            betas(&headers, &BTreeSet::new()),
            ["claude-code-20250219", "context-1m-2025-08-07"]
        );
        assert_eq!(
            betas(&headers, &BTreeSet::from(["own-".to_owned()])).len(),
            3
        );
    }

    #[test]
    fn only_plain_json_is_json() {
        let is = |kind: &'static str, coding: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(coding) = coding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            is_json(&headers)
        };
        assert!(
            is("application/json", None) && is("Application/JSON; charset=utf-8", Some("identity"))
        );
        assert!(!is("application/json; charset=utf-16", None) && !is("text/plain", None));
        assert!(
            !is("multipart/form-data; boundary=x", None) && !is("application/json", Some("gzip"))
        );
        assert!(!is_json(&HeaderMap::new()));
    }
}
