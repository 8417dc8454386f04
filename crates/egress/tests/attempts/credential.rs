//! Attempts on credentials.

use model::egress::EgressRefusal;

use crate::support::{SECRET, World};

const WRITE: &str = r#"[{"host":"api.example.test","protocol":"https","methods":["GET","POST"],"paths":["/v1/**"],"private":true,
  "credential":{"secret":"x","variable":"API_TOKEN"}},
  {"host":"second.example.test","protocol":"https","private":true,"methods":["GET"]}]"#;

fn secrets_sent(world: &World) -> usize {
    world
        .servers
        .values()
        .flat_map(|server| server.requests())
        .filter(|request| request.contains(SECRET))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn net_placeholder_outside_bound_site() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let before = secrets_sent(&world);
    let ph = &world.placeholder;
    for (target, headers, body) in [
        (format!("/v1/x?key={ph}"), String::new(), String::new()),
        (format!("/v1/{ph}"), String::new(), String::new()),
        (
            String::from("/v1/x"),
            String::new(),
            format!("{{\"token\":\"{ph}\"}}"),
        ),
        (
            String::from("/v1/x"),
            format!("Cookie: t={ph}\r\n"),
            String::new(),
        ),
        (
            String::from("/v1/x"),
            format!("X-Api-Key: {ph}\r\n"),
            String::new(),
        ),
        (
            String::from("/v1/x"),
            format!("User-Agent: {ph}\r\n"),
            String::new(),
        ),
        (
            String::from("/v1/x"),
            format!("Proxy-Authorization: Bearer {ph}\r\n"),
            String::new(),
        ),
        (
            String::from("/v1/x"),
            format!("Authorization: Bearer {ph}\r\nAuthorization: Bearer x\r\n"),
            String::new(),
        ),
    ] {
        let talked = world.api(&format!(
            "POST {target} HTTP/1.1\r\nHost: api.example.test\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()
        ));
        assert!(!talked.text().contains(SECRET), "{talked:?}");
        assert_eq!(secrets_sent(&world), before, "{target} {headers}");
    }
    assert!(world.was_refused(EgressRefusal::CredentialMisplaced, "api.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_placeholder_other_host() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let before = secrets_sent(&world);
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: second.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    let talked = world.tls(
        &world.pin("second.example.test"),
        "second.example.test",
        request.as_bytes(),
    );
    assert_eq!(talked.status(), Some(403), "{talked:?}");
    assert_eq!(secrets_sent(&world), before);
    assert!(world.was_refused(EgressRefusal::CredentialMisplaced, "second.example.test"));
    world.control();
}

/// Whether the secret can be read out of an answer, in a form that servers tell.
fn tells(text: &str) -> bool {
    let plain = text.replace(['\r', '\n'], "");
    let forms = [
        SECRET.to_owned(),
        hex::encode(SECRET),
        hex::encode_upper(SECRET),
        SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        SECRET
            .bytes()
            .map(|byte| format!("\\u{byte:04x}"))
            .collect(),
        // The middle of it in base64, at each alignment.
        base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &SECRET.as_bytes()[3..30],
        ),
        base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &SECRET.as_bytes()[1..28],
        ),
        base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &SECRET.as_bytes()[2..29],
        ),
    ];
    forms.iter().any(|form| plain.contains(form))
}

#[tokio::test(flavor = "multi_thread")]
async fn net_cred_echo_in_encodings_headers_chunks_and_compression() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let bearer = format!("Authorization: Bearer {}", world.placeholder);
    for path in ["echo", "gzip", "cut"] {
        for version in ["--http1.1", "--http2"] {
            let url = format!("https://api.example.test/v1/{path}");
            let (code, out, err) = world.run(&["curl", "-sS", "-i", version, "-H", &bearer, &url]);
            assert_eq!(code, 0, "{path}: {err}");
            assert!(
                out.contains("***") && !tells(&out),
                "{path} {version}: {out}"
            );
        }
        let last = world.servers["api.example.test"].requests().pop().unwrap();
        assert!(last.contains(SECRET) && last.contains("identity"), "{last}");
    }
    let (_, out, _) = world.run(&[
        "curl",
        "-sS",
        "-i",
        "-H",
        &bearer,
        "https://api.example.test/v1/unknown",
    ]);
    assert!(out.contains("502") && !tells(&out), "{out}");
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_cred_echo_by_range() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let talked = world.api(&format!("GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer {}\r\nRange: bytes=0-9\r\n\r\n", world.placeholder));
    assert_eq!(talked.status(), Some(200), "{talked:?}");
    let last = world.servers["api.example.test"].requests().pop().unwrap();
    assert!(
        last.contains(SECRET) && !last.to_ascii_lowercase().contains("range"),
        "{last}"
    );
    world.control();
}
