//! `nightcrew budget …`

use model::budget::{Account, Caps, Dimension, Spending};
use serde_json::{Map, Value, json};

use super::{items, text, with_session};
use crate::cli::Global;
use crate::cli::budget::{BudgetCommand, By, RaiseArguments};
use crate::client::escape;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn execute(global: &Global, command: BudgetCommand) -> Result<u8, Failure> {
    match command {
        BudgetCommand::List => list(global).await,
        BudgetCommand::Show { scope } => show(global, &scope).await,
        BudgetCommand::Raise(wanted) => raise(global, wanted).await,
        BudgetCommand::Spend { by, csv } => spend(global, by, csv).await,
    }
}

async fn list(global: &Global) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let answer: Value = session.client.get("/budgets").await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        accounts(items(&answer), "nothing was spent and nothing is capped")?;
        Ok(0)
    })
    .await
}

async fn show(global: &Global, scope: &str) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let path = format!("/budgets/show?scope={}", escape(scope));
        let answer: Value = session.client.get(&path).await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        let part = |key: &str| answer.get(key).and_then(Value::as_array).cloned();
        let own = answer.get("account").cloned().into_iter();
        let way: Vec<Value> = own.chain(part("above").unwrap_or_default()).collect();
        accounts(&way, "there is no such account")?;
        let below = part("below").unwrap_or_default();
        if !below.is_empty() {
            print::line("");
            accounts(&below, "")?;
        }
        for raise in part("raises").unwrap_or_default() {
            let to: Caps = read(raise.get("to"))?;
            let because = text(&raise, "because");
            let because = if because.is_empty() {
                String::new()
            } else {
                format!(": {}", clean(because, 200))
            };
            print::line(format!(
                "{}  {} raised {}{because}",
                text(&raise, "at").get(..16).unwrap_or_default(),
                clean(text(&raise, "by"), 60),
                caps(&to),
            ));
        }
        Ok(0)
    })
    .await
}

async fn raise(global: &Global, wanted: RaiseArguments) -> Result<u8, Failure> {
    let mut body = Map::new();
    body.insert("scope".to_owned(), json!(wanted.scope));
    body.insert("because".to_owned(), json!(wanted.because));
    let given = [
        ("usd", wanted.usd.map(|usd| json!(usd))),
        ("tokens", wanted.tokens.map(|tokens| json!(tokens))),
        ("wall", wanted.wall.map(|wall| json!(wall))),
        (
            "forge_writes",
            wanted.forge_writes.map(|count| json!(count)),
        ),
        (
            "open_changes",
            wanted.open_changes.map(|count| json!(count)),
        ),
        (
            "environments",
            wanted.environments.map(|count| json!(count)),
        ),
    ];
    if given.iter().all(|(_, value)| value.is_none()) {
        return Err(Failure::usage("nothing is raised")
            .hint("say to what, such as `--usd 300`; `nightcrew budget raise --help` lists all"));
    }
    for (key, value) in given {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    }
    with_session(global, false, async |session| {
        let path = "/budgets/raise";
        let answer: Value = session.client.post(path, &Value::Object(body)).await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        accounts(std::slice::from_ref(&answer), "")?;
        print::note("what waits for it goes on");
        Ok(0)
    })
    .await
}

async fn spend(global: &Global, by: By, csv: bool) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let path = format!("/budgets/spend?by={}", by.as_str());
        if csv {
            let all = session.client.text(&format!("{path}&format=csv")).await?;
            print::raw(&all);
            return Ok(0);
        }
        let answer: Value = session.client.get(&path).await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        let mut table = Table::new(&["OF", "SPENT", "TOKENS", "HELD", "CHANGE"]);
        for row in items(&answer) {
            let (spent, held): (Spending, Spending) =
                (read(row.get("spent"))?, read(row.get("held"))?);
            let change = row.get("change").and_then(Value::as_u64);
            table.row(vec![
                clean(text(row, "name"), 60),
                spent.amount().money.to_string(),
                spent.tokens.to_string(),
                held.amount().money.to_string(),
                change.map_or(String::new(), |number| format!("#{number}")),
            ]);
        }
        table.print("nothing was spent yet");
        Ok(0)
    })
    .await
}

/// A table of accounts: what is capped, and how far it is used.
fn accounts(rows: &[Value], empty: &str) -> Result<(), Failure> {
    let mut table = Table::new(&["ACCOUNT", "OF", "SPENT", "HELD", "CAP", ""]);
    for row in rows {
        let account: Account = read(Some(row))?;
        let effective: Caps = read(row.get("effective"))?;
        let full = row.get("used_up").and_then(Value::as_array);
        let mut first = true;
        for dimension in shown(&account, &effective) {
            let is_full = full.is_some_and(|all| all.iter().any(|key| key == dimension.key()));
            let cap = effective.get(dimension);
            let amount = |amount| bare(dimension, amount);
            let name = if first {
                print::bold(&clean(&account.scope, 60))
            } else {
                String::new()
            };
            table.row(vec![
                name,
                dimension.key().to_owned(),
                amount(account.spent.get(dimension)),
                amount(account.held.get(dimension)),
                cap.map_or("no cap".to_owned(), amount),
                if is_full { "full" } else { "" }.to_owned(),
            ]);
            first = false;
        }
    }
    table.print(empty);
    Ok(())
}

/// What is worth a line: what is capped, used or held, and money always.
fn shown(account: &Account, effective: &Caps) -> Vec<Dimension> {
    let matters = |dimension: &Dimension| {
        *dimension == Dimension::Money
            || effective.get(*dimension).is_some()
            || account.spent.get(*dimension) > 0
            || account.held.get(*dimension) > 0
    };
    Dimension::ALL.into_iter().filter(matters).collect()
}

/// An amount without the word for what it is.
fn bare(dimension: Dimension, amount: u64) -> String {
    let text = dimension.show(amount);
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn caps(caps: &Caps) -> String {
    let parts: Vec<String> = Dimension::ALL
        .into_iter()
        .filter_map(|dimension| Some((dimension, caps.get(dimension)?)))
        .map(|(dimension, cap)| format!("{} to {}", dimension.key(), bare(dimension, cap)))
        .collect();
    parts.join(", ")
}

/// Reads a part of an answer.
fn read<T: serde::de::DeserializeOwned>(value: Option<&Value>) -> Result<T, Failure> {
    let value = value.cloned().unwrap_or_default();
    serde_json::from_value(value).doing("understand the answer")
}
