//! What must hold for any bytes, one function a target. Used by the fuzzer and by `tests/fuzz.rs`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use egress::credential::{Bound, Credentials, Finder, find};
use egress::dns::{Pins, answer, is_pin, next_frame};
use egress::git::{PushReader, refusal};
use egress::mask::{Mask, Masker};
use egress::name::{Authority, Host};
use egress::policy::{NetworkPolicy, RequestFacts, RequestPath};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::network::{CredentialUse, GitRule, HostRule, NetworkDefinition, NetworkEntry};

const SECRET: &str = "zQ7+x/9secret~value=1";
const PLACEHOLDER: &str = "nc-placeholder-abcdefghijklmnopqrstuvwxyz012345";

/// The first byte decides how the rest is cut.
fn cut(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((size, rest)) => (usize::from(*size) % 67 + 1, rest),
        None => (1, data),
    }
}

fn rule(host: &str) -> HostRule {
    HostRule {
        host: host.to_owned(),
        ..HostRule::default()
    }
}

fn policy() -> &'static NetworkPolicy {
    static POLICY: LazyLock<NetworkPolicy> = LazyLock::new(compiled);
    &POLICY
}

fn compiled() -> NetworkPolicy {
    let rules = vec![
        HostRule {
            methods: vec!["GET".to_owned()],
            paths: vec!["/v1/**".to_owned()],
            credential: Some(credential()),
            ..rule("api.example.test")
        },
        HostRule {
            git: Some(GitRule {
                repositories: vec!["org/repo.git".to_owned()],
                push: vec!["refs/heads/nc/*".to_owned()],
            }),
            ..rule("git.example.test")
        },
        rule("*.wild.example.test"),
    ];
    let entries = rules
        .into_iter()
        .map(|rule| NetworkEntry::Host(Box::new(rule)));
    NetworkPolicy::compile(&NetworkDefinition(entries.collect())).expect("the policy is right")
}

fn credential() -> CredentialUse {
    CredentialUse {
        secret: "X".to_owned(),
        header: None,
        variable: Some("API_TOKEN".to_owned()),
        format: None,
    }
}

/// Hosts and authorities: what is accepted is canonical and reads back as itself.
pub(crate) fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(host) = Host::parse(text) {
        assert_eq!(Host::parse(&host.to_string()).as_ref(), Ok(&host));
        match &host {
            Host::Name(name) => assert!(name.as_str().eq_ignore_ascii_case(text)),
            Host::Address(address) => assert_eq!(*address, address.to_canonical()),
        }
    }
    if let Ok(authority) = Authority::parse(text) {
        let shown = authority.to_string();
        assert_eq!(Authority::parse(&shown).as_ref(), Ok(&authority));
        assert!(text.is_ascii() && !text.contains(['@', '/', '\\', '%', '#', '?', ' ', '\0']));
    }
}

/// A request line `METHOD HOST PATH?QUERY`: what is permitted is what the rules name, also for a
/// server that decodes and resolves more than it should.
pub(crate) fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(3, ' ');
    let (Some(method), Some(host), Some(target)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(host) = Host::parse(host) else { return };
    let facts = RequestFacts {
        method,
        path,
        query,
        program: None,
    };
    let Ok(permit) = policy().request(&host, 443, &facts) else {
        return;
    };
    assert!(RequestPath::parse(path).is_ok());
    let served = eager(path);
    match permit.rule.as_str() {
        "network[0]" => {
            assert_eq!(
                (method, host.to_string().as_str()),
                ("GET", "api.example.test")
            );
            assert_eq!(served.first().map(String::as_str), Some("v1"), "{path}");
        }
        "network[1]" => {
            assert_eq!(served.first().map(String::as_str), Some("org"), "{path}");
            assert!(
                matches!(served.get(1).map(String::as_str), Some("repo" | "repo.git")),
                "{path}"
            );
            let pushes = served.last().is_some_and(|last| last == "git-receive-pack");
            assert_eq!(permit.push, pushes);
        }
        _ => assert!(
            !served
                .iter()
                .any(|part| part.eq_ignore_ascii_case("git-receive-pack"))
        ),
    }
}

/// The path that the laxest of servers would see.
fn eager(path: &str) -> Vec<String> {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..3 {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes
                .get(at + 1..at + 3)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits
                .filter(|_| bytes[at] == b'%')
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(byte.unwrap_or(bytes[at]));
            at += if byte.is_some() { 3 } else { 1 };
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments = Vec::new();
    for segment in text
        .split(['?', '#', '\0'])
        .next()
        .unwrap_or_default()
        .split('/')
    {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other.to_owned()),
        }
    }
    segments
}

/// Questions, alone and as a stream over TCP: short answers, and addresses for named names only.
pub(crate) fn dns(data: &[u8]) {
    let policy = policy();
    let mut pins = Pins::default();
    let mut stream = BytesMut::from(data);
    let framed = std::iter::from_fn(|| next_frame(&mut stream).ok().flatten());
    for question in std::iter::once(Bytes::copy_from_slice(data)).chain(framed) {
        let (answer, event) = answer(&question, policy, &mut pins);
        if let Some(answer) = answer {
            // A pointer back has the name of a pin in its answer, which is longer.
            let told = pins
                .given_out()
                .iter()
                .map(|name| name.as_str().len())
                .max()
                .unwrap_or(0);
            assert!(answer.len() <= question.len() + 16 + told);
            assert_eq!(answer[..2], question[..2]);
            assert!(answer[2] & 0x80 != 0);
        }
        if let Some(event) = event {
            assert!(
                event.host.len() <= model::egress::LONGEST_TEXT
                    && event
                        .host
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() || !byte.is_ascii())
            );
        }
    }
    for name in pins.given_out() {
        assert!(policy.names(name));
        assert!(
            pins.address(name)
                .is_some_and(|address| is_pin(address.into()))
        );
    }
}

/// A head whose lines are `path?query`, then headers; `@` is the placeholder. The value is in the
/// bound header or nowhere, and a body is searched alike however it is cut.
pub(crate) fn placeholder(data: &[u8]) {
    let (size, rest) = cut(data);
    let mut finder = Finder::default();
    let mut found = false;
    for piece in rest.chunks(size) {
        found |= finder.feed(piece);
    }
    assert_eq!(found, find(rest));

    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let text = text.replace('@', PLACEHOLDER);
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let (name, value) = line.split_once(':').unwrap_or(("authorization", line));
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    }
    let bound = Bound {
        placeholder: PLACEHOLDER.to_owned(),
        used: credential(),
        value: SECRET.to_owned().into(),
    };
    let credentials = Credentials::new(vec![bound]).expect("the credential is right");
    let used = credential();
    let answer = credentials.place(Some(&used), path, query, &mut headers);
    let holds = |value: &&HeaderValue| {
        value
            .as_bytes()
            .windows(SECRET.len())
            .any(|part| part == SECRET.as_bytes())
    };
    let sent = text.contains(SECRET);
    match answer {
        Ok(Some(_)) => {
            assert_eq!(headers.get_all("authorization").iter().count(), 1);
            assert_eq!(headers["authorization"], format!("Bearer {SECRET}"));
        }
        _ => assert!(sent || !headers.values().any(|value| holds(&value))),
    }
    if answer.is_ok() {
        assert!(!find(path.as_bytes()) && !find(query.as_bytes()));
        assert!(
            headers
                .iter()
                .all(|(name, value)| !find(name.as_str().as_bytes()) && !find(value.as_bytes()))
        );
    }
}

/// The beginning of a push: pieces make no difference, nothing of it is lost, and what rules permit
/// is named by them.
pub(crate) fn git(data: &[u8]) {
    let (size, rest) = cut(data);
    let read = |size: usize| {
        let mut reader = PushReader::default();
        for piece in rest.chunks(size) {
            reader.feed(piece)?;
        }
        reader.end()
    };
    let whole = read(usize::MAX);
    assert_eq!(whole, read(size));
    let Ok((push, bytes)) = whole else { return };
    assert_eq!(bytes, rest);
    let told = refusal(&push, "because\nof this");
    assert_eq!(told.is_some(), push.report);
    let host = Host::parse("git.example.test").expect("a host");
    if policy().push(&host, 443, "org/repo", &push.updates).is_ok() {
        for update in &push.updates {
            let branch = update
                .name
                .strip_prefix("refs/heads/nc/")
                .expect("a named ref");
            assert!(!branch.contains('/') && !update.deletes());
        }
    }
}

/// Text in which `\x01` to `\x07` stand for a secret in one of its forms: none is readable after it.
pub(crate) fn mask(data: &[u8]) {
    let (size, rest) = cut(data);
    static MASK: LazyLock<Mask> = LazyLock::new(|| Mask::new([SECRET]).expect("a mask"));
    let mask: &Mask = &MASK;
    let forms: [Vec<u8>; 7] = [
        SECRET.into(),
        STANDARD.encode(SECRET).into(),
        URL_SAFE_NO_PAD.encode(format!("ab{SECRET}")).into(),
        SECRET
            .bytes()
            .flat_map(|byte| format!("%{byte:02X}").into_bytes())
            .collect(),
        SECRET
            .bytes()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
        SECRET
            .bytes()
            .flat_map(|byte| format!("\\u{byte:04x}").into_bytes())
            .collect(),
        SECRET
            .as_bytes()
            .chunks(5)
            .collect::<Vec<_>>()
            .join(&b"\r\n"[..]),
    ];
    let form = |byte: &u8| match usize::from(*byte) {
        number @ 1..=7 => forms[number - 1].clone(),
        _ => vec![*byte],
    };
    let text: Vec<u8> = rest.iter().flat_map(form).collect();
    let stream = |size: usize| {
        let mut masker = Masker::new(mask);
        let mut out = Vec::new();
        for piece in text.chunks(size) {
            masker.feed(piece, &mut out);
            assert!(masker.held() <= 10 * 64);
        }
        masker.finish(&mut out);
        out
    };
    let out = stream(usize::MAX);
    assert_eq!(out, stream(size));
    let squeezed: Vec<u8> = out
        .iter()
        .filter(|byte| !b"\r\n".contains(byte))
        .copied()
        .collect();
    for form in [
        SECRET.to_owned(),
        STANDARD.encode(SECRET),
        forms[4].escape_ascii().to_string(),
    ] {
        // Stars may come to stand where line breaks parted more than a value may have.
        let found = squeezed
            .windows(form.len())
            .any(|part| part == form.as_bytes());
        assert!(!found || has_gap(&text), "{}", out.escape_ascii());
    }
    assert_eq!(
        mask.finds(&text),
        out.windows(3).any(|part| part == b"***") && out != text
    );
}

/// Whether more line breaks stand in a row than may stand inside a value.
fn has_gap(text: &[u8]) -> bool {
    text.windows(5)
        .any(|part| part.iter().all(|byte| b"\r\n".contains(byte)))
}
