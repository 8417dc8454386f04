//! Headers by which a server is asked to take a request for another.

use http::HeaderMap;

/// Headers that replace the method or the path at servers that honour them.
const OVERRIDES: [&str; 7] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
];

/// The first header that would make the method or path another than the one that is judged.
#[must_use]
pub fn overrides(headers: &HeaderMap) -> Option<&'static str> {
    OVERRIDES
        .into_iter()
        .find(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_method_or_path_is_found() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("1.2.3.4"));
        assert_eq!(overrides(&headers), None);
        headers.insert(
            "X-HTTP-Method-Override",
            http::HeaderValue::from_static("DELETE"),
        );
        assert_eq!(overrides(&headers), Some("x-http-method-override"));
    }
}
