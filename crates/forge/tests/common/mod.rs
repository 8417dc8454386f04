//! A bench of real git for the tests: an ordinary user with a work tree, and a local forge.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]
#![allow(unreachable_pub, reason = "shared between test binaries")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forge::git::{Git, Oid};
use forge::local::LocalForge;
use forge::{Actor, NewChange, RepoName};
use jiff::Timestamp;
use tempfile::TempDir;

pub struct Bench {
    pub dir: TempDir,
    pub forge: LocalForge,
    pub name: RepoName,
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub fn alice() -> Actor {
    Actor {
        name: "Alice".into(),
        email: Some("alice@example.org".into()),
    }
}

pub fn bot() -> Actor {
    Actor::named("nightcrew")
}

/// Git as a person runs it, with an identity and no other configuration.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let out = person(dir).args(args).output().unwrap();
    assert!(
        out.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub fn person(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env_remove("GIT_DIR")
        .env_remove("GIT_TRACE")
        .env_remove("GIT_CONFIG_COUNT")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args([
            "-c",
            "user.name=Person",
            "-c",
            "user.email=person@example.org",
            "-c",
            "protocol.file.allow=always",
        ])
        .stdin(Stdio::null());
    command
}

pub fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

impl Bench {
    /// A forge with the repository `acme/app`, which has one commit with some files.
    pub fn new() -> Self {
        let bench = Self::empty();
        let work = bench.work();
        std::fs::create_dir_all(work.join("src")).unwrap();
        std::fs::write(work.join("README"), "hello\n").unwrap();
        std::fs::write(
            work.join("src/main.sh"),
            "#!/bin/sh\necho one\necho two\necho three\n",
        )
        .unwrap();
        bench.commit_push("first");
        bench
    }

    /// The same without a commit.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let forge = LocalForge::open(&dir.path().join("forge"), Git::find().unwrap()).unwrap();
        let name: RepoName = "acme/app".parse().unwrap();
        forge.create_repository(&name, "main").unwrap();
        let bench = Self { dir, forge, name };
        let work = bench.work();
        std::fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "-q", "-b", "main"]);
        git(
            &work,
            &["remote", "add", "origin", bench.bare().to_str().unwrap()],
        );
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    pub fn bare(&self) -> PathBuf {
        self.forge.git_dir(&self.name).unwrap()
    }

    /// Commits everything in the work tree and pushes the branch it is on.
    pub fn commit_push(&self, message: &str) -> Oid {
        let commit = self.commit(message);
        git(&self.work(), &["push", "-q", "origin", "HEAD"]);
        commit
    }

    pub fn commit(&self, message: &str) -> Oid {
        let work = self.work();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "--allow-empty", "-m", message]);
        oid(&git(&work, &["rev-parse", "HEAD"]))
    }

    pub fn main_head(&self) -> Oid {
        oid(&git(&self.bare(), &["rev-parse", "refs/heads/main"]))
    }

    pub fn branch_head(&self, branch: &str) -> Option<Oid> {
        let out = person(&self.bare())
            .args([
                "rev-parse",
                "--verify",
                "-q",
                &format!("refs/heads/{branch}"),
            ])
            .output();
        String::from_utf8(out.unwrap().stdout)
            .unwrap()
            .trim()
            .parse()
            .ok()
    }

    /// A commit on top of the main branch that writes this file, as a thin pack; it is not in the forge yet.
    pub fn proposal(&self, file: &str, content: &str) -> (Oid, Oid, PathBuf) {
        let work = self.work();
        let base = self.main_head();
        git(&work, &["fetch", "-q", "origin", "main"]);
        git(&work, &["checkout", "-q", "--detach", &base.to_string()]);
        let path = work.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        let commit = self.commit(&format!("change {file}"));
        (base, commit, self.pack(base, commit))
    }

    pub fn pack(&self, base: Oid, commit: Oid) -> PathBuf {
        let pack = self.path(&format!("{commit}.pack"));
        let mut child = person(&self.work())
            .args(["pack-objects", "--revs", "--thin", "--stdout", "-q"])
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&pack).unwrap())
            .spawn()
            .unwrap();
        std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            format!("{commit}\n^{base}\n").as_bytes(),
        )
        .unwrap();
        assert!(child.wait().unwrap().success());
        pack
    }

    pub fn new_change(&self, branch: &str, file: &str, content: &str) -> NewChange {
        let (base, commit, pack) = self.proposal(file, content);
        NewChange {
            branch: branch.into(),
            base_branch: "main".into(),
            base_commit: base,
            commit,
            bundle: Some(pack),
            title: format!("Change {file}"),
            body: "Because.".into(),
            evidence: serde_json::json!({"validators": 2}),
            labels: vec!["nightcrew".into()],
            author: bot(),
            at: at(1),
        }
    }

    pub fn fsck(&self) {
        let out = person(&self.bare())
            .args(["fsck", "--strict", "--connectivity-only"])
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}
