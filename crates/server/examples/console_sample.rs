//! Serves the console over a sample store, so that its pages can be looked at:
//! `cargo run -p server --example console_sample -- 7070`. Prints the address that signs in.
//!
//! Repositories, changes and the ledger are real; in place of a runner, tasks are driven by made-up
//! reports. The first argument is the port, the second the number of repositories.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example for people at a terminal"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{AUTOMATION, Bench, LOG};
use model::reason::ReasonCode;
use model::task::TaskStatus;

const NAMES: &[&str] = &[
    "archive-walker",
    "billing-rules",
    "bitpack",
    "catalogue-web",
    "csv-lens",
    "depot-api",
    "docs-site",
    "edge-proxy",
    "events-bus",
    "form-kit",
    "geo-tiles",
    "go-dedupe",
    "go-tailcut",
    "hask-units",
    "image-resize",
    "label-printer",
    "ledger-export",
    "py-slugline",
    "py-wordcase",
    "queue-broker",
    "release-scripts",
    "rota-planner",
    "svc-invoices",
    "svc-search",
];

const ASKING: &str = "name: rotate-keys
description: Replaces deployment keys that are older than a year, after somebody has agreed.
triggers: [manual, {schedule: {cron: '0 6 * * 1-5', zone: Europe/Berlin}}]
targets: { list: [depot-api, edge-proxy] }
steps:
  - { id: look, command: ./find-keys }
  - approve: { by: 'role:author', ask: 'Shall the keys be replaced?', within: 24h }
";

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let port = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(7070);
    let many: usize = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(NAMES.len());
    let bench = Bench::new(port).await;
    fill(&bench, many).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    println!(
        "http://127.0.0.1:{port}/login?token={}",
        bench.auth.one_time_token()
    );
    println!(
        "http://127.0.0.1:{port}/login?token={}",
        bench.auth.one_time_token()
    );
    axum::serve(listener, bench.app.clone()).await.unwrap();
}

async fn fill(bench: &Bench, many: usize) {
    for n in 0..many {
        let name = NAMES.get(n).map_or_else(
            || format!("team-{}/service-{n}", n % 7),
            |name| (*name).to_owned(),
        );
        bench
            .repository(
                &name.replace('/', "-"),
                &[
                    ("README", "hello\n"),
                    ("ci/smoke.sh", "true\n"),
                    ("src/main.py", "\n"),
                ],
            )
            .await;
    }
    // By hand only: otherwise the merges below would start it again.
    bench
        .apply(&AUTOMATION.replace("[manual, push]", "[manual]"))
        .await;
    bench.apply(ASKING).await;
    bench
        .service
        .start_automation("licence-header", "sample", None, &common::ada())
        .await
        .unwrap();
    let mut done = 0;
    while done < many.min(17) {
        let claimed = bench.claimed(1).await;
        for one in &claimed {
            life(bench, one, done).await;
            done += 1;
        }
    }
    bench
        .service
        .start_automation("rotate-keys", "sample", None, &common::ada())
        .await
        .unwrap();
    let mut asked = 0;
    while asked < 2 {
        for one in &bench.claimed(50).await {
            if one.task.automation == "rotate-keys" {
                bench.prepare(one).await;
                bench.command(one, 0, LOG).await;
                bench
                    .asks(one, 1, "Shall the keys be replaced? They are 412 days old")
                    .await;
                asked += 1;
            } else {
                running(bench, one).await;
            }
        }
    }
    bench.service.sequence_all().await.unwrap();
}

async fn running(bench: &Bench, one: &model::protocol::Assignment) {
    use model::protocol::Report;
    bench.prepare_judged(one).await;
    bench
        .report(one, vec![Report::StepStarted { index: 0 }])
        .await;
    bench
        .log(
            one,
            0,
            &[
                "looking at 3 files",
                "\u{1b}[32mok\u{1b}[0m src/main.py",
                "\u{1b}[33mstill looking\u{1b}[0m …",
            ],
        )
        .await;
    refused(bench, one).await;
}

/// What exec control has to say about a running task.
async fn refused(bench: &Bench, one: &model::protocol::Assignment) {
    use runner::ControlPlane as _;
    let npx = "npx: packages come from the lock file; to ask, end the step with a report";
    let events = vec![
        common::exec_event(true, "/usr/share/nodejs/npm/bin/npx-cli.js", npx, 4),
        common::exec_event(true, "/tmp/x\nnot a line", npx, 1),
        common::exec_event(
            false,
            "/work/target/debug/build-script",
            "unknown content",
            12,
        ),
    ];
    let batch = Bench::batch(one, 0, events);
    bench.service.exec_events(batch).await.unwrap();
}

async fn life(bench: &Bench, one: &model::protocol::Assignment, n: usize) {
    match n {
        3 => {
            bench.prepare(one).await;
            let log = "0 note step begins\n40 err \u{1b}[31merror:\u{1b}[0m cannot read src/legacy.py: not UTF-8\n41 err the rest of the files is left alone\n";
            bench.fail(one, 0, log).await;
        }
        5 => {
            bench.prepare(one).await;
            bench
                .ends(
                    one,
                    TaskStatus::NoChange,
                    ReasonCode::NothingToDo,
                    "every file has a header already",
                )
                .await;
        }
        6 => {
            bench.prepare(one).await;
            bench.command(one, 0, LOG).await;
            bench
                .ends(
                    one,
                    TaskStatus::Unverified,
                    ReasonCode::ValidatorMissing,
                    "./ci/smoke.sh needs node, which is not here",
                )
                .await;
        }
        14.. => running(bench, one).await,
        _ => {
            bench.work(one).await;
            let (service, ada) = (&bench.service, common::ada());
            let id = one.task.id;
            match n {
                0 | 1 => drop(
                    service
                        .merge(id, forge::MergeMethod::Squash, &ada)
                        .await
                        .unwrap(),
                ),
                2 => {
                    service
                        .comment(id, "Is the year right? <b>Please</b> look again.", &ada)
                        .await
                        .unwrap();
                    service
                        .review(
                            id,
                            model::change::ReviewVerdict::ChangesRequested,
                            "the year is missing",
                            &ada,
                        )
                        .await
                        .unwrap();
                }
                4 => drop(
                    service
                        .review(id, model::change::ReviewVerdict::Approved, "", &ada)
                        .await
                        .unwrap(),
                ),
                _ => {}
            }
        }
    }
}
