//! Attempts to have two readers of HTTP understand different things.

use model::egress::EgressRefusal;

use crate::support::{BASE, World};

const WRITE: &str = r#"[{"host":"api.example.test","protocol":"https","methods":["GET","POST"],"paths":["/v1/**"],"private":true,
  "credential":{"secret":"x","variable":"API_TOKEN"}}]"#;

fn no_admin(world: &World) {
    for request in world.servers["api.example.test"].requests() {
        assert!(
            !request.starts_with("GET /admin") && !request.contains("\nGET /admin"),
            "{request}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_cl_te_smuggling() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let inner = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: api.example.test\r\n\r\n";
    for headers in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\n chunked",
    ] {
        let talked = world.api(&format!(
            "POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\n{headers}\r\n\r\n{inner}"
        ));
        assert_eq!(talked.statuses(), [400], "{headers:?}: {talked:?}");
    }
    let talked = world.api(&format!(
        "POST /v1/x HTTP/1.0\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n{inner}"
    ));
    assert_eq!(talked.statuses(), [400]);
    // The plain form is two requests, of which the second is judged by itself.
    let talked = world.api(&format!(
        "POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: Chunked\r\n\r\n{inner}"
    ));
    assert_eq!(talked.statuses(), [200, 403], "{talked:?}");
    no_admin(&world);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_content_length_odd() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for length in [
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "5, 5",
        "+5",
        "-1",
        "0x5",
        "18446744073709551621",
        "5;a",
        "",
        "\u{ff15}",
    ] {
        let talked = world.api(&format!(
            "POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: {length}\r\n\r\nhello"
        ));
        assert_eq!(talked.statuses(), [400], "{length:?}: {talked:?}");
    }
    assert_eq!(world.reached("api.example.test").0, before);
    let body = "GET /admin HTTP/1.1\r\nHost: api.example.test\r\n\r\n";
    let talked = world.api(&format!(
        "GET /v1/x HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(talked.statuses(), [200], "{talked:?}");
    let requests = world.servers["api.example.test"].requests();
    assert!(
        requests
            .last()
            .unwrap()
            .contains(&format!("ontent-length: {}", body.len()))
            || requests.last().unwrap().contains("ransfer-encoding")
    );
    assert!(
        !requests
            .iter()
            .any(|request| request.starts_with("GET /admin"))
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_chunk_tricks() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    for body in [
        "5;ext=\"\n0\r\n\r\nGET /admin HTTP/1.1\"\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \t\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF1\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
    ] {
        let talked = world.api(&format!("POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        assert!(!talked.statuses().contains(&200), "{body:?}: {talked:?}");
    }
    let trailer = format!(
        "5;ext=1\r\nhello\r\n0\r\nHost: evil.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    let talked = world.api(&format!("POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n{trailer}"));
    assert_eq!(talked.statuses(), [200], "{talked:?}");
    let last = world.servers["api.example.test"].requests().pop().unwrap();
    assert!(
        last.ends_with("\r\n\r\nhello") && !last.contains("evil"),
        "{last}"
    );
    no_admin(&world);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_bare_cr_lf_nul() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for request in [
        "GET /v1/ping HTTP/1.1\nHost: api.example.test\n\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\rX: y\r\n\r\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nX: a\rHost: evil.example.test\r\n\r\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nX: a\nAuthorization: b\r\n\r\n",
        "GET /v1/ping\0/../admin HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nX: \0\r\n\r\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nX: \x7f\r\n\r\n",
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nX: \x01\r\n\r\n",
        "GET  /v1/ping  HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET\t/v1/ping\tHTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET /v1/ping HTTP/1.1 HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET /admin\r\n",
        "GET /v1/ping HTTP/2.0\r\nHost: api.example.test\r\n\r\n",
        "GET /v1/ping http/1.1\r\nHost: api.example.test\r\n\r\n",
    ] {
        let talked = world.api(request);
        assert_eq!(talked.statuses(), [400], "{request:?}: {talked:?}");
    }
    assert_eq!(world.reached("api.example.test").0, before);
    assert!(world.was_refused(EgressRefusal::ProtocolInvalid, "api.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_pipelining_after_allowed() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    let one = |method: &str, path: &str, host: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    };
    let talked = world.api(
        &[
            one("GET", "/v1/ping", "api.example.test"),
            one("GET", "/admin", "api.example.test"),
            one("GET", "/v1/ping", "evil.example.test"),
            one("DELETE", "/v1/ping", "api.example.test"),
        ]
        .concat(),
    );
    assert_eq!(talked.statuses(), [200, 403, 421, 403], "{talked:?}");
    assert_eq!(world.reached("api.example.test").0, before + 1);
    assert!(world.was_refused(EgressRefusal::PathNotNamed, "GET /admin"));
    assert!(world.was_refused(EgressRefusal::NamesDisagree, "evil.example.test"));
    assert!(world.was_refused(EgressRefusal::MethodNotNamed, "DELETE /v1/ping"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_method_tricks() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    let long = "A".repeat(10_000);
    for method in [
        "get", "Get", "G\0ET", "XGET", "POST", "PATCH", "TRACE", "PRI", &long,
    ] {
        let talked = world.api(&format!(
            "{method} /v1/x HTTP/1.1\r\nHost: api.example.test\r\n\r\n"
        ));
        assert!(
            matches!(talked.status(), Some(400..=405)),
            "{method:?}: {talked:?}"
        );
    }
    assert_eq!(world.reached("api.example.test").0, before);
    for header in [
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
    ] {
        world.api(&format!(
            "GET /v1/x HTTP/1.1\r\nHost: api.example.test\r\n{header}\r\n\r\n"
        ));
    }
    let requests = world.servers["api.example.test"].requests();
    assert!(
        !requests.iter().any(|request| request.contains("DELETE")),
        "{requests:?}"
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_path_traversal_forms() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for target in [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/.%2e/admin",
        "/v1/%252e%252e/admin",
        "/v1/..%2fadmin",
        "/v1/..%5cadmin",
        "/v1/..\\admin",
        "/v1//../../admin",
        "//admin",
        "/v1/./../admin",
        "/v1/..;/admin",
        "/v1;/../admin",
        "/v1/%c0%ae%c0%ae/admin",
        "/v1/%u002e%u002e/admin",
        "/v1/x/..%00/admin",
        "/%76%31/../admin",
        "/v1/..?/admin",
        "/v1/..#/admin",
        "/./admin",
        "/V1/../admin",
    ] {
        let talked = world.api(&format!(
            "GET {target} HTTP/1.1\r\nHost: api.example.test\r\n\r\n"
        ));
        assert!(
            matches!(talked.status(), Some(400 | 403)),
            "{target}: {talked:?}"
        );
    }
    assert_eq!(world.reached("api.example.test").0, before);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_upgrade_websocket_tunnel() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for upgrade in ["websocket", "foo", "TLS/1.0", "h2c"] {
        let talked = world.api(&format!(
            "GET /v1/ws HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nPOST /admin HTTP/1.1\r\nHost: api.example.test\r\n\r\n"
        ));
        assert_eq!(talked.statuses(), [400], "{upgrade}: {talked:?}");
    }
    assert_eq!(world.reached("api.example.test").0, before);
    // An answer that leaves HTTP though nobody asked.
    let talked = world.api("GET /v1/switch HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert_eq!(talked.status(), Some(502), "{talked:?}");
    no_admin(&world);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_upstream_connection_reuse_isolation() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let talked = world.api("GET /v1/two HTTP/1.1\r\nHost: api.example.test\r\n\r\nGET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(!talked.text().contains("POISON"), "{talked:?}");
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_redirect_cross_host_with_auth() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let bearer = format!("Authorization: Bearer {}", world.placeholder);
    let (_, out, _) = world.run(&[
        "curl",
        "-sS",
        "-i",
        "-H",
        &bearer,
        "https://api.example.test/v1/redirect",
    ]);
    assert!(
        out.contains("302") && out.contains("https://evil.example.test/?x"),
        "{out}"
    );
    let (code, out, _) = world.run(&[
        "curl",
        "-sS",
        "-L",
        "--location-trusted",
        "-H",
        &bearer,
        "https://api.example.test/v1/redirect",
    ]);
    assert_ne!(code, 0, "{out}");
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    assert!(world.was_refused(EgressRefusal::HostNotNamed, "evil.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_udp_sctp_quic_is_not_advertised() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let talked = world.api("GET /v1/alternative HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    let text = talked.text().to_ascii_lowercase();
    assert!(
        text.contains("200 ok")
            && !text.contains("alt-svc")
            && !text.contains("x-nightcrew-refused"),
        "{text}"
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_header_bombs() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    let many = "X: y\r\n".repeat(5000);
    let long = format!("X: {}\r\n", "y".repeat(1 << 20));
    let target = "a".repeat(1 << 20);
    for request in [
        format!("GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n{many}\r\n"),
        format!("GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n{long}\r\n"),
        format!("GET /v1/{target} HTTP/1.1\r\nHost: api.example.test\r\n\r\n"),
    ] {
        let talked = world.api(&request);
        assert!(
            talked
                .status()
                .is_none_or(|status| (400..500).contains(&status)),
            "{talked:?}"
        );
    }
    assert_eq!(world.reached("api.example.test").0, before);
    world.control();
}
