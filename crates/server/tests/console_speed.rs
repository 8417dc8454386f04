//! Pages stay fast with ten thousand tasks.
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use common::{AUTOMATION, Bench, PORT, ada};
use model::repository::Repository;

const TASKS: usize = 10_000;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn pages_answer_within_100_ms_with_ten_thousand_tasks() {
    let bench = Bench::new(PORT).await;
    let now = bench.service.now();
    let document = |n: usize| {
        let repository = Repository {
            name: format!("team-{}/service-{n}", n % 40),
            forge: "local".into(),
            clone_url: String::new(),
            default_branch: "main".into(),
            head: Some("0".repeat(40)),
            archived: false,
            files: vec!["README".into(), "src/main.py".into()],
            file_count: 2,
            languages: vec!["python".into()],
            facts: BTreeMap::new(),
            seen_at: now,
        };
        let body = Some(serde_json::to_string(&repository).unwrap());
        store::DocumentWrite {
            kind: "repository".into(),
            key: repository.name,
            body,
        }
    };
    let documents = (0..TASKS).map(document).collect();
    bench
        .service
        .store()
        .commit(store::Commit {
            documents,
            ..store::Commit::default()
        })
        .await
        .unwrap();
    bench
        .apply(&AUTOMATION.replace("[manual, push]", "[manual]"))
        .await;
    bench
        .service
        .start_automation("licence-header", "1", None, &ada())
        .await
        .unwrap();
    let campaign = bench
        .until(async || {
            let rows = bench
                .service
                .store()
                .campaigns(None, false, store::Page::first(1))
                .await
                .unwrap();
            rows.first()
                .filter(|row| row.targets as usize == TASKS)
                .map(|row| row.id)
        })
        .await;
    bench.service.sequence_all().await.unwrap();
    let cookie = bench.browser().await;
    let paths = [
        "/".to_owned(),
        "/inbox".to_owned(),
        "/campaigns".to_owned(),
        format!("/campaigns/{campaign}"),
        format!("/campaigns/{campaign}?offset=4800"),
        "/tasks".to_owned(),
        format!("/tasks?campaign={campaign}&offset=9000"),
        "/tasks?q=service-77".to_owned(),
        "/events".to_owned(),
        "/repositories".to_owned(),
        "/ledger".to_owned(),
    ];
    let mut all = Vec::new();
    for path in &paths {
        let mut slowest = Duration::ZERO;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            assert_eq!(
                bench.page(&cookie, path).await.status,
                StatusCode::OK,
                "{path}"
            );
            let took = started.elapsed();
            all.push(took);
            slowest = slowest.max(took);
        }
        println!("{path}: slowest {slowest:?}");
    }
    all.sort();
    let p95 = all[all.len() * 95 / 100];
    println!("p95 {p95:?}");
    // What is asked for is asked of a release build; without optimisation four times that.
    let limit = if cfg!(debug_assertions) { 400 } else { 100 };
    assert!(p95 < Duration::from_millis(limit), "p95 is {p95:?}");
}
