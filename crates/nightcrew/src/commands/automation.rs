//! `nightcrew automation …`

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{items, number, text, with_session};
use crate::cli::{AutomationCommand, Global};
use crate::client::{Client, escape};
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::{Table, clean};

/// Most bytes of one file beside an automation.
const LARGEST: u64 = 256 * 1024;

pub(super) async fn execute(global: &Global, command: AutomationCommand) -> Result<u8, Failure> {
    match command {
        AutomationCommand::Check { file } => check(&file),
        AutomationCommand::Apply { file } => {
            let (source, files) = read(&file)?;
            with_session(global, false, async |session| {
                let applied = apply(&session.client, &file, &source, &files).await?;
                told(&applied);
                Ok(0)
            })
            .await
        }
        AutomationCommand::List => {
            with_session(global, false, async |session| list(&session.client).await).await
        }
        AutomationCommand::Show { name } => {
            with_session(global, false, async |session| {
                let automation: Value = session
                    .client
                    .get(&format!("/automations/{}", escape(&name)))
                    .await?;
                if print::is_json() {
                    print::json(&automation);
                } else {
                    let source = automation
                        .get("source")
                        .or_else(|| automation.pointer("/automation/source"));
                    print::raw(source.and_then(Value::as_str).unwrap_or_default());
                }
                Ok(0)
            })
            .await
        }
        AutomationCommand::Start {
            name,
            repository,
            key,
        } => {
            with_session(global, false, async |session| {
                let admitted = start(&session.client, &name, key, repository).await?;
                if print::is_json() {
                    print::json(&admitted);
                } else {
                    print::note(format!("{name} was started ({})", text(&admitted, "event")));
                    if !session.is_remote() {
                        print::hint("no server runs here: `nightcrew up` carries it out");
                    }
                }
                Ok(0)
            })
            .await
        }
        AutomationCommand::Enable { name } => switch(global, &name, "enable").await,
        AutomationCommand::Disable { name } => switch(global, &name, "disable").await,
    }
}

async fn switch(global: &Global, name: &str, verb: &str) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let _: Value = session
            .client
            .post(&format!("/automations/{}/{verb}", escape(name)), &json!({}))
            .await?;
        print::note(format!("{name}: {verb}d"));
        Ok(0)
    })
    .await
}

fn check(file: &Path) -> Result<u8, Failure> {
    let (source, _) = read(file)?;
    let definition = engine::definition::read(&source, &file.display().to_string())
        .map_err(server::ServiceError::from)?;
    if print::is_json() {
        print::json(&definition);
    } else {
        print::note(format!(
            "{}: {} steps, nothing wrong",
            definition.name,
            definition.steps.len()
        ));
    }
    Ok(0)
}

/// An automation file with the files beside it that are small texts.
pub(super) fn read(file: &Path) -> Result<(String, BTreeMap<String, String>), Failure> {
    let source = std::fs::read_to_string(file).doing(format_args!("read {}", file.display()))?;
    let mut files = BTreeMap::new();
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    for entry in std::fs::read_dir(folder)
        .doing(format_args!("list {}", folder.display()))?
        .flatten()
    {
        let path = entry.path();
        let is_own = Some(entry.file_name().as_os_str()) == file.file_name();
        let small = entry
            .metadata()
            .is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
        if is_own || !small {
            continue;
        }
        if let (Some(name), Ok(content)) =
            (entry.file_name().to_str(), std::fs::read_to_string(&path))
            && source.contains(name)
        {
            files.insert(name.to_owned(), content);
        }
    }
    Ok((source, files))
}

pub(super) async fn apply(
    client: &Client,
    file: &Path,
    source: &str,
    files: &BTreeMap<String, String>,
) -> Result<Value, Failure> {
    let request = json!({"source": source, "file": file.display().to_string(), "files": files});
    client.post("/automations", &request).await
}

fn told(applied: &Value) {
    if print::is_json() {
        print::json(applied);
    } else if applied
        .get("changed")
        .and_then(Value::as_bool)
        .unwrap_or(false)
    {
        print::note(format!(
            "{} is now version {}",
            text(applied, "name"),
            number(applied, "version")
        ));
    } else {
        print::note(format!(
            "{} is unchanged (version {})",
            text(applied, "name"),
            number(applied, "version")
        ));
    }
}

pub(super) async fn start(
    client: &Client,
    name: &str,
    key: Option<String>,
    repository: Option<String>,
) -> Result<Value, Failure> {
    let key = key.unwrap_or_else(|| crate::clock::now().to_string());
    let request = json!({"key": key, "repository": repository});
    client
        .post(&format!("/automations/{}/start", escape(name)), &request)
        .await
}

async fn list(client: &Client) -> Result<u8, Failure> {
    let answer: Value = client.get("/automations").await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let mut table = Table::new(&["NAME", "VERSION", "STATE", "DESCRIPTION"]);
    for automation in items(&answer) {
        let definition = automation.get("definition").unwrap_or(automation);
        let enabled = automation
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        table.row(vec![
            print::bold(text(definition, "name")),
            number(automation, "version").to_string(),
            if enabled { "on" } else { "off" }.to_owned(),
            clean(text(definition, "description"), 70),
        ]);
    }
    table.print("no automation yet; apply one with `nightcrew automation apply FILE`");
    Ok(0)
}
