use proptest::prelude::*;

use super::*;

fn class(text: &str) -> Option<&'static str> {
    forbidden(text.parse().unwrap())
}

#[test]
fn both_ends_of_every_block_are_in_it_and_their_neighbours_are_not() {
    for (first, last, before, after) in [
        ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
        (
            "172.16.0.0",
            "172.31.255.255",
            "172.15.255.255",
            "172.32.0.0",
        ),
        (
            "192.168.0.0",
            "192.168.255.255",
            "192.167.255.255",
            "192.169.0.0",
        ),
        (
            "127.0.0.0",
            "127.255.255.255",
            "126.255.255.255",
            "128.0.0.0",
        ),
        (
            "169.254.0.0",
            "169.254.255.255",
            "169.253.255.255",
            "169.255.0.0",
        ),
        (
            "100.64.0.0",
            "100.127.255.255",
            "100.63.255.255",
            "100.128.0.0",
        ),
        ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
        ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
        (
            "198.18.0.0",
            "198.19.255.255",
            "198.17.255.255",
            "198.20.0.0",
        ),
        (
            "198.51.100.0",
            "198.51.100.255",
            "198.51.99.255",
            "198.51.101.0",
        ),
        (
            "203.0.113.0",
            "203.0.113.255",
            "203.0.112.255",
            "203.0.114.0",
        ),
        (
            "192.88.99.0",
            "192.88.99.255",
            "192.88.98.255",
            "192.88.100.0",
        ),
        ("224.0.0.0", "255.255.255.255", "223.255.255.255", "1.0.0.0"),
        ("0.0.0.0", "0.255.255.255", "1.1.1.1", "1.0.0.0"),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db7::",
            "2001:db9::",
        ),
        ("2001::", "2001:1ff:ffff::", "2000:ffff::", "2001:200::"),
        ("2002::", "2002:ffff::", "2001:ffff::", "2003::"),
        ("3fff::", "3fff:fff:ffff::", "3ffe::", "2a00:1450::1"),
        ("fc00::", "ffff::", "2606:4700::1111", "2a00:1450::1"),
    ] {
        assert!(
            class(first).is_some() && class(last).is_some(),
            "{first} {last}"
        );
        assert!(
            class(before).is_none() && class(after).is_none(),
            "{before} {after}"
        );
    }
}

#[test]
fn the_resolved_addresses_of_the_attack_lists_have_their_class() {
    for (text, expected) in [
        ("127.8.8.8", LOOPBACK),
        ("0.0.0.0", UNSPECIFIED),
        ("255.255.255.255", BROADCAST),
        ("240.0.0.1", RESERVED),
        ("224.0.0.1", MULTICAST),
        ("192.0.0.8", PROTOCOLS),
        ("169.254.169.254", METADATA),
        ("169.254.170.2", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("192.0.0.192", METADATA),
        ("fd00:ec2::254", METADATA),
        ("::ffff:a9fe:a9fe", METADATA),
        ("64:ff9b::a9fe:a9fe", METADATA),
        ("64:ff9b:1::a9fe:a9fe", METADATA),
        ("2002:a9fe:a9fe::", METADATA),
        ("2001:0:1:2:3:4:5601:5601", METADATA),
        ("::", UNSPECIFIED),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::127.0.0.1", LOOPBACK),
        ("::ffff:0:127.0.0.1", LOOPBACK),
        ("64:ff9b::7f00:1", LOOPBACK),
        ("2002:7f00:1::", LOOPBACK),
        ("fe80::5efe:7f00:1", LOOPBACK),
        ("2a00::200:5efe:a00:1", PRIVATE),
        ("2001:0:7f00:1::", BROADCAST),
        ("64:ff9b::808:808", TRANSLATED),
        ("2002:808:808::1", TUNNELLED),
        ("::8.8.8.8", TRANSLATED),
        ("fe80::1", LINK_LOCAL),
        ("fec0::1", SITE_LOCAL),
        ("fc00::1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("ff02::1", MULTICAST),
        ("100::1", DISCARDED),
        ("5f00::1", PROTOCOLS),
        ("3fff::1", DOCUMENTATION),
        ("2001:db8::9", DOCUMENTATION),
        ("4000::1", OUTSIDE),
        ("1000::1", OUTSIDE),
    ] {
        assert_eq!(class(text), Some(expected), "{text}");
    }
}

#[test]
fn the_public_internet_is_public() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "140.82.121.4",
        "2606:4700::6810:1",
        "2a00:1450:4001::200e",
        "2620:4f:8001::1",
        "192.0.1.1",
    ] {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn a_private_address_may_be_permitted_but_credentials_of_a_cloud_only_by_address() {
    for text in ["10.0.0.1", "192.168.1.1", "fd12::1", "100.64.0.1"] {
        assert_eq!(never_by_name(text.parse().unwrap()), None, "{text}");
    }
    for text in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "fe80::1",
        "198.18.0.1",
    ] {
        assert!(never_by_name(text.parse().unwrap()).is_some(), "{text}");
    }
}

proptest! {
    /// Every wrapping of an address that is not public is not public.
    #[test]
    fn wrapping_hides_nothing(bits in any::<u32>()) {
        let [a, b, c, d] = bits.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let plain = forbidden(IpAddr::V4(Ipv4Addr::from_bits(bits)));
        prop_assert_eq!(forbidden(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low))), plain);
        for wrapped in [
            [0x64, 0xff9b, 0, 0, 0, 0, high, low],
            [0x64, 0xff9b, 1, 0, 0, 0, high, low],
            [0x2002, high, low, 0, 0, 0, 0, 1],
            [0x2001, 0, 1, 2, 3, 4, !high, !low],
            [0x2a00, 1, 2, 3, 0, 0x5efe, high, low],
        ] {
            let class = forbidden(IpAddr::V6(Ipv6Addr::from(wrapped)));
            prop_assert!(plain.is_none() || class == plain, "{:?}", wrapped);
        }
    }
}
