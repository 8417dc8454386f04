//! Which headers go on, and which are of one hop or would speak for somebody else.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection (RFC 9110, 7.6.1), and those of proxies.
const OF_ONE_HOP: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which some servers believe another host, path, method or sender than the request's.
const SPEAK_FOR_OTHERS: [&str; 19] = [
    "forwarded",
    "via",
    "max-forwards",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-true-client-ip",
];
const FORWARDED: &str = "x-forwarded";

/// Headers that `Connection` may name without their being removed: without them the request would
/// be another one.
const KEPT: [HeaderName; 4] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
];

/// Prepares the headers of a request for the outside. `Host` is put in anew by whoever sends.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    let trailers = headers
        .get(header::TE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    remove_hop(headers);
    let speaking: Vec<HeaderName> = headers
        .keys()
        .filter(|name| speaks_for_others(name.as_str()))
        .cloned()
        .collect();
    for name in speaking {
        headers.remove(name);
    }
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Many servers hand `_` and `-` of a name on as the same letter (CGI, RFC 3875, 4.1.18).
fn speaks_for_others(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with(FORWARDED) || SPEAK_FOR_OTHERS.contains(&name.as_str())
}

/// Prepares the headers of an answer for the inside.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    remove_hop(headers);
    // There is no other way to the host than this one.
    headers.remove(header::ALT_SVC);
    // Only the broker itself says so.
    headers.remove(crate::broker::refusal::REFUSED_HEADER);
}

fn remove_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .filter(|name| !KEPT.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}

/// Whether a request wants to leave HTTP.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        || headers.get_all(header::CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(7)
                .any(|part| part == b"upgrade")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn nothing_of_one_hop_and_nothing_that_speaks_for_others_goes_on() {
        let mut headers = map(&[
            ("host", "a.test"),
            ("connection", "keep-alive, X-Secret, authorization"),
            ("x-secret", "1"),
            ("authorization", "Bearer x"),
            ("x-forwarded-host", "evil.test"),
            ("x-original-url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("x_http_method_override", "DELETE"),
            ("x_forwarded-host", "other.example.test"),
            ("x-forwarded", "for=other"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        clean_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization", "te"]);
    }

    #[test]
    fn answers_lose_other_ways_and_forged_refusals() {
        let mut headers = map(&[
            ("alt-svc", "h3=\":443\""),
            ("x-nightcrew-refused", "forged"),
            ("keep-alive", "timeout=5"),
            ("location", "https://a.test/"),
        ]);
        clean_answer(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(wants_upgrade(&map(&[("connection", "Upgrade")])));
        assert!(!wants_upgrade(&map(&[("connection", "close")])));
    }
}
