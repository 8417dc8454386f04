//! `bench console`: how long pages take with 10,000 tasks stored.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::api::Api;
use testkit::server::Server;

use super::report::Page;
use super::{Common, at, quantile};
use crate::shell::{program, say};

const REPOSITORIES: usize = 1000;
const CAMPAIGNS: usize = 10;
const LOOKS: usize = 40;

/// Measures, and writes `docs/benchmarks/console.md`.
pub(super) fn execute(common: &Common) -> Result<bool> {
    let program = program(common.program.as_deref())?;
    let scratch = common.scratch()?;
    let fleet = scratch.path().join("fleet");
    testkit::fleet::build(&fleet, &crate::fleet::source(false), REPOSITORIES)?;
    let nightcrew = at(&program, scratch.path(), "data");
    nightcrew.must(&["inventory", "import", &fleet.to_string_lossy(), "--quiet"])?;
    for number in 0..CAMPAIGNS {
        let file = scratch.path().join(format!("bench-{number}.yaml"));
        std::fs::write(&file, automation(number))?;
        nightcrew.must(&["campaign", "apply", &file.to_string_lossy()])?;
    }
    let mut server = Server::start(&nightcrew, None)?;
    let mut api = server.api()?.context("the server died")?;
    say("working on the first waves …");
    let tasks = wait_for_rest(&mut api)?;
    let cookie = sign_in(&mut api)?;
    let mut page = Page::new(
        "console",
        "Console pages with 10,000 tasks stored",
        "1,000 repositories, 10 campaigns with 1,000 tasks each; the first wave of each is in review, the rest waits. Each \
         page is asked for 40 times over one connection.",
    );
    #[expect(clippy::cast_precision_loss, reason = "a number of tasks")]
    page.number("tasks stored", tasks as f64, "");
    for (name, path) in pages(&mut api)? {
        let mut times = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            let began = Instant::now();
            let answer = api.request(
                "GET",
                &path,
                &[("cookie", &cookie), ("accept", "text/html")],
                None,
            )?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
            ensure!(answer.status == 200, "{path} answered {}", answer.status);
        }
        page.at_most(
            &format!("{name}, p95"),
            quantile(&times, 0.95),
            100.0,
            " ms",
        );
    }
    server.stop()?;
    page.write(common, "console")
}

fn automation(number: usize) -> String {
    format!(
        "name: bench-{number}\ntriggers: [manual]\ntargets:\n  query: 'true'\nsteps:\n  - command: echo {number} >note.txt\n  \
         - validate: [{{ cmd: sh ci/smoke.sh, baseline: true }}]\n  - change: {{ title: Add a note, body: A note. }}\n\
         campaign: {{ canary: 20, waves: [rest], gate: {{ merged: 1.0 }} }}\n"
    )
}

/// Waits until nothing more happens; the number of tasks.
fn wait_for_rest(api: &mut Api) -> Result<u64> {
    let began = Instant::now();
    loop {
        let status = api.get("/status")?;
        let counts = status["counts"].as_object().cloned().unwrap_or_default();
        let of = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        if of("in_review") >= 20 * u64::try_from(CAMPAIGNS)? {
            return Ok(counts.values().filter_map(Value::as_u64).sum());
        }
        ensure!(
            began.elapsed().as_secs() < 300,
            "the first waves do not settle: {status}"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// The cookie of a session.
fn sign_in(api: &mut Api) -> Result<String> {
    let link = api.post("/console-link", &json!({}))?;
    let token = link["token"]
        .as_str()
        .context("there is no token")?
        .to_owned();
    let answer = api.request("GET", &format!("/login?token={token}"), &[], None)?;
    answer.cookie.context("signing in set no cookie")
}

fn pages(api: &mut Api) -> Result<Vec<(&'static str, String)>> {
    let first = |value: &Value| {
        value
            .pointer("/items/0/id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let campaign = first(&api.get("/campaigns?limit=1")?).context("there is no campaign")?;
    let task =
        first(&api.get("/tasks?status=in_review&limit=1")?).context("no task is in review")?;
    Ok(vec![
        ("overview", "/".to_owned()),
        ("campaigns", "/campaigns".to_owned()),
        ("campaign board", format!("/campaigns/{campaign}")),
        ("task", format!("/tasks/{task}")),
        ("tasks", "/tasks".to_owned()),
        ("inbox", "/inbox".to_owned()),
        ("automations", "/automations".to_owned()),
        ("events", "/events".to_owned()),
        ("ledger", "/ledger".to_owned()),
        ("repositories", "/repositories".to_owned()),
    ])
}
