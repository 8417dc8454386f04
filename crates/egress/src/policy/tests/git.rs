//! Git through rules.

use super::*;
use crate::git::RefUpdate;

fn update(name: &str) -> RefUpdate {
    RefUpdate {
        name: name.to_owned(),
        old: "1".repeat(40),
        new: "2".repeat(40),
    }
}

#[test]
fn git_is_read_and_pushed_only_as_named() {
    let policy = policy(
        r#"[
        {"host": "git.example.test", "git": {"repositories": ["org/repo.git"], "push": ["refs/heads/nc/task-1"]}, "credential": {"secret": "forge", "format": "basic x"}},
        {"host": "read.example.test", "git": {"repositories": ["org/*"]}},
        {"host": "all.example.test", "paths": ["/**"]}
    ]"#,
    );
    for (name, method, target, expected) in [
        (
            "git",
            "GET",
            "/org/repo.git/info/refs?service=git-upload-pack",
            Ok(false),
        ),
        ("git", "POST", "/org/repo/git-upload-pack", Ok(false)),
        (
            "git",
            "GET",
            "/org/repo/info/refs?service=git-receive-pack",
            Ok(false),
        ),
        ("git", "POST", "/org/repo.git/git-receive-pack", Ok(true)),
        ("git", "POST", "/org/repo.git/git%2dreceive-pack", Ok(true)),
        (
            "git",
            "POST",
            "/org/other.git/git-receive-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "GET",
            "/org/other.git/info/refs?service=git-upload-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/ORG/repo.git/git-upload-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/org/repo.gitx/git-upload-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/org/repo.wiki.git/git-upload-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/org/repo.git.git/git-upload-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/org/repo.git/../other.git/git-upload-pack",
            Err(No::ProtocolInvalid),
        ),
        (
            "git",
            "POST",
            "/org/repo.git%2f..%2fother.git/git-upload-pack",
            Err(No::ProtocolInvalid),
        ),
        (
            "git",
            "POST",
            "/org%2frepo.git/git-upload-pack",
            Err(No::PathNotNamed),
        ),
        (
            "git",
            "POST",
            "//org/repo.git/git-upload-pack",
            Err(No::ProtocolInvalid),
        ),
        (
            "git",
            "POST",
            "/org/repo.git/git-RECEIVE-pack",
            Err(No::RefNotNamed),
        ),
        (
            "git",
            "POST",
            "/org/repo.git/info/lfs/objects/batch",
            Err(No::PathNotNamed),
        ),
        (
            "git",
            "GET",
            "/org/repo.git/objects/info/packs",
            Err(No::PathNotNamed),
        ),
        (
            "git",
            "PUT",
            "/org/repo.git/objects/aa/bb",
            Err(No::PathNotNamed),
        ),
        (
            "git",
            "GET",
            "/org/repo.git/info/refs",
            Err(No::PathNotNamed),
        ),
        ("read", "POST", "/org/any.git/git-upload-pack", Ok(false)),
        (
            "read",
            "POST",
            "/org/any.git/git-receive-pack",
            Err(No::RefNotNamed),
        ),
        (
            "read",
            "GET",
            "/org/any.git/info/refs?service=git-receive-pack",
            Err(No::RefNotNamed),
        ),
        ("all", "POST", "/org/any.git/git-upload-pack", Ok(false)),
        (
            "all",
            "POST",
            "/org/any.git/git-receive-pack",
            Err(No::RefNotNamed),
        ),
        (
            "all",
            "POST",
            "/org/any.git/git-receive-pack/",
            Err(No::RefNotNamed),
        ),
        (
            "all",
            "GET",
            "/org/any.git/info/refs?service=git-upload-pack&service=git-receive-pack",
            Err(No::RefNotNamed),
        ),
    ] {
        let answer = policy.request(
            &host(&format!("{name}.example.test")),
            443,
            &facts(method, target),
        );
        assert_eq!(
            answer.map(|permit| permit.push),
            expected,
            "{name} {method} {target}"
        );
    }
    let git = host("git.example.test");
    let push = |repository: &str, names: &[&str]| {
        let updates: Vec<RefUpdate> = names.iter().map(|name| update(name)).collect();
        policy
            .push(&git, 443, repository, &updates)
            .map(|permit| permit.rule)
    };
    for repository in ["org/repo", "/org/repo.git"] {
        assert_eq!(
            push(repository, &["refs/heads/nc/task-1"]),
            Ok("network[0]".to_owned())
        );
        assert_eq!(push(repository, &[]), Ok("network[0]".to_owned()));
    }
    for names in [
        &["refs/heads/main"][..],
        &["refs/heads/nc/task-1", "refs/heads/main"],
        &["refs/heads/main", "refs/heads/nc/task-1"],
        &["refs/heads/nc/task-1/../../main"],
        &["refs/heads/NC/task-1"],
        &["refs/heads/nc/task-10"],
        &["refs/tags/v1"],
        &["refs/notes/commits"],
        &["refs/for/main"],
        &["refs/replace/x"],
        &["HEAD"],
        &["refs/heads/nc/task-1^{}"],
    ] {
        assert_eq!(push("org/repo", names), Err(No::RefNotNamed), "{names:?}");
    }
    assert_eq!(
        push("org/other", &["refs/heads/nc/task-1"]),
        Err(No::RefNotNamed)
    );
    let deletion = RefUpdate {
        new: "0".repeat(40),
        ..update("refs/heads/nc/task-1")
    };
    assert_eq!(
        policy.push(&git, 443, "org/repo", &[deletion]).map(|_| ()),
        Err(No::RefNotNamed)
    );
    assert!(
        policy
            .push(&host("read.example.test"), 443, "org/any", &[])
            .is_err()
    );
}

#[test]
fn one_rule_permits_a_push_and_its_neighbour_may_permit_the_rest() {
    let policy = policy(
        r#"[
        {"host": "g.test", "git": {"repositories": ["org/repo"], "push": ["refs/heads/a/*", "refs/tags/**"]}, "paths": ["/api/**"], "methods": ["GET"]},
        {"host": "g.test", "git": {"repositories": ["org/repo"], "push": ["refs/heads/b/*"]}}
    ]"#,
    );
    let push = |names: &[&str]| {
        let updates: Vec<RefUpdate> = names.iter().map(|name| update(name)).collect();
        policy
            .push(&host("g.test"), 443, "org/repo", &updates)
            .map(|permit| permit.rule)
    };
    assert_eq!(
        push(&["refs/heads/a/x", "refs/tags/v/1"]),
        Ok("network[0]".to_owned())
    );
    assert_eq!(push(&["refs/heads/b/x"]), Ok("network[1]".to_owned()));
    assert_eq!(
        push(&["refs/heads/a/x", "refs/heads/b/x"]),
        Err(No::RefNotNamed)
    );
    assert_eq!(
        rule(&policy, "g.test", "GET", "/api/x"),
        Ok("network[0]".to_owned())
    );
    assert_eq!(
        rule(&policy, "g.test", "POST", "/api/x"),
        Err(No::MethodNotNamed)
    );
}
