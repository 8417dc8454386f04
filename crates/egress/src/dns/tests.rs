use model::egress::{EgressEvent, EgressRefusal as No};
use proptest::prelude::*;

use super::*;
use crate::name::Name;
use crate::policy::NetworkPolicy;

fn policy() -> NetworkPolicy {
    let text = r#"[{"host": "api.example.test"}, {"host": "*.wild.example.test"}]"#;
    NetworkPolicy::compile(&serde_json::from_str(text).unwrap()).unwrap()
}

/// The labels of a name, as the wire has them.
fn labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

fn wire(name: &str) -> Vec<u8> {
    let parts: Vec<&[u8]> = name.split('.').map(str::as_bytes).collect();
    labels(&parts)
}

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [0xbeef, flags, counts[0], counts[1], counts[2], counts[3]];
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn question(name: &[u8], kind: u16, class: u16) -> Vec<u8> {
    let mut bytes = header(0x0100, [1, 0, 0, 0]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes
}

fn ask(question: &[u8]) -> (Option<Vec<u8>>, Option<EgressEvent>) {
    answer(question, &policy(), &mut Pins::default())
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

fn reason(event: Option<EgressEvent>) -> Option<No> {
    event.and_then(|event| event.refused)
}

#[test]
fn a_named_name_has_one_address_in_every_case() {
    let mut pins = Pins::default();
    for name in ["api.example.test", "aPi.ExAmPlE.tEsT", "API.EXAMPLE.TEST"] {
        let asked = question(&wire(name), 1, 1);
        let (answer, event) = answer(&asked, &policy(), &mut pins);
        let answer = answer.unwrap();
        assert_eq!(&answer[..2], &[0xbe, 0xef]);
        assert_eq!(answer[2..12], [0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            answer[12..asked.len()],
            asked[12..],
            "the question comes back as asked"
        );
        assert_eq!(
            answer[asked.len()..],
            [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 0, 1]
        );
        let event = event.unwrap();
        assert_eq!(
            (event.host.as_str(), event.refused, event.address.as_str()),
            ("api.example.test", None, "198.18.0.1")
        );
    }
    assert_eq!(
        pins.name("198.18.0.1".parse().unwrap()),
        Some(&Name::parse("api.example.test").unwrap())
    );
}

#[test]
fn other_types_of_a_named_name_are_empty() {
    for kind in [
        5, 10, 15, 16, 28, 33, 35, 48, 64, 65, 255, 257, 65280, 12, 2, 6,
    ] {
        let (answer, event) = ask(&question(&wire("x.wild.example.test"), kind, 1));
        let answer = answer.unwrap();
        assert_eq!((code(&answer), &answer[6..12]), (0, &[0; 6][..]), "{kind}");
        assert_eq!(event, None);
    }
}

#[test]
fn what_is_not_named_does_not_exist() {
    for name in [
        "evil.example.test",
        "example.test",
        "wild.example.test",
        "api.example.test.evil.example.test",
        "metadata.google.internal",
        "9.113.0.203.in-addr.arpa",
        "version.bind",
    ] {
        for kind in [1, 28, 12, 16, 65] {
            let (answer, event) = ask(&question(&wire(name), kind, 1));
            assert_eq!(
                (code(&answer.unwrap()), reason(event)),
                (3, Some(No::HostNotNamed)),
                "{name} {kind}"
            );
        }
    }
    for (kind, class) in [(16, 3), (1, 255), (1, 0), (252, 1), (251, 1), (250, 1)] {
        let (answer, event) = ask(&question(&wire("api.example.test"), kind, class));
        assert_eq!(
            (code(&answer.unwrap()), reason(event)),
            (5, Some(No::HostNotNamed)),
            "{kind} {class}"
        );
    }
}

#[test]
fn labels_that_only_look_like_a_name_are_not_it() {
    for (name, shown) in [
        (labels(&[b"api.example.test"]), "api\\046example\\046test"),
        (labels(&[b"api.example", b"test"]), "api\\046example.test"),
        (
            labels(&[b"api.example.test\0", b"evil", b"example", b"test"]),
            "api\\046example\\046test\\000.evil.example.test",
        ),
        (
            labels(&[b"api", b"example", b"test\0"]),
            "api.example.test\\000",
        ),
        (
            labels(&[b"api\0x", b"example", b"test"]),
            "api\\000x.example.test",
        ),
        (labels(&[b"api\nexample"]), "api\\010example"),
        (
            labels(&[b"API ", b"example", b"test"]),
            "API\\032.example.test",
        ),
        (labels(&[b"\xff\xfe"]), "\\255\\254"),
        (
            labels(&[b"_dmarc", b"wild", b"example", b"test"]),
            "_dmarc.wild.example.test",
        ),
        (vec![0], "."),
    ] {
        let (answer, event) = ask(&question(&name, 1, 1));
        let event = event.unwrap();
        assert_eq!(
            (code(&answer.unwrap()), event.refused),
            (3, Some(No::NameInvalid)),
            "{shown}"
        );
        assert_eq!(event.host, shown);
    }
}

#[test]
fn malformed_questions_are_told_so_or_not_answered() {
    let good = question(&wire("api.example.test"), 1, 1);
    let with =
        |flags: u16, counts: [u16; 4], rest: &[u8]| [&header(flags, counts)[..], rest].concat();
    let body = &good[12..];
    let record = [
        &wire("api.example.test")[..],
        &[0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 9],
    ]
    .concat();
    for (message, expected) in [
        (with(0, [0, 0, 0, 0], body), Some(1)),
        (
            with(
                0,
                [2, 0, 0, 0],
                &[body, &question(&wire("x.evil.test"), 1, 1)[12..]].concat(),
            ),
            Some(1),
        ),
        (with(0, [65535, 0, 0, 0], body), Some(1)),
        (with(0, [1, 1, 0, 0], &[body, &record].concat()), Some(1)),
        (with(0, [1, 0, 1, 0], &[body, &record].concat()), Some(1)),
        (with(0, [1, 0, 0, 1], &[body, &record].concat()), Some(1)),
        (with(0, [1, 0, 0, 1], body), Some(1)),
        (with(0x0200, [1, 0, 0, 0], body), Some(1)),
        (with(0x8000, [1, 0, 0, 0], body), None),
        (with(0x1000, [1, 0, 0, 0], body), Some(4)),
        (with(0x2000, [1, 0, 0, 0], body), Some(4)),
        (
            with(0x2800, [1, 0, 1, 0], &[body, &record].concat()),
            Some(4),
        ),
        ([&good[..], &[0; 2000]].concat(), Some(1)),
        ([&good[..], &[0]].concat(), Some(1)),
        (question(&[0xc0, 0x0c], 1, 1), Some(1)),
        (question(&[0xc0, 0x0e, 0xc0, 0x0c], 1, 1), Some(1)),
        (question(&[0xc0, 0xff], 1, 1), Some(1)),
        (question(&[0xc0, 0x00], 1, 1), Some(1)),
        (question(&[3, b'a', b'p', b'i', 0xc0, 0x0c], 1, 1), Some(1)),
        (question(&[0x40, 0], 1, 1), Some(1)),
        (question(&[0x80, 0], 1, 1), Some(1)),
        (question(&[60, b'a'], 1, 1), Some(1)),
        (
            question(&[&[1, b'a'].repeat(127)[..], &[1, b'a', 0]].concat(), 1, 1),
            Some(1),
        ),
        (question(&wire("api.example.test"), 41, 1), Some(1)),
        (question(&wire("api.example.test"), 0, 1), Some(1)),
    ] {
        let (answer, event) = ask(&message);
        assert_eq!(answer.as_deref().map(code), expected, "{message:02x?}");
        assert!(answer.is_none_or(|answer| answer.len() == 12));
        assert_eq!(reason(event), Some(No::ProtocolInvalid));
    }
    for cut in 0..good.len() {
        let (answer, _) = ask(&good[..cut]);
        assert_eq!(
            answer.as_deref().map(code),
            (cut >= 12).then_some(1),
            "{cut}"
        );
    }
    // The longest there is, and one byte more.
    let long = labels(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]]);
    assert_eq!(long.len(), 255);
    assert_eq!(code(&ask(&question(&long, 1, 1)).0.unwrap()), 3);
    let longer = labels(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 62]]);
    assert_eq!(code(&ask(&question(&longer, 1, 1)).0.unwrap()), 1);
}

fn edns(options: &[u8], version: u8, size: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 41];
    bytes.extend_from_slice(&size.to_be_bytes());
    bytes.extend_from_slice(&[0, version, 0x80, 0]);
    bytes.extend_from_slice(&u16::try_from(options.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(options);
    bytes
}

#[test]
fn edns_is_understood_and_its_options_stay_where_they_are() {
    let ask_with = |extra: &[u8], count: u16| {
        let mut message = question(&wire("api.example.test"), 1, 1);
        message[10..12].copy_from_slice(&count.to_be_bytes());
        message.extend_from_slice(extra);
        (message.len(), ask(&message).0.unwrap())
    };
    let options = [
        &[0xfd, 0xe9, 0, 5][..],
        b"EXFIL",
        &[0, 8, 0, 4, 0, 1, 24, 0],
        &[0, 3, 0, 0],
    ]
    .concat();
    for size in [0, 512, 65535] {
        let (_, answer) = ask_with(&edns(&options, 0, size), 1);
        assert_eq!(code(&answer), 0);
        assert_eq!(
            answer[answer.len() - 11..],
            [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0],
            "no option comes back"
        );
    }
    let (_, answer) = ask_with(&edns(&[], 1, 1232), 1);
    assert_eq!(
        (code(&answer), answer[answer.len() - 6]),
        (0, 1),
        "BADVERS is 16"
    );
    assert_eq!(answer[7], 0);
    for extra in [
        [edns(&[], 0, 512), edns(&[], 0, 512)].concat(),
        edns(&[0, 1, 0, 9, 1], 0, 512),
        edns(&[0], 0, 512),
        edns(&[0; 2], 0, 512),
    ] {
        assert_eq!(code(&ask_with(&extra, 1).1), 1, "{extra:02x?}");
    }
    assert_eq!(
        code(&ask_with(&[edns(&[], 0, 512), edns(&[], 0, 512)].concat(), 2).1),
        1
    );
    assert_eq!(
        code(
            &ask_with(
                &edns(
                    &[0xfd, 0xe9, 15, 160]
                        .into_iter()
                        .chain([7; 4000])
                        .collect::<Vec<u8>>(),
                    0,
                    512
                ),
                1
            )
            .1
        ),
        1
    );
}

#[test]
fn an_address_tells_its_name_as_long_as_policy_names_it() {
    let mut pins = Pins::default();
    pins.pin(&Name::parse("api.example.test").unwrap());
    pins.pin(&Name::parse("gone.example.test").unwrap());
    let mut ask = |name: &str| {
        answer(&question(&wire(name), 12, 1), &policy(), &mut pins)
            .0
            .unwrap()
    };
    let told = ask("1.0.18.198.IN-ADDR.arpa");
    assert!(told.ends_with(&wire("api.example.test")));
    for name in [
        "2.0.18.198.in-addr.arpa",
        "3.0.18.198.in-addr.arpa",
        "1.0.0.127.in-addr.arpa",
        "x.0.18.198.in-addr.arpa",
        "001.0.18.198.in-addr.arpa.x",
        "1.0.18.198.ip6.arpa",
    ] {
        assert_eq!(code(&ask(name)), 3, "{name}");
    }
}

#[test]
fn names_beyond_the_limit_fail_and_those_before_stay() {
    let (policy, mut pins) = (policy(), Pins::default());
    for number in 0..MOST_PINS + 10 {
        let name = wire(&format!("n{number}.wild.example.test"));
        let (answer, event) = answer(&question(&name, 1, 1), &policy, &mut pins);
        if number < MOST_PINS {
            assert_eq!(code(&answer.unwrap()), 0);
        } else {
            assert_eq!(
                (code(&answer.unwrap()), reason(event)),
                (2, Some(No::VolumeExhausted))
            );
        }
    }
    let (answer, _) = answer(
        &question(&wire("N0.wild.example.test"), 1, 1),
        &policy,
        &mut pins,
    );
    assert!(answer.unwrap().ends_with(&[198, 18, 0, 1]));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (
        any::<bool>(),
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(with_edns, changes)| {
            let mut message = question(&wire("a.wild.example.test"), 1, 1);
            if with_edns {
                message[11] = 1;
                message.extend(edns(&[0, 10, 0, 2, 1, 2], 0, 512));
            }
            for (place, byte) in changes {
                let place = place.index(message.len());
                message[place] = byte;
            }
            message
        });
    prop_oneof![mutated, proptest::collection::vec(any::<u8>(), 0..80)]
}

proptest! {
    #[test]
    fn any_bytes_are_answered_shortly_or_not_at_all(message in bytes()) {
        let mut pins = Pins::default();
        let (answer, event) = answer(&message, &policy(), &mut pins);
        if let Some(answer) = &answer {
            prop_assert!(answer.len() <= message.len() + 16);
            prop_assert_eq!(&answer[..2], &message[..2]);
            prop_assert!(answer[2] & 0x80 != 0);
        }
        let given = pins.given_out().len();
        prop_assert!(given <= 1);
        if given == 1 {
            prop_assert!(policy().names(&pins.given_out()[0]));
            prop_assert!(event.is_some_and(|event| event.refused.is_none()));
        } else if let Some(event) = event {
            prop_assert!(event.refused.is_some() && event.host.len() <= model::egress::LONGEST_TEXT);
            prop_assert!(event.host.bytes().all(|byte| byte.is_ascii_graphic() || !byte.is_ascii()));
        }
    }
}
