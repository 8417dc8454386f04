//! Tokens are put together here, so that no scanner takes this file for a leak.

use proptest::prelude::*;

use super::*;

const RANDOM_TEXT: &str =
    "q8Zt3vN1xB7mK5wR2yP9sL4cD6fG0hJ1aE7uI3oT5kV2nX8bM4pW6rY9tQ1zS3dF5gH7jL9kZ2xC4vB6nM8q";

fn now() -> Timestamp {
    "2026-11-25T00:00:00Z".parse().unwrap()
}

fn found(text: &str) -> Vec<&'static str> {
    find(text, now()).into_iter().map(|hit| hit.what).collect()
}

/// A token of each shape, as long as it may be short.
fn made(shape: &Shape) -> String {
    let letters = RANDOM_TEXT.bytes().map(|byte| match () {
        () if (shape.alphabet)(byte) => char::from(byte),
        () if (shape.alphabet)(byte.to_ascii_uppercase()) && byte.is_ascii_digit() => {
            char::from(byte)
        }
        () => char::from(byte.to_ascii_uppercase()),
    });
    let letters = letters.filter(|c| (shape.alphabet)(*c as u8));
    format!(
        "{}{}",
        shape.prefix,
        letters.cycle().take(shape.least).collect::<String>()
    )
}

#[test]
fn every_shape_is_found_wherever_it_stands_and_not_inside_words() {
    for shape in SHAPES {
        let token = made(shape);
        for text in [
            token.clone(),
            format!("key = \"{token}\"\n"),
            format!("a\nAuthorization: Bearer {token}.\n"),
            format!("https://u:{token}@host/x"),
            format!("X_{token}"),
        ] {
            let hits = find(&text, now());
            assert_eq!(hits.len(), 1, "{}: {text}", shape.prefix);
            assert_eq!(&text[hits[0].range.clone()], token, "{text}");
        }
        assert!(
            found(&format!("x{token}")).is_empty(),
            "{} inside a word",
            shape.prefix
        );
        let short = &token[..token.len() - 1];
        assert!(
            found(&format!("{short} ")).is_empty(),
            "{} too short",
            shape.prefix
        );
        let sample = format!("{}{}", shape.prefix, "EXAMPLE1".repeat(8));
        assert!(
            found(&sample[..token.len().min(sample.len())]).is_empty(),
            "{sample}"
        );
        assert!(found(&format!("{}{}", shape.prefix, "x".repeat(shape.least))).is_empty());
    }
}

fn token(claims: &str, head: &str) -> String {
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(head),
        URL_SAFE_NO_PAD.encode(claims),
        &RANDOM_TEXT[..43]
    )
}

#[test]
fn web_tokens_are_found_while_they_are_good() {
    let head = r#"{"alg":"RS256"}"#;
    assert_eq!(
        found(&token(r#"{"sub":"ci","exp":1999999999}"#, head)),
        ["a signed web token"]
    );
    assert_eq!(
        found(&format!("x={};", token(r#"{"sub":"ci"}"#, head))),
        ["a signed web token"]
    );
    for fine in [
        token(r#"{"sub":"ci","exp":1500000000}"#, head),
        token(r#"{"sub":"1234567890","name":"John Doe"}"#, head),
        token(r#"{"sub":"ci"}"#, r#"{"kid":"no algorithm"}"#),
        "eyJhbGciOiJIUzI1NiJ9.eyJ.x".to_owned(),
        "eyJ".to_owned(),
    ] {
        assert!(found(&fine).is_empty(), "{fine}");
    }
}

#[test]
fn private_keys_are_found_with_their_content_and_not_by_name_alone() {
    let (begin, end) = (
        format!("-----BEGIN {}-----", "RSA PRIVATE KEY"),
        "-----END X-----",
    );
    let body = &RANDOM_TEXT[..64];
    for text in [
        format!("{begin}\n{body}\n{end}\n"),
        format!("{begin}\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-128-CBC,AA\r\n\r\n{body}\r\n"),
        format!("{{\"private_key\": \"{begin}\\n{body}\\n\"}}"),
        format!("    key: |\n      {begin}\n      {body}\n"),
        format!("\"{begin}\\n\" +\n\"{body}\\n\""),
    ] {
        let hits = find(&text, now());
        assert_eq!(hits.len(), 1, "{text}");
        assert_eq!(&text[hits[0].range.clone()], body);
    }
    for fine in [
        format!("if line == '{begin}' {{"),
        format!("{begin}\n...\n{end}"),
        format!("{begin}\nMIIEexample{}\n", &body[..40]),
        format!("{begin}\n{}\n", "A".repeat(64)),
        format!("-----BEGIN {}-----\n{body}\n", "PUBLIC KEY"),
        format!("-----BEGIN {}-----\n{body}\n", "CERTIFICATE"),
    ] {
        assert!(found(&fine).is_empty(), "{fine}");
    }
}

#[test]
fn secrets_of_aws_are_found_beside_their_name() {
    let secret = &RANDOM_TEXT[..40];
    assert_eq!(
        found(&format!("aws_secret_access_key = {secret}\n")),
        ["the secret of an AWS access key"]
    );
    assert_eq!(
        found(&format!("export AWS_SECRET_ACCESS_KEY='{secret}'")),
        ["the secret of an AWS access key"]
    );
    assert!(found(&format!("aws secret: {}/EXAMPLEKEY", &secret[..29])).is_empty());
    assert!(found(&format!("sha = {secret}")).is_empty());
    assert!(
        found("aws_secret = da39a3ee5e6b4b0d3255bfef95601890afd80709").is_empty(),
        "a digest"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_places_are_in_the_text(text in "\\PC{0,200}", part in "(eyJ|sk-|-----BEGIN RSA PRIVATE KEY-----|AKIA|aws secret |ghs_)[ -~]{0,80}") {
        let text = format!("{text}{part}");
        for hit in find(&text, now()) {
            prop_assert!(text.get(hit.range.clone()).is_some_and(|found| !found.is_empty()));
        }
    }
}
