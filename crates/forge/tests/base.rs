//! Base trees: checkouts that become the lower layer of an overlay.
#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Bench, git};
use forge::git::{
    BaseRequest, BaseTree, BytePath, DiffStatus, Git, GitError, Start, clone_base, diff, load_base,
};

fn request(remote: &Path, depth: Option<u32>) -> BaseRequest {
    BaseRequest {
        remote: remote.to_str().unwrap().to_owned(),
        start: Start::Default,
        depth,
    }
}

fn base(bench: &Bench, depth: Option<u32>) -> BaseTree {
    clone_base(
        bench.forge.git(),
        &request(&bench.bare(), depth),
        &bench.path("base"),
    )
    .unwrap()
}

#[test]
fn a_base_tree_is_a_clean_checkout_that_names_no_path_of_the_host() {
    for depth in [Some(1), Some(2), None] {
        let bench = Bench::new();
        for n in 0..3 {
            std::fs::write(bench.work().join("README"), format!("{n}\n")).unwrap();
            bench.commit_push("more");
        }
        let made = base(&bench, depth);
        let dir = bench.path("base");
        assert_eq!(
            (made.commit, made.branch.as_str(), made.files),
            (bench.main_head(), "main", 2)
        );
        assert_eq!(
            made.tree.to_string(),
            git(&dir, &["rev-parse", "HEAD^{tree}"])
        );
        assert_eq!(git(&dir, &["status", "--porcelain", "--branch"]), "## main");
        git(&dir, &["fsck", "--strict"]);
        let commits = git(&dir, &["rev-list", "--count", "HEAD"]);
        assert_eq!(
            commits,
            depth.map_or("4".to_owned(), |d| d.to_string()),
            "{depth:?}"
        );
        let found = std::process::Command::new("grep")
            .arg("-r")
            .arg(bench.dir.path())
            .arg(dir.join(".git"))
            .output();
        assert!(found.unwrap().stdout.is_empty(), "no path of the host");
        assert_eq!(load_base(&dir), Some(made.clone()));
        assert_eq!(base(&bench, depth), made, "making it again finds it");
        let left: Vec<_> = std::fs::read_dir(bench.dir.path())
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with(".base")),
            "{left:?}"
        );
    }
}

#[test]
fn an_edit_of_the_same_length_right_after_the_checkout_is_seen() {
    let bench = Bench::new();
    base(&bench, Some(1));
    let dir = bench.path("base");
    std::fs::write(dir.join("README"), "jello\n").unwrap();
    assert_eq!(git(&dir, &["status", "--porcelain"]), "M README");
}

#[test]
fn only_what_the_branch_reaches_arrives() {
    let bench = Bench::new();
    let (_, secret, _) = bench.proposal("secret", "do not copy\n");
    git(
        &bench.work(),
        &[
            "push",
            "-q",
            "origin",
            &format!("{secret}:refs/heads/other"),
        ],
    );
    base(&bench, None);
    let there = common::person(&bench.path("base"))
        .args(["cat-file", "-e", &secret.to_string()])
        .status()
        .unwrap();
    assert!(!there.success());
}

#[test]
fn names_that_are_not_utf8_links_submodules_and_lfs_pointers_survive() {
    let bench = Bench::new();
    let work = bench.work();
    let odd = OsStr::from_bytes(b"caf\xe9 \n\t\"x");
    std::fs::write(work.join(odd), "odd").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.join("out")).unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff"), work.join("dangling")).unwrap();
    std::fs::write(work.join("run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(work.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    std::fs::write(work.join("big.bin"), pointer).unwrap();
    std::fs::write(
        work.join(".gitattributes"),
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    )
    .unwrap();
    std::fs::write(
        work.join(".gitmodules"),
        "[submodule \"sub\"]\n\tpath = sub\n\turl = ext::sh -c touch% /tmp/x\n",
    )
    .unwrap();
    let before = bench.main_head();
    std::fs::create_dir(work.join("sub")).unwrap();
    git(
        &work,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{before},sub"),
        ],
    );
    let after = bench.commit_push("odd things");

    let dir = bench.path("base");
    let made = base(&bench, Some(1));
    assert_eq!(git(&dir, &["status", "--porcelain"]), "");
    assert_eq!(made.files, 10);
    assert_eq!(std::fs::read(dir.join(odd)).unwrap(), b"odd");
    assert_eq!(
        std::fs::read_link(dir.join("out")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(
        std::fs::read_to_string(dir.join("big.bin")).unwrap(),
        pointer
    );
    assert!(dir.join("sub").is_dir());
    assert!(
        std::fs::metadata(dir.join("run"))
            .unwrap()
            .permissions()
            .mode()
            & 0o111
            != 0
    );

    let seen = diff(bench.forge.git(), &bench.bare(), before, after).unwrap();
    let of = |path: &[u8]| {
        seen.files
            .iter()
            .find(|file| file.path.as_bytes() == path)
            .unwrap()
    };
    assert_eq!(of(odd.as_bytes()).status, DiffStatus::Added);
    assert_eq!(of(b"out").new_mode, 0o120_000);
    assert_eq!(of(b"sub").new_mode, 0o160_000);
    assert_eq!(of(b"run").new_mode, 0o100_755);
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(
        serde_json::from_str::<forge::git::Diff>(&text).unwrap(),
        seen
    );
    assert_eq!(
        BytePath::new(odd.as_bytes()).to_string(),
        "caf\u{fffd} \\n\\t\"x"
    );
}

#[test]
fn renames_and_deletions_are_told_apart() {
    let bench = Bench::new();
    let before = bench.main_head();
    let work = bench.work();
    std::fs::rename(work.join("src/main.sh"), work.join("moved.sh")).unwrap();
    std::fs::remove_file(work.join("README")).unwrap();
    std::fs::write(work.join("bytes"), [0u8, 1, 2]).unwrap();
    let after = bench.commit_push("move");
    let seen = diff(bench.forge.git(), &bench.bare(), before, after).unwrap();
    let mut shown: Vec<_> = seen
        .files
        .iter()
        .map(|file| {
            (
                file.path.to_string(),
                file.status,
                file.old_path.as_ref().map(ToString::to_string),
                file.added,
            )
        })
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        shown,
        [
            ("README".into(), DiffStatus::Deleted, None, Some(0)),
            ("bytes".into(), DiffStatus::Added, None, None),
            (
                "moved.sh".into(),
                DiffStatus::Renamed,
                Some("src/main.sh".into()),
                Some(0)
            ),
        ]
    );
    let whole =
        forge::git::patch(bench.forge.git(), &bench.bare(), before, after, 1 << 20).unwrap();
    let cut = forge::git::patch(bench.forge.git(), &bench.bare(), before, after, 10).unwrap();
    assert!(!whole.truncated && cut.truncated);
    assert_eq!(cut.bytes, whole.bytes[..10]);
}

#[test]
fn what_cannot_be_cloned_says_why_and_leaves_nothing() {
    let bench = Bench::empty();
    let git = Git::find().unwrap();
    let dest = bench.path("base");
    let tried = |remote: &Path, start: Start| {
        let request = BaseRequest {
            remote: remote.to_str().unwrap().into(),
            start,
            depth: Some(1),
        };
        clone_base(&git, &request, &dest).unwrap_err()
    };
    assert!(matches!(
        tried(&bench.bare(), Start::Default),
        GitError::EmptyRepository(_)
    ));
    assert!(matches!(
        tried(&bench.path("nowhere"), Start::Default),
        GitError::RepositoryMissing(_)
    ));
    assert!(matches!(
        tried(bench.dir.path(), Start::Default),
        GitError::NotARepository(_)
    ));
    assert!(matches!(
        tried(&bench.bare(), Start::Branch("x".into())),
        GitError::UnknownRevision(_)
    ));
    let commit = "1111111111111111111111111111111111111111".parse().unwrap();
    let start = Start::Commit {
        commit,
        branch: "x".into(),
    };
    assert!(matches!(
        tried(&bench.bare(), start),
        GitError::UnknownRevision(_)
    ));
    let ext = BaseRequest {
        remote: "ext::sh -c true".into(),
        start: Start::Default,
        depth: None,
    };
    assert!(matches!(
        clone_base(&git, &ext, &dest),
        Err(GitError::Remote(_))
    ));
    assert!(!dest.exists());
    std::fs::create_dir_all(dest.join("something")).unwrap();
    bench.commit_push("first");
    assert!(matches!(
        tried(&bench.bare(), Start::Default),
        GitError::DestinationExists(_)
    ));
    let nowhere = Git::find_in(OsStr::new("/nonexistent"));
    assert!(matches!(nowhere, Err(GitError::ProgramMissing)));
}

#[test]
fn twenty_thousand_files_are_cloned_clean() {
    let bench = Bench::empty();
    for n in 0..20_000 {
        let folder = bench.work().join(format!("d{}", n % 100));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("f{n}")), format!("{n}\n")).unwrap();
    }
    bench.commit_push("large");
    assert_eq!(base(&bench, Some(1)).files, 20_000);
    assert_eq!(git(&bench.path("base"), &["status", "--porcelain"]), "");
}

#[test]
fn a_strict_umask_does_not_lock_other_users_out() {
    if std::env::var_os("NIGHTCREW_UMASK_INNER").is_none() {
        let program = std::env::current_exe().unwrap();
        let inner = std::process::Command::new("sh")
            .args([
                "-c",
                "umask 077; exec \"$0\" --exact a_strict_umask_does_not_lock_other_users_out",
            ])
            .arg(program)
            .env("NIGHTCREW_UMASK_INNER", "1")
            .output()
            .unwrap();
        assert!(
            inner.status.success(),
            "{}",
            String::from_utf8_lossy(&inner.stdout)
        );
        return;
    }
    let bench = Bench::new();
    base(&bench, Some(1));
    let mut pending = vec![bench.path("base")];
    while let Some(path) = pending.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let wanted = if meta.is_dir() { 0o555 } else { 0o444 };
        assert_eq!(
            meta.permissions().mode() & wanted,
            wanted,
            "{}",
            path.display()
        );
        if meta.is_dir() {
            pending.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
    }
}
