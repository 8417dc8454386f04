//! Tasks at their caps, raises, the kill switch, and the page of all that.

#![expect(clippy::unwrap_used, reason = "what a test did not expect ends it")]

mod common;

use std::time::Duration;

use common::Bench;
use model::budget::{Amount, BudgetLimits, MicroUsd, Usd};
use model::protocol::{Assignment, Report};
use model::task::{TaskStatus, WaitKind};
use runner::ControlPlane as _;

const PATIENCE: Duration = Duration::from_secs(60);

fn dollars(micro: u64) -> Option<Usd> {
    Some(Usd(MicroUsd(micro)))
}

fn money(micro: u64) -> Amount {
    Amount {
        money: MicroUsd(micro),
        tokens: micro / 10,
    }
}

const PAID: &str = r#"name: paid
triggers: [manual]
targets: { query: 'true' }
steps:
  - { id: agent, command: ./agent }
  - { id: check, validate: ['builtin:secrets'] }
  - change: { title: 'A change' }
campaign: { canary: 9 }
budget: { usd: 1, open_changes: 1, environments: 2, per_task: { usd: 0.05 } }
"#;

async fn wait_of(bench: &Bench, id: model::ids::TaskId) -> Option<(WaitKind, String)> {
    let task = bench.service.task(id).await.unwrap();
    task.wait.map(|wait| (wait.kind, wait.reason.sentence))
}

/// The runner hears that a task is recalled, and gives it back.
async fn park(bench: &Bench, of: &Assignment) {
    let recalled = bench
        .until_now_some(async || {
            let all = bench.service.recalled(common::RUNNER).await;
            all.into_iter().find(|recall| recall.task == of.task.id)
        })
        .await;
    assert_eq!(recalled.epoch, of.epoch);
    let cause = recalled.cause;
    bench.report(of, vec![Report::Parked { cause }]).await;
}

async fn paid_bench(repositories: usize) -> Bench {
    let bench = Bench::capped(BudgetLimits::default()).await;
    for number in 0..repositories {
        bench
            .repository(&format!("fleet/r{number}"), &[("README", "x\n")])
            .await;
    }
    bench.apply(PAID).await;
    let started = bench
        .post(
            "/automations/paid/start",
            serde_json::json!({"key": "once"}),
        )
        .await;
    assert_eq!(started.status, 200, "{}", started.text);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_at_its_cap_waits_with_its_work_and_a_raise_lets_it_go_on() {
    let bench = paid_bench(1).await;
    let of = bench.claimed(1).await.remove(0);
    let id = of.task.id;
    bench.prepare(&of).await;
    bench
        .report(&of, vec![Report::StepStarted { index: 0 }])
        .await;
    let account = id.to_string();
    let service = &bench.service;
    let call = service
        .reserve(&account, Some("opus"), money(40_000), PATIENCE)
        .await
        .unwrap();
    service.settle(call, money(30_000)).await;
    let refused = service
        .reserve(&account, Some("opus"), money(40_000), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(refused.scope, format!("task:{id}"));
    park(&bench, &of).await;
    let (kind, sentence) = wait_of(&bench, id).await.unwrap();
    assert_eq!(kind, WaitKind::Budget);
    assert!(
        sentence.contains("has spent $0.03 of its $0.05") && sentence.contains("budget raise"),
        "{sentence}"
    );
    let inbox = bench.get("/inbox").await.json();
    assert_eq!(inbox["items"].as_array().unwrap().len(), 1, "{inbox}");
    // A raise that is none, of what is not capped, or of nothing that is there.
    for (scope, key, value) in [
        (format!("task:{id}"), "usd", "0.05"),
        (format!("task:{id}"), "tokens", "1M"),
        ("team:nobody".to_owned(), "usd", "1"),
        ("nonsense".to_owned(), "usd", "1"),
    ] {
        let answer = bench
            .post(
                "/budgets/raise",
                serde_json::json!({"scope": scope, key: value}),
            )
            .await;
        assert!(answer.status.is_client_error(), "{scope}: {}", answer.text);
    }
    let raised = bench
        .post(
            "/budgets/raise",
            serde_json::json!({"scope": format!("task:{id}"), "usd": 0.2, "because": "it is close"}),
        )
        .await;
    assert_eq!(raised.status, 200, "{}", raised.text);
    assert_eq!(raised.json()["effective"]["money"], 200_000);
    let again = bench.claimed(1).await.remove(0);
    // It goes on with the step that was under way, over the same base.
    assert_eq!(again.task.id, id);
    assert_eq!((again.task.next_step, again.task.round), (0, 1));
    assert_eq!(again.task.base, Some(bench.base(&of)));
    bench.prepare(&again).await;
    service
        .reserve(&account, Some("opus"), money(40_000), PATIENCE)
        .await
        .unwrap();
    // Who and why is in the ledger, and everything verifies.
    service.sequence_all().await.unwrap();
    let entries = service.store().ledger_entries(0, 999).await.unwrap();
    let raises = entries
        .iter()
        .filter(|entry| String::from_utf8_lossy(&entry.leaf).contains("budget.raised"));
    assert_eq!(raises.count(), 1);
    let report = service.verify_ledger(&[]).await.unwrap();
    assert!(report.verified, "{report:?}");
    let shown = bench
        .get(&format!("/budgets/show?scope=task:{id}"))
        .await
        .json();
    assert_eq!(shown["raises"][0]["because"], "it is close");
    let above: Vec<&str> = shown["above"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| {
            account["scope"]
                .as_str()
                .unwrap()
                .split(':')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(above, ["run", "campaign", "organisation"]);
    let csv = bench.get("/budgets/spend?by=model&format=csv").await.text;
    assert!(csv.contains("\"opus\",\"model:opus\",,0.03,3000,"), "{csv}");
    for by in ["team", "automation", "campaign", "task", "merged-change"] {
        let answer = bench.get(&format!("/budgets/spend?by={by}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_and_open_changes_are_caps_that_free_themselves() {
    let bench = paid_bench(3).await;
    let mut working = Vec::new();
    while working.len() < 2 {
        working.extend(bench.claimed(3).await);
    }
    assert_eq!(working.len(), 2, "two environments at once");
    let third = bench
        .until(async || {
            bench.claim(3).await;
            let rows = bench.service.store().tasks(
                store::TaskFilter::default(),
                store::TaskOrder::Newest,
                store::Page::first(9),
            );
            let rows = rows.await.unwrap();
            rows.into_iter()
                .find(|row| row.wait == Some(WaitKind::Quota))
        })
        .await;
    assert!(third.sentence.unwrap().contains("2 environments in use"));
    // One goes all the way to its review: its environment is free, and one change is open.
    let first = working.remove(0);
    work(&bench, &first).await;
    bench
        .until(async || {
            let task = bench.service.task(first.task.id).await.unwrap();
            (task.status == TaskStatus::InReview).then_some(())
        })
        .await;
    let next = bench.claimed(3).await.remove(0);
    assert_eq!(next.task.id, third.id);
    // The next change finds no room, and waits until the first is decided.
    work(&bench, &next).await;
    bench
        .until(async || {
            let wait = wait_of(&bench, next.task.id).await?;
            (wait.0 == WaitKind::Quota).then_some(())
        })
        .await;
    let campaign = format!("campaign:{}", first.task.campaign);
    let account = bench.service.store().budget_account(&campaign).await;
    let account = account.unwrap().unwrap();
    assert_eq!(account.held.open_changes, 1);
    assert_eq!(account.spent.forge_writes, 1);
    assert_eq!(account.held.environments, 1, "the one that still works");
    bench
        .service
        .cancel_task(first.task.id, &common::ada())
        .await
        .unwrap();
    bench
        .until(async || {
            let task = bench.service.task(next.task.id).await.unwrap();
            (task.status == TaskStatus::InReview).then_some(())
        })
        .await;
}

async fn work(bench: &Bench, of: &Assignment) {
    bench.prepare(of).await;
    bench.command(of, 0, common::LOG).await;
    bench.validate(of, 1).await;
    bench.propose(of, 2, "A change", "NEW", "text\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_stops_what_runs_and_what_would_start_until_it_is_lifted() {
    let bench = paid_bench(2).await;
    let of = bench.claimed(1).await.remove(0);
    let account = of.task.id.to_string();
    bench.prepare(&of).await;
    let mut stops = bench.service.watch_stops();
    for nonsense in ["", "everywhere", "automation:nobody", "model:", "host:a b"] {
        let answer = bench
            .post("/stops", serde_json::json!({"scope": nonsense}))
            .await;
        assert!(
            answer.status.is_client_error(),
            "{nonsense}: {}",
            answer.text
        );
    }
    let answer = bench
        .post(
            "/stops",
            serde_json::json!({"scope": "automation:paid", "because": "it runs wild"}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let known = stops
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(known.first(["automation:paid"]).is_some());
    park(&bench, &of).await;
    let (kind, sentence) = wait_of(&bench, of.task.id).await.unwrap();
    assert_eq!(kind, WaitKind::Stop);
    assert!(
        sentence.contains("person:ada stopped automation:paid: it runs wild"),
        "{sentence}"
    );
    // Nothing of it starts, no call is paid.
    bench
        .until(async || {
            assert_eq!(bench.claim(9).await.len(), 0);
            let filter = store::TaskFilter {
                statuses: vec![TaskStatus::Waiting],
                ..store::TaskFilter::default()
            };
            (bench.service.store().count_tasks(filter).await.unwrap() == 2).then_some(())
        })
        .await;
    let refused = bench
        .service
        .reserve(&account, None, money(1), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(refused.scope, "automation:paid");
    // It outlives the process.
    let bench = bench.killed().await;
    let listed = bench.get("/stops").await.json();
    assert_eq!(listed["items"][0]["scope"], "automation:paid");
    assert_eq!(bench.claim(9).await.len(), 0);
    let lifted = bench
        .post(
            "/stops/lift",
            serde_json::json!({"scope": "automation:paid"}),
        )
        .await;
    assert_eq!(lifted.status, 200, "{}", lifted.text);
    let mut back = Vec::new();
    while back.len() < 2 {
        back.extend(bench.claimed(9).await);
    }
    let goes_on = back.iter().find(|one| one.task.id == of.task.id).unwrap();
    assert!(goes_on.task.base.is_some(), "it goes on where it stood");
    let again = bench
        .post(
            "/stops/lift",
            serde_json::json!({"scope": "automation:paid"}),
        )
        .await;
    assert_eq!(again.status, 404);
    // A model that is stopped is refused to all.
    bench
        .post("/stops", serde_json::json!({"scope": "model:opus"}))
        .await;
    let reserve = async |model| {
        bench
            .service
            .reserve(&account, Some(model), money(1), PATIENCE)
            .await
    };
    assert!(reserve("opus").await.is_err());
    assert!(reserve("haiku").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_caps_raises_them_and_stops() {
    let bench = Bench::capped(BudgetLimits {
        usd: dollars(2_000_000),
        ..BudgetLimits::default()
    })
    .await;
    bench.apply(PAID).await;
    let call = bench
        .service
        .reserve("a", Some("opus<b>"), money(1_500_000), PATIENCE)
        .await
        .unwrap();
    bench.service.settle(call, money(1_000_000)).await;
    let cookie = bench.browser().await;
    let page = bench.page(&cookie, "/budgets?by=model").await.text;
    for words in [
        "the organisation",
        "$1.00",
        "$2.00",
        "50 %",
        "opus&lt;b&gt;",
    ] {
        assert!(page.contains(words), "no `{words}` in {page}");
    }
    let at = page.find("name=\"csrf\" value=\"").unwrap() + 19;
    let csrf = page[at..at + 64].to_owned();
    let send = async |path: &str, body: String| {
        let request = Bench::request("POST", path)
            .header("cookie", &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header("origin", format!("http://127.0.0.1:{}", common::PORT));
        let answer = bench.send(request.body(axum::body::Body::from(body)).unwrap());
        answer.await.status.as_u16()
    };
    let raise = "scope=organisation&of=usd&to=3.5&because=more&back=%2Fbudgets";
    assert_eq!(
        send("/budgets/raise", format!("csrf=wrong&{raise}")).await,
        403
    );
    assert_eq!(
        send("/budgets/raise", format!("csrf={csrf}&{raise}")).await,
        303
    );
    assert_eq!(
        send("/budgets/raise", format!("csrf={csrf}&{raise}")).await,
        422
    );
    let stop = "scope=automation:paid&because=%3Cb%3Ewild";
    assert_eq!(send("/budgets/stop", stop.to_owned()).await, 403);
    assert_eq!(
        send("/budgets/stop", format!("csrf={csrf}&{stop}")).await,
        303
    );
    let page = bench.page(&cookie, "/budgets").await.text;
    assert!(
        page.contains("$3.50") && page.contains("&lt;b&gt;wild"),
        "{page}"
    );
    assert!(!page.contains("<b>wild"));
    let lift = format!("csrf={csrf}&scope=automation:paid&back=%2Fbudgets");
    assert_eq!(send("/budgets/lift", lift.clone()).await, 303);
    assert_eq!(send("/budgets/lift", lift).await, 404);
}
