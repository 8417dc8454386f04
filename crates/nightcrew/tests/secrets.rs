//! `nightcrew secret` as a person uses it.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{Place, refused};
use testkit::server::Said;

const VALUE: &str = "correct+horse/battery=staple-42";

/// Runs the program with something on standard input.
fn feed(place: &Place, arguments: &[&str], input: &str) -> Said {
    let mut command = place.command(arguments);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn set(place: &Place, arguments: &[&str], input: &str) {
    let all: Vec<&str> = ["secret", "set"].iter().chain(arguments).copied().collect();
    let said = feed(place, &all, input);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn secrets_are_set_listed_and_shown_without_their_values() {
    let place = Place::new();
    assert!(
        place
            .say(&["secret", "list"])
            .err
            .contains("nightcrew secret set NAME")
    );
    set(&place, &["ci"], &format!("{VALUE}\n"));
    set(
        &place,
        &[
            "ci",
            "--scope",
            "automation:bump",
            "--expires",
            "90d",
            "--owner",
            "ada",
        ],
        "other-value-0123",
    );
    set(
        &place,
        &["vault", "--reference", "vault:secret/team/ci#token"],
        "",
    );
    place.write("value.txt", "from-a-file-0123\r\n");
    set(&place, &["file", "--from-file", "value.txt"], "");
    let list = place.must(&["secret", "list"]);
    for part in ["NAME", "ci", "automation:bump", "vault", "stored"] {
        assert!(list.contains(part), "{list}");
    }
    let json = place.json(&["secret", "list"]);
    let names: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ci", "ci", "file", "vault"]);
    let shown = place.must(&["secret", "show", "ci", "--scope", "automation:bump"]);
    assert!(
        shown.contains("ada") && shown.contains("0 times"),
        "{shown}"
    );
    assert_eq!(place.json(&["secret", "show", "ci"])["owner"], "tester");
    for text in [&list, &shown, &json.to_string()] {
        assert!(
            !text.contains(VALUE) && !text.contains("other-value"),
            "{text}"
        );
    }
    place.must(&["secret", "rm", "file"]);
    refused(
        &place.say(&["secret", "show", "file"]),
        &["no secret `file`"],
    );
    refused(
        &place.say(&["secret", "show", "ci", "--scope", "repository:x"]),
        &["organisation", "automation:bump"],
    );
}

#[test]
fn values_on_the_command_line_and_broken_ones_are_refused() {
    let place = Place::new();
    for arguments in [
        &["secret", "set", "ci", VALUE][..],
        &["secret", "set", "ci", "--", VALUE],
        &["secret", "rotate", "ci", VALUE],
    ] {
        let said = feed(&place, arguments, "");
        refused(&said, &["command line", "standard input"]);
        assert!(!said.err.contains(VALUE), "{said:?}");
        assert_eq!(said.code, Some(2));
    }
    refused(&feed(&place, &["secret", "set", "ci"], ""), &["empty"]);
    refused(
        &feed(&place, &["secret", "set", "ci"], "a\0bcdefghijk"),
        &["NUL"],
    );
    refused(
        &feed(&place, &["secret", "set", "a b"], VALUE),
        &["not a name"],
    );
    refused(
        &feed(&place, &["secret", "set", "ci", "--scope", "team:x"], VALUE),
        &["not a scope"],
    );
    refused(
        &feed(
            &place,
            &["secret", "set", "ci", "--reference", "vault:x"],
            "",
        ),
        &["not a reference"],
    );
    refused(
        &feed(&place, &["secret", "rotate", "ci"], VALUE),
        &["no secret `ci`"],
    );
    let said = feed(&place, &["secret", "set", "pem"], "one\ntwo\n");
    assert!(
        said.code == Some(0) && said.err.contains("several lines"),
        "{said:?}"
    );
}

#[test]
fn checks_say_what_cannot_be_used_and_a_lost_key_what_is_lost() {
    let place = Place::new();
    set(&place, &["good"], VALUE);
    set(&place, &["gone", "--reference", "file:/no/such/file"], "");
    set(&place, &["old", "--expires", "2020-01-01T00:00:00Z"], VALUE);
    let said = place.say(&["secret", "check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("✔ good")
            && said.out.contains("expired")
            && said.out.contains("no /no/such/file"),
        "{}",
        said.out
    );
    // What expired waits in the inbox until it is rotated.
    let inbox = place.json(&["inbox"]);
    assert_eq!(inbox["credentials"][0]["kind"], "credential_expired");
    assert_eq!(
        (
            &inbox["credentials"][0]["name"],
            &inbox["credentials"][0]["owner"]
        ),
        (&"old".into(), &"tester".into())
    );
    assert!(place.must(&["inbox"]).contains("rotate old"));
    let said = feed(&place, &["secret", "rotate", "old"], VALUE);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.json(&["inbox"])["credentials"], serde_json::json!([]));
    place.must(&["secret", "rekey"]);
    std::fs::remove_file(place.path("data/keys/secrets.key")).unwrap();
    let said = feed(&place, &["secret", "set", "more"], VALUE);
    refused(
        &said,
        &[
            "key of the secrets is lost",
            "are not lost",
            "--forget-values",
        ],
    );
    assert!(
        place.must(&["secret", "list"]).contains("good"),
        "names are there without the key"
    );
    let said = place.say(&["secret", "rekey", "--forget-values"]);
    assert!(
        said.code == Some(0)
            && said
                .err
                .contains("good (organisation) has no value any more"),
        "{said:?}"
    );
}
