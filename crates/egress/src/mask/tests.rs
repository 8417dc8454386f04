use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cr3t+/V\"\\lue=of&more~than?30>>chars";

fn mask() -> Mask {
    Mask::new([SECRET]).unwrap()
}

/// What comes out when the text comes in pieces of this size.
fn pieces(mask: &Mask, text: &[u8], size: usize) -> Vec<u8> {
    let mut masker = Masker::new(mask);
    let mut out = Vec::new();
    for piece in text.chunks(size.max(1)) {
        masker.feed(piece, &mut out);
    }
    masker.finish(&mut out);
    out
}

fn percent(text: &str, all: bool, upper: bool) -> String {
    let kept = |byte: u8| !all && (byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
    text.bytes()
        .map(|byte| match (kept(byte), upper) {
            (true, _) => char::from(byte).to_string(),
            (_, true) => format!("%{byte:02X}"),
            (_, false) => format!("%{byte:02x}"),
        })
        .collect()
}

fn unicode(text: &str) -> String {
    text.bytes().map(|byte| format!("\\u{byte:04X}")).collect()
}

fn broken(text: &str, every: usize, with: &str) -> String {
    let parts: Vec<&str> = text
        .as_bytes()
        .chunks(every)
        .map(|part| std::str::from_utf8(part).unwrap())
        .collect();
    parts.join(with)
}

/// Encodings that the issue and the attack lists name.
fn encodings(secret: &str) -> Vec<(&'static str, String)> {
    let json = serde_json::to_string(secret).unwrap();
    let long = format!("user-of-some-length:{secret}:and-more-behind-it");
    vec![
        ("plain", secret.to_owned()),
        ("hex", hex::encode(secret)),
        ("HEX", hex::encode_upper(secret)),
        ("base64 0", STANDARD.encode(secret)),
        ("base64 1", STANDARD.encode(format!("a{secret}zz"))),
        ("base64 2", STANDARD.encode(format!("ab{secret}z"))),
        ("base64url 0", URL_SAFE.encode(secret)),
        ("base64url 1", URL_SAFE.encode(format!("a{secret}"))),
        ("base64url 2", URL_SAFE.encode(format!("ab{secret}"))),
        ("basic", STANDARD.encode(format!("user:{secret}"))),
        ("percent", percent(secret, false, false)),
        ("PERCENT", percent(secret, false, true)),
        ("all percent", percent(secret, true, false)),
        (
            "percent of base64",
            percent(&STANDARD.encode(secret), false, true),
        ),
        ("json", json[1..json.len() - 1].to_owned()),
        ("json unicode", unicode(secret)),
        (
            "json slashes of base64",
            STANDARD.encode(secret).replace('/', "\\/"),
        ),
        ("wrapped base64", broken(&STANDARD.encode(&long), 76, "\n")),
        (
            "wrapped base64 crlf",
            broken(&STANDARD.encode(&long), 60, "\r\n"),
        ),
        (
            "wrapped base64 in json",
            broken(&STANDARD.encode(&long), 64, "\\n"),
        ),
        ("lines of 20", broken(secret, 20, "\n")),
        ("one a line", broken(secret, 1, "\r\n")),
        (
            "wrapped percent",
            broken(&percent(secret, true, true), 7, "\n"),
        ),
    ]
}

/// Whether the secret can be read in any of the forms, line breaks left out.
fn leaks(out: &[u8], secret: &str) -> bool {
    let squeezed: String = String::from_utf8_lossy(out)
        .chars()
        .filter(|letter| !"\r\n".contains(*letter))
        .collect();
    // The letters of base64 that depend on neighbours are left out of what is looked for.
    encodings(secret).iter().any(|(_, form)| {
        let form: String = form
            .chars()
            .filter(|letter| !"\r\n".contains(*letter))
            .collect();
        let inside = form.get(4..form.len() - 4).unwrap_or_default();
        squeezed.contains(inside)
    })
}

#[test]
fn every_form_is_masked_however_it_is_cut() {
    let mask = mask();
    for (name, form) in encodings(SECRET) {
        let text = format!("before {form} after");
        for size in 1..=text.len() {
            let out = pieces(&mask, text.as_bytes(), size);
            let shown = String::from_utf8(out.clone()).unwrap();
            assert!(!leaks(&out, SECRET), "{name} by {size}: {shown}");
            assert!(
                shown.starts_with("before ") && shown.ends_with(" after") && shown.contains(STARS),
                "{name}: {shown}"
            );
        }
        assert!(mask.finds(text.as_bytes()));
    }
}

#[test]
fn plain_text_stays_as_it_is() {
    let mask = mask();
    let half = &SECRET[..SECRET.len() - 1];
    for text in [
        "",
        "nothing here",
        half,
        &format!("{half}!"),
        &STANDARD.encode(half)[..20],
        "100%",
        "%",
        "\\",
        "a\\u00",
        "%4",
        "\r\n\r\n\n\n\n\n",
        "C:\\new\\users",
        "%25%%3",
        "\\\\\\",
        "s3c\n\n\nr3t",
        "größe 漢字",
        "\\u00e9\\ud83d\\ude00",
    ] {
        for size in 1..=text.len().max(1) {
            assert_eq!(
                pieces(&mask, text.as_bytes(), size),
                text.as_bytes(),
                "{text}"
            );
        }
        assert!(matches!(mask.text(text), Cow::Borrowed(same) if same == text));
    }
}

#[test]
fn only_the_value_goes_and_lines_stay() {
    let mask = Mask::new(["first-secret", "second-secret", "secret-third"]).unwrap();
    for (text, expected) in [
        ("a first-secret b second-secret c", "a *** b *** c"),
        ("first-secretsecond-secret", "***"),
        ("first-secret first-secret", "*** ***"),
        ("second-secret-third", "***"),
        ("xfirst-se\r\ncrety\nz", "x***\r\ny\nz"),
        ("first-secre first-secret", "first-secre ***"),
        ("firsfirst-secret", "firs***"),
        ("first-\n\n\n\n\nsecret", "first-\n\n\n\n\nsecret"),
        ("first-\r\n\r\nsecret", "***\r\n\r\n"),
    ] {
        for size in 1..=text.len() {
            assert_eq!(
                String::from_utf8(pieces(&mask, text.as_bytes(), size)).unwrap(),
                expected,
                "{text:?} by {size}"
            );
        }
    }
}

#[test]
fn bytes_are_held_only_while_they_could_be_a_value() {
    let mut masker = Masker::new(&mask());
    let mut out = Vec::new();
    masker.feed(b"data: {\"text\": \"hello\"}\n\n", &mut out);
    assert_eq!((masker.held(), out.len()), (0, 25));
    masker.feed(b"!s3cr", &mut out);
    assert_eq!((masker.held(), out.last().copied()), (4, Some(b'!')));
    masker.feed(b"et", &mut out);
    assert_eq!(masker.held(), 0);
    masker.feed(b"100%2", &mut out);
    assert!(masker.held() <= 2);
    let most = 6 * SECRET.len() + 4 * SECRET.len();
    for byte in unicode(SECRET).bytes().cycle().take(100_000) {
        masker.feed(&[byte], &mut out);
        assert!(masker.held() <= most);
    }
    masker.feed(&b"\n".repeat(10_000), &mut out);
    assert_eq!(masker.held(), 0);
}

#[test]
fn a_value_that_repeats_itself_makes_one_mask_and_no_queue() {
    let mask = Mask::new(["aaaaaaaa"]).unwrap();
    let mut masker = Masker::new(&mask);
    let mut out = Vec::new();
    for _ in 0..10_000 {
        masker.feed(b"aaa", &mut out);
        assert!(masker.held() <= 8);
    }
    masker.feed(b"!", &mut out);
    assert_eq!((out.as_slice(), masker.masked()), (&b"***!"[..], 1));
}

#[test]
fn a_key_of_several_lines_is_found_whole_and_line_by_line() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\nAgEAAoIBAQC7VJTUt9Us8cKjMzEfYyjiWA4R4YoU";
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let mask = Mask::new([key.as_str()]).unwrap();
    assert_eq!(mask.text(&key).replace('\n', ""), "***");
    let diff = body
        .lines()
        .map(|line| format!("+{line}\n"))
        .collect::<String>();
    assert_eq!(mask.text(&diff), "+***\n+***\n");
    assert_eq!(
        mask.text("-----BEGIN PRIVATE KEY-----"),
        "-----BEGIN PRIVATE KEY-----"
    );
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(mask.text(&json), "\"***\\n\"");
}

#[test]
fn values_that_cannot_be_masked_are_told() {
    assert_eq!(
        Mask::new(["long-enough", "short"]).unwrap_err(),
        MaskError::Length(1)
    );
    assert_eq!(
        Mask::new(["1\n2\n3\n4\n5\n6\n7"]).unwrap_err(),
        MaskError::Length(0)
    );
    assert_eq!(
        Mask::new(["x".repeat(LONGEST_MASKED + 1).as_str()]).unwrap_err(),
        MaskError::Length(0)
    );
    let many: Vec<String> = (0..=MOST_VALUES)
        .map(|number| format!("value-{number:08}"))
        .collect();
    assert_eq!(
        Mask::new(many.iter().map(String::as_str)).unwrap_err(),
        MaskError::TooMany
    );
    let most = Mask::new(many[1..].iter().map(String::as_str)).unwrap();
    assert_eq!(most.text("a value-00000500 b"), "a *** b");
    let none = Mask::new([]).unwrap();
    assert!(none.is_empty() && none.text("anything") == "anything");
}

#[test]
fn shared_bytes_are_passed_on_as_they_are() {
    let mut masker = Masker::new(&mask());
    let plain = Bytes::from_static(b"nothing to see here!");
    let out = masker.chunk(&plain);
    assert_eq!(out.as_ptr(), plain.as_ptr());
    let (start, rest) = SECRET.split_at(5);
    assert_eq!(masker.chunk(&Bytes::from(format!("a {start}"))), "a ");
    assert_eq!(masker.chunk(&Bytes::from(format!("{rest} b!"))), "*** b!");
    assert_eq!(masker.chunk(&plain).as_ptr(), plain.as_ptr());
}

/// The text without line breaks, but for more in a row than may stand inside a value.
fn without_breaks(text: &str) -> String {
    let mut kept = String::new();
    let mut breaks = String::new();
    for letter in text.chars().chain(['\0']) {
        if matches!(letter, '\r' | '\n') {
            breaks.push(letter);
            continue;
        }
        if breaks.len() > usize::from(view::MOST_BREAKS) {
            kept.push_str(&breaks);
        }
        breaks.clear();
        kept.push(letter);
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_form_of_any_value_is_left(
        secret in "[ -~]{12,40}", form in 0..23_usize, before in "[ -~\n%\\\\]{0,20}", after in "[ -~\n%\\\\]{0,20}", size in 1..50_usize,
    ) {
        let mask = Mask::new([secret.as_str()]).unwrap();
        let (name, encoded) = encodings(&secret).swap_remove(form);
        let text = format!("{before}{encoded}{after}");
        let out = pieces(&mask, text.as_bytes(), size);
        // An escape that begins before the value may swallow its first letter for one reading, but
        // then the value is not there in that reading.
        let plain_start = !before.ends_with(['%', '\\']) && !before.contains(['%', '\\']);
        prop_assert!(!plain_start || !leaks(&out, &secret), "{}: {}", name, String::from_utf8_lossy(&out));
        prop_assert!(!String::from_utf8_lossy(&out).replace(['\r', '\n'], "").contains(&secret));
        prop_assert_eq!(out, pieces(&mask, text.as_bytes(), text.len()));
    }

    /// Taking the masked parts away and nothing else.
    #[test]
    fn what_is_not_a_value_comes_out_in_order(parts in proptest::collection::vec(proptest::sample::select(vec![
        "abcdefgh", "abcd", "efgh", "a", "%61", "bcdefgh", "\\u0061", "%", "\\", "\n", "\r\n", " ", "x", "YWJjZGVmZ2g=", "6162636465666768",
    ]), 0..20), size in 1..30_usize) {
        let mask = Mask::new(["abcdefgh"]).unwrap();
        let text = parts.concat();
        let out = pieces(&mask, text.as_bytes(), size);
        prop_assert_eq!(&out, &pieces(&mask, text.as_bytes(), 1));
        let mut chunked = Vec::new();
        let mut masker = Masker::new(&mask);
        for piece in text.as_bytes().chunks(size) {
            chunked.extend_from_slice(&masker.chunk(&Bytes::copy_from_slice(piece)));
        }
        masker.finish(&mut chunked);
        prop_assert_eq!(&out, &chunked);
        let out = String::from_utf8(out).unwrap();
        prop_assert!(!without_breaks(&out).contains("abcdefgh"));
        let squeezed = out.replace(['\r', '\n'], "");
        // Each rest between stars stands in the text, one after the other.
        let whole = text.replace(['\r', '\n'], "");
        let mut rest = whole.as_str();
        for part in squeezed.split(STARS) {
            let place = rest.find(part);
            prop_assert!(place.is_some(), "{} not in {}", part, rest);
            rest = &rest[place.unwrap() + part.len()..];
        }
    }
}
