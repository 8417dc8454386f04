//! `nightcrew task …`

use std::time::Duration;

use serde_json::{Value, json};

use super::{find_campaign, items, number, short, text, with_session};
use crate::cli::{Global, TaskCommand};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn execute(global: &Global, command: TaskCommand) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let client = &session.client;
        match command {
            TaskCommand::List {
                campaign,
                status,
                limit,
            } => list(client, campaign, status, limit).await,
            TaskCommand::Show { task } => show(client, &task).await,
            TaskCommand::Logs { task, step, follow } => logs(client, &task, step, follow).await,
            TaskCommand::Diff { task } => {
                print::raw(
                    &client
                        .text(&format!("/tasks/{}/diff", escape(&task)))
                        .await?,
                );
                Ok(0)
            }
            TaskCommand::Evidence { task } => {
                let evidence: Value = client
                    .get(&format!("/tasks/{}/evidence", escape(&task)))
                    .await?;
                print::json(&evidence);
                Ok(0)
            }
            TaskCommand::Network { task, limit } => network(client, &task, limit).await,
            TaskCommand::Facts { task } => facts(client, &task).await,
            TaskCommand::Retry { task } => act(client, &task, "retry").await,
            TaskCommand::Cancel { task } => act(client, &task, "cancel").await,
            TaskCommand::Pause { task } => act(client, &task, "pause").await,
            TaskCommand::Resume { task } => act(client, &task, "resume").await,
        }
    })
    .await
}

async fn list(
    client: &Client,
    campaign: Option<String>,
    status: Option<String>,
    limit: u32,
) -> Result<u8, Failure> {
    let mut path = format!("/tasks?limit={limit}&order=target");
    if let Some(campaign) = campaign {
        path.push_str("&campaign=");
        path.push_str(&find_campaign(client, &campaign).await?);
    }
    if let Some(status) = status {
        path.push_str("&status=");
        path.push_str(&escape(&status));
    }
    let answer: Value = client.get(&path).await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    print_rows(&answer, "no task matches");
    let (shown, total) = (items(&answer).len() as u64, number(&answer, "total"));
    if shown < total {
        print::note(format!("{shown} of {total}; see more with --limit"));
    }
    Ok(0)
}

/// Rows of tasks, as lists show them.
pub(super) fn print_rows(answer: &Value, empty: &str) {
    let mut table = Table::new(&["TASK", "REPOSITORY", "STATE", "CHANGE", "WHAT"]);
    for row in items(answer) {
        let state = match row.get("wait").and_then(Value::as_str) {
            Some(wait) => format!("{} ({wait})", print::status(text(row, "status"))),
            None => print::status(text(row, "status")),
        };
        table.row(vec![
            short(text(row, "id")).to_owned(),
            clean(
                row.pointer("/target/repository")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
                40,
            ),
            state,
            row.get("change")
                .and_then(Value::as_u64)
                .map(|number| format!("#{number}"))
                .unwrap_or_default(),
            clean(text(row, "sentence"), 80),
        ]);
    }
    table.print(empty);
}

/// What left a task's environments, or was kept from leaving.
async fn network(client: &Client, task: &str, limit: u32) -> Result<u8, Failure> {
    let path = format!("/tasks/{}/network?limit={limit}", escape(task));
    let answer: Value = client.get(&path).await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let mut table = Table::new(&["WHAT", "KIND", "WHERE", "TIMES", "OUT", "IN", "RULE"]);
    let batches = items(&answer).iter();
    let events = batches.filter_map(|batch| batch.get("events")?.as_array());
    for event in events.flatten() {
        let refused = event.get("refused").and_then(Value::as_str);
        let place = match number(event, "port") {
            0 => text(event, "host").to_owned(),
            port => format!("{}:{port}", text(event, "host")),
        };
        let place = format!("{place} {}", text(event, "detail"));
        table.row(vec![
            refused.map_or("permitted", |_| "refused").to_owned(),
            text(event, "kind").to_owned(),
            clean(place.trim_end(), 80),
            number(event, "count").to_string(),
            number(event, "sent").to_string(),
            number(event, "received").to_string(),
            clean(refused.unwrap_or_else(|| text(event, "rule")), 40),
        ]);
    }
    table.print("nothing was tried");
    print::note(format!(
        "{} permitted, {} refused, {} bytes out, {} in",
        number(&answer, "permitted"),
        number(&answer, "refused"),
        number(&answer, "sent"),
        number(&answer, "received"),
    ));
    Ok(0)
}

async fn show(client: &Client, task: &str) -> Result<u8, Failure> {
    let answer: Value = client.get(&format!("/tasks/{}", escape(task))).await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let task = answer.get("task").cloned().unwrap_or_default();
    let target = task
        .pointer("/target/repository")
        .and_then(Value::as_str)
        .unwrap_or_default();
    print::line(format!(
        "{}  {}",
        print::bold(&clean(target, 80)),
        print::status(text(&task, "status"))
    ));
    print::line(print::dim(text(&task, "id")));
    let why = task
        .pointer("/wait/reason/sentence")
        .or_else(|| task.pointer("/reason/sentence"));
    if let Some(sentence) = why.and_then(Value::as_str) {
        print::line(format!("  {}", clean(sentence, 400)));
    }
    let at_work = matches!(text(&task, "status"), "running" | "validating" | "waiting");
    let mut steps = Table::new(&["STEP", "KIND", "ATTEMPT", "OUTCOME", "WALL"]);
    for step in task
        .get("steps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let outcome = step
            .pointer("/outcome/outcome")
            .and_then(Value::as_str)
            .unwrap_or(if at_work { "running" } else { "stopped" });
        steps.row(vec![
            text(step, "id").to_owned(),
            text(step, "kind").to_owned(),
            number(step, "attempt").to_string(),
            outcome.to_owned(),
            format!("{} ms", number(step, "wall_ms")),
        ]);
    }
    steps.print("no step has begun");
    let mut validators = Table::new(&["VALIDATOR", "VERDICT", "NEW FAILURES", "DETAIL"]);
    for result in task
        .get("validators")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        validators.row(vec![
            clean(text(result, "name"), 40),
            text(result, "verdict").to_owned(),
            result
                .get("new")
                .and_then(Value::as_array)
                .map_or(0, Vec::len)
                .to_string(),
            clean(text(result, "detail"), 80),
        ]);
    }
    validators.print("no validator has run");
    Ok(0)
}

async fn logs(client: &Client, task: &str, step: Option<u32>, follow: bool) -> Result<u8, Failure> {
    let id = task_id(client, task).await?;
    if follow {
        return tail(client, &id).await;
    }
    let answer: Value = client.get(&format!("/tasks/{}", escape(&id))).await?;
    let count = answer
        .pointer("/task/steps")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let steps = step.map_or(1..=u32::try_from(count).unwrap_or(0), |step| step..=step);
    for step in steps {
        let index = step.saturating_sub(1);
        print::raw(
            &client
                .text(&format!("/tasks/{}/log?step={index}", escape(&id)))
                .await?,
        );
    }
    Ok(0)
}

async fn tail(client: &Client, id: &str) -> Result<u8, Failure> {
    let mut from = 0;
    loop {
        let answer: Value = client
            .get(&format!("/tasks/{}/log/live?from={from}", escape(id)))
            .await?;
        for line in answer
            .get("lines")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            print::line(text(line, "text"));
        }
        from = number(&answer, "next");
        let task: Value = client.get(&format!("/tasks/{}", escape(id))).await?;
        let status = task
            .pointer("/task/status")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !matches!(status, "queued" | "preparing" | "running" | "validating") {
            print::note(format!("the task is {status}"));
            return Ok(0);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The full id of the task a person means.
pub(super) async fn task_id(client: &Client, task: &str) -> Result<String, Failure> {
    let answer: Value = client.get(&format!("/tasks/{}", escape(task))).await?;
    Ok(answer
        .pointer("/task/id")
        .and_then(Value::as_str)
        .unwrap_or(task)
        .to_owned())
}

async fn facts(client: &Client, task: &str) -> Result<u8, Failure> {
    let answer: Value = client
        .get(&format!("/tasks/{}/facts", escape(task)))
        .await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let facts = answer
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_else(|| items(&answer));
    let mut table = Table::new(&["AT", "BY", "FACT"]);
    for fact in facts {
        let what = fact
            .pointer("/fact/is")
            .and_then(Value::as_str)
            .unwrap_or_default();
        table.row(vec![
            text(fact, "at")
                .get(..23)
                .unwrap_or_default()
                .replace('T', " "),
            clean(text(fact, "actor"), 30),
            what.replace('_', " "),
        ]);
    }
    table.print("nothing happened yet");
    Ok(0)
}

async fn act(client: &Client, task: &str, verb: &str) -> Result<u8, Failure> {
    let id = task_id(client, task).await?;
    let answer: Value = client
        .post(&format!("/tasks/{}/{verb}", escape(&id)), &json!({}))
        .await?;
    told(&answer);
    Ok(0)
}

/// Says where a task stands after an act.
pub(super) fn told(answer: &Value) {
    if print::is_json() {
        print::json(answer);
        return;
    }
    let task = answer.get("task").unwrap_or(answer);
    let target = task
        .pointer("/target/repository")
        .and_then(Value::as_str)
        .unwrap_or_default();
    print::note(format!(
        "{} is now {}",
        clean(target, 60),
        print::status(text(task, "status"))
    ));
}
