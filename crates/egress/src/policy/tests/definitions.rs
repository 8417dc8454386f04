//! Definitions that make no sense.

use super::*;

#[test]
fn what_makes_no_sense_says_which_entry_and_what_is_right() {
    for (entry, part) in [
        (
            r#""nosuch""#,
            "there is no bundle `nosuch`; bundles are alpine",
        ),
        (r#"{"host": ""}"#, "a host is missing"),
        (r#"{"host": "*"}"#, "is not a host"),
        (r#"{"host": "**"}"#, "is not a host"),
        (r#"{"host": "a.*.test"}"#, "is not a host"),
        (r#"{"host": "*.1.2.3.4"}"#, "nothing is below an address"),
        (r#"{"host": "a.test."}"#, "no dot at its end"),
        (r#"{"host": "0x7f.1"}"#, "four decimal numbers"),
        (
            r#"{"host": "localhost", "private": true}"#,
            "the environment itself",
        ),
        (r#"{"host": "*.localhost"}"#, "the environment itself"),
        (
            r#"{"host": "127.0.0.1", "private": true}"#,
            "the environment itself",
        ),
        (
            r#"{"host": "::1", "private": true}"#,
            "the environment itself",
        ),
        (
            r#"{"host": "[::ffff:127.0.0.1]", "private": true}"#,
            "the environment itself",
        ),
        (
            r#"{"host": "198.18.0.1", "private": true}"#,
            "the environment itself",
        ),
        (
            r#"{"host": "model.nightcrew.internal"}"#,
            "the model gateway",
        ),
        (r#"{"host": "10.0.0.1"}"#, "add `private: true`"),
        (r#"{"host": "169.254.169.254"}"#, "metadata service"),
        (r#"{"host": "a.test", "ports": [0]}"#, "0 is not a port"),
        (r#"{"host": "a.test", "ports": [53]}"#, "names are answered"),
        (r#"{"host": "a.test", "protocol": "tcp"}"#, "needs `ports`"),
        (
            r#"{"host": "a.test", "protocol": "tls", "methods": ["GET"]}"#,
            "need `protocol: https`",
        ),
        (
            r#"{"host": "a.test", "protocol": "tcp", "ports": [1], "paths": ["/x"]}"#,
            "need `protocol: https`",
        ),
        (
            r#"{"host": "a.test", "protocol": "http", "credential": {"secret": "x"}}"#,
            "need `protocol: https`",
        ),
        (
            r#"{"host": "a.test", "protocol": "http", "git": {}}"#,
            "need `protocol: https`",
        ),
        (r#"{"host": "a.test", "methods": ["get"]}"#, "in capitals"),
        (
            r#"{"host": "a.test", "methods": ["CONNECT"]}"#,
            "can be permitted",
        ),
        (r#"{"host": "a.test", "paths": ["v1"]}"#, "begins with `/`"),
        (r#"{"host": "a.test", "paths": ["/a/../b"]}"#, "`..`"),
        (r#"{"host": "a.test", "paths": ["/a**"]}"#, "`**`"),
        (
            r#"{"host": "a.test", "git": {"push": ["main"]}}"#,
            "refs/heads/NAME",
        ),
        (
            r#"{"host": "a.test", "git": {}, "methods": ["GET"]}"#,
            "`paths`",
        ),
        (
            r#"{"host": "a.test", "programs": ["bin/x"]}"#,
            "not a program",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "header": "host"}}"#,
            "cannot hold",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "header": "a b"}}"#,
            "not a header",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "format": "Bearer"}}"#,
            "`{}`",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "format": "{} {}"}}"#,
            "`{}`",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "format": "a\nb{}"}}"#,
            "no text",
        ),
        (
            r#"{"host": "a.test", "credential": {"secret": "x", "format": "basic a:b"}}"#,
            "basic NAME",
        ),
    ] {
        let error = try_policy(&format!(r#"["npm", {entry}]"#)).unwrap_err();
        assert_eq!(error.entry, 1, "{entry}");
        assert!(error.message.contains(part), "{entry}: {}", error.message);
    }
    let many = format!("[{}]", vec![r#""npm""#; MOST_ENTRIES + 1].join(","));
    assert_eq!(try_policy(&many).unwrap_err().entry, MOST_ENTRIES);
}
