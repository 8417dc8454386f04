use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use http::{HeaderMap, HeaderName};
use model::egress::EgressRefusal as No;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cret+/value-of-forty-characters-and-more";

fn used(header: Option<&str>, variable: bool, format: Option<&str>) -> CredentialUse {
    CredentialUse {
        secret: "X".to_owned(),
        header: header.map(str::to_owned),
        variable: variable.then(|| "API_TOKEN".to_owned()),
        format: format.map(str::to_owned),
    }
}

struct World {
    placeholder: String,
    used: CredentialUse,
    credentials: Credentials,
}

impl World {
    fn new(used: CredentialUse) -> Self {
        let placeholder = placeholder().unwrap();
        let bound = Bound {
            placeholder: placeholder.clone(),
            used: used.clone(),
            value: Zeroizing::new(SECRET.to_owned()),
        };
        Self {
            placeholder,
            used,
            credentials: Credentials::new(vec![bound]).unwrap(),
        }
    }

    fn bearer() -> Self {
        Self::new(used(None, true, None))
    }

    /// Text with `PH` for the placeholder.
    fn text(&self, text: &str) -> String {
        text.replace("PH", &self.placeholder)
    }

    fn place(
        &self,
        target: &str,
        sent: &[(&str, &str)],
    ) -> (Result<Option<Placed>, No>, HeaderMap) {
        let target = self.text(target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(
                HeaderName::from_bytes(self.text(name).to_ascii_lowercase().as_bytes()).unwrap(),
                HeaderValue::from_bytes(self.text(value).as_bytes()).unwrap(),
            );
        }
        let answer = self
            .credentials
            .place(Some(&self.used), path, query, &mut headers);
        (answer, headers)
    }
}

fn occurrences(headers: &HeaderMap) -> usize {
    headers
        .values()
        .filter(|value| memchr::memmem::find(value.as_bytes(), SECRET.as_bytes()).is_some())
        .count()
}

#[test]
fn the_value_takes_the_place_of_the_exact_header_only() {
    let world = World::bearer();
    for value in ["Bearer PH", "bearer PH", "BEARER PH"] {
        let (answer, headers) =
            world.place("/v1/x?y=z", &[("authorization", value), ("accept", "*/*")]);
        assert_eq!(
            answer,
            Ok(Some(Placed {
                secret: "X".to_owned()
            }))
        );
        assert_eq!(headers["authorization"], format!("Bearer {SECRET}"));
        assert!(headers["authorization"].is_sensitive());
        assert_eq!((headers.len(), occurrences(&headers)), (2, 1));
    }
    let (answer, headers) = world.place("/v1/x", &[("authorization", "Bearer own")]);
    assert_eq!(
        (answer, headers["authorization"].to_str().unwrap()),
        (Ok(None), "Bearer own")
    );
    assert_eq!(world.place("/v1/x", &[]).0, Ok(None));
}

#[test]
fn a_placeholder_anywhere_else_is_refused() {
    let world = World::bearer();
    let upper = world.placeholder.to_ascii_uppercase();
    let percent: String = world
        .placeholder
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let twice = percent.replace('%', "%25");
    let hexadecimal = hex::encode_upper(&world.placeholder);
    let good = ("authorization", "Bearer PH");
    for target in [
        "/v1/PH",
        "/v1/x?key=PH",
        "/v1/x?PH",
        &format!("/v1/{percent}"),
        &format!("/x?k={twice}"),
        &format!("/x?k={upper}"),
        &format!("/x?k={hexadecimal}"),
        "/v1/x?k=nc-placeholder-",
        "/x?k=nc%2Dplaceholder%2dPH",
    ] {
        for sent in [&[good][..], &[]] {
            let (answer, headers) = world.place(target, sent);
            assert_eq!(
                (answer, occurrences(&headers)),
                (Err(No::CredentialMisplaced), 0),
                "{target}"
            );
        }
    }
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(world.text(text)));
    for (name, value) in [
        ("cookie", "a=PH"),
        ("x-api-key", "PH"),
        ("user-agent", "curl PH"),
        ("proxy-authorization", "Bearer PH"),
        ("x-a", &percent),
        ("x-a", &upper),
        ("x-PH", "1"),
        ("authorization", "Bearer x"),
        ("authorization", "Bearer PH"),
        ("x-a", &basic("user:PH")),
        ("x-a", &STANDARD_NO_PAD.encode(world.text("1PH"))),
        ("x-a", &URL_SAFE.encode(world.text("12PH"))),
        ("x-a", &hex::encode(&world.placeholder)),
    ] {
        let (answer, headers) = world.place("/v1/x", &[good, (name, value)]);
        assert_eq!(
            (answer, occurrences(&headers)),
            (Err(No::CredentialMisplaced), 0),
            "{name}: {value}"
        );
    }
    for value in [
        "PH",
        "Bearer  PH",
        "Bearer PH ",
        "Bearer\tPH",
        " Bearer PH",
        "Bearer PHPH",
        "Bearer PH, Bearer PH",
        "Bearer xPHy",
        "Bearer PH\t",
        "token PH",
        "Bearer nc-placeholder-",
        "Bearer nc-placeholder-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &format!("Bearer {upper}"),
        &format!("Bearer {percent}"),
        &basic("user:PH"),
        &basic("PH:"),
        &basic("user:PH").replace('=', ""),
        "BearerPH",
        "Bearer PH\u{e9}",
    ] {
        let (answer, headers) = world.place("/v1/x", &[("authorization", value)]);
        assert_eq!(
            (answer, occurrences(&headers)),
            (Err(No::CredentialMisplaced), 0),
            "{value}"
        );
    }
}

#[test]
fn a_request_without_a_bound_credential_carries_no_placeholder() {
    let world = World::bearer();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", world.text("Bearer PH").parse().unwrap());
    assert_eq!(
        world.credentials.place(None, "/", "", &mut headers),
        Err(No::CredentialMisplaced)
    );
    assert_eq!(
        world
            .credentials
            .place(None, "/", "", &mut HeaderMap::new()),
        Ok(None)
    );
    let other = used(Some("x-api-key"), true, Some("{}"));
    assert_eq!(
        world.credentials.place(Some(&other), "/", "", &mut headers),
        Err(No::CredentialMisplaced)
    );
}

#[test]
fn a_credential_without_variable_is_put_in_by_itself_once() {
    let world = World::new(used(Some("X-Api-Key"), false, Some("{}")));
    for sent in [
        &[][..],
        &[("x-api-key", "dummy")],
        &[("x-api-key", "a"), ("x-api-key", "b")],
    ] {
        let (answer, headers) = world.place("/", sent);
        assert!(answer.unwrap().is_some());
        assert_eq!(
            headers.get_all("x-api-key").iter().collect::<Vec<_>>(),
            [SECRET]
        );
    }
    assert_eq!(
        world.place("/", &[("x-api-key", "PH")]).0,
        Err(No::CredentialMisplaced)
    );
    assert_eq!(
        world
            .place("/", &[("x-api-key", "a"), ("authorization", "PH")])
            .0,
        Err(No::CredentialMisplaced)
    );
}

#[test]
fn basic_authentication_has_one_spelling_and_our_user() {
    let world = World::new(used(None, true, Some("basic x-access-token")));
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(world.text(text)));
    for value in [
        basic("x-access-token:PH"),
        basic("git:PH"),
        basic(":PH"),
        basic("git:PH").replace("Basic", "basic"),
    ] {
        let (answer, headers) = world.place("/", &[("authorization", &value)]);
        assert!(answer.unwrap().is_some(), "{value}");
        let expected = format!(
            "Basic {}",
            STANDARD.encode(format!("x-access-token:{SECRET}"))
        );
        assert_eq!(headers["authorization"], expected);
    }
    for value in [
        "Bearer PH".to_owned(),
        basic("PH:"),
        basic("PH:PH"),
        basic("git:PHx"),
        basic("git:xPH"),
        basic("git:PH\n"),
        basic("a\nb:PH"),
        format!("{} ", basic("git:PH")),
        basic("g:PH").replace('=', ""),
        format!("Basic  {}", STANDARD.encode(world.text("git:PH"))),
    ] {
        assert_eq!(
            world.place("/", &[("authorization", &value)]).0,
            Err(No::CredentialMisplaced),
            "{value}"
        );
    }
    // Twice encoded it is not a placeholder for anybody, and stays what it is.
    let twice = format!(
        "Basic {}",
        STANDARD.encode(STANDARD.encode(world.text("git:PH")))
    );
    let (answer, headers) = world.place("/", &[("authorization", &twice)]);
    assert_eq!(
        (answer, headers["authorization"].to_str().unwrap()),
        (Ok(None), twice.as_str())
    );
}

#[test]
fn values_that_would_break_a_header_are_not_kept() {
    let bound = |value: &str| Bound {
        placeholder: placeholder().unwrap(),
        used: used(None, true, None),
        value: Zeroizing::new(value.to_owned()),
    };
    let credentials = Credentials::new(vec![bound("good-value")]).unwrap();
    for value in [
        "",
        "a\r\nX-Evil: 1",
        "a\nb",
        "a\0b",
        "a\tb",
        "ü",
        " a",
        "a ",
        &"x".repeat(LONGEST_VALUE + 1),
        &placeholder().unwrap(),
    ] {
        let error = credentials.replace(vec![bound(value)]).unwrap_err();
        assert!(matches!(error, CredentialError::Value { .. }), "{value:?}");
        assert!(value.is_empty() || !error.to_string().contains(value));
    }
    assert_eq!(credentials.values().len(), 1, "what was there stays");
    let wrong = Bound {
        placeholder: "hello".to_owned(),
        ..bound("good-value")
    };
    assert_eq!(
        Credentials::new(vec![wrong]).unwrap_err(),
        CredentialError::Placeholder("X".to_owned())
    );
    assert!(!format!("{credentials:?} {:?}", bound("good-value")).contains("good-value"));
}

#[test]
fn a_new_value_counts_from_the_next_request_and_the_old_one_stays_masked() {
    let world = World::bearer();
    let bound = |value: &str| Bound {
        placeholder: world.placeholder.clone(),
        used: world.used.clone(),
        value: Zeroizing::new(value.to_owned()),
    };
    let good = &[("authorization", "Bearer PH")];
    world
        .credentials
        .replace(vec![bound("second-value")])
        .unwrap();
    assert_eq!(
        world.place("/", good).1["authorization"],
        "Bearer second-value"
    );
    world.credentials.replace(vec![]).unwrap();
    let (answer, headers) = world.place("/", good);
    assert_eq!(
        (answer, headers["authorization"].to_str().unwrap()),
        (Err(No::CredentialMissing), world.text("Bearer PH").as_str())
    );
    assert_eq!(world.place("/", &[]).0, Ok(None));
    assert_eq!(world.place("/?PH", good).0, Err(No::CredentialMisplaced));
    let values: Vec<String> = world
        .credentials
        .values()
        .iter()
        .map(|value| value.to_string())
        .collect();
    assert_eq!(values, [SECRET, "second-value"]);
    let automatic = World::new(used(None, false, None));
    automatic.credentials.replace(vec![]).unwrap();
    assert_eq!(automatic.place("/", &[]).0, Err(No::CredentialMissing));
}

#[test]
fn placeholders_are_random_and_look_the_same() {
    let (one, other) = (placeholder().unwrap(), placeholder().unwrap());
    assert_ne!(one, other);
    for text in [&one, &other] {
        assert_eq!(text.len(), PREFIX.len() + RANDOM);
        assert!(find(text.as_bytes()), "{text}");
    }
    assert!(!find(&one.as_bytes()[..one.len() - 1]));
    assert!(!find(
        b"export the variable; it begins with nc-placeholder- and more"
    ));
}

proptest! {
    #[test]
    fn a_body_is_searched_across_its_pieces(before in ".{0,80}", after in ".{0,80}", cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6), present in any::<bool>()) {
        let middle = if present { "nc-placeholder-abcdefghijklmnopqrstuvwxyz012345" } else { "nc-placeholder-abcdefghijklmnopqrstuvwxyz01234!" };
        let body = format!("{before}{middle}{after}").into_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let mut finder = Finder::default();
        let found = places.windows(2).filter(|pair| finder.feed(&body[pair[0]..pair[1]])).count() > 0;
        prop_assert_eq!(found, present);
    }

    /// Whatever a client sends: the value is in the bound header or nowhere, and no placeholder leaves.
    #[test]
    fn the_value_is_at_its_place_or_nowhere(
        path in "/(v1|PH|%6ec|x){0,3}", query in "(k=PH|k=v|nc%2dplaceholder-|&){0,3}",
        sent in proptest::collection::vec((proptest::sample::select(vec!["authorization", "cookie", "x-a"]), "(Bearer |Basic |PH|x| ){0,3}|Bearer PH"), 0..4),
        encode in any::<bool>(),
    ) {
        let world = World::bearer();
        let sent: Vec<(&str, String)> = sent.into_iter().map(|(name, value)| {
            (name, if encode { STANDARD.encode(world.text(&value)) } else { value })
        }).collect();
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.trim())).collect();
        let (answer, headers) = world.place(&format!("{path}?{query}"), &sent);
        match answer {
            Ok(Some(_)) => {
                prop_assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), [&format!("Bearer {SECRET}")]);
                prop_assert_eq!(occurrences(&headers), 1);
            }
            _ => prop_assert_eq!(occurrences(&headers), 0),
        }
        if answer.is_ok() {
            prop_assert!(!path.contains("PH") && !query.contains("PH"));
            for value in headers.values() {
                prop_assert!(!find(value.as_bytes()));
            }
        }
    }
}
