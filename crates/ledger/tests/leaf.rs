//! The canonical form of a leaf.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::{leaf, payload};
use ledger::{Heading, Leaf, LeafError, MAX_LEAF_BYTES, MAX_NUMBER};
use proptest::prelude::*;

#[test]
fn the_form_is_fixed() {
    let heading = Heading {
        kind: "approval.given".into(),
        at: 1_760_000_000_000_000,
        actor: "person:ada\n\"ü\"".into(),
        scope: String::new(),
        subject: "task:42".into(),
        seq: 7,
    };
    let leaf = Leaf::new(heading, b"{}", [0xab; 32]).unwrap();
    // The hash was computed with sha256sum.
    let expected = format!(
        "{}{}{}{}{}",
        r#"{"actor":"person:ada\n\"ü\"","at":1760000000000000,"kind":"approval.given","#,
        r#""payload_hash":"7a70c227554522102034a3cd6399349f3d2513816e174e9908350cde3835e645","#,
        r#""salt":""#,
        "ab".repeat(32),
        r#"","scope":"","seq":7,"subject":"task:42","v":1}"#,
    );
    assert_eq!(String::from_utf8(leaf.to_bytes()).unwrap(), expected);
}

#[test]
fn a_leaf_knows_its_payload_and_no_other() {
    assert!(leaf(3).matches_payload(&payload(3)));
    assert!(!leaf(3).matches_payload(&payload(4)));
    assert!(!leaf(3).matches_payload(b""));
}

#[test]
fn other_spellings_of_the_same_leaf_are_refused() {
    let text = String::from_utf8(leaf(1).to_bytes()).unwrap();
    assert_eq!(Leaf::parse(text.as_bytes()).unwrap(), leaf(1));
    let swapped = text.replace("\"scope\":\"org\",\"seq\":1", "\"seq\":1,\"scope\":\"org\"");
    for other in [
        format!("{text}\n"),
        format!(" {text}"),
        swapped,
        text.replace("org", "\\u006frg"),
        text.replace("\"seq\":1", "\"seq\":1.0"),
        text.replace("\"seq\":1", "\"seq\":1,\"seq\":1"),
        text.replace("\"v\":1", "\"v\":1,\"w\":1"),
        text.replace("\"seq\":1,", ""),
        text.replace("0101", "01 01"),
        text.replace("\"salt\":\"01", "\"salt\":\"0A"),
        text[..text.len() - 1].to_owned(),
        String::new(),
        "[]".repeat(3),
        "[".repeat(10_000),
    ] {
        assert_ne!(other, text);
        assert!(Leaf::parse(other.as_bytes()).is_err(), "{other}");
    }
    assert!(Leaf::parse(&[0xff; 100]).is_err());
}

#[test]
fn a_later_version_is_named() {
    let text = String::from_utf8(leaf(1).to_bytes()).unwrap();
    for other in [
        text.replace("\"v\":1", "\"v\":2"),
        "{\"v\":2,\"new\":[]}".into(),
    ] {
        assert_eq!(Leaf::parse(other.as_bytes()), Err(LeafError::Version(2)));
    }
}

#[test]
fn values_outside_their_fields_are_refused() {
    let heading = leaf(1).heading().clone();
    let make = |heading| Leaf::new(heading, b"", [0; 32]);
    for kind in [
        "",
        ".",
        "a.",
        "Task.prepared",
        "a b",
        "a\n",
        "ü",
        &"a".repeat(65),
    ] {
        let heading = Heading {
            kind: kind.into(),
            ..heading.clone()
        };
        assert_eq!(make(heading), Err(LeafError::Field("kind")), "{kind}");
    }
    let late = Heading {
        at: MAX_NUMBER + 1,
        ..heading.clone()
    };
    assert_eq!(make(late), Err(LeafError::Field("at")));
    let far = Heading {
        seq: u64::MAX,
        ..heading.clone()
    };
    assert_eq!(make(far), Err(LeafError::Field("seq")));
    let long = Heading {
        subject: "x".repeat(MAX_LEAF_BYTES),
        ..heading
    };
    assert!(matches!(make(long), Err(LeafError::TooLong(_))));
}

proptest! {
    #[test]
    fn any_leaf_comes_back(
        kind in "[a-z0-9_]{1,9}(\\.[a-z0-9_]{1,9}){0,3}", at in 0..=MAX_NUMBER, seq in 0..=MAX_NUMBER,
        actor: String, scope: String, subject in "\\PC*|[\u{0}-\u{7f}]*", payload: Vec<u8>, salt: [u8; 32],
    ) {
        let heading = Heading { kind, at, actor, scope, subject, seq };
        let leaf = Leaf::new(heading, &payload, salt).unwrap();
        prop_assert_eq!(&Leaf::parse(&leaf.to_bytes()).unwrap(), &leaf);
        prop_assert!(leaf.matches_payload(&payload));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = Leaf::parse(&bytes);
    }

    #[test]
    fn what_the_reader_accepts_is_canonical(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = leaf(1).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.to_bytes(), bytes);
        }
    }
}
