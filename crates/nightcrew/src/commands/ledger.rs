//! `nightcrew ledger …`

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{number, text, with_session};
use crate::cli::{Global, LedgerCommand};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::{Doing, Failure};
use crate::node;
use crate::print;

pub(super) async fn execute(global: &Global, command: LedgerCommand) -> Result<u8, Failure> {
    match command {
        LedgerCommand::Verify { checkpoint, key } => verify(global, checkpoint, key).await,
        LedgerCommand::Show => {
            with_session(global, false, async |session| {
                let answer: Value = session.client.get("/ledger").await?;
                if print::is_json() {
                    print::json(&answer);
                } else {
                    print::line(format!("entries  {}", number(&answer, "size")));
                    print::line(format!("key      {}", text(&answer, "key")));
                    print::raw(text(&answer, "checkpoint"));
                }
                Ok(0)
            })
            .await
        }
        LedgerCommand::Checkpoint => {
            with_session(global, false, async |session| {
                let answer: Value = session.client.get("/ledger").await?;
                match answer.get("checkpoint").and_then(Value::as_str) {
                    Some(checkpoint) => print::raw(checkpoint),
                    None => {
                        return Err(Failure::new(
                            "the ledger is empty: there is no checkpoint yet",
                        ));
                    }
                }
                Ok(0)
            })
            .await
        }
        LedgerCommand::Export => {
            with_session(global, false, async |session| {
                let mut from = 0;
                loop {
                    let page: Value = session
                        .client
                        .get(&format!("/ledger/entries?from={from}&limit=1000"))
                        .await?;
                    let entries = page
                        .as_array()
                        .cloned()
                        .unwrap_or_else(|| super::items(&page).to_vec());
                    let Some(last) = entries.last() else {
                        return Ok(0);
                    };
                    from = number(last, "index") + 1;
                    for entry in &entries {
                        print::line(entry.to_string());
                    }
                }
            })
            .await
        }
    }
}

/// Verifies through the running server, or straight from the store when none runs.
async fn verify(global: &Global, files: Vec<PathBuf>, key: Option<String>) -> Result<u8, Failure> {
    let mut checkpoints = Vec::new();
    for file in &files {
        checkpoints
            .push(std::fs::read_to_string(file).doing(format_args!("read {}", file.display()))?);
    }
    let config = Config::load(global)?;
    let data_dir = DataDir::open(config.data_dir()?)?;
    let running = data_dir.endpoint().map(crate::client::Client::new);
    let report: Value = match running {
        Some(client) if key.is_none() && client.is_alive().await => {
            client
                .post("/ledger/verify", &json!({"checkpoints": checkpoints}))
                .await?
        }
        _ => {
            let key = match key {
                Some(text) => text
                    .parse()
                    .map_err(|error| Failure::usage(format!("the key is none: {error}")))?,
                None if !data_dir.ledger_key().exists() => {
                    let path = data_dir.ledger_key();
                    return Err(Failure::new(format!("there is no key at {}", path.display()))
                        .hint("name the key to trust with --key, or bring the data directory's `keys` back"));
                }
                None => ledger::SigningKey::load_or_create(&data_dir.ledger_key(), "nightcrew")
                    .doing("load the ledger's key")?
                    .verifier(),
            };
            let store = node::open_store(&config, &data_dir).await?;
            let report = server::service::verify_ledger(store.as_ref(), &key, &checkpoints).await?;
            serde_json::to_value(report).doing("describe the ledger")?
        }
    };
    let verified = report
        .get("verified")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if print::is_json() {
        print::json(&report);
    } else if verified {
        print::line(format!(
            "✔ {} entries agree with {} checkpoints and {} facts, root {}",
            number(&report, "entries"),
            number(&report, "checkpoints"),
            number(&report, "payloads"),
            text(&report, "root")
        ));
        if files.is_empty() {
            print::hint(
                "keep `nightcrew ledger checkpoint` elsewhere and verify against it: only that finds a ledger that was cut back",
            );
        }
    } else {
        print::error(&format!(
            "the ledger is not what it was: {}",
            text(&report, "finding")
        ));
    }
    Ok(u8::from(!verified))
}
