//! `nightcrew campaign …`

use std::path::Path;

use serde_json::{Value, json};

use super::{automation, find_campaign, items, number, short, text, watch, with_session};
use crate::cli::{CampaignCommand, Global};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn execute(global: &Global, command: CampaignCommand) -> Result<u8, Failure> {
    match command {
        CampaignCommand::Preview { file } => {
            with_session(global, false, async |session| {
                preview(&session.client, &file).await
            })
            .await
        }
        CampaignCommand::Apply { file, wait } => {
            with_session(global, wait, async |session| {
                let campaign = apply(&session.client, &file).await?;
                let Some(campaign) = campaign else {
                    print::note("the run found nothing to work on");
                    return Ok(0);
                };
                if wait {
                    watch::settled(&session.client, &campaign).await?;
                    return status(&session.client, &campaign).await;
                }
                if print::is_json() {
                    print::json(&json!({"campaign": campaign}));
                } else if session.is_remote() {
                    print::note(format!(
                        "campaign {campaign} has begun; see `nightcrew campaign status {campaign}`"
                    ));
                } else {
                    print::note(format!("campaign {campaign} is planned"));
                    print::hint(
                        "no server runs here: `nightcrew up` carries it out, or use --wait",
                    );
                }
                Ok(0)
            })
            .await
        }
        CampaignCommand::List { all } => {
            with_session(global, false, async |session| {
                list(&session.client, all).await
            })
            .await
        }
        CampaignCommand::Status { campaign } => {
            with_session(global, false, async |session| {
                let id = find_campaign(&session.client, &campaign).await?;
                status(&session.client, &id).await
            })
            .await
        }
        CampaignCommand::Pause { campaign } => steer(global, &campaign, "pause").await,
        CampaignCommand::Resume { campaign } => steer(global, &campaign, "resume").await,
        CampaignCommand::Close { campaign } => steer(global, &campaign, "close").await,
        CampaignCommand::Retry { campaign, wait } => {
            with_session(global, wait, async |session| {
                let id = find_campaign(&session.client, &campaign).await?;
                let answer: Value = session
                    .client
                    .post(&format!("/campaigns/{}/retry", escape(&id)), &json!({}))
                    .await?;
                print::note(format!(
                    "{} tasks get another round",
                    number(&answer, "retried")
                ));
                if wait {
                    watch::settled(&session.client, &id).await?;
                    return status(&session.client, &id).await;
                }
                Ok(0)
            })
            .await
        }
    }
}

async fn preview(client: &Client, file: &Path) -> Result<u8, Failure> {
    let (source, _) = automation::read(file)?;
    let request = json!({"source": source, "file": file.display().to_string()});
    let preview: Value = client.post("/preview", &request).await?;
    if print::is_json() {
        print::json(&preview);
        return Ok(0);
    }
    let mut table = Table::new(&["WAVE", "TARGET"]);
    let targets = preview
        .get("targets")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for pair in targets {
        let (target, wave) = (&pair[0], &pair[1]);
        table.row(vec![
            wave.to_string(),
            clean(text(target, "repository"), 80),
        ]);
    }
    table.print("no repository of the inventory matches");
    for missing in preview
        .get("missing")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        print::warning(missing.as_str().unwrap_or_default());
    }
    if let Some(forecast) = preview
        .pointer("/forecast/sentence")
        .and_then(Value::as_str)
    {
        print::line(clean(forecast, 300));
    }
    let looked = number(&preview, "looked_at");
    print::note(format!(
        "{} of {looked} repositories; nothing was written",
        targets.len()
    ));
    Ok(0)
}

/// Applies the file, starts it, and waits until it is planned.
async fn apply(client: &Client, file: &Path) -> Result<Option<String>, Failure> {
    let (source, files) = automation::read(file)?;
    let definition = engine::definition::read(&source, &file.display().to_string())
        .map_err(server::ServiceError::from)?;
    if !definition
        .triggers
        .contains(&model::automation::Trigger::Manual)
    {
        return Err(
            Failure::usage(format!("{} cannot be started by hand", definition.name))
                .hint("add `manual` to its triggers"),
        );
    }
    let applied = automation::apply(client, file, &source, &files).await?;
    let admitted = automation::start(client, text(&applied, "name"), None, None).await?;
    let Some(run) = admitted
        .get("runs")
        .and_then(|runs| runs.get(0))
        .and_then(Value::as_str)
    else {
        let problems = admitted
            .get("problems")
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(
            Failure::new(format!("the automation did not start: {problems}"))
                .hint("its triggers must include `manual` to be started by hand"),
        );
    };
    watch::planned(client, run).await
}

async fn list(client: &Client, all: bool) -> Result<u8, Failure> {
    let answer: Value = client
        .get(if all {
            "/campaigns"
        } else {
            "/campaigns?open=true"
        })
        .await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let mut table = Table::new(&["CAMPAIGN", "AUTOMATION", "STATE", "TARGETS", "OPENED"]);
    for row in items(&answer) {
        table.row(vec![
            print::bold(text(row, "id")),
            text(row, "automation").to_owned(),
            text(row, "status").to_owned(),
            number(row, "targets").to_string(),
            text(row, "created_at")
                .get(..16)
                .unwrap_or_default()
                .replace('T', " "),
        ]);
    }
    table.print("no campaign is open; start one with `nightcrew campaign apply FILE`");
    Ok(0)
}

async fn status(client: &Client, id: &str) -> Result<u8, Failure> {
    let answer: Value = client.get(&format!("/campaigns/{}", escape(id))).await?;
    if print::is_json() {
        print::json(&answer);
        return Ok(0);
    }
    let campaign = answer.get("campaign").cloned().unwrap_or_default();
    print::line(format!(
        "{}  {}  {} targets",
        print::bold(text(&campaign, "automation")),
        text(&campaign, "status"),
        number(&campaign, "targets")
    ));
    if let Some(note) = campaign.get("note").and_then(Value::as_str) {
        print::line(format!("  {note}"));
    }
    let left = answer.pointer("/forecast/tasks").and_then(Value::as_u64);
    if let Some(forecast) = answer.pointer("/forecast/sentence").and_then(Value::as_str)
        && left.is_some_and(|left| left > 0)
    {
        print::line(format!("  still to come: {}", clean(forecast, 300)));
    }
    let mut states = Table::new(&["STATE", "TASKS"]);
    for (state, count) in answer
        .get("counts")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        states.row(vec![print::status(state), count.to_string()]);
    }
    states.print("no tasks yet");
    let mut waves = Table::new(&["WAVE", "TARGETS", "SETTLED", "BAD", "PROPOSED", "MERGED"]);
    let admitted = number(&campaign, "admitted_wave");
    for (wave, row) in answer
        .get("waves")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let mark = if wave as u64 > admitted {
            " (not yet)"
        } else {
            ""
        };
        let column = |key: &str| number(row, key).to_string();
        waves.row(vec![
            format!("{wave}{mark}"),
            column("total"),
            column("settled"),
            column("bad"),
            column("proposed"),
            column("merged"),
        ]);
    }
    waves.print("no waves yet");
    let mut classes = Table::new(&["REVIEW CLASS", "CHANGES", "OPEN", "FOR EXAMPLE"]);
    for class in answer
        .get("classes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let sample = class
            .pointer("/sample/target/repository")
            .and_then(Value::as_str)
            .unwrap_or_default();
        classes.row(vec![
            short(text(class, "class")).to_owned(),
            number(class, "count").to_string(),
            number(class, "open").to_string(),
            clean(sample, 60),
        ]);
    }
    classes.print("no changes yet");
    Ok(0)
}

async fn steer(global: &Global, campaign: &str, verb: &str) -> Result<u8, Failure> {
    with_session(global, verb == "close", async |session| {
        let id = find_campaign(&session.client, campaign).await?;
        let answer: Value = session
            .client
            .post(&format!("/campaigns/{}/{verb}", escape(&id)), &json!({}))
            .await?;
        if verb == "close" && !session.is_remote() {
            // This control plane ends with the command: nothing would go on clearing away.
            watch::cleared(&session.client, &id).await?;
        }
        if print::is_json() {
            print::json(&answer);
        } else {
            print::note(format!("campaign {id} is now {}", text(&answer, "status")));
        }
        Ok(0)
    })
    .await
}
