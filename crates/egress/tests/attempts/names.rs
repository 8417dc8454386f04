//! Attempts over names.

use model::egress::EgressRefusal;

use crate::support::{BASE, World};

/// A question of one name with this type.
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn net_dns_long_label_tunnel() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    for number in 0..100 {
        let label = format!("{number:063}");
        let name = format!("{label}.{label}.{label}.evil.example.test");
        let talked = world.ask(&question(&name, 1));
        assert_eq!(talked.received[3] & 0xf, 3, "{talked:?}");
    }
    assert!(world.was_refused(EgressRefusal::HostNotNamed, "evil.example.test"));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_dns_0x20_and_trailing_dot() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let pin: std::net::Ipv4Addr = world.pin("api.example.test").parse().unwrap();
    for name in ["aPi.ExAmPlE.tEsT", "API.EXAMPLE.TEST."] {
        let talked = world.ask(&question(name, 1));
        assert!(talked.received.ends_with(&pin.octets()), "{talked:?}");
        assert!(
            talked.text().contains(name.split('.').next().unwrap()),
            "{talked:?}"
        );
    }
    let talked = world.ask(&question("api.example.test.evil.example.test", 1));
    assert_eq!(talked.received[3] & 0xf, 3);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_dns_qdcount_and_sections() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let pin = world.pin("api.example.test");
    let good = question("api.example.test", 1);
    let with = |place: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[place] = value;
        bytes
    };
    for (bytes, silent) in [
        (with(5, 0), false),
        (with(5, 2), false),
        (with(7, 1), false),
        (with(2, 0x81), true),
        (with(2, 0x29), false),
    ] {
        let talked = world.ask(&bytes);
        assert!(
            talked.received.is_empty() == silent || talked.received.is_empty(),
            "{talked:?}"
        );
        assert!(
            talked.received.get(3).is_none_or(|flags| flags & 0xf != 0),
            "{talked:?}"
        );
    }
    assert_eq!(world.pin("api.example.test"), pin);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_dns_port_as_transport() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    for bytes in [
        &b"SSH-2.0-x\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        &[22, 3, 1, 0, 200, 1],
    ] {
        let talked = world.raw("203.0.113.9", 53, bytes);
        assert!(!talked.text().contains("HTTP/"), "{talked:?}");
    }
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    // Questions over a connection are answered.
    let asked = question("api.example.test", 1);
    let framed = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
    let talked = world.raw("1.1.1.1", 53, &framed);
    let pin: std::net::Ipv4Addr = world.pin("api.example.test").parse().unwrap();
    assert!(talked.received.ends_with(&pin.octets()), "{talked:?}");
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_resolved_address_classes() {
    let policy = r#"[{"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,"credential":{"secret":"x","variable":"API_TOKEN"}},
        {"host":"*.addr.example.test","ports":[80],"protocol":"http"}]"#;
    let addresses = [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.8",
        "198.18.0.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "100::1",
    ];
    let mut settings = egress::broker::outside::OutsideSettings::default();
    for (number, address) in addresses.iter().enumerate() {
        settings.hosts.insert(
            format!("n{number}.addr.example.test"),
            (*address).to_owned(),
        );
    }
    let Some(world) = World::with(policy, egress::broker::limits::Limits::default(), settings)
    else {
        return;
    };
    world.control();
    for (number, address) in addresses.iter().enumerate() {
        let name = format!("n{number}.addr.example.test");
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
        let talked = world.raw(&world.pin(&name), 80, request.as_bytes());
        assert!(
            talked.text().contains("address_forbidden"),
            "{address}: {talked:?}"
        );
        assert!(world.was_refused(EgressRefusal::AddressForbidden, &name));
    }
    world.control();
}
