//! `nightcrew event …`

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{items, text, with_session};
use crate::cli::{EventCommand, Global};
use crate::client::escape;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::{Table, clean};

/// Most bytes of an event.
const LARGEST: u64 = 1024 * 1024;

pub(super) async fn execute(global: &Global, command: EventCommand) -> Result<u8, Failure> {
    match command {
        EventCommand::Send { file } => post(global, "/events", file).await,
        EventCommand::Test { file } => post(global, "/events/test", file).await,
        EventCommand::List { limit } => list(global, limit).await,
        EventCommand::Replay { event } => {
            with_session(global, false, async |session| {
                let path = format!("/events/{}/replay", escape(&event));
                let answer: Value = session.client.post(&path, &json!({})).await?;
                print::json(&answer);
                Ok(0)
            })
            .await
        }
    }
}

async fn post(global: &Global, path: &str, file: Option<PathBuf>) -> Result<u8, Failure> {
    let event = read(file.as_deref())?;
    with_session(global, false, async |session| {
        let answer: Value = session.client.post(path, &event).await?;
        print::json(&answer);
        Ok(0)
    })
    .await
}

fn read(file: Option<&Path>) -> Result<Value, Failure> {
    let mut content = String::new();
    let name = match file {
        Some(path) => {
            let opened =
                std::fs::File::open(path).doing(format_args!("read {}", path.display()))?;
            opened
                .take(LARGEST)
                .read_to_string(&mut content)
                .doing(format_args!("read {}", path.display()))?;
            path.display().to_string()
        }
        None => {
            std::io::stdin()
                .take(LARGEST)
                .read_to_string(&mut content)
                .doing("read standard input")?;
            "standard input".to_owned()
        }
    };
    serde_json::from_str(&content).map_err(|error| {
        Failure::usage(format!("{name}:{}:{}: {error}", error.line(), error.column())).hint(
            r#"an event looks like {"source":"me","type":"push","subject":{"repository":"x"},"dedupe_key":"1","actor":"person:me"}"#,
        )
    })
}

async fn list(global: &Global, limit: u32) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let answer: Value = session
            .client
            .get(&format!("/events?limit={limit}"))
            .await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        let mut table = Table::new(&["EVENT", "TYPE", "ABOUT", "BY", "RECEIVED"]);
        for event in items(&answer) {
            let about = event
                .pointer("/subject/repository")
                .or_else(|| event.pointer("/subject/automation"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            table.row(vec![
                text(event, "id").to_owned(),
                clean(text(event, "type"), 20),
                clean(about, 40),
                clean(text(event, "actor"), 24),
                text(event, "received_at")
                    .get(..19)
                    .unwrap_or_default()
                    .replace('T', " "),
            ]);
        }
        table.print("no event yet");
        Ok(0)
    })
    .await
}
