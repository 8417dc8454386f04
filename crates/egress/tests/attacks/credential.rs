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
