use proptest::prelude::*;

use super::*;

/// Everything a scanner tells, as text.
fn told(pieces: &[&[u8]], unique: bool) -> Result<Vec<String>, Malformed> {
    let mut events = Vec::new();
    let mut scanner = if unique {
        Scanner::unique()
    } else {
        Scanner::default()
    };
    let mut visit = |place: &[Step], event: Event<'_>| {
        events.push(format!("{} {event:?}", place.len()));
        Ok::<(), Malformed>(())
    };
    for piece in pieces {
        scanner.feed(piece, &mut visit)?;
    }
    scanner.end(&mut visit)?;
    Ok(events)
}

fn good(text: &str) -> bool {
    told(&[text.as_bytes()], false).is_ok()
}

#[test]
fn what_is_json_is_read_and_what_is_not_is_refused() {
    for text in [
        "{}",
        "[]",
        " [1, -0.5e+7 , true,false,null] ",
        "0",
        "\"\\ud83d\\ude00\\n\"",
        "{\"a\":{\"b\":[[]]},\"a\":1}",
        "\"\\ud800\"",
    ] {
        assert!(good(text), "{text}");
    }
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "-",
        "1e",
        ".5",
        "+1",
        "NaN",
        "tru",
        "truex",
        "{a:1}",
        "{'a':1}",
        "[1 2]",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "{} {}",
        "[]]",
        "\u{feff}{}",
        "{\"a\" 1}",
        "// c\n{}",
        "{,}",
        "[,]",
        "nul",
    ] {
        assert!(!good(text), "{text}");
    }
}

#[test]
fn a_key_twice_is_refused_also_when_it_is_spelled_differently() {
    let refused = |text: &str| matches!(told(&[text.as_bytes()], true), Err(Malformed::Twice(_)));
    assert!(refused("{\"a\":1,\"a\":2}"));
    assert!(refused("{\"model\":1,\"mod\\u0065l\":2}"));
    assert!(refused("[{\"x\":{\"b\":1,\"c\":2,\"b\":3}}]"));
    assert!(!refused("{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]}"));
}

#[test]
fn nesting_and_texts_are_bounded() {
    let deep = "[".repeat(10_000);
    assert_eq!(told(&[deep.as_bytes()], false), Err(Malformed::Deep));
    let long = format!("\"{}\"", "x".repeat(LONGEST_KEPT * 3));
    let mut scanner = Scanner::default();
    let mut kept = 0;
    scanner
        .feed(long.as_bytes(), &mut |_, event| {
            if let Event::Text(text) = event {
                kept = text.bytes.len();
                assert!(!text.whole && text.text().is_none());
            }
            Ok::<(), Malformed>(())
        })
        .unwrap();
    assert_eq!(kept, LONGEST_KEPT);
}

#[test]
fn a_place_is_known_by_its_keys() {
    let mut seen = Vec::new();
    let mut scanner = Scanner::default();
    scanner
        .feed(
            b"{\"usage\":{\"input_tokens\":7,\"x\":{\"input_tokens\":8}},\"l\":[{\"t\":9}]}",
            &mut |place, event| {
                if let Event::Number(number, _) = event {
                    seen.push((
                        number.to_owned(),
                        at(place, &["usage", "input_tokens"]),
                        at(place, &["l", "*", "t"]),
                    ));
                }
                Ok::<(), Malformed>(())
            },
        )
        .unwrap();
    let expected = [("7", true, false), ("8", false, false), ("9", false, true)];
    assert_eq!(seen, expected.map(|(n, a, b)| (n.to_owned(), a, b)));
}

proptest! {
    #[test]
    fn reads_what_serde_reads_and_refuses_what_it_refuses(text in "[\\[\\]{}:,\"\\\\ a0-2.eE+\\-tru]{0,24}") {
        let ours = good(&text);
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        // Numbers beyond what a float holds are read here and refused there.
        if !text.contains(['e', 'E']) {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    #[test]
    fn any_cut_gives_the_same(text in "\\PC{0,40}", cuts in proptest::collection::vec(0usize..200, 0..6)) {
        let body = serde_json::json!({ "a": [&text, 1.5e3, null, true], "b": { text: -7 } }).to_string();
        let whole = told(&[body.as_bytes()], true);
        prop_assert!(whole.is_ok());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(told(&pieces, true), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&[&bytes], true);
    }
}
