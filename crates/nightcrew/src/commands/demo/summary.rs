//! What came of it: failures as large as successes.

use serde_json::{Value, json};

use super::super::{items, number, short, text};
use super::tamper::Tampering;
use super::{Counts, heading};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;
use crate::table::{Table, clean};

/// States that nothing leads out of: after a crash there must be at least as many.
const KEPT: &[&str] = &[
    "in_review",
    "merged",
    "no_change",
    "failed",
    "unverified",
    "rejected",
];

/// The crash, and that nothing was lost by it.
pub(super) fn crash(before: &Counts, after: &Counts) -> Result<(), Failure> {
    heading("SIGKILL in the middle, and a restart");
    let of = |counts: &Counts, state: &str| {
        counts
            .iter()
            .find(|(name, _)| name == state)
            .map_or(0, |(_, count)| *count)
    };
    for state in KEPT {
        let (was, is) = (of(before, state), of(after, state));
        if was > 0 || is > 0 {
            print::note(format!(
                "  {state:<12} {was:>3} when it was killed, {is:>3} at the end"
            ));
        }
        if is < was {
            return Err(Failure::new(format!(
                "{was} tasks were {state} before the crash and {is} after it"
            )));
        }
    }
    Ok(())
}

/// The flipped bit.
pub(super) fn tampering(tampering: &Tampering) {
    heading("One bit of a copy of the ledger is flipped");
    let verdict = if tampering.untouched {
        "verifies"
    } else {
        "does NOT verify"
    };
    print::note(format!(
        "  the copy of {} entries {verdict} as it is",
        tampering.entries
    ));
    match &tampering.finding {
        Some(finding) => print::note(format!(
            "  ✔ found, in entry {}: {finding}",
            tampering.flipped
        )),
        None => print::note("  ✘ NOT found"),
    }
}

/// The campaign for people.
pub(super) async fn campaign(
    client: &Client,
    id: &str,
    report: &Value,
    seconds: f64,
) -> Result<(), Failure> {
    heading("The campaign");
    let tasks: Value = client
        .get(&format!(
            "/tasks?campaign={}&limit=1000&order=target",
            escape(id)
        ))
        .await?;
    let mut table = Table::new(&["REPOSITORY", "STATE", "WHAT"]);
    for row in items(&tasks) {
        let change = row
            .get("change")
            .and_then(Value::as_u64)
            .map(|number| format!("change #{number}"));
        let what = change.unwrap_or_else(|| clean(text(row, "sentence"), 90));
        let name = row
            .pointer("/target/repository")
            .and_then(Value::as_str)
            .unwrap_or_default();
        table.row(vec![
            clean(name, 40),
            print::status(text(row, "status")),
            what,
        ]);
    }
    table.print("no tasks");
    let answer: Value = client.get(&format!("/campaigns/{}", escape(id))).await?;
    let classes = answer
        .get("classes")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let open: u64 = classes.iter().map(|class| number(class, "open")).sum();
    heading("To be reviewed");
    print::note(format!(
        "  {open} changes of {} shapes: one look can serve many",
        classes.len()
    ));
    for class in classes.iter().take(8) {
        let sample = class
            .pointer("/sample/target/repository")
            .and_then(Value::as_str)
            .unwrap_or_default();
        print::note(format!(
            "  {:>3} like {} ({})",
            number(class, "count"),
            sample,
            short(text(class, "class"))
        ));
    }
    let verified = report
        .get("verified")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let mark = if verified {
        "✔ verified"
    } else {
        "✘ NOT verified"
    };
    print::note(format!(
        "  ledger {mark}: {} entries; {seconds:.0} seconds in all",
        number(report, "entries")
    ));
    Ok(())
}

/// The one object of a headless run.
pub(super) async fn object(
    client: &Client,
    id: &str,
    report: &Value,
    repositories: usize,
    seconds: f64,
) -> Result<Value, Failure> {
    let answer: Value = client.get(&format!("/campaigns/{}", escape(id))).await?;
    let rows: Value = client
        .get(&format!(
            "/tasks?campaign={}&limit=1000&order=target",
            escape(id)
        ))
        .await?;
    let mut changes = Vec::new();
    // What the environments of the changes had, the weakest of them, not what the host could give.
    let mut reached: Option<String> = None;
    for row in items(&rows)
        .iter()
        .filter(|row| row.get("change").is_some_and(Value::is_u64))
    {
        let task: Value = client.get(&format!("/tasks/{}", text(row, "id"))).await?;
        let evidence: Value = client
            .get(&format!("/tasks/{}/evidence", text(row, "id")))
            .await?;
        if let Some(level) = evidence.pointer("/isolation/level").and_then(Value::as_str)
            && reached.as_deref().is_none_or(|least| level < least)
        {
            reached = Some(level.to_owned());
        }
        changes.push(json!({
            "repository": task.pointer("/task/target/repository"),
            "branch": task.pointer("/task/change/branch"),
            "commit": task.pointer("/task/change/commit"),
            "state": task.pointer("/task/status"),
        }));
    }
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "isolation": reached,
        "model": "none",
        "repositories": repositories,
        "tasks": answer.get("counts"),
        "changes": changes,
        "ledger": {
            "entries": report.get("entries"),
            "root": report.get("root"),
            "verified": report.get("verified"),
        },
        "seconds": (seconds * 10.0).round() / 10.0,
    }))
}

/// The same object for people.
pub(super) fn tell(outcome: &Value) {
    heading("Outcome");
    for (state, count) in outcome
        .get("tasks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        print::note(format!("  {:<24} {count:>3}", print::status(state)));
    }
    let changes = outcome
        .get("changes")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let verified = outcome
        .pointer("/ledger/verified")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    print::note(format!(
        "  {changes} changes, ledger {}",
        if verified { "verified" } else { "NOT verified" }
    ));
}
