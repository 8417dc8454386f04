//! `nightcrew try`: once, on any repository, pushed nowhere; shows diff and evidence.
//!
//! It is a real control plane in a throw-away data directory whose policy forbids opening
//! changes: the task goes through every step, and ends where it would leave the machine.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{automation, number, short, text, watch};
use crate::cli::{Global, TryArguments};
use crate::client::{Client, escape};
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::node::Node;
use crate::print;
use crate::scratch::Scratch;
use crate::table::clean;

/// Rule under which nothing leaves the machine.
const RULE: &str = "try-pushes-nothing";

pub(super) async fn execute(global: &Global, arguments: TryArguments) -> Result<u8, Failure> {
    let (file, source, files) = definition(&arguments)?;
    // Environments have to get through, when they belong to another user.
    let folder = Scratch::make("try", 0o711)?;
    let mut config = Config::load(global)?;
    config.data_dir = Some(folder.path().join("data"));
    config.store = None;
    config.policy.rules.push(engine::ports::Rule {
        name: RULE.to_owned(),
        action: Some(model::policy::Action::OpenChange),
        automation: None,
        repository: None,
        effect: engine::ports::RuleEffect::Forbid,
    });
    let node = Node::start(&config, true).await?;
    let client = Client::new(node.endpoint.clone());
    let outcome = run(&client, &arguments, &file, &source, &files).await;
    node.shutdown().await;
    drop(folder);
    let code = outcome?;
    if let Some(path) = &arguments.save {
        std::fs::write(path, &source).doing(format_args!("write {}", path.display()))?;
        print::note(format!(
            "the automation is in {}; run it over a fleet with `nightcrew campaign apply {}`",
            path.display(),
            path.display()
        ));
    }
    Ok(code)
}

type Wanted = (PathBuf, String, std::collections::BTreeMap<String, String>);

fn definition(arguments: &TryArguments) -> Result<Wanted, Failure> {
    if let Some(file) = &arguments.file {
        let (source, files) = automation::read(file)?;
        return Ok((file.clone(), source, files));
    }
    if arguments.line.is_empty() {
        return Err(Failure::usage("there is nothing to try")
            .hint("nightcrew try REPO -f automation.yaml, or nightcrew try REPO -- COMMAND"));
    }
    let line = arguments.line.join(" ");
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    // One word is a line for the shell; several are a program with its arguments, as they stand.
    let command = match arguments.line.as_slice() {
        [one] => quoted(one),
        several => json!(several).to_string(),
    };
    let checks: String = arguments
        .check
        .iter()
        .map(|check| format!("      - {{ cmd: {}, baseline: true }}\n", quoted(check)))
        .collect();
    let source = format!(
        "# Written by `nightcrew try`.\nname: try\ntriggers: [manual]\ntargets:\n  query: '!repo.archived'\nsteps:\n  - id: command\n    command: {}\n  - id: check\n    validate:\n      - builtin:secrets\n      - builtin:conflict-markers\n{checks}  - id: propose\n    change:\n      title: {}\n      body: \"\"\n",
        command,
        quoted(&clean(&line, 60)),
    );
    Ok((
        PathBuf::from("try.yaml"),
        source,
        std::collections::BTreeMap::new(),
    ))
}

async fn run(
    client: &Client,
    arguments: &TryArguments,
    file: &Path,
    source: &str,
    files: &std::collections::BTreeMap<String, String>,
) -> Result<u8, Failure> {
    let repository = import(client, &arguments.repository).await?;
    // Whatever the automation's own targets are, it is tried on this one.
    let (source, name) = aimed(source, file)?;
    automation::apply(client, file, &source, files).await?;
    let admitted =
        automation::start(client, &name, Some("try".to_owned()), Some(repository)).await?;
    let run = admitted
        .get("runs")
        .and_then(|runs| runs.get(0))
        .and_then(Value::as_str);
    let run = run.ok_or_else(|| {
        Failure::new("the automation did not start").hint("its triggers must include `manual`")
    })?;
    let campaign = watch::planned(client, run)
        .await?
        .ok_or_else(|| Failure::new("the automation found no target"))?;
    watch::settled(client, &campaign).await?;
    let tasks: Value = client
        .get(&format!("/tasks?campaign={campaign}&limit=1"))
        .await?;
    let row = super::items(&tasks)
        .first()
        .ok_or_else(|| Failure::new("the automation made no task"))?;
    show(client, text(row, "id")).await
}

/// The automation with triggers and targets that fit a single try.
fn aimed(source: &str, file: &Path) -> Result<(String, String), Failure> {
    let mut definition = engine::definition::read(source, &file.display().to_string())
        .map_err(server::ServiceError::from)?;
    definition.triggers = vec![model::automation::Trigger::Manual];
    definition.targets = model::automation::Targets {
        from: Some(model::automation::TargetSource::Event),
        ..model::automation::Targets::default()
    };
    definition.campaign = None;
    // JSON is YAML.
    let text = serde_json::to_string_pretty(&definition).doing("write the automation")?;
    Ok((text, definition.name))
}

async fn import(client: &Client, source: &str) -> Result<String, Failure> {
    let source = if Path::new(source).exists() {
        std::path::absolute(source)
            .doing(format_args!("find {source}"))?
            .display()
            .to_string()
    } else {
        source.to_owned()
    };
    let imported: Value = client
        .post("/repositories/import", &json!({"source": source}))
        .await?;
    let rows = imported
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_else(|| super::items(&imported));
    let row = rows
        .first()
        .ok_or_else(|| Failure::new(format!("{source} is no git repository")))?;
    if let Some(problem) = row.get("problem").and_then(Value::as_str) {
        return Err(Failure::new(format!("{source} cannot be read: {problem}")));
    }
    Ok(text(row, "name").to_owned())
}

/// The task, once no wait of it ends by itself any more.
async fn rested(client: &Client, id: &str) -> Result<Value, Failure> {
    loop {
        let answer: Value = client.get(&format!("/tasks/{}", escape(id))).await?;
        let task = answer.get("task").cloned().unwrap_or_default();
        let status = text(&task, "status");
        let moves = matches!(
            status,
            "queued" | "preparing" | "running" | "validating" | "ready"
        );
        let ends = status == "waiting" && task.pointer("/wait/until").is_some_and(Value::is_string);
        if !moves && !ends {
            return Ok(task);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn show(client: &Client, id: &str) -> Result<u8, Failure> {
    let task = rested(client, id).await?;
    let code = task
        .pointer("/reason/code")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let proposed = task.get("proposal").is_some_and(Value::is_object);
    // The end that the rule of this command makes is its success.
    let good = code == "policy_denied" && proposed || text(&task, "status") == "no_change";
    if print::is_json() {
        let diff = if proposed {
            client.text(&format!("/tasks/{}/diff", escape(id))).await?
        } else {
            String::new()
        };
        print::json(&json!({"task": task, "diff": diff, "pushed": false, "good": good}));
        return Ok(u8::from(!good));
    }
    for step in task
        .get("steps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let outcome = step
            .pointer("/outcome/outcome")
            .and_then(Value::as_str)
            .unwrap_or("not begun");
        print::note(format!(
            "{}  {outcome}  {} ms",
            print::bold(text(step, "id")),
            number(step, "wall_ms")
        ));
        if outcome == "failed" || outcome == "timed_out" {
            let index = number(step, "index");
            print::note(
                client
                    .text(&format!("/tasks/{}/log?step={index}", escape(id)))
                    .await?
                    .trim_end(),
            );
        }
    }
    for result in task
        .get("validators")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let mark = if text(result, "verdict") == "passed" {
            "✔"
        } else {
            "✘"
        };
        print::note(format!(
            "{mark} {}: {}",
            clean(text(result, "name"), 50),
            clean(text(result, "detail"), 160)
        ));
    }
    let isolation = task
        .pointer("/isolation/level")
        .and_then(Value::as_str)
        .unwrap_or("none");
    print::note(format!("isolation {isolation}, task {}", short(id)));
    if proposed {
        print::raw(&client.text(&format!("/tasks/{}/diff", escape(id))).await?);
        print::note("nothing was pushed");
    }
    if !good {
        let sentence = task
            .pointer("/reason/sentence")
            .or_else(|| task.pointer("/wait/reason/sentence"))
            .and_then(Value::as_str)
            .unwrap_or("it did not end");
        return Err(Failure::new(sentence.to_owned()));
    }
    if !proposed {
        let sentence = task
            .pointer("/reason/sentence")
            .and_then(Value::as_str)
            .unwrap_or("nothing to do");
        print::note(sentence);
    }
    Ok(0)
}
