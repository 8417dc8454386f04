//! What a host, a crash or bad input could do to the forge, and does not.
#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Bench, alice, at, bot, git, oid};
use forge::git::{
    BaseRequest, Expect, Git, GitError, RefUpdate, Start, clone_base, head_of, import_commit,
    list_refs, read_ref, update_refs, valid_branch_name,
};
use forge::local::{ImportSource, LocalForge, parse_manifest};
use forge::{
    ChangeFilter, ChangeState, ForgeError, MergeMethod, NewComment, RepoName, branch_name,
};
use proptest::prelude::*;

/// A home whose git configuration signs, hooks, templates, rewrites and names no identity.
fn hostile_home(dir: &Path) -> std::path::PathBuf {
    let home = dir.join("home");
    std::fs::create_dir_all(home.join("hooks")).unwrap();
    std::fs::create_dir_all(home.join("template/hooks")).unwrap();
    for hook in [
        "post-checkout",
        "reference-transaction",
        "post-receive",
        "pre-receive",
        "post-index-change",
    ] {
        for folder in ["hooks", "template/hooks"] {
            let path = home.join(folder).join(hook);
            std::fs::write(
                &path,
                format!("#!/bin/sh\necho {hook} >> {}/ran\nexit 1\n", home.display()),
            )
            .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let config = format!(
        "[commit]\n\tgpgSign = true\n[tag]\n\tgpgSign = true\n[gpg]\n\tprogram = /bin/false\n[core]\n\thooksPath = {0}/hooks\n\
         \tfsmonitor = {0}/hooks/post-checkout\n\tautocrlf = true\n\tquotePath = true\n\tpager = /bin/false\n[init]\n\ttemplateDir = {0}/template\n\
         [user]\n\tuseConfigOnly = true\n[diff]\n\texternal = /bin/false\n\tnoprefix = true\n[color]\n\tui = always\n\
         [fetch]\n\tprune = true\n[protocol]\n\tallow = never\n[safe]\n\tbareRepository = explicit\n",
        home.display()
    );
    std::fs::write(home.join(".gitconfig"), config).unwrap();
    home
}

/// The body of the test below, run in a process of its own whose environment is hostile.
#[test]
fn inner_life_under_the_given_environment() {
    if std::env::var_os("NIGHTCREW_HOSTILE_INNER").is_none() {
        return;
    }
    let bench = Bench::new();
    std::fs::write(bench.work().join("README"), "hello\n").unwrap();
    let new = bench.new_change("b", "new.txt", "new\n");
    bench.forge.open_change(&bench.name, &new).unwrap();
    let request = BaseRequest {
        remote: bench.bare().display().to_string(),
        start: Start::Default,
        depth: Some(1),
    };
    clone_base(bench.forge.git(), &request, &bench.path("base")).unwrap();
    assert_eq!(
        std::fs::read(bench.path("base/README")).unwrap(),
        b"hello\n"
    );
    let source = ImportSource {
        line: 1,
        from: bench.bare().display().to_string(),
        name: Some("copy".into()),
    };
    bench
        .forge
        .import(vec![source])
        .pop()
        .unwrap()
        .result
        .unwrap();
    assert_eq!(bench.forge.diff(&bench.name, 1).unwrap().files.len(), 1);
    let patch = bench.forge.patch(&bench.name, 1, 10_000).unwrap().bytes;
    assert!(String::from_utf8(patch).unwrap().contains("+++ b/new.txt"));
    bench
        .forge
        .merge(&bench.name, 1, MergeMethod::Merge, &alice(), at(3))
        .unwrap();
    let raw = git(&bench.bare(), &["cat-file", "commit", "main"]);
    assert!(
        !raw.contains("gpgsig")
            && raw.contains("author Alice <alice@example.org> 1700000003 +0000"),
        "{raw}"
    );
}

#[test]
fn a_hostile_configuration_of_the_host_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let home = hostile_home(dir.path());
    let out = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "inner_life_under_the_given_environment",
            "--nocapture",
        ])
        .env("NIGHTCREW_HOSTILE_INNER", "1")
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", &home)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.hooksPath")
        .env("GIT_CONFIG_VALUE_0", home.join("hooks"))
        .env("GIT_DIR", "/nonexistent")
        .env("GIT_TRACE", home.join("ran"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        !home.join("ran").exists(),
        "a hook ran, or git wrote a trace"
    );
    // The same configuration does have an effect on a git that is not kept from it.
    let repo = dir.path().join("plain");
    let plain = Command::new("git")
        .args(["init", "-q"])
        .arg(&repo)
        .env("HOME", &home)
        .status()
        .unwrap();
    assert!(plain.success() && repo.join(".git/hooks/pre-receive").exists());
}

#[test]
fn git_sees_none_of_the_variables_of_the_host() {
    let git = Git::find().unwrap();
    let names: Vec<_> = git
        .environment()
        .iter()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    assert!(names.contains(&"GIT_CONFIG_GLOBAL".to_owned()) && !names.contains(&"USER".to_owned()));
    let shown = git.bare("var").arg("-l").output().unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("core.hookspath=/dev/null")
            && shown.contains("Nightcrew <nightcrew@localhost>")
    );
}

#[test]
fn a_crash_after_the_objects_leaves_nothing_to_see_and_the_retry_succeeds() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    let file = new.bundle.clone().unwrap();
    import_commit(
        bench.forge.git(),
        &bench.bare(),
        &file,
        new.commit,
        Default::default(),
    )
    .unwrap();
    assert_eq!(bench.forge.find_change(&bench.name, "b").unwrap(), None);
    assert_eq!(bench.branch_head("b"), None);
    assert_eq!(
        bench.forge.open_change(&bench.name, &new).unwrap().number,
        1
    );
}

#[test]
fn a_crash_between_record_and_branch_is_completed_by_the_retry() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    bench.forge.open_change(&bench.name, &new).unwrap();
    // What the crash leaves: the record of the change, and no branch.
    git(&bench.bare(), &["update-ref", "-d", "refs/heads/b"]);
    let again = restarted(&bench).open_change(&bench.name, &new).unwrap();
    assert_eq!(
        (again.number, bench.branch_head("b")),
        (1, Some(new.commit))
    );

    // The same for an update: the record names the new head, the branch is still at the old one.
    let newer = bench.new_change("b", "new.txt", "newer\n");
    bench.forge.open_change(&bench.name, &newer).unwrap();
    git(
        &bench.bare(),
        &["update-ref", "refs/heads/b", &new.commit.to_string()],
    );
    let again = restarted(&bench).open_change(&bench.name, &newer).unwrap();
    assert_eq!(
        (again.number, bench.branch_head("b")),
        (1, Some(newer.commit))
    );
    // Or abandoned instead: closing leaves no orphan branch.
    git(
        &bench.bare(),
        &["update-ref", "refs/heads/b", &new.commit.to_string()],
    );
    restarted(&bench)
        .close(&bench.name, 1, true, &bot(), at(9))
        .unwrap();
    assert_eq!(bench.branch_head("b"), None);
}

#[test]
fn a_crash_in_the_middle_of_a_merge_is_completed_or_undone() {
    let bench = Bench::new();
    let change = bench
        .forge
        .open_change(&bench.name, &bench.new_change("b", "new.txt", "new\n"))
        .unwrap();
    let before_record = git(
        &bench.bare(),
        &["cat-file", "blob", "refs/nightcrew/changes/1/meta"],
    );
    let onto = bench.main_head();
    let merged = bench
        .forge
        .merge(&bench.name, 1, MergeMethod::Squash, &alice(), at(3))
        .unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&before_record).unwrap();
    record["merging"] = serde_json::json!({
        "method": "squash", "actor": alice(), "at": at(3), "onto": onto, "head": change.head,
        "commit": merged.commit, "merge_base": onto,
    });
    write_record(&bench, &record);
    // The base branch has moved: the restart ends the change.
    let forge = restarted(&bench);
    assert_eq!(
        forge.change(&bench.name, 1).unwrap().state,
        ChangeState::Open
    );
    forge.recover().unwrap();
    let done = forge.change(&bench.name, 1).unwrap();
    assert_eq!(
        (done.state, done.merged.unwrap().commit),
        (ChangeState::Merged, merged.commit)
    );
    // The base branch has not moved: the change is open as before, and merging again works.
    write_record(&bench, &record);
    git(
        &bench.bare(),
        &["update-ref", "refs/heads/main", &onto.to_string()],
    );
    let forge = restarted(&bench);
    forge.recover().unwrap();
    assert_eq!(
        forge.change(&bench.name, 1).unwrap().state,
        ChangeState::Open
    );
    let again = forge
        .merge(&bench.name, 1, MergeMethod::Squash, &alice(), at(3))
        .unwrap();
    assert_eq!(
        (again.commit, bench.main_head()),
        (merged.commit, merged.commit)
    );
}

fn restarted(bench: &Bench) -> LocalForge {
    LocalForge::open(bench.forge.root(), Git::find().unwrap()).unwrap()
}

fn write_record(bench: &Bench, record: &serde_json::Value) {
    let file = bench.path("record");
    std::fs::write(&file, record.to_string()).unwrap();
    let blob = git(
        &bench.bare(),
        &["hash-object", "-w", file.to_str().unwrap()],
    );
    git(
        &bench.bare(),
        &["update-ref", "refs/nightcrew/changes/1/meta", &blob],
    );
}

#[test]
fn killing_a_writer_at_any_moment_leaves_a_state_the_retry_completes() {
    // Each inner process opens changes until it is killed; another then opens the same ones.
    let bench = Bench::new();
    let first = bench.new_change("b0", "f", "x");
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inner_writer_until_killed", "--nocapture"])
            .env("NIGHTCREW_FORGE_ROOT", bench.forge.root())
            .env(
                "NIGHTCREW_FORGE_CHANGE",
                format!("{} {} {round}", first.base_commit, first.commit),
            )
            .env("NIGHTCREW_FORGE_PACK", first.bundle.as_ref().unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after a number of opened changes, at whatever it is doing then.
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        for _ in 0..(2 + round % 5) {
            while !lines.next().unwrap().unwrap().contains("opened") {}
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let forge = restarted(&bench);
    for round in 0..12 {
        for n in 0..20 {
            let mut new = first.clone();
            new.branch = format!("b{round}/{n}");
            forge.open_change(&bench.name, &new).unwrap();
            assert_eq!(
                bench
                    .forge
                    .find_change(&bench.name, &new.branch)
                    .unwrap()
                    .unwrap()
                    .branch,
                new.branch
            );
        }
    }
    let mut numbers = Vec::new();
    let mut cursor = None;
    loop {
        let page = forge
            .list_changes(&bench.name, &ChangeFilter::default(), cursor.as_ref())
            .unwrap();
        numbers.extend(page.items.iter().map(|change| change.branch.clone()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let heads = list_refs(&bench.bare(), "refs/heads/").unwrap();
    let heads: Vec<_> = heads
        .iter()
        .filter(|(name, _)| name.starts_with("refs/heads/b"))
        .collect();
    assert_eq!((numbers.len(), heads.len()), (240, 240));
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 240, "no change twice");
    bench.fsck();
}

#[test]
fn inner_writer_until_killed() {
    let Some(root) = std::env::var_os("NIGHTCREW_FORGE_ROOT") else {
        return;
    };
    let forge = LocalForge::open(Path::new(&root), Git::find().unwrap()).unwrap();
    let text = std::env::var("NIGHTCREW_FORGE_CHANGE").unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    for n in 0..20 {
        let new = forge::NewChange {
            branch: format!("b{}/{n}", words[2]),
            base_branch: "main".into(),
            base_commit: oid(words[0]),
            commit: oid(words[1]),
            bundle: std::env::var_os("NIGHTCREW_FORGE_PACK").map(Into::into),
            title: "t".into(),
            body: String::new(),
            evidence: serde_json::Value::Null,
            labels: vec![],
            author: bot(),
            at: at(1),
        };
        forge
            .open_change(&"acme/app".parse().unwrap(), &new)
            .unwrap();
        println!("opened");
    }
}

#[test]
fn refs_move_together_or_not_at_all_and_never_over_another_writer() {
    let bench = Bench::new();
    let git_tool = bench.forge.git();
    let (dir, head) = (bench.bare(), bench.main_head());
    let other = oid("1111111111111111111111111111111111111111");
    let both = [
        RefUpdate::set("refs/heads/one", Expect::Absent, head),
        RefUpdate::set("refs/heads/main", Expect::Is(other), head),
    ];
    assert!(matches!(
        update_refs(git_tool, &dir, &both),
        Err(GitError::RefMoved { .. })
    ));
    assert_eq!(head_of(&dir, "one").unwrap(), None);
    // Files and folders: `main/x` cannot be beside `main`, packed or not.
    for packed in [false, true] {
        if packed {
            git(&dir, &["pack-refs", "--all"]);
        }
        let below = [RefUpdate::set("refs/heads/main/x", Expect::Absent, head)];
        assert!(
            matches!(
                update_refs(git_tool, &dir, &below),
                Err(GitError::InvalidRefName { .. })
            ),
            "{packed}"
        );
    }
    for name in [
        "refs/heads/../../x",
        "refs/heads/a b",
        "HEAD",
        "refs/heads/x.lock",
        "/etc/x",
        "refs/heads/a//b",
    ] {
        let bad = [RefUpdate::set(name, Expect::Any, head)];
        assert!(
            matches!(
                update_refs(git_tool, &dir, &bad),
                Err(GitError::InvalidRefName { .. })
            ),
            "{name}"
        );
        assert_eq!(read_ref(&dir, name).unwrap(), None);
    }
    // Git and we see each other's refs; a deleted packed ref is gone.
    update_refs(
        git_tool,
        &dir,
        &[RefUpdate::set("refs/heads/a/b", Expect::Absent, head)],
    )
    .unwrap();
    git(&dir, &["pack-refs", "--all", "--prune"]);
    assert_eq!(head_of(&dir, "a/b").unwrap(), Some(head));
    update_refs(
        git_tool,
        &dir,
        &[RefUpdate::delete("refs/heads/a/b", Expect::Is(head))],
    )
    .unwrap();
    assert_eq!(git(&dir, &["for-each-ref", "refs/heads/a"]), "");
    update_refs(
        git_tool,
        &dir,
        &[RefUpdate::set("refs/heads/a", Expect::Absent, head)],
    )
    .unwrap();
    assert_eq!(git(&dir, &["rev-parse", "a"]), head.to_string());
}

#[test]
fn repositories_are_imported_from_folders_and_manifests_and_what_is_missing_is_named() {
    let bench = Bench::new();
    let forge = LocalForge::open(&bench.path("second"), Git::find().unwrap()).unwrap();
    let sources = LocalForge::find_sources(bench.forge.root()).unwrap();
    let names: Vec<_> = forge
        .import(sources)
        .into_iter()
        .map(|one| one.result.unwrap().to_string())
        .collect();
    assert_eq!(names, ["acme/app"]);
    assert_eq!(
        forge.repository(&bench.name).unwrap().head,
        Some(bench.main_head())
    );

    let text =
        "# fleet\n\nwork\nother/name forge/acme/app.git\nmissing.git\nforge\n../escape work\n";
    let results = forge.import(parse_manifest(text, bench.dir.path()));
    let shown: Vec<_> = results
        .iter()
        .map(|one| {
            (
                one.source.line,
                one.result
                    .as_ref()
                    .map(ToString::to_string)
                    .map_err(ToString::to_string),
            )
        })
        .collect();
    assert_eq!(shown[0], (3, Ok("work".into())));
    assert_eq!(shown[1], (4, Ok("other/name".into())));
    assert!(
        shown[2].1.as_ref().unwrap_err().contains("(line 5)"),
        "{shown:?}"
    );
    assert!(
        shown[3].1.as_ref().unwrap_err().contains("(line 6)"),
        "{shown:?}"
    );
    assert!(
        shown[4]
            .1
            .as_ref()
            .unwrap_err()
            .contains("not a repository name"),
        "{shown:?}"
    );
    let listed: Vec<_> = forge
        .repositories()
        .unwrap()
        .into_iter()
        .map(|info| info.name.to_string())
        .collect();
    assert_eq!(listed, ["acme/app", "other/name", "work"]);
    assert!(matches!(
        forge.create_repository(&bench.name, "main"),
        Err(ForgeError::Exists(_))
    ));
    let empty = LocalForge::find_sources(&bench.path("second/acme/app.git/info"));
    assert!(matches!(empty, Err(ForgeError::NotFound(_))));
}

#[test]
fn an_empty_repository_is_listed_and_takes_no_change() {
    let bench = Bench::empty();
    assert_eq!(bench.forge.repository(&bench.name).unwrap().head, None);
    let other = Bench::new();
    let refused = bench
        .forge
        .open_change(&bench.name, &other.new_change("b", "f", "x"));
    assert!(matches!(refused, Err(ForgeError::NotFound(_))));
}

#[test]
fn an_archived_repository_takes_no_change() {
    let bench = Bench::new();
    bench.forge.set_archived(&bench.name, true).unwrap();
    let new = bench.new_change("b", "f", "x");
    assert!(matches!(
        bench.forge.open_change(&bench.name, &new),
        Err(ForgeError::Invalid(_))
    ));
    bench.forge.set_archived(&bench.name, false).unwrap();
    bench.forge.open_change(&bench.name, &new).unwrap();
}

#[test]
fn names_that_would_leave_the_root_are_refused() {
    for name in [
        "", "..", "../x", "a/..", "a/../b", "/etc", "a//b", "a/b/c", ".git", "a/.git", "-x",
        "a\0b", "a b", "a\\b", "a.git/b", "x.lock", "é", "a/", "%2e%2e/x",
    ] {
        assert!(name.parse::<RepoName>().is_err(), "{name:?}");
    }
    assert_eq!(
        "acme/app.git".parse::<RepoName>().unwrap().as_str(),
        "acme/app"
    );
    assert!(serde_json::from_str::<RepoName>("\"../x\"").is_err());
}

#[test]
fn bad_branch_names_and_texts_are_refused_or_made_harmless() {
    let bench = Bench::new();
    let mut new = bench.new_change("b", "f", "x");
    for branch in [
        "main",
        "../x",
        "a b",
        "",
        "-x",
        "refs/../x",
        "x\ny",
        "HEAD",
        "a.lock",
    ] {
        new.branch = branch.to_owned();
        assert!(
            matches!(
                bench.forge.open_change(&bench.name, &new),
                Err(ForgeError::Invalid(_))
            ),
            "{branch:?}"
        );
    }
    new.branch = "b".into();
    new.title = "one\ntwo\u{1b}[31m".into();
    new.author = forge::Actor::named("evil\n<x>");
    let change = bench.forge.open_change(&bench.name, &new).unwrap();
    assert_eq!(change.title, "one two [31m");
    let long = NewComment {
        actor: alice(),
        text: "x".repeat(70_000),
        at: at(2),
        key: None,
    };
    assert!(matches!(
        bench.forge.comment(&bench.name, 1, &long),
        Err(ForgeError::Invalid(_))
    ));
    let evil = forge::Actor {
        name: "evil\n<x>".into(),
        email: Some("a b>\nc".into()),
    };
    bench
        .forge
        .merge(&bench.name, 1, MergeMethod::Squash, &evil, at(2))
        .unwrap();
    bench.fsck();
    let raw = git(&bench.bare(), &["cat-file", "commit", "main"]);
    assert!(raw.contains("author evilx <abc> 1700000002 +0000"), "{raw}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn branch_names_are_deterministic_and_valid(campaign in any::<String>(), target in any::<String>()) {
        let name = branch_name(&campaign, &target);
        prop_assert_eq!(&name, &branch_name(&campaign, &target));
        prop_assert!(valid_branch_name(&name), "{}", name);
        prop_assert!(name.len() < 120);
        prop_assert_ne!(name, branch_name(&target, &format!("{campaign}x")));
    }

    #[test]
    fn manifests_and_names_never_panic(text in any::<String>()) {
        let _ = parse_manifest(&text, Path::new("/nonexistent"));
        let _ = text.parse::<RepoName>();
        let _ = valid_branch_name(&text);
        prop_assert!(RepoName::sanitise_part(&text).parse::<RepoName>().is_ok(), "{}", RepoName::sanitise_part(&text));
    }
}

#[test]
fn git_agrees_about_branch_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "a", "a/b", "a..b", "a.lock", "a.lock/b", ".a", "a/.b", "a//b", "/a", "a/", "a.", "a@{b",
        "@", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "-a", "a-", "é", "a\u{7f}",
        "a\tb", "HEAD", "a/@", "a.b",
    ] {
        let git_says = common::person(dir.path())
            .args(["check-ref-format", "--branch", name])
            .output()
            .unwrap();
        // We may refuse more than git, never less.
        if valid_branch_name(name) {
            assert!(git_says.status.success(), "{name:?}");
        }
    }
    let names: Vec<String> = [
        "",
        "x",
        "Ünïcode",
        "a/../b",
        "..",
        "@{",
        "x.lock",
        "A B",
        "-",
    ]
    .map(|t| branch_name(t, t))
    .to_vec();
    for name in names {
        let git_says = common::person(dir.path())
            .args(["check-ref-format", "--branch", &name])
            .output()
            .unwrap();
        assert!(git_says.status.success(), "{name:?}");
    }
}
