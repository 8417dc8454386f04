//! Git itself pushes: its list of refs is read, and it shows why it was refused.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use egress::git::{Push, PushReader, refusal};

const REASON: &str = "no rule of network[0] names refs/heads/main";

fn git(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.test",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C")
        .output()
        .expect("git runs")
}

/// A server of git's own protocol that tells which refs it has, reads a push, and refuses it.
fn refuse_one(listener: &TcpListener) -> Push {
    let (mut stream, _) = listener.accept().unwrap();
    read_line(&mut stream);
    let offer = format!(
        "{} refs/heads/main\0report-status side-band-64k atomic ofs-delta push-options object-format=sha1 agent=x\n",
        "1".repeat(40)
    );
    write!(stream, "{:04x}{offer}0000", offer.len() + 4).unwrap();
    let mut reader = PushReader::default();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "git went away");
        if reader.feed(&buffer[..length]).unwrap().is_some() {
            break;
        }
    }
    let (push, _) = reader.known().unwrap();
    stream.write_all(&refusal(&push, REASON).unwrap()).unwrap();
    push
}

fn read_line(stream: &mut TcpStream) {
    let mut digits = [0; 4];
    stream.read_exact(&mut digits).unwrap();
    let length = usize::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap();
    stream.read_exact(&mut vec![0; length - 4]).unwrap();
}

#[test]
fn git_shows_why_its_push_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(git(folder.path(), &["init", "-q"]).status.success());
    assert!(
        git(folder.path(), &["commit", "-q", "--allow-empty", "-m", "x"])
            .status
            .success()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/org/repo.git", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || refuse_one(&listener));
    let output = git(
        folder.path(),
        &["push", &url, "+HEAD:refs/heads/main", "HEAD:refs/heads/new"],
    );
    let push = server.join().unwrap();
    let names: Vec<&str> = push
        .updates
        .iter()
        .map(|update| update.name.as_str())
        .collect();
    assert_eq!(names, ["refs/heads/main", "refs/heads/new"]);
    assert_eq!(push.updates[0].old, "1".repeat(40));
    assert!(
        push.updates[1].creates() && push.updates.iter().all(egress::git::RefUpdate::is_harmless)
    );
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        shown.contains(&format!("remote: nightcrew: {REASON}")),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("[remote rejected] HEAD -> main ({REASON})")),
        "{shown}"
    );
}
