//! Attempts with git, against git's own server.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use model::egress::{EgressKind, EgressRefusal};

use crate::support::{SECRET, World};

const GIT: &str = r#"[{"host":"git.example.test","protocol":"https","private":true,
  "git":{"repositories":["org/repo"],"push":["refs/heads/nc/task-1"]},
  "credential":{"secret":"forge","format":"basic x"}},
  {"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,"credential":{"secret":"x","variable":"API_TOKEN"}}]"#;

/// Answers one request by git's own server.
pub(crate) fn backend(root: &Path, head: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "x")
        .env("REQUEST_METHOD", head.split(' ').next().unwrap())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = body.to_owned();
    let writer = std::thread::spawn(move || input.write_all(&body));
    let output = child.wait_with_output().unwrap().stdout;
    let _ = writer.join();
    let end = output
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .unwrap_or(0);
    let (headers, body) = (
        String::from_utf8_lossy(&output[..end]).into_owned(),
        &output[(end + 4).min(output.len())..],
    );
    let status = headers
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    let rest: String = headers
        .lines()
        .filter(|line| !line.starts_with("Status:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{rest}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn git(folder: &Path, arguments: &str) -> String {
    let output = Command::new("git")
        .args(arguments.split(' '))
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_AUTHOR_NAME", "t")
        .env("GIT_AUTHOR_EMAIL", "t@example.test")
        .env("GIT_COMMITTER_NAME", "t")
        .env("GIT_COMMITTER_EMAIL", "t@example.test")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A world with two repositories outside, and a clone of the permitted one inside.
fn world() -> Option<World> {
    let world = World::new(GIT)?;
    let folder = world.folder.path();
    std::fs::write(
        folder.join(".gitconfig"),
        "[user]\nname = t\nemail = t@example.test\n[init]\ndefaultBranch = main\n",
    )
    .unwrap();
    git(folder, "init -q first");
    git(&folder.join("first"), "commit -q --allow-empty -m first");
    std::fs::create_dir(folder.join("org")).unwrap();
    for name in ["repo", "other"] {
        git(folder, &format!("clone -q --bare first org/{name}.git"));
        git(
            &folder.join(format!("org/{name}.git")),
            "config http.receivepack true",
        );
    }
    let clone = folder.join("clone");
    let (code, _, err) = world.run(&[
        "git",
        "clone",
        "-q",
        "https://git.example.test/org/repo.git",
        clone.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = world.run(&[
        "git",
        "-C",
        clone.to_str().unwrap(),
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "work",
    ]);
    assert_eq!(code, 0, "{err}");
    Some(world)
}

fn refs(world: &World) -> String {
    git(
        &world.folder.path().join("org/repo.git"),
        "for-each-ref --format=%(refname)",
    )
}

fn push(world: &World, what: &[&str]) -> (i64, String) {
    let clone = world.folder.path().join("clone");
    let mut command = vec!["git", "-C", clone.to_str().unwrap(), "push", "origin"];
    command.extend(what);
    let (code, _, err) = world.run(&command);
    (code, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn net_git_push_other_ref() {
    let Some(world) = world() else { return };
    let (code, err) = push(&world, &["HEAD:refs/heads/nc/task-1"]);
    assert_eq!(code, 0, "{err}");
    assert!(refs(&world).contains("refs/heads/nc/task-1"));
    for refspec in [
        "HEAD:refs/heads/main",
        "HEAD:refs/heads/NC/task-1",
        "HEAD:refs/heads/nc/task-10",
        ":refs/heads/nc/task-1",
        "HEAD:refs/tags/v1",
        "HEAD:refs/notes/commits",
        "HEAD:refs/for/main",
        "HEAD:refs/pull/1/head",
        "HEAD:refs/replace/x",
    ] {
        let before = refs(&world);
        let (code, err) = push(&world, &[refspec]);
        assert_ne!(code, 0, "{refspec}");
        // What only deletes has no pack, and is refused before its refs are read.
        let told = err.contains("no rule names this repository and ref");
        assert!(told || refspec.starts_with(':'), "{refspec}: {err}");
        assert_eq!(refs(&world), before, "{refspec}");
    }
    let pushed = world.servers["git.example.test"]
        .requests()
        .iter()
        .filter(|request| request.starts_with("POST /org/repo.git/git-receive-pack"))
        .count();
    assert_eq!(pushed, 1);
    let refused = |name: &str| {
        world.kept.all().into_iter().any(|(_, event)| {
            event.kind == EgressKind::Push
                && event.refused == Some(EgressRefusal::RefNotNamed)
                && event.detail.ends_with(name)
        })
    };
    assert!(refused("refs/heads/main") && refused("refs/tags/v1"));
    assert_eq!(push(&world, &["--force", "HEAD:refs/heads/nc/task-1"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn net_git_push_mixed_commands() {
    let Some(world) = world() else { return };
    let before = refs(&world);
    for refspecs in [
        ["HEAD:refs/heads/nc/task-1", "HEAD:refs/heads/main"],
        ["HEAD:refs/heads/main", "HEAD:refs/heads/nc/task-1"],
    ] {
        assert_ne!(push(&world, &refspecs).0, 0);
        assert_eq!(refs(&world), before);
    }
    assert_eq!(push(&world, &["HEAD:refs/heads/nc/task-1"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn net_git_other_repo() {
    let Some(world) = world() else { return };
    let before = world.reached("git.example.test").0;
    for path in [
        "/org/other.git",
        "/org/repo.git/../other.git",
        "/org/repo.git%2f..%2fother.git",
        "/ORG/repo.git",
        "/org/repo.gitx",
        "/org/repo.wiki.git",
        "//org/repo.git",
    ] {
        let url = format!("https://git.example.test{path}/info/refs?service=git-upload-pack");
        let (_, out, _) = world.run(&["curl", "-sS", "--path-as-is", "-i", &url]);
        assert!(
            out.contains(" 403") || out.contains(" 400"),
            "{path}: {out}"
        );
    }
    assert_eq!(world.reached("git.example.test").0, before);
    let sent = world.servers["git.example.test"].requests();
    assert!(sent.iter().any(|request| {
        request
            .to_ascii_lowercase()
            .contains("authorization: basic")
    }));
    assert!(!sent.iter().any(|request| request.contains(SECRET)));
}

#[tokio::test(flavor = "multi_thread")]
async fn net_git_push_encoded_body() {
    let Some(world) = world() else { return };
    let zeros = "0".repeat(40);
    let line = |name: &str| {
        let line = format!("{zeros} {} {name}\0report-status", "1".repeat(40));
        format!("{:04x}{line}0000PACK", line.len() + 4)
    };
    let before = world.reached("git.example.test").0;
    let pin = world.pin("git.example.test");
    for (coding, body) in [
        ("gzip", gzip(line("refs/heads/main").as_bytes())),
        ("x-gzip", gzip(line("refs/heads/main").as_bytes())),
        ("deflate", line("refs/heads/nc/task-1").into_bytes()),
        ("gzip", line("refs/heads/nc/task-1").into_bytes()),
        (
            "gzip, gzip",
            gzip(&gzip(line("refs/heads/nc/task-1").as_bytes())),
        ),
    ] {
        let head = format!(
            "POST /org/repo.git/git-receive-pack HTTP/1.1\r\nHost: git.example.test\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let talked = world.tls(&pin, "git.example.test", &[head.as_bytes(), &body].concat());
        assert!(
            talked.text().contains("x-nightcrew-refused"),
            "{coding}: {talked:?}"
        );
    }
    for kind in ["application/x-git-upload-pack-request", "text/plain"] {
        let body = line("refs/heads/nc/task-1");
        let head = format!(
            "POST /org/repo.git/git-receive-pack HTTP/1.1\r\nHost: git.example.test\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let talked = world.tls(&pin, "git.example.test", head.as_bytes());
        assert_eq!(talked.status(), Some(400), "{kind}: {talked:?}");
    }
    assert_eq!(world.reached("git.example.test").0, before);
    assert_eq!(push(&world, &["HEAD:refs/heads/nc/task-1"]).0, 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
