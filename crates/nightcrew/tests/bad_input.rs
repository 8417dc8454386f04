//! What goes wrong outside: a clear error with its cure, or no effect at all, and nothing lost.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{APPEND, Place, refused, until};
use testkit::server::{Server, processes_of};

fn is_root() -> bool {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    own.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
    })
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused() {
    let place = Place::new();
    place.write("file", "");
    refused(
        &place.say_on(&place.path("file/below"), &["inventory", "list"]),
        &["file/below", "data directory"],
    );
    if is_root() {
        // Root may write wherever the file system lets anybody: not in the kernel's own.
        let closed = std::path::Path::new("/sys/closed");
        return refused(
            &place.say_on(closed, &["inventory", "list"]),
            &["closed", "data directory"],
        );
    }
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(place.path("closed")).unwrap();
    std::fs::set_permissions(place.path("closed"), std::fs::Permissions::from_mode(0o555)).unwrap();
    refused(
        &place.say_on(&place.path("closed"), &["inventory", "list"]),
        &["closed", "data directory"],
    );
}

#[test]
fn a_second_server_on_a_data_directory_is_refused_and_the_first_one_goes_on() {
    let place = Place::new();
    let (_server, mut api) = place.server();
    refused(&place.say(&["up"]), &["nightcrew.sqlite"]);
    assert!(api.get("/status").is_ok());
    // Commands still find the first one.
    place.must(&["inventory", "list"]);
    refused(&place.say(&["store", "verify"]), &["nightcrew.sqlite"]);
}

#[test]
fn a_taken_port_is_refused_with_another_choice() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(
        &place.say(&["up", "--listen", &address]),
        &[&address, "--listen"],
    );
    refused(&place.say(&["up", "--listen", "0.0.0.0:0"]), &["loopback"]);
    refused(&place.say(&["up", "--listen", "here"]), &["`here`"]);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let place = Place::new();
    place.repository("fleet/a", &[("a", "a\n")]);
    place.must(&["inventory", "import", "fleet"]);
    let database = place.program.data_dir.join("nightcrew.sqlite");
    let change = |line: &str| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.execute(line, []).unwrap();
    };
    change(
        "INSERT INTO refinery_schema_history SELECT 9999, name, applied_on, checksum FROM refinery_schema_history LIMIT 1",
    );
    refused(
        &place.say(&["inventory", "list"]),
        &["schema version 9999", "run the newer"],
    );
    refused(&place.say(&["up"]), &["newer"]);
    change("DELETE FROM refinery_schema_history WHERE version = 9999");
    assert!(place.must(&["inventory", "list"]).contains("a "));
}

#[test]
fn a_database_that_is_none_and_one_that_cannot_be_reached_are_refused() {
    let place = Place::new();
    place.write(
        "data/nightcrew.sqlite",
        "no database, but a text that is long enough",
    );
    refused(
        &place.say(&["inventory", "list"]),
        &["nightcrew.sqlite", "damaged", "restore a backup"],
    );
    let text = std::fs::read_to_string(place.path("data/nightcrew.sqlite")).unwrap();
    assert!(text.starts_with("no database"), "it was left alone: {text}");
    // A port that nobody listens on: it was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("postgres://nobody@{}/none", free.local_addr().unwrap());
    drop(free);
    refused(
        &place.say(&["--store", &address, "inventory", "list"]),
        &["PostgreSQL", "try again"],
    );
}

#[test]
fn a_missing_repository_and_an_empty_one_are_told_apart() {
    let place = Place::new();
    std::fs::create_dir(place.path("plain")).unwrap();
    place.git(Path::new("."), &["init", "-q", "-b", "main", "empty"]);
    for (arguments, words) in [
        (&["try", "nowhere", "--", "true"][..], "nowhere is neither"),
        (&["try", "plain", "--", "true"], "no git repository"),
        (&["try", "empty", "--", "true"], "no commit"),
        (&["inventory", "import", "plain"], "no git repository"),
    ] {
        let said = place.say(arguments);
        assert_ne!(said.code, Some(0), "{arguments:?}");
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    // Beside an empty repository, the others are worked on.
    place.repository("full", &[("notes.txt", "one\n")]);
    place.must(&["inventory", "import", "empty"]);
    place.must(&["inventory", "import", "full"]);
    place.write("append.yaml", APPEND);
    place.say(&["campaign", "apply", "append.yaml", "--wait"]);
    let list = place.must(&["task", "list"]);
    let line = |name: &str| {
        list.lines()
            .find(|line| line.contains(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("full").contains("in_review"), "{list}");
    assert!(line("empty").contains("no commit"), "{list}");
}

#[test]
fn an_automation_that_names_a_repository_which_is_not_there_says_so() {
    let place = Place::new();
    place.repository("fleet/a", &[("notes.txt", "one\n")]);
    place.must(&["inventory", "import", "fleet"]);
    place.write(
        "append.yaml",
        APPEND.replace("{ query: 'true' }", "{ list: [a, gone/away] }"),
    );
    let preview = place.say(&["campaign", "preview", "append.yaml"]);
    assert!(preview.err.contains("gone/away"), "{preview:?}");
    let applied = place.say(&["campaign", "apply", "append.yaml", "--wait"]);
    assert!(applied.err.contains("gone/away"), "{applied:?}");
    assert!(place.must(&["task", "list"]).contains("in_review"));
}

/// A repository with everything in it that may confuse: a submodule, an LFS pointer, a link out of
/// the tree, a name that is no UTF-8, a link to nowhere, an executable.
fn odd(place: &Place) -> PathBuf {
    place.repository("library", &[("lib.txt", "a library\n")]);
    let odd = place.repository("odd", &[("notes.txt", "one\n")]);
    place.git(
        &odd,
        &[
            "submodule",
            "--quiet",
            "add",
            &place.path("library").display().to_string(),
            "library",
        ],
    );
    place.write("odd/big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
    place.write(
        "odd/.gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    std::os::unix::fs::symlink(place.path("outside.txt"), odd.join("out")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", odd.join("passwd")).unwrap();
    std::os::unix::fs::symlink("gone", odd.join("nowhere")).unwrap();
    std::fs::write(
        odd.join(std::ffi::OsStr::from_bytes(b"caf\xe9 \"quoted\"\n.txt")),
        "latin\n",
    )
    .unwrap();
    place.write("outside.txt", "mine\n");
    place.commit(&odd, "Odd things");
    odd
}

#[test]
fn odd_things_in_a_repository_stay_as_they_are() {
    let place = Place::new();
    let odd = odd(&place);
    let tried = place.say(&[
        "try",
        "odd",
        "--",
        "ls -la; echo stolen >> out; echo more >> notes.txt; true",
    ]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert_eq!(
        std::fs::read_to_string(place.path("outside.txt")).unwrap(),
        "mine\n"
    );
    assert_eq!(
        tried.out.matches("diff --git").count(),
        1,
        "only the note differs: {}",
        tried.out
    );
    // A command may touch a file whose name is no UTF-8.
    let touched = place.say(&[
        "try",
        "odd",
        "--",
        "for f in caf*; do echo more >> \"$f\"; done",
    ]);
    assert_eq!(touched.code, Some(0), "{touched:?}");
    assert!(touched.out.contains("+more"), "{}", touched.out);
    place.must(&["inventory", "import", "odd"]);
    place.write("append.yaml", APPEND);
    place.must(&["campaign", "apply", "append.yaml", "--wait"]);
    place.must(&["change", "show", "odd"]);
    place.must(&["change", "merge", "odd"]);
    let forge = place.program.data_dir.join("forge/odd.git");
    let tree = |folder: &Path| {
        let text = place.git(folder, &["ls-tree", "-r", "main"]);
        text.lines()
            .filter(|line| !line.ends_with("notes.txt"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(tree(&forge), tree(&odd));
    assert!(
        tree(&odd)
            .iter()
            .any(|line| line.starts_with("160000 commit")),
        "the submodule is there"
    );
    assert_eq!(
        place.git(&forge, &["show", "main:notes.txt"]),
        "one\nmore\n"
    );
}

#[test]
fn a_hostile_git_configuration_has_no_effect() {
    let place = Place::new();
    place.repository("fleet/a", &[("notes.txt", "one\n")]);
    for hook in [
        "pre-commit",
        "commit-msg",
        "post-commit",
        "pre-push",
        "pre-receive",
        "update",
        "post-receive",
        "post-checkout",
        "post-merge",
        "reference-transaction",
    ] {
        for folder in ["hooks", "template/hooks"] {
            place.write(
                &format!("{folder}/{hook}"),
                format!(
                    "#!/bin/sh\necho {hook} >> {}\nexit 1\n",
                    place.path("marker").display()
                ),
            );
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(
                place.path(&format!("{folder}/{hook}")),
                std::fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
    }
    let at = |below: &str| place.path(below).display().to_string();
    place.write("home/.gitconfig", format!(
        "[user]\n\tuseConfigOnly = true\n\tsigningkey = NOBODY\n[commit]\n\tgpgsign = true\n[tag]\n\tgpgsign = true\n[push]\n\tgpgsign = true\n[gpg]\n\tprogram = /bin/false\n\
         [core]\n\thooksPath = {}\n\tautocrlf = true\n\tfsmonitor = {}\n\tpager = false\n\teditor = false\n[init]\n\ttemplateDir = {}\n\tdefaultBranch = strange\n\
         [diff]\n\tnoprefix = true\n\texternal = false\n\tmnemonicPrefix = true\n[color]\n\tui = always\n[merge]\n\tff = only\n[transfer]\n\tfsckObjects = true\n[alias]\n\tcommit = !false\n",
        at("hooks"), at("hooks/update"), at("template"),
    ));
    let tried = place.say(&["try", "fleet/a", "--", "echo more >> notes.txt"]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(
        tried.out.contains("--- a/notes.txt") && tried.out.contains("+more"),
        "{}",
        tried.out
    );
    place.must(&["inventory", "import", "fleet"]);
    place.write("append.yaml", APPEND);
    place.must(&["campaign", "apply", "append.yaml", "--wait"]);
    assert!(place.must(&["change", "show", "a"]).contains("+more"));
    place.must(&["change", "merge", "a"]);
    let marker = std::fs::read_to_string(place.path("marker")).unwrap_or_default();
    assert_eq!(marker, "", "hooks of the person were called");
    let forge = place.program.data_dir.join("forge/a.git");
    assert_eq!(
        place.git(&forge, &["show", "main:notes.txt"]),
        "one\nmore\n"
    );
    assert!(
        !place
            .git(&forge, &["cat-file", "commit", "main"])
            .contains("gpgsig")
    );
}

#[test]
fn a_repository_with_five_thousand_files_is_quick() {
    let place = Place::new();
    let large = place.repository("large", &[("notes.txt", "one\n")]);
    for n in 0..5000 {
        place.write(&format!("large/d{}/f{n}.txt", n / 100), format!("{n}\n"));
    }
    place.commit(&large, "Many");
    let begun = Instant::now();
    let tried = place.say(&["try", "large", "--", "echo more >> d7/f777.txt"]);
    let took = begun.elapsed();
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(tried.out.contains("+more"), "{}", tried.out);
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_server_that_is_told_to_stop_ends_in_time_and_the_task_goes_on_later() {
    let place = Place::new();
    place.repository("fleet/a", &[("notes.txt", "one\n")]);
    place.must(&["inventory", "import", "fleet"]);
    // Longer than a stopping server waits, so that the step is interrupted for certain.
    place.write(
        "slow.yaml",
        APPEND.replace("echo more", "sleep 11; echo more"),
    );
    let (mut server, mut api) = place.server();
    place.must(&["campaign", "apply", "slow.yaml"]);
    until("the step runs", || {
        let task = api.get("/tasks/a").unwrap();
        task["task"]["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    });
    let begun = Instant::now();
    let status = server.stop().unwrap();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{}", place.server_log());
    assert!(took < Duration::from_secs(15), "{took:?}");
    let left = processes_of(&place.program.path, &place.program.data_dir);
    assert!(left.is_empty(), "{left:?}");
    assert!(!place.program.data_dir.join("server.json").exists());
    let (mut server, mut api): (Server, _) = place.server();
    until("the change is proposed", || {
        api.get("/tasks/a").unwrap()["task"]["status"] == "in_review"
    });
    server.stop().unwrap();
    assert!(
        !place.server_log().contains("panicked"),
        "{}",
        place.server_log()
    );
    place.must(&["ledger", "verify"]);
}
