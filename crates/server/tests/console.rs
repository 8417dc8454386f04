//! The console: who gets in, what its forms refuse, and that every page stands.
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use axum::body::Body;
use axum::http::StatusCode;
use common::{AUTOMATION, Bench, PORT, ada};
use model::event::NewEvent;

const PLACES: &[&str] = &[
    "/",
    "/inbox",
    "/campaigns",
    "/tasks",
    "/automations",
    "/budgets",
    "/budgets?by=model&stop=task:x",
    "/events",
    "/repositories",
    "/ledger",
    "/tasks?status=failed,merged&q=x",
];

async fn token_of(bench: &Bench, cookie: &str) -> String {
    let page = bench.page(cookie, "/").await.text;
    let at = page.find("name=\"csrf\" value=\"").unwrap() + 19;
    page[at..at + 64].to_owned()
}

fn form(cookie: &str, path: &str) -> axum::http::request::Builder {
    Bench::request("POST", path)
        .header("cookie", cookie)
        .header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn a_link_signs_in_once_and_pages_need_it() {
    let bench = Bench::new(PORT).await;
    let nobody = bench.page("", "/").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert!(nobody.text.contains("nightcrew open"));
    let token = bench.auth.one_time_token();
    let link = |token: &str| {
        Bench::request("GET", &format!("/login?token={token}"))
            .body(Body::empty())
            .unwrap()
    };
    let first = bench.send(link(&token)).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    assert_eq!(
        bench.send(link(&token)).await.status,
        StatusCode::UNAUTHORIZED,
        "a link works once"
    );
    assert_eq!(bench.page(cookie, "/").await.status, StatusCode::OK);
    let link = bench.post("/login", serde_json::json!({})).await.json();
    let path = link["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&format!("http://127.0.0.1:{PORT}"))
        .unwrap()
        .to_owned();
    assert_eq!(
        bench.page("", &path).await.status,
        StatusCode::SEE_OTHER,
        "who has the API token gets new links"
    );
}

#[tokio::test]
async fn forged_forms_are_refused() {
    let bench = Bench::new(PORT).await;
    bench.apply(AUTOMATION).await;
    let cookie = bench.browser().await;
    let csrf = token_of(&bench, &cookie).await;
    let path = "/automations/licence-header/act/disable";
    let good = format!("csrf={csrf}");
    let cases = [
        (
            "same-origin",
            format!("http://127.0.0.1:{PORT}"),
            "csrf=wrong".to_owned(),
            StatusCode::FORBIDDEN,
        ),
        (
            "cross-site",
            format!("http://127.0.0.1:{PORT}"),
            good.clone(),
            StatusCode::FORBIDDEN,
        ),
        (
            "same-origin",
            "http://evil.example".to_owned(),
            good.clone(),
            StatusCode::FORBIDDEN,
        ),
        (
            "same-origin",
            "null".to_owned(),
            good.clone(),
            StatusCode::SEE_OTHER,
        ),
    ];
    for (site, origin, body, expected) in cases {
        let request = form(&cookie, path)
            .header("sec-fetch-site", site)
            .header("origin", &origin);
        let answer = bench.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, expected, "{site} {origin}");
    }
    let request = form(&cookie, path);
    let answer = bench
        .send(request.body(Body::from(good.clone())).unwrap())
        .await;
    assert_eq!(
        answer.status,
        StatusCode::FORBIDDEN,
        "a request that says nothing of its origin"
    );
    let request = form("", path).header("sec-fetch-site", "same-origin");
    assert_eq!(
        bench
            .send(request.body(Body::from(good)).unwrap())
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert!(
        !bench
            .service
            .automation("licence-header")
            .await
            .unwrap()
            .unwrap()
            .enabled
    );
}

#[tokio::test]
async fn every_page_of_an_empty_store_teaches() {
    let bench = Bench::new(PORT).await;
    let cookie = bench.browser().await;
    for path in PLACES {
        let page = bench.page(&cookie, path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        assert!(
            !page.text.contains(" style=") && !page.text.contains("<script>"),
            "{path} has inline style or script"
        );
        let fragment = if path.contains('?') {
            format!("{path}&fragment=main")
        } else {
            format!("{path}?fragment=main")
        };
        let inside = bench.page(&cookie, &fragment).await;
        assert!(inside.text.starts_with("<main"), "{path}");
    }
    for path in [
        "/tasks/nowhere",
        "/campaigns/cmp_1",
        "/events/x",
        "/runs/x",
        "/automations/x",
        "/repositories/a/b",
        "/x",
    ] {
        assert_eq!(
            bench.page(&cookie, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_filled_store_stands_and_shows_text_as_text() {
    let bench = Bench::new(PORT).await;
    for name in ["one", "two", "three"] {
        bench.repository(name, &[("README", "hello\n")]).await;
    }
    bench.apply(AUTOMATION).await;
    let started = bench
        .service
        .start_automation("licence-header", "1", None, &ada())
        .await
        .unwrap();
    let claimed = bench.claimed(2).await;
    let (first, second) = (&claimed[0], &claimed[1]);
    bench.prepare(first).await;
    bench.command(first, 0, common::LOG).await;
    bench.validate(first, 1).await;
    bench.numbers(first, 2).await;
    bench
        .propose(
            first,
            3,
            "<img src=x onerror=alert(1)>\u{202e}",
            "LICENCE",
            "<script>alert(2)</script>\n",
        )
        .await;
    let id = first.task.id;
    bench
        .until(async || {
            let task = bench.service.task(id).await.unwrap();
            (task.status == model::task::TaskStatus::InReview).then_some(())
        })
        .await;
    bench
        .service
        .comment(id, "<script>alert(3)</script>", &ada())
        .await
        .unwrap();
    bench.prepare(second).await;
    bench
        .report(
            second,
            vec![model::protocol::Report::StepStarted { index: 0 }],
        )
        .await;
    bench
        .log(second, 0, &["<b>live</b>", "\u{1b}[31mred\u{1b}[2J"])
        .await;
    let event = NewEvent {
        source: "test".to_owned(),
        event_type: "<script>".to_owned(),
        subject: model::event::Subject {
            repository: Some("<script>alert(4)</script>".to_owned()),
            ..Default::default()
        },
        dedupe_key: "x".to_owned(),
        time: None,
        actor: "person:<i>eve</i>".to_owned(),
        data: serde_json::json!({"action": "</pre><script>alert(5)</script>"}),
    };
    let strange = bench.service.admit(event).await.unwrap().event;
    bench.service.sequence_all().await.unwrap();

    let cookie = bench.browser().await;
    let task = bench.service.task(id).await.unwrap();
    let class = &task.proposal.as_ref().unwrap().diff_class;
    let campaign = task.campaign;
    let mut paths: Vec<String> = PLACES.iter().map(|path| (*path).to_owned()).collect();
    paths.extend([
        format!("/campaigns/{campaign}"),
        format!("/campaigns/{campaign}?view=cells"),
        format!("/campaigns/{campaign}/confirm/close"),
        format!("/campaigns/{campaign}/confirm/retry"),
        format!("/campaigns/{campaign}/classes/{class}"),
        format!("/tasks/{id}"),
        format!("/tasks/{}", second.task.id),
        format!("/tasks/{}/lines?step=0", second.task.id),
        format!("/tasks/{id}/confirm/approve"),
        format!("/tasks/{id}/confirm/merge"),
        format!("/tasks/{id}/confirm/cancel"),
        "/automations/licence-header".to_owned(),
        "/automations/licence-header/confirm/start".to_owned(),
        format!("/runs/{}", started.runs[0]),
        format!("/events/{}", started.event),
        format!("/events/{strange}"),
        "/repositories/one".to_owned(),
        "/ledger?from=0".to_owned(),
        format!(
            "/ledger?subject={id}&seq=2&at={}",
            task.created_at.as_microsecond()
        ),
    ]);
    for path in paths {
        let page = bench.page(&cookie, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        for bad in [
            "<script>",
            "<img",
            "<b>",
            "<i>",
            "\u{1b}",
            "\u{202e}",
            " style=",
            " onerror=alert(1)>\u{202e}",
        ] {
            assert!(!page.text.contains(bad), "{path} holds {bad:?}");
        }
    }
    let live = bench
        .page(&cookie, &format!("/tasks/{}/lines?step=0", second.task.id))
        .await;
    assert_eq!(live.headers["x-next"], "2");
    assert!(
        live.text.contains("&lt;b&gt;live")
            && live.text.contains("<span class=\"f1\">red␛[2J</span>"),
        "{}",
        live.text
    );
    let sought = bench
        .page(
            &cookie,
            &format!(
                "/ledger?subject={id}&seq=2&at={}",
                task.created_at.as_microsecond()
            ),
        )
        .await;
    assert!(
        sought.text.contains("class=\"sought\""),
        "the leaf of a fact is found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_approved_and_merged_from_the_inbox() {
    let bench = Bench::new(PORT).await;
    bench.repository("app", &[("README", "hello\n")]).await;
    bench.apply(AUTOMATION).await;
    bench
        .service
        .start_automation("licence-header", "1", None, &ada())
        .await
        .unwrap();
    let claimed = bench.claimed(1).await;
    bench.work(&claimed[0]).await;
    let id = claimed[0].task.id;
    let cookie = bench.browser().await;
    let csrf = token_of(&bench, &cookie).await;
    for (act, more) in [("review", "&verdict=approved"), ("merge", "&method=squash")] {
        let body = format!("csrf={csrf}&back=%2Finbox{more}");
        let path = format!("/tasks/{id}/act/{act}");
        let request = form(&cookie, &path).header("sec-fetch-site", "same-origin");
        let answer = bench.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        assert_eq!(answer.headers["location"], "/inbox");
    }
    assert_eq!(
        bench.service.task(id).await.unwrap().status.as_str(),
        "merged"
    );
}
