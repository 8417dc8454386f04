//! What goes wrong outside: a clear error with its cure, or no effect at all, and nothing lost.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Place, skip, until};
use testkit::server::{Said, Server, processes_of};

/// Appends a line to a file in every repository of the inventory.
const APPEND: &str = r#"name: append
triggers: [manual]
targets: { query: 'true' }
steps:
  - command: echo more >> notes.txt
  - validate: [ builtin:conflict-markers ]
  - change: { title: "Append a line" }
"#;

/// A refusal with these words and a cure.
fn refused(said: &Said, words: &[&str]) {
    assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "no `{word}` in {}", said.err);
    }
    assert!(said.err.contains("hint: "), "no cure in {}", said.err);
}

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

/// A small file system of its own; unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs"])
            .arg(&at)
            .output();
        done.is_ok_and(|output| output.status.success())
            .then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Three repositories and an automation, with the data directory on a small file system.
fn on_small_disk() -> Option<(Place, Small)> {
    let mut place = Place::new();
    let small = Small::mount(place.path("small"))?;
    place.program.data_dir = small.0.join("data");
    for name in ["a", "b", "c"] {
        place.repository(&format!("fleet/{name}"), &[("notes.txt", "one\n")]);
    }
    place.write("append.yaml", APPEND);
    place.must(&["inventory", "import", "fleet"]);
    Some((place, small))
}

/// Takes every free byte.
fn fill(small: &Small) -> PathBuf {
    let ballast = small.0.join("ballast");
    let filled = std::io::copy(
        &mut std::io::repeat(1),
        &mut std::fs::File::create(&ballast).unwrap(),
    );
    assert!(filled.is_err(), "the disk is full");
    ballast
}

fn in_review(place: &Place) -> usize {
    place.json(&["task", "list", "--status", "in_review"])["items"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn a_command_on_a_full_disk_says_so_and_loses_nothing() {
    let Some((place, small)) = on_small_disk() else {
        return skip("a small file system cannot be mounted here");
    };
    let ballast = fill(&small);
    let mut command = place.command(&["campaign", "apply", "append.yaml", "--wait"]);
    let said = said_within(&mut command, Duration::from_secs(60));
    assert!(!said.err.contains("panicked"), "{said:?}");
    refused(&said, &["No space left", "free some space"]);
    std::fs::remove_file(&ballast).unwrap();
    place.must(&["store", "verify"]);
    place.must(&["campaign", "apply", "append.yaml", "--wait"]);
    place.must(&["ledger", "verify"]);
    assert_eq!(in_review(&place), 3);
}

#[test]
fn a_server_whose_disk_fills_up_goes_on_when_there_is_room_again() {
    let Some((place, small)) = on_small_disk() else {
        return skip("a small file system cannot be mounted here");
    };
    let (mut server, mut api) = place.server();
    let slow = APPEND
        .replace("echo more", "sleep 1; echo more")
        .replace("name: append", "name: slow");
    place.write("slow.yaml", slow);
    place.must(&["campaign", "apply", "slow.yaml"]);
    until("a step runs", || {
        let task = api.get("/tasks/a").unwrap();
        task["task"]["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    });
    let ballast = fill(&small);
    // The database may still have room of its own: a start is either kept or refused.
    let mut command = place.command(&["automation", "start", "slow", "--key", "full"]);
    let started = said_within(&mut command, Duration::from_secs(60));
    assert!(
        server.ended().unwrap().is_none(),
        "the server ended: {}",
        place.server_log()
    );
    std::fs::remove_file(&ballast).unwrap();
    if started.code == Some(0) {
        let again = place.json(&["automation", "start", "slow", "--key", "full"]);
        assert_eq!(
            again["duplicate"], true,
            "a start that was promised is kept: {again}"
        );
    }
    until("every task has settled", || {
        let open = [
            "queued",
            "preparing",
            "running",
            "validating",
            "ready",
            "submitted",
        ];
        open.iter().all(|status| {
            api.get(&format!("/tasks?status={status}")).unwrap()["items"]
                .as_array()
                .unwrap()
                .is_empty()
        })
    });
    // What the full disk spoilt gets another round.
    place.must(&["campaign", "retry", "slow", "--wait"]);
    until("everything is in review", || in_review(&place) == 3);
    place.must(&["ledger", "verify"]);
    server.stop().unwrap();
    place.must(&["store", "verify"]);
    assert!(
        !place.server_log().contains("panicked"),
        "{}",
        place.server_log()
    );
}

/// Runs a command that may hang; its end after this time is a failure.
fn said_within(command: &mut Command, patience: Duration) -> Said {
    use std::io::Read as _;
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    let other = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + patience;
    let mut hangs = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            hangs = true;
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = Said {
        code: status.code(),
        out: other.join().unwrap().unwrap_or_default(),
        err: reader.join().unwrap().unwrap_or_default(),
    };
    assert!(!hangs, "it hangs: {said:?}");
    said
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
