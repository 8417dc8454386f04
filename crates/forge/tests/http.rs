//! Real `git clone` and `git push` over HTTP, through the smallest of servers.
#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Bench, git, oid, person};
use forge::http::{HttpOptions, HttpRequest, SmartHttp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Starts a server on a free port; it lives as long as the runtime.
async fn serve(smart: SmartHttp) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let smart = smart.clone();
            tokio::spawn(async move { drop(one(smart, stream).await) });
        }
    });
    address
}

/// One request per connection; bodies with a length or in chunks.
async fn one(smart: SmartHttp, stream: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut first = String::new();
    reader.read_line(&mut first).await?;
    let mut headers = std::collections::HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.contains_key("expect") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|v| v == "chunked")
    {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).await?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = Vec::new();
            (&mut reader).take(size + 2).read_to_end(&mut chunk).await?;
            body.extend_from_slice(&chunk[..usize::try_from(size).unwrap()]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        (&mut reader)
            .take(length.parse().unwrap())
            .read_to_end(&mut body)
            .await?;
    }
    let words: Vec<&str> = first.split(' ').collect();
    let (path, query) = words[1]
        .split_once('?')
        .map_or((words[1], None), |(p, q)| (p, Some(q.to_owned())));
    let mut response = smart
        .serve(HttpRequest {
            method: words[0].to_owned(),
            path: path.to_owned(),
            query,
            content_type: headers.get("content-type").cloned(),
            content_encoding: headers.get("content-encoding").cloned(),
            git_protocol: headers.get("git-protocol").cloned(),
            body: Box::pin(std::io::Cursor::new(body)),
        })
        .await;
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", response.status);
    for (name, value) in &response.headers {
        head.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    writer.write_all(format!("{head}\r\n").as_bytes()).await?;
    tokio::io::copy(&mut response.body, &mut writer).await?;
    writer.shutdown().await
}

async fn status(smart: &SmartHttp, method: &str, path: &str, query: Option<&str>) -> u16 {
    let request = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        content_type: None,
        content_encoding: None,
        git_protocol: None,
        body: Box::pin(tokio::io::empty()),
    };
    smart.serve(request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_and_pushes_over_http_and_the_push_is_noticed() {
    let bench = Bench::new();
    let pushes = Arc::new(AtomicUsize::new(0));
    let (sender, mut noticed) = tokio::sync::mpsc::unbounded_channel();
    let counted = Arc::clone(&pushes);
    let options = HttpOptions {
        on_push: Some(Arc::new(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(sender.send(name.clone()));
        })),
        ..HttpOptions::default()
    };
    let address = serve(SmartHttp::new(bench.forge.clone(), options)).await;
    let url = format!("http://{address}/acme/app.git");
    let clone = bench.path("clone");
    tokio::task::block_in_place(|| {
        for version in ["0", "2"] {
            let _ = std::fs::remove_dir_all(&clone);
            let protocol = format!("protocol.version={version}");
            git(
                bench.dir.path(),
                &[
                    "-c",
                    &protocol,
                    "clone",
                    "-q",
                    &url,
                    clone.to_str().unwrap(),
                ],
            );
            assert_eq!(
                std::fs::read_to_string(clone.join("README")).unwrap(),
                "hello\n"
            );
        }
        // Large enough for git to send it in chunks.
        let noise: Vec<u8> = (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        std::fs::write(clone.join("large"), noise).unwrap();
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", "large"]);
        git(&clone, &["push", "-q", "origin", "HEAD:main"]);
    });
    assert_eq!(noticed.recv().await.unwrap(), bench.name);
    let head = oid(&git(&clone, &["rev-parse", "HEAD"]));
    assert_eq!(bench.main_head(), head);
    bench.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refs_of_changes_can_be_neither_seen_nor_pushed_to() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    bench.forge.open_change(&bench.name, &new).unwrap();
    let address = serve(SmartHttp::new(bench.forge.clone(), HttpOptions::default())).await;
    let url = format!("http://{address}/acme/app");
    tokio::task::block_in_place(|| {
        let seen = git(&bench.work(), &["ls-remote", &url]);
        assert!(
            seen.contains("refs/heads/b") && !seen.contains("nightcrew"),
            "{seen}"
        );
        for place in [
            "refs/nightcrew/changes/1/meta",
            "refs/nightcrew/changes/2/meta",
        ] {
            let push = person(&bench.work())
                .args(["push", "-q", "-f", &url, &format!("HEAD:{place}")])
                .output()
                .unwrap();
            assert!(!push.status.success(), "{place}");
            let push = person(&bench.work())
                .args(["push", "-q", &url, &format!(":{place}")])
                .output()
                .unwrap();
            assert!(!push.status.success(), "deleting {place}");
        }
    });
    assert_eq!(bench.forge.change(&bench.name, 1).unwrap().head, new.commit);
}

#[tokio::test]
async fn what_is_no_request_for_a_repository_is_refused() {
    let bench = Bench::new();
    let smart = SmartHttp::new(
        bench.forge.clone(),
        HttpOptions {
            allow_push: false,
            ..HttpOptions::default()
        },
    );
    let upload = Some("service=git-upload-pack");
    for (method, path, query, expected) in [
        ("GET", "/acme/app.git/info/refs", upload, 200),
        (
            "GET",
            "/acme/app.git/info/refs",
            Some("service=git-receive-pack"),
            403,
        ),
        ("GET", "/acme/app.git/info/refs", None, 403),
        (
            "GET",
            "/acme/app.git/info/refs",
            Some("service=git-daemon"),
            404,
        ),
        ("GET", "/acme/app.git/HEAD", None, 404),
        ("GET", "/acme/other.git/info/refs", upload, 404),
        ("GET", "/../work/info/refs", upload, 404),
        ("GET", "/acme/../../work/info/refs", upload, 404),
        ("GET", "/%2e%2e/work/info/refs", upload, 404),
        ("GET", "//etc/info/refs", upload, 404),
        ("POST", "/acme/app.git/git-upload-pack", None, 415),
        ("DELETE", "/acme/app.git", None, 405),
    ] {
        assert_eq!(
            status(&smart, method, path, query).await,
            expected,
            "{method} {path}"
        );
    }
}
