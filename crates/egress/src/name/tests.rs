use proptest::prelude::*;

use super::*;

/// Spellings of the attack lists: none of them may be a host.
const REFUSED: &[(&str, NameError)] = &[
    ("", NameError::Empty),
    (".", NameError::Label),
    ("api.example.test.", NameError::Label),
    (".api.example.test", NameError::Label),
    ("api..example.test", NameError::Label),
    ("-api.example.test", NameError::Label),
    ("api-.example.test", NameError::Label),
    ("xn--api-.example.test", NameError::Label),
    ("api.example.test\0", NameError::Character),
    ("api.example.test\0.evil.example.test", NameError::Character),
    ("api.example.test\r\nX: y", NameError::Character),
    ("api.example.test\n", NameError::Character),
    ("api.example.test ", NameError::Character),
    (" api.example.test", NameError::Character),
    ("api.example.test\tevil", NameError::Character),
    ("api.example.test:443", NameError::Character),
    ("api.example.test%00", NameError::Character),
    ("api%2eexample.test", NameError::Character),
    ("api.example.test@evil.example.test", NameError::Character),
    ("api.example.test#.evil.example.test", NameError::Character),
    ("api.example.test/evil", NameError::Character),
    ("api.example.test\\evil", NameError::Character),
    ("api.example.test, evil.example.test", NameError::Character),
    ("*.example.test", NameError::Character),
    ("api_.example.test", NameError::Character),
    ("аpi.example.test", NameError::Character),
    ("ａpi.example.test", NameError::Character),
    ("api。example.test", NameError::Character),
    ("203。0。113。9", NameError::Character),
    ("⑳③.0.113.9", NameError::Character),
    ("3405803785", NameError::Number),
    ("0xcb007109", NameError::Number),
    ("0Xcb007109", NameError::Number),
    ("0x", NameError::Number),
    ("0313.0.0161.011", NameError::Number),
    ("203.0.28937", NameError::Number),
    ("169.254.43518", NameError::Number),
    ("169.16689662", NameError::Number),
    ("0251.0376.0251.0376", NameError::Number),
    ("0xa9.0xfe.0xa9.0xfe", NameError::Number),
    ("256.1.1.1", NameError::Number),
    ("1.2.3.4.5", NameError::Number),
    ("a.0x7f", NameError::Number),
    ("203.0.113.9.", NameError::Label),
    ("[]", NameError::Address),
    ("[::1", NameError::Address),
    ("::1", NameError::Character),
    ("[::1]x", NameError::Address),
    ("[fe80::1%lo]", NameError::Address),
    ("[2001:db8::9%25eth0]", NameError::Address),
    ("[203.0.113.9]", NameError::Address),
    ("[api.example.test]", NameError::Address),
    ("[v1.fe80::a]", NameError::Address),
];

#[test]
fn what_readers_understand_differently_is_no_host() {
    for (text, error) in REFUSED {
        assert_eq!(Host::parse(text), Err(*error), "{text:?}");
        assert!(
            Authority::parse(text).is_err() || text.ends_with(":443"),
            "{text:?}"
        );
    }
}

#[test]
fn lengths_end_where_the_dns_ends() {
    let label = "a".repeat(63);
    assert!(Name::parse(&label).is_ok());
    assert_eq!(Name::parse(&format!("{label}a")), Err(NameError::TooLong));
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    assert_eq!(longest.len(), LONGEST_NAME);
    assert!(Name::parse(&longest).is_ok());
    assert_eq!(Name::parse(&format!("{longest}a")), Err(NameError::TooLong));
    assert_eq!(Name::parse(&"a.".repeat(40_000)), Err(NameError::TooLong));
}

#[test]
fn case_is_the_only_freedom_of_a_name() {
    let name = Name::parse("API.Example.TEST").unwrap();
    assert_eq!(name.as_str(), "api.example.test");
    assert!(Name::parse("xn--pi-7kc.example.test").is_ok());
    assert!(Name::parse("r1---sn-4g5e.example.test").is_ok());
    assert!(Name::parse("metadata").is_ok());
}

#[test]
fn an_address_has_one_value_however_it_is_spelled() {
    for (text, shown) in [
        ("203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]", "203.0.113.9"),
        ("[::ffff:cb00:7109]", "203.0.113.9"),
        ("[::FFFF:CB00:7109]", "203.0.113.9"),
        ("[0:0:0:0:0:ffff:cb00:7109]", "203.0.113.9"),
        ("[2001:DB8::9]", "[2001:db8::9]"),
        ("[2001:0db8:0:0:0:0:0:0009]", "[2001:db8::9]"),
        ("[::203.0.113.9]", "[::cb00:7109]"),
        ("[64:ff9b::cb00:7109]", "[64:ff9b::cb00:7109]"),
    ] {
        assert_eq!(Host::parse(text).unwrap().to_string(), shown, "{text}");
    }
}

#[test]
fn a_port_has_one_spelling() {
    for text in [
        "a.test:",
        "a.test:0",
        "a.test:0443",
        "a.test:+443",
        "a.test:-1",
        "a.test:443:22",
        "a.test:65979",
        "a.test:65536",
        "a.test:４４３",
        "a.test: 443",
        "a.test:443 ",
        "a.test:4_4",
        "a.test:0x1bb",
        "[::1]443",
        "[::1]:",
        "[::1]]:443",
        "[[::1]]:443",
        ":443",
        "u@a.test:443",
        "a.test:99999999999999999999",
    ] {
        assert!(Authority::parse(text).is_err(), "{text:?}");
    }
    for (text, port) in [
        ("a.test", None),
        ("A.test:443", Some(443)),
        ("[::1]:65535", Some(65535)),
        ("1.2.3.4:1", Some(1)),
    ] {
        assert_eq!(Authority::parse(text).unwrap().port, port, "{text}");
    }
    let authority = Authority::parse("a.test").unwrap();
    assert!(authority.is(&Host::parse("A.TEST").unwrap(), 443, 443));
    assert!(!authority.is(&Host::parse("a.test").unwrap(), 443, 80));
}

#[test]
fn below_needs_a_dot_between() {
    let parent = Name::parse("example.test").unwrap();
    for (text, below) in [
        ("a.example.test", true),
        ("a.b.example.test", true),
        ("example.test", false),
        ("apiexample.test", false),
        ("example.test.evil.test", false),
        ("test", false),
    ] {
        assert_eq!(
            Name::parse(text).unwrap().is_below(&parent),
            below,
            "{text}"
        );
    }
    let name = Name::parse("a.b.test").unwrap();
    assert_eq!(name.above().collect::<Vec<_>>(), ["b.test", "test"]);
    assert!(Name::parse("x.localhost").unwrap().is_localhost());
    assert!(!Name::parse("localhost.test").unwrap().is_localhost());
}

/// Any spelling that has a chance: real alphabets, dots, brackets, and whatever else.
fn spelling() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9.-]{0,40}",
        "([a-zA-Z0-9-]{1,10}\\.){0,4}[a-zA-Z0-9-]{1,5}(:[0-9]{1,6})?",
        "\\[[0-9a-fA-F:.]{0,40}\\](:[0-9]{1,6})?",
        "[0-9.]{1,20}",
        any::<[u16; 8]>().prop_map(|parts| format!("[{}]", Ipv6Addr::from(parts))),
        any::<[u8; 4]>().prop_map(|parts| Ipv4Addr::from(parts).to_string()),
        ".{0,30}",
    ]
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_as_itself(text in spelling()) {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(&host.to_string()), Ok(host.clone()));
            prop_assert_eq!(Host::parse(&text.to_ascii_uppercase()), Ok(host.clone()));
            if let Host::Address(address) = host {
                prop_assert_eq!(address, address.to_canonical());
            }
        }
        if let Ok(authority) = Authority::parse(&text) {
            prop_assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
        }
    }

    #[test]
    fn a_name_is_nothing_but_what_names_are_made_of(text in spelling()) {
        if let Ok(name) = Name::parse(&text) {
            let shown = name.as_str();
            prop_assert!(shown.eq_ignore_ascii_case(&text));
            prop_assert!(shown.len() <= LONGEST_NAME);
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)));
            prop_assert!(shown.parse::<IpAddr>().is_err());
            prop_assert!(Host::parse(&text) == Ok(Host::Name(name)));
        }
    }
}
