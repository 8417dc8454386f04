//! Staying until every task of a campaign is settled, with a progress bar on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{number, text};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;

/// Time between two looks.
const PACE: Duration = Duration::from_millis(200);
/// Longest wait for what follows the closing of a campaign.
const CLEARED_WITHIN: Duration = Duration::from_secs(60);

/// Waits until a run is planned; its campaign's id, or `None` when it found nothing to do.
pub(super) async fn planned(client: &Client, run: &str) -> Result<Option<String>, Failure> {
    loop {
        let run: Value = client.get(&format!("/runs/{}", escape(run))).await?;
        let run = run.get("run").unwrap_or(&run);
        match text(run, "status") {
            "planning" => tokio::time::sleep(PACE).await,
            "failed" => {
                return Err(Failure::new(format!(
                    "the run could not be planned: {}",
                    text(run, "note")
                )));
            }
            _ => {
                if let Some(note) = run.get("note").and_then(Value::as_str) {
                    print::warning(note);
                }
                return Ok(run
                    .get("campaign")
                    .and_then(Value::as_str)
                    .map(str::to_owned));
            }
        }
    }
}

/// Looks in a row at which nothing moved, after which nothing will by itself.
const STILL: u32 = 5;

/// Waits until nothing of a campaign happens by itself any more; its last answer.
pub(super) async fn settled(client: &Client, campaign: &str) -> Result<Value, Failure> {
    let bar = bar();
    let mut still = 0;
    loop {
        let answer: Value = client
            .get(&format!("/campaigns/{}", escape(campaign)))
            .await?;
        let (total, settled) = progress(&answer);
        bar.set_length(total);
        bar.set_position(settled);
        still = if is_still(&answer) { still + 1 } else { 0 };
        if settled >= total || still >= STILL {
            bar.finish_and_clear();
            if settled < total {
                explain(&answer, total - settled);
            }
            return Ok(answer);
        }
        tokio::time::sleep(PACE).await;
    }
}

/// States that nothing leads out of.
const FINAL: &[&str] = &[
    "merged",
    "no_change",
    "unverified",
    "failed",
    "rejected",
    "superseded",
    "cancelled",
];

/// Waits until the tasks of a closed campaign have ended and nothing is left to be done about
/// them, such as to delete a branch.
pub(super) async fn cleared(client: &Client, campaign: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + CLEARED_WITHIN;
    loop {
        let answer: Value = client
            .get(&format!("/campaigns/{}", escape(campaign)))
            .await?;
        let counts = answer.get("counts").and_then(Value::as_object);
        let open = counts.into_iter().flatten().any(|(status, count)| {
            !FINAL.contains(&status.as_str()) && count.as_u64().unwrap_or(0) > 0
        });
        if !open {
            let status: Value = client.get("/status").await?;
            if number(&status, "pending_effects") == 0 {
                return Ok(());
            }
        }
        if Instant::now() > deadline {
            print::warning("not everything is cleared away yet: `nightcrew up` goes on with it");
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Whether no task is at work and none may begin: the campaign is stopped, or its next wave waits
/// for a gate.
fn is_still(answer: &Value) -> bool {
    let counts = answer.get("counts").cloned().unwrap_or_default();
    let at_work = ["preparing", "running", "validating", "ready"];
    if at_work.iter().any(|status| number(&counts, status) > 0) {
        return false;
    }
    let state = answer.pointer("/campaign/status").and_then(Value::as_str);
    if state != Some("active") {
        return true;
    }
    let admitted = answer
        .pointer("/campaign/admitted_wave")
        .and_then(Value::as_u64);
    let admitted = usize::try_from(admitted.unwrap_or(0)).unwrap_or(0);
    let waves = answer.get("waves").and_then(Value::as_array);
    let waves = waves.map(Vec::as_slice).unwrap_or_default();
    let mut let_in = waves.iter().take(admitted + 1);
    waves.len() > admitted + 1
        && let_in.all(|wave| number(wave, "settled") >= number(wave, "total"))
}

/// Why targets are left though nothing happens.
fn explain(answer: &Value, left: u64) {
    let campaign = answer.get("campaign").cloned().unwrap_or_default();
    let why = match text(&campaign, "status") {
        "held" => format!("the campaign is held: {}", text(&campaign, "note")),
        "paused" => "the campaign is paused: `nightcrew campaign resume` lets it go on".to_owned(),
        "closed" => "the campaign is closed".to_owned(),
        _ => "the next wave waits for its gate: review and merge what is open".to_owned(),
    };
    print::warning(&format!("{left} targets are left; {why}"));
}

/// Targets and settled tasks of a campaign.
fn progress(answer: &Value) -> (u64, u64) {
    let total = answer
        .pointer("/campaign/targets")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let waves = answer
        .get("waves")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    (
        total,
        waves.iter().map(|wave| number(wave, "settled")).sum(),
    )
}

fn bar() -> ProgressBar {
    let visible = std::io::stderr().is_terminal() && !print::is_json();
    let target = if visible {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} settled  {elapsed}") {
        bar.set_style(style);
    }
    bar
}
