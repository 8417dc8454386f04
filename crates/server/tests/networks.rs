//! What left the environments of tasks, or was kept from leaving: kept, in the ledger, shown.
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use common::{AUTOMATION, Bench, PORT, ada};
use model::egress::{EgressBatch, EgressEvent, EgressKind, EgressRefusal, MOST_EGRESS_EVENTS};
use model::protocol::{Assignment, Report};
use runner::ControlPlane;

async fn started(bench: &Bench) -> Assignment {
    let files = [("README", "a cart\n"), ("ci/smoke.sh", "true\n")];
    bench.repository("cart", &files).await;
    bench.apply(AUTOMATION).await;
    let person = ada();
    let start = bench
        .service
        .start_automation("licence-header", "1", None, &person);
    start.await.unwrap();
    let assignment = bench.claimed(1).await.remove(0);
    bench.prepare_judged(&assignment).await;
    let begun = vec![Report::StepStarted { index: 0 }];
    bench.report(&assignment, begun).await;
    assignment
}

fn event(host: &str, refused: Option<EgressRefusal>, count: u64) -> EgressEvent {
    EgressEvent {
        kind: EgressKind::Request,
        refused,
        host: host.to_owned(),
        port: 443,
        detail: "GET /v1".to_owned(),
        rule: "network[0]".to_owned(),
        address: "192.0.2.1".to_owned(),
        sent: 10,
        received: 20,
        count,
        at_ms: 1,
    }
}

fn batch(of: &Assignment, number: u32, events: Vec<EgressEvent>) -> EgressBatch {
    EgressBatch {
        runner: "r1".to_owned(),
        task: of.task.id,
        epoch: of.epoch,
        batch: number,
        environment: String::new(),
        events,
        more_refused: 0,
        more_permitted: 0,
    }
}

#[tokio::test]
async fn a_batch_is_one_ledger_entry_and_is_shown_everywhere() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    bench.service.sequence_all().await.unwrap();
    let before = bench.get("/ledger").await.json()["size"].as_u64().unwrap();
    let refused = Some(EgressRefusal::HostNotNamed);
    let hostile = "<img src=x>evil.test";
    let events = vec![event("api.test", None, 2), event(hostile, refused, 3)];
    let mut one = batch(&of, 0, events);
    one.more_refused = 1000;
    bench.service.egress_events(one.clone()).await.unwrap();
    bench.service.egress_events(one).await.unwrap();
    bench.service.sequence_all().await.unwrap();
    let path = format!("/ledger/entries?from={before}&limit=100");
    let entries = bench.get(&path).await.json();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 1, "sent twice is one: {entries:?}");
    assert_eq!(entries[0]["leaf"]["kind"], "egress.batch");
    let path = format!("/tasks/{}/network", of.task.id);
    let answer = bench.get(&path).await.json();
    assert_eq!(
        (&answer["refused"], &answer["permitted"], &answer["sent"]),
        (&1003.into(), &2.into(), &20.into()),
        "{answer}"
    );
    assert_eq!(answer["items"][0]["events"][1]["refused"], "host_not_named");
    let cookie = bench.browser().await;
    let page = bench
        .page(&cookie, &format!("/tasks/{}", of.task.id))
        .await
        .text;
    for words in [
        "api.test:443",
        "&lt;img src=x&gt;evil.test",
        "no rule of this environment",
        "1003 refused",
    ] {
        assert!(page.contains(words), "{words} is not on the page: {page}");
    }
    let report = bench.service.verify_ledger(&[]).await.unwrap();
    assert!(report.verified, "{report:?}");
}

#[tokio::test]
async fn a_changed_batch_is_found_and_nonsense_is_not_kept() {
    let bench = Bench::new(PORT).await;
    let of = started(&bench).await;
    let mut stale = batch(&of, 0, vec![event("a.test", None, 1)]);
    stale.epoch += 1;
    bench.service.egress_events(stale).await.unwrap();
    let flood = vec![event("a.test", None, 1); MOST_EGRESS_EVENTS + 1];
    let flood = bench.service.egress_events(batch(&of, 1, flood)).await;
    assert!(flood.is_err());
    assert_eq!(
        bench
            .service
            .egress_total(of.task.id)
            .await
            .unwrap()
            .batches,
        0
    );
    for number in 0..3 {
        let host = format!("h{number}.test");
        let batch = batch(&of, number, vec![event(&host, None, 1)]);
        bench.service.egress_events(batch).await.unwrap();
    }
    let newest = bench
        .service
        .newest_egress_batches(of.task.id, 2)
        .await
        .unwrap();
    let hosts: Vec<&str> = newest
        .iter()
        .map(|kept| kept.batch.events[0].host.as_str())
        .collect();
    assert_eq!(hosts, ["h2.test", "h1.test"]);
    let all = bench
        .service
        .newest_egress_batches(of.task.id, 9)
        .await
        .unwrap();
    assert_eq!(all.len(), 3);
    bench.service.sequence_all().await.unwrap();
    let store = bench.service.store();
    let kept = store
        .documents("egress_batch", "", 1)
        .await
        .unwrap()
        .remove(0);
    let body = kept.body.replace("h0.test", "x0.test");
    let commit = store::Commit {
        documents: vec![store::DocumentWrite {
            kind: "egress_batch".to_owned(),
            key: kept.key,
            body: Some(body),
        }],
        ..store::Commit::default()
    };
    store.commit(commit).await.unwrap();
    assert!(!bench.service.verify_ledger(&[]).await.unwrap().verified);
}
