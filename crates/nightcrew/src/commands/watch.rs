//! Staying until every task of a campaign is settled, with a progress bar on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{number, text};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;

/// Time between two looks.
const PACE: Duration = Duration::from_millis(200);

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

/// Waits until nothing of a campaign happens by itself any more; its last answer.
pub(super) async fn settled(client: &Client, campaign: &str) -> Result<Value, Failure> {
    let bar = bar();
    loop {
        let answer: Value = client
            .get(&format!("/campaigns/{}", escape(campaign)))
            .await?;
        let (total, settled) = progress(&answer);
        bar.set_length(total);
        bar.set_position(settled);
        let state = answer
            .pointer("/campaign/status")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if settled >= total
            || matches!(state, "held" | "paused" | "closed") && idle(client, campaign).await?
        {
            bar.finish_and_clear();
            if state == "held" {
                let note = answer
                    .pointer("/campaign/note")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                print::warning(&format!("the campaign is held: {note}"));
            }
            return Ok(answer);
        }
        tokio::time::sleep(PACE).await;
    }
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

/// Whether no task of a held or paused campaign runs.
async fn idle(client: &Client, campaign: &str) -> Result<bool, Failure> {
    let answer: Value = client
        .get(&format!("/campaigns/{}", escape(campaign)))
        .await?;
    let running = ["preparing", "running", "validating", "ready"];
    let counts = answer.get("counts").cloned().unwrap_or_default();
    Ok(running.iter().all(|status| number(&counts, status) == 0))
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
