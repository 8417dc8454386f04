//! One command per file.

mod automation;
mod budget;
mod campaign;
mod change;
mod ci;
mod completions;
mod demo;
mod doctor;
mod env;
mod event;
mod inbox;
mod inventory;
mod ledger;
mod open;
mod report;
mod schema;
mod secret;
mod stop;
mod store;
mod task;
mod try_once;
mod up;
mod watch;

use serde_json::Value;

use crate::cli::{Arguments, Command, Global};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::session::Session;

/// Carries out what was asked; the exit code.
pub(crate) async fn execute(arguments: Arguments) -> Result<u8, Failure> {
    let global = arguments.global;
    match arguments.command {
        Command::Up(up) => up::execute(&global, up).await,
        Command::Demo(demo) => demo::execute(&global, demo).await,
        Command::Try(wanted) => try_once::execute(&global, wanted).await,
        Command::Doctor => doctor::execute(&global),
        Command::Env(command) => env::execute(&global, command).await,
        Command::Automation(command) => automation::execute(&global, command).await,
        Command::Campaign(command) => campaign::execute(&global, command).await,
        Command::Task(command) => task::execute(&global, command).await,
        Command::Change(command) => change::execute(&global, command).await,
        Command::Budget(command) => budget::execute(&global, command).await,
        Command::Stop(wanted) => stop::execute(&global, wanted).await,
        Command::Inbox => inbox::list(&global).await,
        Command::Approve { task } => inbox::answer(&global, &task, "approve", "").await,
        Command::Deny { task, message } => inbox::answer(&global, &task, "deny", &message).await,
        Command::Event(command) => event::execute(&global, command).await,
        Command::Inventory(command) => inventory::execute(&global, command).await,
        Command::Secret(command) => secret::execute(&global, command).await,
        Command::Ledger(command) => ledger::execute(&global, command).await,
        Command::Store(command) => store::execute(&global, command).await,
        Command::Report { campaign, csv } => report::execute(&global, &campaign, csv).await,
        Command::Ci(command) => ci::execute(command),
        Command::Open => open::execute(&global).await,
        Command::Schema => schema::execute(),
        Command::Completions { shell } => completions::execute(shell),
    }
}

/// Opens a session that only reads or asks, does `work` with it, and closes it.
async fn with_session<T>(
    global: &Global,
    working: bool,
    work: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let session = Session::open(global, working).await?;
    let outcome = work(&session).await;
    session.close().await;
    outcome
}

/// The id of the campaign a person means: an id, or the newest one of an automation.
async fn find_campaign(client: &Client, text: &str) -> Result<String, Failure> {
    if text.starts_with("cmp_") {
        return Ok(text.to_owned());
    }
    let path = format!("/campaigns?automation={}&limit=1", escape(text));
    let answer: Value = client.get(&path).await?;
    let first = answer
        .get("items")
        .and_then(|items| items.get(0))
        .and_then(|row| row.get("id"));
    first
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(format!("there is no campaign of `{text}`"))
                .hint("`nightcrew campaign list --all` lists them")
        })
}

/// A text inside a JSON answer.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number inside a JSON answer.
fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// The items of a list answer.
fn items(value: &Value) -> &[Value] {
    value
        .get("items")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The short form of an id.
fn short(id: &str) -> &str {
    let bare = id.split_once('_').map_or(id, |(_, bare)| bare);
    bare.get(..8).unwrap_or(bare)
}
