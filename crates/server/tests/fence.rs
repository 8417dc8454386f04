//! How environments are fenced, and what exec control refused in them: kept, in the ledger, shown.
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use common::{AUTOMATION, Bench, PORT, TOKEN, ada, exec_event};
use http_body_util::BodyExt;
use model::automation::{ExecDefinition, IsolationDefinition};
use model::exec::MOST_EVENTS;
use model::isolation::IsolationLevel;
use model::protocol::{Assignment, Report};
use runner::ControlPlane;
use tower_service::Service as _;

async fn started(bench: &Bench) -> Assignment {
    bench
        .repository("cart", &[("README", "a cart\n"), ("ci/smoke.sh", "true\n")])
        .await;
    bench.apply(AUTOMATION).await;
    bench
        .service
        .start_automation("licence-header", "1", None, &ada())
        .await
        .unwrap();
    let assignment = bench.claimed(1).await.remove(0);
    bench.prepare_judged(&assignment).await;
    bench
        .report(&assignment, vec![Report::StepStarted { index: 0 }])
        .await;
    assignment
}

#[tokio::test]
async fn a_batch_is_one_ledger_entry_that_stands_for_all_of_it() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    bench.service.sequence_all().await.unwrap();
    let before = bench.get("/ledger").await.json()["size"].as_u64().unwrap();
    let events = vec![
        exec_event(true, "/usr/bin/npx", "npx: not here", 3),
        exec_event(false, "/tmp/built", "unknown content", 1),
    ];
    let mut batch = Bench::batch(&of, 0, events);
    batch.more_denied = 1000;
    bench.service.exec_events(batch.clone()).await.unwrap();
    bench.service.exec_events(batch).await.unwrap();
    bench.service.sequence_all().await.unwrap();
    let entries = bench
        .get(&format!("/ledger/entries?from={before}&limit=100"))
        .await
        .json();
    let entries = entries.as_array().unwrap();
    assert_eq!(
        entries.len(),
        1,
        "sent twice is one batch, and no fact was made: {entries:?}"
    );
    let heading = &entries[0]["leaf"];
    assert_eq!(heading["kind"], "exec.batch", "{heading}");
    assert_eq!(heading["subject"], of.task.id.to_string());
    let answer = bench.get(&format!("/tasks/{}/exec", of.task.id)).await;
    let answer = answer.json();
    assert_eq!(
        (&answer["denied"], &answer["unknown"], &answer["batches"]),
        (&1003.into(), &1.into(), &1.into()),
        "{answer}"
    );
    assert_eq!(answer["items"][0]["events"][0]["path"], "/usr/bin/npx");
    assert_eq!(answer["items"][0]["root"].as_str().unwrap().len(), 64);
    let report = bench.service.verify_ledger(&[]).await.unwrap();
    assert!(report.verified, "{report:?}");
}

#[tokio::test]
async fn a_changed_batch_is_found_by_the_ledger() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    let events = vec![exec_event(true, "/usr/bin/npx", "npx: not here", 3)];
    let batch = Bench::batch(&of, 0, events);
    bench.service.exec_events(batch).await.unwrap();
    bench.service.sequence_all().await.unwrap();
    let store = bench.service.store();
    let kept = store.documents("exec_batch", "", 10).await.unwrap();
    let [kept] = kept.as_slice() else {
        panic!("{kept:?}")
    };
    let commit = store::Commit {
        documents: vec![store::DocumentWrite {
            kind: "exec_batch".to_owned(),
            key: kept.key.clone(),
            body: Some(kept.body.replace("/usr/bin/npx", "/usr/bin/yes")),
        }],
        ..store::Commit::default()
    };
    store.commit(commit).await.unwrap();
    let report = bench.service.verify_ledger(&[]).await.unwrap();
    assert!(!report.verified, "{report:?}");
}

#[tokio::test]
async fn who_lost_the_lease_adds_nothing_and_floods_are_refused() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    let mut stale = Bench::batch(&of, 0, vec![exec_event(true, "/x", "x", 1)]);
    stale.epoch += 1;
    bench.service.exec_events(stale).await.unwrap();
    let flood = vec![exec_event(true, "/x", "x", 1); MOST_EVENTS + 1];
    let flood = Bench::batch(&of, 1, flood);
    assert!(bench.service.exec_events(flood).await.is_err());
    let total = bench.service.exec_total(of.task.id).await.unwrap();
    assert_eq!(total.batches, 0, "{total:?}");
}

#[tokio::test]
async fn batches_are_paged_in_order_and_those_of_another_task_stay_out() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    for number in 0..5 {
        let path = format!("/tmp/{number}");
        let batch = Bench::batch(&of, number, vec![exec_event(false, &path, "unknown", 1)]);
        bench.service.exec_events(batch).await.unwrap();
    }
    let path = format!("/tasks/{}/exec?limit=3", of.task.id);
    let first = bench.get(&path).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let next = first["next"].as_str().unwrap();
    let rest = bench.get(&format!("{path}&after={next}")).await.json();
    assert_eq!(rest["items"][0]["events"][0]["path"], "/tmp/3");
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    assert!(rest["next"].is_null());
    let newest = bench.service.newest_exec_batches(of.task.id, 2).await;
    let numbers: Vec<u32> = newest
        .unwrap()
        .iter()
        .map(|kept| kept.batch.batch)
        .collect();
    assert_eq!(numbers, [4, 3]);
    assert_eq!(bench.get(&format!("{path}&after=x")).await.status, 422);
}

#[tokio::test]
async fn the_page_of_a_task_shows_fence_and_refusals_and_is_told_at_once() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    let cookie = bench.browser().await;
    let page = format!("/tasks/{}", of.task.id);
    let before = bench.page(&cookie, &page).await.text;
    for words in [
        "L1",
        "21 probes held",
        "landlock",
        "deny-list",
        "5f5f5f5f5f5f",
        "an image",
        "a1a1a1a1a1a1",
        "reproducible",
        "memory is limited for each process",
        "Nothing was refused",
    ] {
        assert!(
            before.to_lowercase().contains(&words.to_lowercase()),
            "{words} is not on the page: {before}"
        );
    }
    // Live: whoever listens to this task hears of it.
    let request = Bench::request("GET", &format!("/api/v1/stream?task={}", of.task.id))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(axum::body::Body::empty())
        .unwrap();
    let mut stream = bench.app.clone().call(request).await.unwrap().into_body();
    let ready = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&ready).contains("ready"));
    let hostile = "/tmp/<img src=x>\n\u{202e}gnp.exe\u{1b}[2J";
    let mut event = exec_event(true, hostile, "npx: \u{202e}<b>no</b>\nask ada", 7);
    event.processes[0].name = "<script>\n".to_owned();
    bench
        .service
        .exec_events(Bench::batch(&of, 0, vec![event]))
        .await
        .unwrap();
    let told = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(
        told.contains(r#""changed":"exec""#) && told.contains(r#""denied":7"#),
        "{told}"
    );
    let after = bench.page(&cookie, &page).await.text;
    assert!(
        after.contains("data-kinds=\"task exec network\""),
        "the page listens to it"
    );
    for words in [
        "refused",
        "c3c3c3c3c3c3",
        "&lt;img src=x&gt;\u{240a}",
        "make",
        "7 refused",
    ] {
        assert!(after.contains(words), "{words} is not on the page: {after}");
    }
    for steering in ["<img src", "<script>\n", "<b>no", "\u{202e}", "\u{1b}"] {
        assert!(!after.contains(steering), "{steering:?} is on the page");
    }
}

#[tokio::test]
async fn the_strictest_of_configuration_and_automation_reaches_the_runner() {
    let server = engine::fence::of(
        &IsolationDefinition {
            level: Some(IsolationLevel::L1),
            ..IsolationDefinition::default()
        },
        &serde_json::from_str::<ExecDefinition>(r#"{"deny": ["curl"]}"#).unwrap(),
    );
    let bench = Bench::fenced(PORT, server).await;
    bench.repository("cart", &[("README", "a cart\n")]).await;
    let lax = "environment: {isolation: {level: L0, accept_weaker: true}, exec: {mode: observe, report: [git]}}\n";
    bench.apply(&format!("{AUTOMATION}{lax}")).await;
    bench
        .service
        .start_automation("licence-header", "1", None, &ada())
        .await
        .unwrap();
    let fence = bench.claimed(1).await.remove(0).fence;
    assert_eq!(fence.required_level, Some(IsolationLevel::L1));
    assert_eq!(fence.required_mode, model::exec::ExecMode::DenyList);
    let exec = serde_json::to_value(&fence.exec).unwrap();
    assert_eq!(
        exec,
        serde_json::json!({"mode": "deny-list", "deny": ["curl"], "report": ["git"]})
    );
}
