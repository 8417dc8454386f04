//! `nightcrew change …`

use serde_json::{Value, json};

use super::{find_campaign, task, text, with_session};
use crate::cli::{ChangeCommand, Global, Method};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;
use crate::table::clean;

pub(super) async fn execute(global: &Global, command: ChangeCommand) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let client = &session.client;
        match command {
            ChangeCommand::List { campaign } => list(client, campaign).await,
            ChangeCommand::Show { task } => show(client, &task).await,
            ChangeCommand::Approve { task } => {
                act(
                    client,
                    &task,
                    "review",
                    &json!({"verdict": "approved", "text": ""}),
                )
                .await
            }
            ChangeCommand::RequestChanges { task, message } => {
                act(
                    client,
                    &task,
                    "review",
                    &json!({"verdict": "changes_requested", "text": message}),
                )
                .await
            }
            ChangeCommand::Comment { task, message } => {
                act(client, &task, "comment", &json!({"text": message})).await
            }
            ChangeCommand::Merge { task, method } => {
                act(client, &task, "merge", &json!({"method": name(method)})).await
            }
            ChangeCommand::Close { task } => act(client, &task, "close", &json!({})).await,
        }
    })
    .await
}

const fn name(method: Method) -> &'static str {
    match method {
        Method::Merge => "merge",
        Method::Squash => "squash",
        Method::Rebase => "rebase",
    }
}

async fn list(client: &Client, campaign: Option<String>) -> Result<u8, Failure> {
    let mut path = "/tasks?status=in_review&limit=1000&order=target".to_owned();
    if let Some(campaign) = campaign {
        path.push_str("&campaign=");
        path.push_str(&find_campaign(client, &campaign).await?);
    }
    let answer: Value = client.get(&path).await?;
    if print::is_json() {
        print::json(&answer);
    } else {
        task::print_rows(&answer, "no change is in review");
    }
    Ok(0)
}

async fn show(client: &Client, wanted: &str) -> Result<u8, Failure> {
    let id = task::task_id(client, wanted).await?;
    let change: Value = client
        .get(&format!("/tasks/{}/change", escape(&id)))
        .await?;
    if print::is_json() {
        print::json(&change);
        return Ok(0);
    }
    let inner = change.get("change").unwrap_or(&change);
    print::line(format!(
        "{}  {}",
        print::bold(&clean(text(inner, "title"), 100)),
        text(inner, "state")
    ));
    print::line(print::dim(text(inner, "branch")));
    print::line("");
    print::raw(&printable(text(inner, "body")));
    print::line("");
    for comment in inner
        .get("comments")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let who = comment
            .pointer("/actor/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        print::line(format!(
            "{}: {}",
            print::bold(&clean(who, 40)),
            clean(text(comment, "text"), 400)
        ));
    }
    for review in inner
        .get("reviews")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let who = review
            .pointer("/actor/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let words = clean(text(review, "text"), 400);
        print::line(format!(
            "{}: {} {words}",
            print::bold(&clean(who, 40)),
            text(review, "verdict")
        ));
    }
    print::raw(&client.text(&format!("/tasks/{}/diff", escape(&id))).await?);
    Ok(0)
}

/// A text of several lines without the control characters that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

async fn act(client: &Client, wanted: &str, verb: &str, request: &Value) -> Result<u8, Failure> {
    let id = task::task_id(client, wanted).await?;
    let answer: Value = client
        .post(&format!("/tasks/{}/{verb}", escape(&id)), request)
        .await?;
    task::told(&answer);
    Ok(0)
}
