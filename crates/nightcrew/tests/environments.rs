//! `nightcrew env`: environments that outlive the commands which use them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, until};
use serde_json::Value;

/// A folder to work on.
fn place() -> Place {
    let place = Place::new();
    place.write("work/a.txt", "hello\n");
    place
}

/// The one row of `env list` about an environment.
fn row(place: &Place, name: &str) -> Value {
    let list = place.json(&["env", "list"]);
    let items = list["items"].as_array().unwrap();
    let found = items.iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("{list}")).clone()
}

/// Whether a process of this id lives.
fn lives(id: &Value) -> bool {
    let id = id.as_u64().unwrap();
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

/// No environment, nothing that one wrote or stood on.
fn nothing_left(place: &Place) {
    let entries = |below: &str| -> Vec<String> {
        let folder = place.path("data/environments").join(below);
        let names = std::fs::read_dir(folder).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    };
    let homes = entries("")
        .into_iter()
        .filter(|name| !name.starts_with('.'));
    assert_eq!(homes.collect::<Vec<_>>(), Vec::<String>::new());
    for below in [".storage/disks", ".storage/layers", ".bases", ".snapshots"] {
        assert_eq!(entries(below), Vec::<String>::new(), "{below}");
    }
}

/// Removes what a test made, also when the test fails.
struct Clear<'a>(&'a Place);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        let _ = self.0.command(&["env", "rm", "--all"]).output();
    }
}

#[test]
fn an_environment_outlives_its_command_and_leaves_nothing_when_it_is_removed() {
    let place = place();
    let _clear = Clear(&place);
    let made = place.json(&["env", "create", "--name", "web", "--workspace", "work"]);
    assert_eq!(made["state"], "ready");
    assert!(made["isolation"]["probes"].as_u64().unwrap() > 10, "{made}");
    let keeper = made["keeper"].clone();
    place.must(&[
        "env",
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo more >> a.txt; echo kept > b.txt",
    ]);
    let seen = place.must(&["env", "exec", "web", "--", "cat", "a.txt", "b.txt"]);
    assert_eq!(seen, "hello\nmore\nkept\n");
    let own = std::fs::read_to_string(place.path("work/a.txt")).unwrap();
    assert_eq!(own, "hello\n", "the folder itself is never written");
    assert!(!place.path("work/b.txt").exists());
    let row = row(&place, "web");
    assert_eq!(row["state"], "ready");
    assert!(row["memory"].as_u64().unwrap() > 0 && row["processes"].as_u64().unwrap() >= 1);
    assert!(lives(&keeper));
    place.must(&["env", "rm", "web"]);
    assert!(!lives(&keeper));
    nothing_left(&place);
    assert_eq!(
        place.say(&["env", "exec", "web", "--", "true"]).code,
        Some(1)
    );
}

#[test]
fn streams_are_wired_and_the_exit_code_passes_through() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a", "--env", "COLOUR=red"]);
    let mut child = place
        .command(&["env", "exec", "a", "--env", "SIZE=3", "--", "sh", "-c"])
        .arg("tr a-z A-Z; echo \"$COLOUR $SIZE\" >&2; exit 42")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"quiet\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(output.stdout, b"QUIET\n");
    assert_eq!(output.stderr, b"red 3\n");
    // Files are wired as well: for reading, and for writing.
    let out = std::fs::File::create(place.path("out")).unwrap();
    let status = place
        .command(&["env", "exec", "a", "--", "cat"])
        .stdin(std::fs::File::open(place.path("work/a.txt")).unwrap())
        .stdout(out)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read(place.path("out")).unwrap(), b"hello\n");
    let killed = place.say(&["env", "exec", "a", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.code, Some(128 + 15));
    let missing = place.say(&["env", "exec", "a", "--", "no-such-program"]);
    assert_eq!(missing.code, Some(127));
    let late = place.say(&[
        "env",
        "exec",
        "a",
        "--timeout",
        "200ms",
        "--",
        "sleep",
        "100",
    ]);
    assert_eq!(late.code, Some(124));
}

#[test]
fn much_output_arrives_whole() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a"]);
    let said = place.must(&["env", "exec", "a", "--", "seq", "1", "200000"]);
    assert_eq!(said.lines().count(), 200_000);
    assert!(said.ends_with("200000\n"));
}

#[test]
fn who_goes_away_takes_the_program_along_and_leaves_the_environment() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a"]);
    let mut child = place
        .command(&["env", "exec", "a", "--", "sleep", "1000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the program runs", || row(&place, "a")["state"] == "busy");
    let busy = place.say(&["env", "exec", "a", "--", "true"]);
    assert_eq!(busy.code, Some(1));
    assert!(
        busy.err.contains("busy") && busy.err.contains("hint"),
        "{}",
        busy.err
    );
    child.kill().unwrap();
    child.wait().unwrap();
    until("the program is gone", || {
        row(&place, "a")["state"] == "ready"
    });
    place.must(&["env", "exec", "a", "--", "true"]);
}

#[test]
fn a_killed_keeper_is_seen_and_its_environment_made_again_from_its_layer() {
    let place = place();
    let _clear = Clear(&place);
    let made = place.json(&["env", "create", "--name", "a", "--workspace", "work"]);
    place.must(&[
        "env",
        "exec",
        "a",
        "--",
        "sh",
        "-c",
        "echo kept > b.txt; echo home > ~/c.txt",
    ]);
    let keeper = made["keeper"].as_u64().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &keeper])
            .status()
            .unwrap()
            .success()
    );
    until("the keeper is dead", || row(&place, "a")["state"] == "dead");
    let said = place.say(&["env", "exec", "a", "--", "true"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nightcrew env resume a"), "{}", said.err);
    place.must(&["env", "resume", "a"]);
    let seen = place.must(&["env", "exec", "a", "--", "cat", "a.txt", "b.txt"]);
    assert_eq!(seen, "hello\nkept\n");
    assert_eq!(place.say(&["env", "resume", "a"]).code, Some(1), "it runs");
    // One that is dead is removed all the same.
    let keeper = row(&place, "a")["keeper"].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &keeper])
            .status()
            .unwrap()
            .success()
    );
    place.must(&["env", "rm", "a"]);
    assert!(!place.path("data/environments/a").exists());
}

#[test]
fn what_is_wrong_is_refused_with_its_cure_and_leaves_nothing() {
    let place = place();
    let _clear = Clear(&place);
    for (arguments, words) in [
        (vec!["env", "create", "--name", "../x"], "no name"),
        (vec!["env", "create", "--workspace", "nowhere"], "nowhere"),
        (
            vec!["env", "create", "--workspace", "work/a.txt"],
            "no folder",
        ),
        (vec!["env", "create", "--deny", "a/b"], "slash"),
        (vec!["env", "create", "--exec", "sometimes"], "allow-list"),
        (
            vec!["env", "create", "--exec", "off", "--deny", "npx"],
            "nothing",
        ),
        (vec!["env", "create", "--allow", "make"], "allow-list"),
        (vec!["env", "create", "--level", "L9"], "L0, L1"),
        (vec!["env", "create", "--cpu", "0"], "cores"),
        (vec!["env", "create", "--layer", "moat"], "moat"),
        (vec!["env", "rm", "nope"], "nope"),
    ] {
        let said = place.say(&arguments);
        assert!(
            matches!(said.code, Some(1 | 2)),
            "{arguments:?}: {:?}",
            said.code
        );
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    let list = place.json(&["env", "list"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 0, "{list}");
}

#[test]
fn the_configuration_is_tightened_and_never_loosened() {
    let place = place();
    let _clear = Clear(&place);
    place.write("config.toml", "[isolation]\nlayers = [\"moat\"]\n");
    let said = place.say(&["--config", "config.toml", "env", "create"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err.contains("moat") && said.err.contains("nothing ran"),
        "{}",
        said.err
    );
    assert_eq!(
        place.json(&["env", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn many_environments_come_and_go_side_by_side() {
    let place = place();
    let _clear = Clear(&place);
    let begin = Instant::now();
    let mut children: Vec<_> = (0..12)
        .map(|_| {
            let mut command = place.command(&["--json", "env", "create", "--workspace", "work"]);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let list = place.json(&["env", "list"]);
    let rows = list["items"].as_array().unwrap();
    assert_eq!(rows.len(), 12, "{list}");
    assert!(rows.iter().all(|row| row["state"] == "ready"), "{list}");
    place.must(&["env", "rm", "--all"]);
    assert!(rows.iter().all(|row| !lives(&row["keeper"])));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_state_is_kept_forked_and_taken_elsewhere() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a", "--workspace", "work"]);
    let write = "echo one > b.txt; echo kept > ~/c.txt; rm a.txt";
    place.must(&["env", "exec", "a", "--", "sh", "-c", write]);
    place.must(&["env", "snapshot", "a", "--as", "s"]);
    place.must(&["env", "exec", "a", "--", "sh", "-c", "echo two > b.txt"]);
    let made = place.json(&["env", "fork", "s", "--count", "3", "--name", "f"]);
    assert_eq!(made["made"], serde_json::json!(["f-1", "f-2", "f-3"]));
    let look = "cat b.txt ~/c.txt; ls";
    for name in ["f-1", "f-3"] {
        let seen = place.must(&["env", "exec", name, "--", "sh", "-c", look]);
        assert_eq!(seen, "one\nkept\nb.txt\n", "{name}");
    }
    place.must(&["env", "exec", "f-1", "--", "sh", "-c", "echo mine > b.txt"]);
    let other = place.must(&["env", "exec", "f-2", "--", "cat", "b.txt"]);
    assert_eq!(other, "one\n", "forks do not see each other");
    // From an environment as it stands, which goes on.
    place.must(&["env", "fork", "a", "--name", "g"]);
    assert_eq!(
        place.must(&["env", "exec", "g", "--", "cat", "b.txt"]),
        "two\n"
    );
    assert_eq!(
        place.must(&["env", "exec", "a", "--", "cat", "b.txt"]),
        "two\n"
    );
    assert_eq!(row(&place, "s")["state"], "snapshot");
    // What forks stand on outlives what they were made from.
    place.must(&["env", "rm", "a", "s"]);
    let seen = place.must(&["env", "exec", "f-3", "--", "sh", "-c", look]);
    assert_eq!(seen, "one\nkept\nb.txt\n");
    // Elsewhere: another data directory.
    place.must(&["env", "snapshot", "f-2", "--as", "t"]);
    place.must(&["env", "export", "t", "t.tgz"]);
    let there = place.path("other");
    let elsewhere = |arguments: &[&str]| place.say_on(&there, arguments);
    let without = elsewhere(&["env", "import", "t.tgz"]);
    assert_eq!(without.code, Some(2), "{}", without.err);
    assert!(without.err.contains("--workspace"), "{}", without.err);
    let with = elsewhere(&["env", "import", "t.tgz", "--as", "t", "--workspace", "work"]);
    assert_eq!(with.code, Some(0), "{}", with.err);
    let forked = elsewhere(&["env", "fork", "t", "--name", "h"]);
    assert_eq!(forked.code, Some(0), "{}", forked.err);
    let seen = elsewhere(&["env", "exec", "h", "--", "sh", "-c", look]);
    let gone = elsewhere(&["env", "rm", "--all"]);
    assert_eq!(
        (seen.out.as_str(), gone.code),
        ("one\nkept\nb.txt\n", Some(0))
    );
    place.must(&["env", "rm", "--all"]);
    nothing_left(&place);
}

#[test]
fn a_damaged_snapshot_file_is_refused_and_nothing_of_it_is_kept() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a"]);
    place.must(&["env", "snapshot", "a", "--as", "s"]);
    place.must(&["env", "export", "s", "s.tgz"]);
    let bytes = std::fs::read(place.path("s.tgz")).unwrap();
    place.write("short.tgz", &bytes[..bytes.len() / 2]);
    place.write("other.tgz", "no snapshot at all");
    for file in ["short.tgz", "other.tgz", "nowhere.tgz"] {
        let said = place.say(&["env", "import", file]);
        assert_eq!(said.code, Some(1), "{file}: {}", said.err);
    }
    place.must(&["env", "rm", "--all"]);
    nothing_left(&place);
}

#[test]
fn a_shell_has_a_terminal_of_its_own() {
    let place = place();
    let _clear = Clear(&place);
    place.must(&["env", "create", "--name", "a"]);
    let mut child = place
        .command(&["env", "shell", "a", "--", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let typed = b"tty; stty size; exit 9\n";
    child.stdin.take().unwrap().write_all(typed).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(
        said.contains("/dev/pts/0") && said.contains("24 80"),
        "{said}"
    );
}
