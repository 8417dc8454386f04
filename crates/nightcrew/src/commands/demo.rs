//! `nightcrew demo`: a fleet, a campaign and its reviews, for real and in a minute.
//!
//! The parent builds the fleet and talks to the control plane, a child process in a process group
//! of its own, so that it can be killed with SIGKILL in the middle of its work.

mod child;
mod escapes;
mod fleet;
mod summary;
mod tamper;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{automation, items, number, text, up};
use crate::cli::{DemoArguments, Global};
use crate::client::Client;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::embedded;
use crate::failure::{Doing, Failure};
use crate::node::Node;
use crate::print;
use child::Child;

/// The automation of the demo.
const AUTOMATION: &str = "travis-to-actions";
/// The push to this repository starts the campaign.
const STARTER: &str = "platform-ci";

pub(super) async fn execute(global: &Global, arguments: DemoArguments) -> Result<u8, Failure> {
    if arguments.child {
        return serve(global, arguments).await;
    }
    let began = Instant::now();
    let root = data_dir(global)?;
    let data_dir = DataDir::open(root.clone())?;
    let names = fleet::build(&data_dir)?;
    heading("A fleet");
    print::note(format!(
        "  {} git repositories in {}",
        names.len(),
        data_dir.forge().display()
    ));
    let escapes = escapes::attempt(&root)?;
    let mut child = Child::start(&root, arguments.listen.as_deref())?;
    let client = child.client(&data_dir).await?;
    what_is_real(&client).await?;
    escapes::tell(&escapes);
    let (source, files) = embedded::automation(AUTOMATION)
        .ok_or_else(|| Failure::new("the automation of the demo is missing"))?;
    automation::apply(&client, &PathBuf::from("automation.yaml"), &source, &files).await?;
    heading("A push starts a campaign");
    fleet::push(
        &data_dir,
        STARTER,
        &[(
            "announcement.md",
            b"The fleet moves to GitHub Actions today.\n",
        )],
    )?;
    let campaign = started(&client).await?;
    print::note(format!(
        "  the automation {AUTOMATION} fires once: campaign {campaign}"
    ));
    let (client, before) = kill_and_restart(
        &mut child,
        &data_dir,
        client,
        &campaign,
        arguments.listen.as_deref(),
    )
    .await?;
    let finding = tamper::flip_one_bit(&data_dir, &root).await?;
    settle(&client, &campaign, &data_dir).await?;
    let after = counts(&client, &campaign).await?;
    summary::crash(&before, &after)?;
    summary::tampering(&finding);
    let report: Value = client
        .post(
            "/ledger/verify",
            &json!({"checkpoints": [finding.checkpoint.clone()]}),
        )
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    if arguments.headless {
        let outcome = summary::object(&client, &campaign, &report, names.len(), seconds).await?;
        child.stop().await?;
        if print::is_json() {
            print::json(&outcome);
        } else {
            summary::tell(&outcome);
        }
        let verified = report
            .get("verified")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        return Ok(u8::from(!(verified && finding.was_found())));
    }
    summary::campaign(&client, &campaign, &report, seconds).await?;
    let link = child.link(&client).await?;
    heading("Your turn");
    print::note("  review and merge the first change: this link opens the console once");
    print::line(format!("  {link}"));
    print::note(print::dim(&format!(
        "  or: nightcrew --data-dir {} inbox",
        root.display()
    )));
    print::note(print::dim("  Ctrl-C ends the demo"));
    print::line("nightcrew try YOUR-REPOSITORY -- YOUR-COMMAND");
    up::wait_for_stop().await?;
    child.stop().await?;
    Ok(0)
}

fn heading(text: &str) {
    print::note(format!("\n{}", print::bold(text)));
}

/// Given, or a new one under the folder for temporary files.
fn data_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(given) = &global.data_dir {
        let given = std::path::absolute(given).doing(format_args!("find {}", given.display()))?;
        if given.join("nightcrew.sqlite").exists() {
            return Err(Failure::usage(format!(
                "{} holds the state of something else",
                given.display()
            ))
            .hint("the demo wants a new data directory"));
        }
        return Ok(given);
    }
    Ok(std::env::temp_dir().join(format!("nightcrew-demo-{}", std::process::id())))
}

/// The child: a control plane like any other.
async fn serve(global: &Global, arguments: DemoArguments) -> Result<u8, Failure> {
    let mut config = Config::load(global)?;
    config.listen = arguments.listen;
    let node = Node::start(&config, true).await?;
    up::wait_for_stop().await?;
    node.shutdown().await;
    Ok(0)
}

async fn what_is_real(client: &Client) -> Result<(), Failure> {
    let status: Value = client.get("/status").await?;
    heading("What is real");
    print::note(format!(
        "  isolation  {}",
        super::doctor::summary(status.get("isolation").unwrap_or(&Value::Null))
    ));
    let git = std::process::Command::new("git")
        .arg("--version")
        .output()
        .doing("run git")?;
    print::note(format!(
        "  git        {}",
        String::from_utf8_lossy(&git.stdout).trim()
    ));
    print::note(format!("  database   {}", text(&status, "store")));
    print::note("  model      none: everything here is deterministic");
    Ok(())
}

/// Waits for the campaign that the push starts.
async fn started(client: &Client) -> Result<String, Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let _: Value = client
        .post("/forge/poll", &json!({"repository": STARTER}))
        .await?;
    loop {
        let answer: Value = client.get("/campaigns?open=true").await?;
        if let Some(row) = items(&answer).first() {
            return Ok(text(row, "id").to_owned());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                "the push started no campaign within 30 seconds",
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

type Counts = Vec<(String, u64)>;

async fn counts(client: &Client, campaign: &str) -> Result<Counts, Failure> {
    let answer: Value = client.get(&format!("/campaigns/{campaign}")).await?;
    let counts = answer
        .get("counts")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    Ok(counts
        .into_iter()
        .map(|(state, count)| (state, count.as_u64().unwrap_or(0)))
        .collect())
}

/// Kills the control plane when a part of the work is done, and starts it again.
async fn kill_and_restart(
    child: &mut Child,
    data_dir: &DataDir,
    client: Client,
    campaign: &str,
    listen: Option<&str>,
) -> Result<(Client, Counts), Failure> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let before = loop {
        let answer: Value = client.get(&format!("/campaigns/{campaign}")).await?;
        let waves = answer
            .get("waves")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let settled: u64 = waves.iter().map(|wave| number(wave, "settled")).sum();
        // The copy below is verified against a checkpoint, and leaves wait for one up to half a second.
        if settled >= 8 && has_checkpoint(&client).await? {
            break counts(&client, campaign).await?;
        }
        if Instant::now() > deadline {
            return Err(Failure::new("the campaign does not advance"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    child.kill()?;
    tamper::copy(data_dir)?;
    *child = Child::start(data_dir.root(), listen)?;
    let client = child.client(data_dir).await?;
    Ok((client, before))
}

async fn has_checkpoint(client: &Client) -> Result<bool, Failure> {
    let ledger: Value = client.get("/ledger").await?;
    Ok(ledger.get("checkpoint").is_some_and(Value::is_string))
}

/// Waits until every task is settled; commits what makes one change conflict on the way.
async fn settle(client: &Client, campaign: &str, data_dir: &DataDir) -> Result<(), Failure> {
    let mut conflicts = embedded::conflicts();
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let mut left = std::collections::BTreeMap::new();
        for (name, files) in conflicts {
            let rows: Value = client
                .get(&format!("/tasks?repository={name}&status=in_review"))
                .await?;
            if items(&rows).is_empty() {
                left.insert(name, files);
                continue;
            }
            let files: Vec<(&str, &[u8])> = files
                .iter()
                .map(|file| (file.path.as_str(), file.content.as_slice()))
                .collect();
            fleet::push(data_dir, &name, &files)?;
        }
        conflicts = left;
        let answer: Value = client.get(&format!("/campaigns/{campaign}")).await?;
        let waves = answer
            .get("waves")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let settled: u64 = waves.iter().map(|wave| number(wave, "settled")).sum();
        let targets = answer
            .pointer("/campaign/targets")
            .and_then(Value::as_u64)
            .unwrap_or(u64::MAX);
        if settled >= targets {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "{settled} of {targets} tasks are settled after five minutes"
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
