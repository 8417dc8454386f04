use proptest::prelude::*;

use super::*;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";
const ASKED: &str = "\0 report-status-v2 side-band-64k object-format=sha1 agent=git/2.43.0";

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

fn command(name: &str, asked: &str) -> String {
    line(&format!("{OLD} {NEW} {name}{asked}"))
}

fn read(body: &[u8]) -> Result<(Push, Vec<u8>), PushError> {
    let mut reader = PushReader::default();
    reader.feed(body)?;
    reader.end()
}

fn names(body: &str) -> Result<Vec<String>, PushError> {
    read(body.as_bytes())
        .map(|(push, _)| push.updates.into_iter().map(|update| update.name).collect())
}

#[test]
fn what_git_writes_is_read() {
    let one = command("refs/heads/a", ASKED);
    let two = command("refs/heads/b", "");
    let border = line(&format!("shallow {OLD}"));
    let newline = line(&format!("{OLD} {NEW} refs/heads/a\0 report-status\n"));
    for (body, expected) in [
        (format!("{one}0000PACK..."), vec!["refs/heads/a"]),
        (
            format!("{one}{two}0000PACK"),
            vec!["refs/heads/a", "refs/heads/b"],
        ),
        (
            format!("{border}{border}{one}0000PACK"),
            vec!["refs/heads/a"],
        ),
        (format!("{newline}0000PACK"), vec!["refs/heads/a"]),
        ("0000".to_owned(), vec![]),
    ] {
        assert_eq!(names(&body).unwrap(), expected, "{body}");
    }
    let (push, bytes) = read(format!("{one}0000PACKrest").as_bytes()).unwrap();
    assert!(push.report && push.side_band);
    assert!(bytes.ends_with(b"0000PACKrest"), "nothing of it is lost");
}

#[test]
fn what_git_would_not_write_is_not_judged_but_refused() {
    let one = command("refs/heads/a", ASKED);
    let two = command("refs/heads/b", "");
    let malformed = |body: &str| {
        assert!(
            matches!(names(body), Err(PushError::Malformed(_))),
            "{body:?}"
        );
    };
    for length in [
        "0001", "0002", "0003", "0004", "00A5", "+0a5", " 0a5", "fff1", "ffff", "0x10", "00 5",
    ] {
        malformed(&format!("{length}{}0000PACK", &one[4..]));
        malformed(&format!("{one}{length}{}0000PACK", &two[4..]));
    }
    for body in [
        "",
        "0",
        "PACK",
        "PACK0000",
        &one,
        &format!("{one}0000"),
        &format!("{one}0000PAC"),
        &format!("{one}0000PACX"),
        &format!("{one}00000000PACK"),
        &format!("{one}0000{two}0000PACK"),
        &format!("{one}0000 PACK"),
        &format!("0000{one}0000PACK"),
        "0000PACK",
        "00000000",
        &format!("{two}0000PACK"),
        &format!("{one}{one}0000PACK").replacen("refs/heads/a", "refs/heads/b", 1),
        &format!("{}0000PACK", command("refs/heads/a\0refs/heads/main", "")),
        &format!(
            "{one}{}0000PACK",
            command("refs/heads/b\0refs/heads/main", "")
        ),
        &format!(
            "{}0000PACK",
            command("refs/heads/a", "\0 report-status unknown")
        ),
        &format!(
            "{}0000PACK",
            command("refs/heads/a", "\0 object-format=md5")
        ),
        &format!(
            "{}0000PACK",
            command("refs/heads/a", "\0 object-format=sha256")
        ),
        &format!(
            "{}0000PACK",
            line(&format!("{OLD}{OLD} {NEW} refs/heads/a\0"))
        ),
        &format!("{}0000PACK", line(&format!("{OLD}  {NEW} refs/heads/a\0"))),
        &format!("{}0000PACK", line(&format!(" {OLD} {NEW} refs/heads/a\0"))),
        &format!(
            "{}0000PACK",
            line(&format!("{OLD} {} refs/heads/a\0", "A".repeat(40)))
        ),
        &format!("{}0000PACK", line(&format!("{OLD} {NEW}\0"))),
        &format!("{one}{}0000PACK", line(&format!("shallow {OLD}"))),
        &format!("{}{one}0000PACK", line("shallow x")),
        &format!("{one}{}0000PACK", line("\n")),
        &format!("{one}ff"),
    ] {
        malformed(body);
    }
    malformed(&format!("{one}{}", line(&"x".repeat(5000))));
    assert!(matches!(
        read(b"0008\xff\xff\xff\xff0000PACK"),
        Err(PushError::Malformed(_))
    ));
}

#[test]
fn names_are_kept_as_they_are_for_the_rules_to_judge() {
    let body = format!(
        "{}{}0000PACK",
        command(" refs/heads/a", ASKED),
        command("refs/heads/a\nrefs/heads/main", "")
    );
    let (push, _) = read(body.as_bytes()).unwrap();
    assert_eq!(push.updates[0].name, " refs/heads/a");
    assert_eq!(push.updates[1].name, "refs/heads/a\nrefs/heads/main");
    assert!(push.updates.iter().all(|update| !update.is_harmless()));
}

#[test]
fn certificates_options_and_doubles_are_refused() {
    let one = command("refs/heads/a", ASKED);
    for (body, error) in [
        (
            line("push-cert\0 report-status push-cert=x"),
            PushError::Signed,
        ),
        (
            format!("{}0000PACK", command("refs/heads/a", "\0 push-cert=x")),
            PushError::Signed,
        ),
        (
            format!(
                "{}0000",
                command("refs/heads/a", "\0 report-status push-options")
            ),
            PushError::Options,
        ),
        (
            format!("{one}{}0000PACK", command("refs/heads/a", "")),
            PushError::Twice,
        ),
    ] {
        assert_eq!(names(&body), Err(error), "{body}");
    }
}

#[test]
fn a_list_has_an_end() {
    let mut body = command("refs/heads/first", ASKED);
    for number in 1..MOST_UPDATES {
        body.push_str(&command(&format!("refs/heads/{number}"), ""));
    }
    assert_eq!(
        names(&format!("{body}0000PACK")).unwrap().len(),
        MOST_UPDATES
    );
    assert_eq!(
        names(&format!("{body}{}0000PACK", command("refs/heads/main", ""))),
        Err(PushError::TooLong)
    );
    let borders = line(&format!("shallow {OLD}")).repeat(MOST_LINES + 1);
    assert_eq!(names(&borders), Err(PushError::TooLong));
}

#[test]
fn a_refused_push_is_told_ref_by_ref() {
    let body = format!(
        "{}{}0000PACK",
        command("refs/heads/a", ASKED),
        command("x\ny", "")
    );
    let (mut push, _) = read(body.as_bytes()).unwrap();
    let told =
        String::from_utf8(crate::git::refusal(&push, "no rule\r\n names it").unwrap()).unwrap();
    assert!(
        told.contains("\u{2}nightcrew: no rule   names it\n"),
        "{told:?}"
    );
    assert!(told.contains("ng refs/heads/a no rule   names it\n") && told.ends_with("00000000"));
    assert_eq!(told.matches("ng ").count(), 1);
    push.side_band = false;
    assert!(
        crate::git::refusal(&push, "no")
            .unwrap()
            .starts_with(b"000eunpack ok\n")
    );
    push.report = false;
    assert_eq!(crate::git::refusal(&push, "no"), None);
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        names in proptest::collection::vec("refs/heads/[a-c]{1,2}|[ -~]{0,8}", 0..4),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        size in 1..40_usize,
    ) {
        let mut body: Vec<u8> = names.iter().enumerate()
            .map(|(number, name)| command(name, if number == 0 { ASKED } else { "" })).collect::<String>().into_bytes();
        body.extend_from_slice(if names.is_empty() { b"0000" } else { b"0000PACK1234" });
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let whole = read(&body);
        let mut reader = PushReader::default();
        let fed = body.chunks(size).try_for_each(|piece| reader.feed(piece).map(|_| ()));
        let pieces = fed.and_then(|()| reader.end());
        prop_assert_eq!(&whole, &pieces);
        if let Ok((push, bytes)) = whole {
            prop_assert_eq!(bytes, body);
            prop_assert!(push.updates.len() <= MOST_UPDATES);
        }
    }
}
