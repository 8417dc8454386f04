//! Attempts in which names disagree, or are spelled so that readers differ.

use model::egress::EgressRefusal;

use crate::bypass::{hello, hello_with, is_alert, with_length};
use crate::support::{BASE, SECRET, World};

const TWO: &str = r#"[
  {"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,"credential":{"secret":"x","variable":"API_TOKEN"}},
  {"host":"second.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true},
  {"host":"tunnel.example.test","protocol":"tls","private":true}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn net_sni_vs_host_all_pairs() {
    let Some(world) = World::new(TWO) else { return };
    world.control();
    let hosts = [
        "api.example.test",
        "second.example.test",
        "evil.example.test",
    ];
    let address = |host: &str| match host {
        "evil.example.test" => String::from("203.0.113.9"),
        host => world.pin(host),
    };
    let before: Vec<_> = hosts.iter().map(|host| world.reached(host)).collect();
    for pin in hosts {
        for name in hosts {
            for host in hosts {
                if pin == name && name == host {
                    continue;
                }
                let request = format!(
                    "GET /v1/ping HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
                    world.placeholder
                );
                let talked = world.tls(&address(pin), name, request.as_bytes());
                let refused =
                    !talked.error.is_empty() || matches!(talked.status(), Some(421 | 403));
                assert!(refused, "{pin} {name} {host}: {talked:?}");
            }
        }
    }
    let after: Vec<_> = hosts.iter().map(|host| world.reached(host)).collect();
    assert_eq!(before, after);
    assert!(world.was_refused(EgressRefusal::NamesDisagree, "second.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_direct_wrong_pin() {
    let Some(world) = World::new(TWO) else { return };
    world.control();
    let before = (
        world.reached("api.example.test"),
        world.reached("tunnel.example.test"),
    );
    for (pin, name) in [
        ("tunnel.example.test", "api.example.test"),
        ("api.example.test", "tunnel.example.test"),
    ] {
        let talked = world.raw(&world.pin(pin), 443, &hello(name.as_bytes()));
        assert!(is_alert(&talked.received), "{talked:?}");
        let both = world
            .kept
            .all()
            .into_iter()
            .any(|(_, event)| event.host == name && event.detail.contains(pin));
        assert!(both, "{pin} {name}");
    }
    assert_eq!(
        before,
        (
            world.reached("api.example.test"),
            world.reached("tunnel.example.test")
        )
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_no_sni() {
    let Some(world) = World::new(TWO) else { return };
    world.control();
    let before = (
        world.reached("api.example.test"),
        world.reached("tunnel.example.test"),
    );
    let name = |kind: u8, name: &str| [vec![kind], with_length(name.as_bytes())].concat();
    let list = |names: &[Vec<u8>]| (0, with_length(&names.concat()));
    let (api, evil) = (name(0, "api.example.test"), name(0, "evil.example.test"));
    for extensions in [
        vec![],
        vec![list(&[])],
        vec![list(&[name(0, "")])],
        vec![list(&[name(1, "api.example.test")])],
        vec![list(&[api.clone(), evil.clone()])],
        vec![list(&[evil.clone(), api.clone()])],
        vec![
            list(std::slice::from_ref(&api)),
            list(std::slice::from_ref(&evil)),
        ],
    ] {
        for pin in ["api.example.test", "tunnel.example.test"] {
            let talked = world.raw(&world.pin(pin), 443, &hello_with(&extensions));
            assert!(is_alert(&talked.received), "{extensions:?}: {talked:?}");
        }
    }
    assert_eq!(
        before,
        (
            world.reached("api.example.test"),
            world.reached("tunnel.example.test")
        )
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_sni_odd_spellings() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test");
    let long = vec![b'a'; 255];
    let longer = vec![b'a'; 30_000];
    for name in [
        &b"api.example.test."[..],
        b".api.example.test",
        b"api..example.test",
        b"api.example.test\0.evil.example.test",
        b"api.example.test\r\nX: y",
        b"api.example.test:443",
        b"api_.example.test",
        b"*.example.test",
        b"203.0.113.9",
        b"[::1]",
        "\u{430}pi.example.test".as_bytes(),
        b"xn--pi-7kc.example.test",
        "api\u{3002}example.test".as_bytes(),
        b"api.example.test%00",
        b"api.example.test ",
        &long,
        &longer,
    ] {
        let talked = world.raw(&world.pin("api.example.test"), 443, &hello(name));
        assert!(
            is_alert(&talked.received),
            "{}: {talked:?}",
            name.escape_ascii()
        );
    }
    assert_eq!(world.reached("api.example.test"), before);
    let harmless = world
        .kept
        .all()
        .into_iter()
        .all(|(_, event)| !event.host.contains(['\0', '\r', '\n']));
    assert!(harmless);
    // The case makes no difference, and is not passed on.
    let talked = world.tls(
        &world.pin("api.example.test"),
        "API.Example.TEST",
        b"GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    );
    assert_eq!(talked.status(), Some(200), "{talked:?}");
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_host_odd_spellings() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for host in [
        "api.example.test.",
        "api.example.test\0evil.example.test",
        "api.example.test@evil.example.test",
        "evil.example.test@api.example.test",
        "api.example.test#.evil.example.test",
        "api.example.test/evil",
        "api.example.test, evil.example.test",
        "api.example.test\tevil",
        "",
        "xn--api-.example.test",
        "\u{ff41}pi.example.test",
        "api%2eexample.test",
        "api.example.test:22",
        "api.example.test:0443",
        "api.example.test:443:22",
        "api.example.test:+443",
        "api.example.test:65979",
        "api.example.test:",
    ] {
        let talked = world.api(&format!("GET /v1/ping HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(
            matches!(talked.status(), Some(400 | 403 | 421)),
            "{host:?}: {talked:?}"
        );
    }
    for request in [
        "GET /v1/ping HTTP/1.1\r\n\r\n",
        "GET /v1/ping HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(world.api(request).status(), Some(400));
    }
    assert_eq!(world.reached("api.example.test").0, before);
    let talked = world.api("GET /v1/ping HTTP/1.1\r\nHost: API.EXAMPLE.TEST\r\n\r\n");
    assert_eq!(talked.status(), Some(200));
    let last = world.servers["api.example.test"].requests().pop().unwrap();
    assert!(
        last.to_ascii_lowercase()
            .contains("\r\nhost: api.example.test\r\n")
            && !last.contains("API"),
        "{last}"
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_host_duplicated_and_folded() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for headers in [
        "Host: api.example.test\r\nHost: evil.example.test",
        "Host: evil.example.test\r\nHost: api.example.test",
        "Host: api.example.test\r\nHost: api.example.test",
        "Host: api.example.test\r\n evil.example.test",
        "Host : evil.example.test\r\nHost: api.example.test",
        "\x0bHost: evil.example.test\r\nHost: api.example.test",
        "Host: api.example.test\r\nX: y\r\n\tHost: evil.example.test",
        "Host\0: evil.example.test\r\nHost: api.example.test",
        " Host: evil.example.test\r\nHost: api.example.test",
    ] {
        let talked = world.api(&format!("GET /v1/ping HTTP/1.1\r\n{headers}\r\n\r\n"));
        assert_eq!(talked.statuses(), [400], "{headers:?}: {talked:?}");
    }
    assert_eq!(world.reached("api.example.test").0, before);
    assert!(world.was_refused(EgressRefusal::ProtocolInvalid, "api.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_absolute_form_target() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    for (target, host) in [
        ("https://evil.example.test/v1/ping", "api.example.test"),
        ("http://api.example.test/v1/ping", "api.example.test"),
        ("https://api.example.test:22/v1/ping", "api.example.test"),
        (
            "https://api.example.test@evil.example.test/v1/x",
            "api.example.test",
        ),
        ("https:\\\\evil.example.test/v1", "api.example.test"),
        ("//evil.example.test/v1/ping", "api.example.test"),
        ("evil.example.test:443", "api.example.test"),
        ("*", "api.example.test"),
        ("https://api.example.test/v1/ping", "evil.example.test"),
    ] {
        let talked = world.api(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(
            matches!(talked.status(), Some(400 | 403 | 421)),
            "{target}: {talked:?}"
        );
    }
    assert_eq!(world.reached("api.example.test").0, before);
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_forwarding_headers_as_host() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    for header in [
        "X-Forwarded-Host: evil.example.test",
        "X-Host: evil.example.test",
        "X-Original-Host: evil.example.test",
        "Forwarded: host=evil.example.test",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Forwarded-Proto: http",
        "X-HTTP-DestinationURL: /admin",
        "Via: 1.1 evil.example.test",
        "Proxy-Connection: keep-alive",
        "X-Forwarded-For: 127.0.0.1",
    ] {
        let talked = world.api(&format!(
            "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n{header}\r\n\r\n"
        ));
        assert_eq!(talked.status(), Some(200), "{header}: {talked:?}");
        let last = world.servers["api.example.test"].requests().pop().unwrap();
        let name = header.split(':').next().unwrap().to_ascii_lowercase();
        assert!(
            last.starts_with("GET /v1/ping ") && !last.to_ascii_lowercase().contains(&name),
            "{last}"
        );
    }
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_ech_outer_allowed() {
    let Some(world) = World::new(TWO) else { return };
    world.control();
    let list = [vec![0], with_length(b"tunnel.example.test")].concat();
    let extensions = [
        (0, with_length(&list)),
        (0xfe0d, vec![0, 0, 1, 0, 1, 9, 0, 0, 0, 0]),
    ];
    let talked = world.raw(
        &world.pin("tunnel.example.test"),
        443,
        &hello_with(&extensions),
    );
    assert!(is_alert(&talked.received), "{talked:?}");
    assert_eq!(world.reached("tunnel.example.test"), (0, 0));
    assert!(world.was_refused(EgressRefusal::ProtocolInvalid, "tunnel.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_ip_literal_host_spellings() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    for host in [
        "203.0.113.9",
        "3405803785",
        "0xcb007109",
        "0313.0.0161.011",
        "203.0.28937",
        "203.0.113.9.",
        "[2001:db8::9]",
        "[::ffff:203.0.113.9]",
        "[2001:db8::9%25eth0]",
        "203\u{3002}0\u{3002}113\u{3002}9",
    ] {
        for address in ["203.0.113.9", "127.0.0.1", &world.pin("api.example.test")] {
            for target in [String::from("/"), format!("http://{host}/")] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let talked = world.raw(address, 80, request.as_bytes());
                assert!(
                    matches!(talked.status(), Some(400 | 403 | 421)),
                    "{host} {target}: {talked:?}"
                );
            }
        }
    }
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn sight_listeners_by_other_local_addresses() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let before = world.reached("api.example.test").0;
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    for address in [
        "127.0.0.1",
        "127.0.0.53",
        "127.255.255.254",
        "::1",
        "198.18.0.0",
        "198.19.255.255",
        "198.18.0.9",
        "10.1.2.3",
    ] {
        let talked = world.tls(address, "api.example.test", request.as_bytes());
        assert!(
            !talked.error.is_empty() && talked.received.is_empty(),
            "{address}: {talked:?}"
        );
        let talked = world.raw(address, 80, request.as_bytes());
        assert_eq!(talked.status(), Some(403), "{address}: {talked:?}");
        assert!(talked.text().contains("address_not_named"));
    }
    assert_eq!(world.reached("api.example.test").0, before);
    // Its form as an address of IPv6 is the same address.
    let mapped = format!("::ffff:{}", world.pin("api.example.test"));
    assert_eq!(
        world
            .tls(&mapped, "api.example.test", request.as_bytes())
            .status(),
        Some(200)
    );
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_plain_http_to_https_only_host() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    let talked = world.raw(&world.pin("api.example.test"), 80, request.as_bytes());
    assert_eq!(talked.status(), Some(403));
    assert!(
        talked.text().contains("port_not_named") && !talked.text().contains(SECRET),
        "{talked:?}"
    );
    world.control();
}
