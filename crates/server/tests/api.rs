//! The JSON API over a real store and a real forge.
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use axum::body::Body;
use axum::http::StatusCode;
use common::{AUTOMATION, Bench, PORT, TOKEN, git};
use http_body_util::BodyExt;
use serde_json::json;
use tower_service::Service as _;

const FILES: &[(&str, &str)] = &[("README", "hello\n"), ("src/main.sh", "true\n")];

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_merged_change_by_http_alone() {
    let bench = Bench::new(PORT).await;
    bench.repository("app", FILES).await;
    let applied = bench
        .post(
            "/automations",
            json!({"source": AUTOMATION, "file": "a.yaml"}),
        )
        .await;
    assert_eq!(
        applied.json(),
        json!({"name": "licence-header", "version": 1, "changed": true})
    );
    let preview = bench
        .post("/preview", json!({"source": AUTOMATION, "file": "a.yaml"}))
        .await
        .json();
    assert_eq!(preview["targets"][0][0]["repository"], "app");

    let event = json!({"source": "test", "type": "push", "subject": {"repository": "app", "branch": "main"},
        "dedupe_key": "1", "actor": "person:ada", "data": {}});
    let tested = bench.post("/events/test", event.clone()).await.json();
    assert_eq!(tested["fires"], json!(["licence-header"]));
    assert_eq!(
        bench.get("/events?type=push").await.json()["items"],
        json!([]),
        "a test writes nothing"
    );
    let admitted = bench.post("/events", event.clone()).await.json();
    assert_eq!(admitted["runs"].as_array().unwrap().len(), 1);
    assert_eq!(bench.post("/events", event).await.json()["duplicate"], true);

    let claimed = bench.claimed(1).await;
    bench.work(&claimed[0]).await;
    let inbox = bench.get("/inbox").await.json();
    assert_eq!(inbox["total"], 1);
    let id = inbox["items"][0]["id"].as_str().unwrap().to_owned();

    let one = bench.get("/tasks/app?facts=1").await.json();
    assert_eq!(one["task"]["id"], id, "a repository names its newest task");
    assert_eq!(one["facts"][0]["fact"]["is"], "created");
    let prefix = &id[..12];
    assert_eq!(
        bench.get(&format!("/tasks/{prefix}")).await.json()["task"]["id"],
        id
    );
    assert!(
        bench
            .get(&format!("/tasks/{id}/diff"))
            .await
            .text
            .contains("+Apache-2.0")
    );
    let log = bench.get(&format!("/tasks/{id}/log?step=0")).await.text;
    assert!(
        log.contains("12 out looking at 3 files") && log.contains("␛[2Jnot cleared"),
        "{log}"
    );
    let evidence = bench.get(&format!("/tasks/{id}/evidence")).await.json();
    assert_eq!(evidence["validators"][0]["before"], json!(["old trouble"]));
    let report = bench.get("/report?campaign=licence-header").await.json();
    assert_eq!(
        report,
        json!({"columns": ["target", "status", "files"], "rows": [["app", "in_review", 3]]})
    );
    assert_eq!(
        bench
            .get("/report?campaign=licence-header&format=csv")
            .await
            .text,
        "target,status,files\r\napp,in_review,3\r\n"
    );

    bench
        .post(
            &format!("/tasks/{id}/comment"),
            json!({"text": "looks good"}),
        )
        .await;
    let reviewed = bench
        .post(
            &format!("/tasks/{id}/review"),
            json!({"verdict": "approved"}),
        )
        .await;
    assert_eq!(reviewed.status, StatusCode::OK, "{}", reviewed.text);
    let change = bench.get(&format!("/tasks/{id}/change")).await.json();
    assert_eq!(change["mergeable"]["result"], "yes");
    assert_eq!(change["change"]["comments"][0]["text"], "looks good");
    let merged = bench
        .post(&format!("/tasks/{id}/merge"), json!({"method": "squash"}))
        .await
        .json();
    assert_eq!(merged["status"], "merged");

    let campaign = bench.get("/campaigns/licence-header").await.json();
    assert_eq!(campaign["counts"]["merged"], 1);
    let status = bench.get("/status").await.json();
    assert_eq!(
        (
            &status["repositories"],
            &status["automations"],
            &status["inbox"]
        ),
        (&json!(1), &json!(1), &json!(0))
    );
    let verified = bench.post("/ledger/verify", json!({})).await.json();
    assert_eq!(verified["verified"], true, "{verified}");
    let entries = bench.get("/ledger/entries?from=0&limit=2").await.json();
    assert_eq!(entries[0]["index"], 0);
    assert!(entries[0]["leaf"]["kind"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_review_serves_a_whole_class() {
    let bench = Bench::new(PORT).await;
    for name in ["one", "two"] {
        bench.repository(name, FILES).await;
    }
    bench.apply(AUTOMATION).await;
    bench
        .post("/automations/licence-header/start", json!({"key": "1"}))
        .await;
    let mut done = 0;
    while done < 2 {
        for one in bench.claimed(2).await {
            bench.work(&one).await;
            done += 1;
        }
    }
    let campaign = bench.get("/campaigns/licence-header").await.json();
    let class = campaign["classes"][0]["class"].as_str().unwrap();
    assert_eq!(campaign["classes"][0]["open"], 2);
    let results = bench
        .post(
            &format!("/campaigns/licence-header/classes/{class}/approve"),
            json!({}),
        )
        .await
        .json();
    assert_eq!(
        results["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["done"] == true)
            .count(),
        2,
        "{results}"
    );
    let results = bench
        .post(
            &format!("/campaigns/licence-header/classes/{class}/merge"),
            json!({"method": "rebase"}),
        )
        .await
        .json();
    assert!(
        results["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["done"] == true),
        "{results}"
    );
    let counts = bench.get("/campaigns/licence-header").await.json();
    assert_eq!(counts["counts"]["merged"], 2);
}

#[tokio::test]
async fn without_the_token_nothing_is_told_and_other_hosts_are_refused() {
    let bench = Bench::new(PORT).await;
    let ask = |host: &str, token: Option<&str>| {
        let mut request = axum::http::Request::builder()
            .uri("/api/v1/status")
            .header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.body(Body::empty()).unwrap()
    };
    let ours = format!("localhost:{PORT}");
    assert_eq!(
        bench.send(ask(&ours, None)).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        bench.send(ask(&ours, Some("wrong"))).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        bench.send(ask(&ours, Some(TOKEN))).await.status,
        StatusCode::OK
    );
    let elsewhere = bench
        .send(ask(&format!("evil.example:{PORT}"), Some(TOKEN)))
        .await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN);
    assert_eq!(elsewhere.json()["code"], "wrong_host");
    assert!(
        elsewhere.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
}

#[tokio::test]
async fn problems_are_rfc_9457_and_definition_errors_name_their_line() {
    let bench = Bench::new(PORT).await;
    let missing = bench.get("/tasks/nowhere").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.headers["content-type"], "application/problem+json");
    let problem = missing.json();
    for key in ["type", "title", "status", "detail", "code"] {
        assert!(!problem[key].is_null(), "{problem}");
    }
    let bad = json!({"source": "name: x\nsteps:\n  - comand: true\n", "file": "x.yaml"});
    let bad = bench.post("/automations", bad).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = bad.json();
    assert_eq!(
        (&problem["code"], &problem["file"], &problem["line"]),
        (&json!("definition"), &json!("x.yaml"), &json!(3))
    );
    assert!(
        problem["hint"].as_str().unwrap().contains("command"),
        "{problem}"
    );
    assert_eq!(
        bench.post("/events", json!({"nonsense": 1})).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        bench.get("/tasks?status=nonsense").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(bench.get("/nowhere").await.json()["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_tells_what_changes() {
    let bench = Bench::new(PORT).await;
    let request =
        Bench::request("GET", "/api/v1/stream").header("authorization", format!("Bearer {TOKEN}"));
    let response = bench
        .app
        .clone()
        .call(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    let mut text = String::new();
    let event = json!({"source": "test", "type": "push", "dedupe_key": "1", "actor": "person:ada"});
    let mut sent = false;
    while !text.contains("\"changed\":\"event\"") {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), body.frame()).await;
        text.push_str(&String::from_utf8_lossy(
            &frame.unwrap().unwrap().unwrap().into_data().unwrap(),
        ));
        if !sent && text.contains("event: ready") {
            bench.post("/events", event.clone()).await;
            sent = true;
        }
    }
    bench.state.stop.cancel();
    while let Some(frame) = body.frame().await {
        drop(frame.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_freely_and_pushes_with_the_token() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::new(port).await;
    bench.repository("app", FILES).await;
    let app = bench.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let dir = bench.dir.path().to_owned();
    let pushed = tokio::task::spawn_blocking(move || {
        git(
            &dir,
            &[
                "clone",
                "-q",
                &format!("http://127.0.0.1:{port}/git/app.git"),
                "clone",
            ],
        );
        let clone = dir.join("clone");
        std::fs::write(clone.join("NEW"), "x\n").unwrap();
        git(&clone, &["add", "."]);
        git(&clone, &["commit", "-q", "-m", "new"]);
        let refused = std::process::Command::new("git")
            .current_dir(&clone)
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["push", "-q", "origin", "main"])
            .output()
            .unwrap();
        assert!(
            !refused.status.success(),
            "a push without the token is refused"
        );
        git(
            &clone,
            &[
                "push",
                "-q",
                &format!("http://any:{TOKEN}@127.0.0.1:{port}/git/app.git"),
                "main",
            ],
        );
        git(&clone, &["rev-parse", "HEAD"])
    })
    .await
    .unwrap();
    bench
        .until(async || {
            let head = bench.service.repository("app").await.unwrap().unwrap().head;
            (head.as_deref() == Some(pushed.as_str())).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_credentials_are_in_the_inbox_until_they_are_mended() {
    use std::sync::atomic::{AtomicBool, Ordering};

    struct One(std::sync::Arc<AtomicBool>);
    impl server::service::Credentials for One {
        fn troubles(&self) -> Vec<server::service::CredentialTrouble> {
            let trouble = server::service::CredentialTrouble {
                name: "github".to_owned(),
                scope: "organisation".to_owned(),
                owner: Some("ada".to_owned()),
                sentence: "the secret `github` expired <b>yesterday</b>".to_owned(),
                cure: Some("`nightcrew secret rotate github`".to_owned()),
                since: jiff::Timestamp::UNIX_EPOCH,
            };
            let broken = self.0.load(Ordering::SeqCst);
            broken.then_some(trouble).into_iter().collect()
        }
    }

    let bench = Bench::new(PORT).await;
    let broken = std::sync::Arc::new(AtomicBool::new(true));
    bench
        .service
        .watch_credentials(std::sync::Arc::new(One(broken.clone())));
    let inbox = bench.get("/inbox").await.json();
    assert_eq!((&inbox["items"], &inbox["total"]), (&json!([]), &json!(0)));
    let entry = &inbox["credentials"][0];
    assert_eq!(
        (&entry["kind"], &entry["name"], &entry["owner"]),
        (
            &json!("credential_expired"),
            &json!("github"),
            &json!("ada")
        )
    );
    assert_eq!(bench.get("/status").await.json()["inbox"], 1);
    let cookie = bench.browser().await;
    let page = bench.page(&cookie, "/inbox").await.text;
    assert!(
        page.contains("Credentials to mend")
            && page.contains("secret rotate github")
            && page.contains("&lt;b&gt;"),
        "{page}"
    );
    broken.store(false, Ordering::SeqCst);
    assert_eq!(bench.get("/inbox").await.json()["credentials"], json!([]));
    assert_eq!(bench.get("/status").await.json()["inbox"], 0);
    assert!(
        bench
            .page(&cookie, "/inbox")
            .await
            .text
            .contains("Nobody waits for you")
    );
}
