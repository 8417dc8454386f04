//! Attempts of the attack lists that rules alone must stop, with their spellings taken from the lists
//! themselves: a spelling that is added there is tried here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]

use std::collections::BTreeMap;

use egress::address::{forbidden, is_public};
use egress::name::{Authority, Host};
use egress::policy::{NetworkPolicy, RequestFacts, RequestPath};
use model::egress::EgressRefusal;

/// What an attempt does, by its name.
fn does(name: &str) -> String {
    let mut all = BTreeMap::new();
    for text in [
        include_str!("../attacks/blind.toml"),
        include_str!("../attacks/sighted.toml"),
    ] {
        let list: toml::Table = toml::from_str(text).unwrap();
        for attempt in list["attempt"].as_array().unwrap() {
            let text = |key: &str| attempt[key].as_str().unwrap().to_owned();
            all.insert(text("name"), text("does"));
        }
    }
    all.remove(name).expect("the attempt is in a list")
}

/// The part of a text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).expect("the list begins as it did").1;
    rest.split_once(end).expect("the list ends as it did").0
}

/// Spellings in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(bytes).collect()
}

/// A list with commas, without remarks in brackets.
fn listed(text: &str) -> Vec<String> {
    let item = |item: &str| bytes(item.split(" (").next().unwrap_or_default().trim());
    text.split(", ").map(item).collect()
}

/// The escapes of the lists made characters.
fn bytes(text: &str) -> String {
    let mut out = text
        .replace("\\r", "\r")
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\0", "\0");
    while let Some(place) = out.find("\\x") {
        let code = u8::from_str_radix(&out[place + 2..place + 4], 16).unwrap();
        out.replace_range(place..place + 4, &char::from(code).to_string());
    }
    out
}

fn policy(text: &str) -> NetworkPolicy {
    NetworkPolicy::compile(&serde_json::from_str(text).unwrap()).unwrap()
}

fn base() -> NetworkPolicy {
    policy(
        r#"[{"host": "api.example.test", "methods": ["GET"], "paths": ["/v1/**"], "credential": {"secret": "X", "variable": "API_TOKEN"}}]"#,
    )
}

/// What happens to a request for an authority, as its client spells it.
fn request(
    policy: &NetworkPolicy,
    authority: &str,
    port: u16,
    facts: &RequestFacts<'_>,
) -> Result<(), EgressRefusal> {
    let authority = Authority::parse(authority).map_err(|_| EgressRefusal::NameInvalid)?;
    policy
        .request(&authority.host, authority.port_or(port), facts)
        .map(|_| ())
}

#[test]
fn addresses_in_place_of_names() {
    let text = does("net-ip-literal-host-spellings");
    let spellings = listed(between(&text, "for H in ", "; each once"));
    assert!(spellings.len() >= 12, "{spellings:?}");
    for spelling in spellings {
        for port in [80, 443] {
            assert!(
                request(&base(), &spelling, port, &RequestFacts::get("/v1/x")).is_err(),
                "{spelling}"
            );
        }
    }
}

#[test]
fn metadata_in_every_spelling() {
    let text = does("net-metadata-ip-every-spelling");
    let spellings = listed(between(&text, "each of ", "; path"));
    assert!(spellings.len() >= 15, "{spellings:?}");
    let wide = policy(
        r#"[{"host": "*.example.test", "protocol": "http", "methods": ["GET"]}, {"host": "api.example.test"}]"#,
    );
    for spelling in spellings {
        assert!(
            request(
                &wide,
                &spelling,
                80,
                &RequestFacts::get("/latest/meta-data/")
            )
            .is_err(),
            "{spelling}"
        );
        if let Ok(Host::Address(address)) = Host::parse(&spelling) {
            assert!(!is_public(address), "{spelling}");
        }
    }
}

#[test]
fn addresses_that_names_resolve_to() {
    let text = does("net-resolved-address-classes");
    let old = listed(between(&text, ": A ", "; AAAA"));
    let new = listed(between(&text, "AAAA ", "100::1"));
    assert!(old.len() >= 14 && new.len() >= 13, "{old:?} {new:?}");
    for address in old.iter().chain(&new).filter(|address| !address.is_empty()) {
        assert!(
            forbidden(address.parse().expect(address)).is_some(),
            "{address}"
        );
    }
}

#[test]
fn names_of_tls_and_hosts_of_requests_in_odd_spellings() {
    for name in ["net-sni-odd-spellings", "net-host-odd-spellings"] {
        let spellings = quoted(&does(name));
        assert!(spellings.len() >= 12, "{spellings:?}");
        for spelling in spellings {
            let answer = request(&base(), &spelling, 443, &RequestFacts::get("/v1/x"));
            // With its port it is the same authority; for TLS, where no port may stand, it is no name.
            let plain = spelling.strip_suffix(":443").unwrap_or(&spelling);
            assert_eq!(
                answer.is_ok(),
                plain.eq_ignore_ascii_case("api.example.test"),
                "{spelling:?}"
            );
            assert_eq!(
                egress::name::Name::parse(&spelling)
                    .is_ok_and(|name| name.as_str() == "api.example.test"),
                spelling.eq_ignore_ascii_case("api.example.test")
            );
        }
    }
}

#[test]
fn ports_in_odd_spellings() {
    let text = does("net-http-host-port-mismatch");
    let spellings = listed(between(&text, "send Host: api.example.test", "."));
    assert!(spellings.len() >= 7, "{spellings:?}");
    for spelling in spellings {
        let authority = format!("api.example.test{spelling}");
        assert!(
            request(&base(), &authority, 443, &RequestFacts::get("/v1/x")).is_err(),
            "{authority}"
        );
    }
}

#[test]
fn paths_that_leave_what_is_named() {
    let text = does("net-path-traversal-forms");
    let targets = listed(between(&text, "Raw request targets: ", "; the stub"));
    assert!(targets.len() >= 20, "{targets:?}");
    for target in targets {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let facts = RequestFacts {
            query,
            ..RequestFacts::get(path)
        };
        assert!(
            request(&base(), "api.example.test", 443, &facts).is_err(),
            "{target}"
        );
        assert!(RequestPath::parse(path).is_err(), "{target}");
    }
}

#[test]
fn methods_that_only_look_permitted() {
    let tricks = quoted(&does("net-method-tricks"));
    assert!(tricks.len() >= 10, "{tricks:?}");
    for trick in tricks.iter().filter(|trick| !trick.is_empty()) {
        let method = trick.split(" /").next().unwrap_or_default();
        let facts = RequestFacts {
            method,
            ..RequestFacts::get("/v1/x")
        };
        assert!(
            request(&base(), "api.example.test", 443, &facts).is_err(),
            "{trick:?}"
        );
    }
}

#[test]
fn services_of_git_in_disguise() {
    let read = policy(
        r#"[{"host": "git.example.test", "git": {"repositories": ["org/repo.git"]}, "credential": {"secret": "forge", "format": "basic x"}}]"#,
    );
    let text = does("net-git-renamed-service").replace("; ?", "; GET /org/repo.git/info/refs?");
    let text = text.split("; POST git-upload-pack").next().unwrap();
    let attempts: Vec<&str> = text.split("; ").flat_map(|part| part.split(", ")).collect();
    assert!(attempts.len() >= 10, "{attempts:?}");
    for attempt in attempts {
        let (method, target) = attempt
            .split_once(" /")
            .map_or(("POST", attempt), |(method, _)| {
                (method, &attempt[method.len() + 1..])
            });
        let target = target.split(" (").next().unwrap().trim_end_matches('…');
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let facts = RequestFacts {
            method: method.trim(),
            path,
            query,
            program: None,
        };
        assert!(
            request(&read, "git.example.test", 443, &facts).is_err(),
            "{attempt}"
        );
    }
}
