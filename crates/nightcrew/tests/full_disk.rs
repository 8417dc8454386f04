//! A disk that fills up: said clearly, and nothing lost once there is room again.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{APPEND, Place, refused, skip, until};
use testkit::server::Said;

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
            .then(|| Self(at))
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
