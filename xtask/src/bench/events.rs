//! `bench events`: how many events a server takes in, and how soon it acts on one.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::api::Api;
use testkit::server::{Program, Server};

use super::report::Page;
use super::{Common, at, quantile};
use crate::shell::program;

const EVENTS: usize = 10_000;
const CONNECTIONS: usize = 32;
const REACTIONS: usize = 100;

/// Reacts to pushes to the one repository; its only step says what time it is.
const AUTOMATION: &str = "name: clock\ntriggers:\n  - push: { branch: main }\ntargets:\n  query: 'true'\n\
steps:\n  - { id: now, command: \"date +%s.%N; echo timed >$NIGHTCREW_OUT/no_change\" }\n";

/// Measures, and writes `docs/benchmarks/events.md`.
pub(super) fn execute(common: &Common) -> Result<bool> {
    let program = program(common.program.as_deref())?;
    let scratch = common.scratch()?;
    let fleet = scratch.path().join("fleet");
    let names = testkit::fleet::build(&fleet, &testkit::fleet::Source::Synthetic, 1)?;
    let nightcrew = at(&program, scratch.path(), "data");
    nightcrew.must(&["inventory", "import", &fleet.to_string_lossy(), "--quiet"])?;
    apply(&nightcrew, scratch.path())?;
    let mut server = Server::start(&nightcrew, None)?;
    let mut api = server.api()?.context("the server died")?;
    let rate = admitted_per_second(&api)?;
    std::thread::sleep(Duration::from_secs(2));
    let reactions = reactions(&mut api, &names[0])?;
    server.stop()?;
    let mut page = Page::new(
        "events",
        "Events taken in, and acted upon",
        "10,000 different events over 32 connections, each durable (SQLite, synchronous=FULL) before it is answered, with \
         an automation whose filter is tried on each. Then 100 events one after another: from before the request is sent \
         until the first step's process prints the time inside its environment.",
    );
    page.at_least("events admitted per second, over HTTP", rate, 1000.0, "");
    page.at_most(
        "event to first step, p99",
        quantile(&reactions, 0.99),
        100.0,
        " ms",
    );
    page.number(
        "event to first step, median",
        quantile(&reactions, 0.5),
        " ms",
    );
    page.number(
        "event to first step, longest",
        quantile(&reactions, 1.0),
        " ms",
    );
    page.write(common, "events")
}

fn apply(nightcrew: &Program, scratch: &Path) -> Result<()> {
    let file = scratch.join("clock.yaml");
    std::fs::write(&file, AUTOMATION)?;
    nightcrew.must(&["automation", "apply", &file.to_string_lossy()])?;
    Ok(())
}

fn event(kind: &str, repository: &str, key: &str) -> Value {
    json!({
        "source": "bench", "type": kind, "subject": {"repository": repository, "branch": "main"},
        "dedupe_key": key, "actor": "person:bench",
    })
}

#[expect(clippy::cast_precision_loss, reason = "a number of events")]
fn admitted_per_second(api: &Api) -> Result<f64> {
    let began = Instant::now();
    let sent: Result<usize> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|lane| {
                let mut api = api.another();
                scope.spawn(move || -> Result<usize> {
                    let numbers = (lane..EVENTS).step_by(CONNECTIONS);
                    let mut sent = 0;
                    for number in numbers {
                        api.post(
                            "/events",
                            &event("bench.tick", "elsewhere", &number.to_string()),
                        )?;
                        sent += 1;
                    }
                    Ok(sent)
                })
            })
            .collect();
        let mut all = 0;
        for sender in senders {
            all += sender
                .join()
                .map_err(|_| anyhow::anyhow!("a sender died"))??;
        }
        Ok(all)
    });
    Ok(sent? as f64 / began.elapsed().as_secs_f64())
}

/// Milliseconds from each event to its first step.
fn reactions(api: &mut Api, repository: &str) -> Result<Vec<f64>> {
    let mut all = Vec::with_capacity(REACTIONS);
    for number in 0..REACTIONS {
        let before = seconds();
        let admitted = api.post(
            "/events",
            &event("push", repository, &format!("push-{number}")),
        )?;
        let run = admitted
            .pointer("/runs/0")
            .and_then(Value::as_str)
            .context("the event started nothing")?
            .to_owned();
        let task = finished(api, &run)?;
        let log = api.request(
            "GET",
            &format!("/api/v1/tasks/{task}/log?step=0"),
            &[],
            None,
        )?;
        let words = String::from_utf8_lossy(&log.body).into_owned();
        let then =
            time_in(&words).with_context(|| format!("no time in the log of {task}: {words}"))?;
        all.push((then - before) * 1000.0);
    }
    Ok(all)
}

fn finished(api: &mut Api, run: &str) -> Result<String> {
    let began = Instant::now();
    loop {
        let tasks = api.get(&format!("/tasks?run={run}&limit=1"))?;
        if let Some(task) = tasks
            .pointer("/items/0")
            .filter(|task| task["status"] == "no_change")
        {
            return Ok(task["id"].as_str().unwrap_or_default().to_owned());
        }
        ensure!(
            began.elapsed() < Duration::from_secs(30),
            "{run} does not end: {tasks}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first number with nine decimals, as `date +%s.%N` prints it.
fn time_in(text: &str) -> Option<f64> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words
        .filter(|word| {
            word.split_once('.')
                .is_some_and(|(whole, rest)| whole.len() == 10 && rest.len() == 9)
        })
        .find_map(|word| word.parse().ok())
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the time that a step prints"
)]
fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
