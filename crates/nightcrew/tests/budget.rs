//! Caps and the kill switch with a real server, real environments and the command line.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{Place, refused, until};
use jiff::Timestamp;
use serde_json::Value;

/// Works for ever, unless it finds what an earlier beginning of it left.
const SLOW: &str = r#"name: slow
triggers: [manual]
targets: { query: 'true' }
steps:
  - command: 'if test -e .left; then rm .left; echo went on >> notes.txt; else echo begun > .left; sleep 600; fi'
  - validate: [ builtin:conflict-markers ]
  - change: { title: "Go on" }
budget: { usd: 2, per_task: { usd: 1 } }
"#;

const CONFIGURATION: &str = "[budget]\nusd = 50\n[budget.teams.web]\nrepositories = [\"shop\"]\nusd = 12.5\ntokens = \"2M\"\n";

fn tasks(api: &mut testkit::api::Api) -> Vec<Value> {
    let list = api.get("/tasks?limit=100").unwrap();
    list["items"].as_array().unwrap().clone()
}

/// When the newest fact of this kind of a task was decided.
fn at(api: &mut testkit::api::Api, task: &Value, kind: &str) -> Option<Timestamp> {
    let path = format!("/tasks/{}/facts", task["id"].as_str().unwrap());
    let facts = api.get(&path).unwrap();
    let items = facts.as_array().unwrap();
    let fact = items.iter().rev().find(|fact| fact["fact"]["is"] == kind)?;
    Some(fact["at"].as_str().unwrap().parse().unwrap())
}

#[test]
fn a_stop_ends_what_runs_within_a_second_and_a_lift_goes_on_with_the_work() {
    let place = Place::new();
    place.repository("fleet/cart", &[("notes.txt", "one\n")]);
    place.repository("fleet/shop", &[("notes.txt", "one\n")]);
    place.must(&["inventory", "import", "fleet"]);
    place.write("slow.yaml", SLOW);
    let (_server, mut api) = place.server();
    place.must(&["automation", "apply", "slow.yaml"]);
    place.must(&["automation", "start", "slow"]);
    let marks = |place: &Place| {
        let layers = place.program.data_dir.join("runner/layers");
        let found = std::process::Command::new("find")
            .arg(layers)
            .args(["-name", ".left"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    until("both work", || {
        let all = tasks(&mut api);
        all.len() == 2 && all.iter().all(|task| task["status"] == "running") && marks(&place) == 2
    });
    let said = place.say(&["stop", "automation:slow", "--because", "it runs wild"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let stop = &place.json(&["stop"])["items"][0];
    assert_eq!(stop["because"], "it runs wild");
    let stopped: Timestamp = stop["at"].as_str().unwrap().parse().unwrap();
    until("both are stopped", || {
        tasks(&mut api).iter().all(|task| task["wait"] == "stop")
    });
    for task in tasks(&mut api) {
        // The fact is written when the environment is gone.
        let waited = at(&mut api, &task, "waited").unwrap();
        let took = Duration::try_from(waited.duration_since(stopped)).unwrap();
        println!("halted {took:?} after the stop");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(marks(&place), 2, "the work is kept");
    // A new run starts nothing.
    refused(
        &place.say(&["stop", "automation:nobody"]),
        &["automation", "nobody"],
    );
    place.must(&["stop", "--lift", "automation:slow"]);
    until("both changes are proposed", || {
        tasks(&mut api)
            .iter()
            .all(|task| task["status"] == "in_review")
    });
    for task in tasks(&mut api) {
        let diff = place.must(&["task", "diff", task["id"].as_str().unwrap()]);
        assert!(diff.contains("+went on"), "{diff}");
        // It went on, in the same round.
        assert_eq!(task["round"], 1);
    }
    place.must(&["ledger", "verify"]);
    assert!(place.must(&["stop"]).is_empty());
}

#[test]
fn budgets_are_listed_raised_and_refused_with_a_cure() {
    let place = Place::new();
    place.repository("fleet/shop", &[("notes.txt", "one\n")]);
    place.must(&["inventory", "import", "fleet"]);
    place.write("caps.toml", CONFIGURATION);
    let with = |arguments: &[&str]| {
        let mut all = vec!["--config", "caps.toml"];
        all.extend(arguments);
        place.say(&all)
    };
    let list = with(&["budget", "list"]);
    assert_eq!(list.code, Some(0), "{}", list.err);
    for words in ["organisation", "$50.00", "team:web", "$12.50", "2M"] {
        assert!(list.out.contains(words), "no `{words}` in {}", list.out);
    }
    let raised = with(&[
        "budget",
        "raise",
        "team:web",
        "--usd",
        "20",
        "--because",
        "more to do",
    ]);
    assert_eq!(raised.code, Some(0), "{}", raised.err);
    let shown = with(&["budget", "show", "team:web"]);
    assert!(
        shown.out.contains("$20.00") && shown.out.contains("raised usd to $20.00: more to do"),
        "{}",
        shown.out
    );
    refused(
        &with(&["budget", "raise", "team:web"]),
        &["nothing is raised"],
    );
    for (arguments, words) in [
        (&["team:web", "--usd", "20"][..], "already have $20.00"),
        (&["team:web", "--wall", "2h"], "no cap of wall"),
        (&["team:nobody", "--usd", "2"], "no team `nobody`"),
        (&["web", "--usd", "2"], "is no scope"),
    ] {
        let mut all = vec!["budget", "raise"];
        all.extend(arguments);
        let said = with(&all);
        assert!(
            matches!(said.code, Some(1 | 2)) && said.err.contains(words),
            "{said:?}"
        );
    }
    let bad = with(&["budget", "raise", "team:web", "--usd", "lots"]);
    assert!(bad.err.contains("no amount of dollars"), "{}", bad.err);
    for by in [
        "team",
        "automation",
        "campaign",
        "model",
        "task",
        "merged-change",
    ] {
        let csv = with(&["budget", "spend", "--by", by, "--csv"]);
        assert!(csv.out.starts_with("name,scope,change,usd,"), "{csv:?}");
    }
    for (text, words) in [
        ("[budget]\nusd = -3\n", "no amount of dollars"),
        ("[budget]\nwages = 3\n", "wages"),
        (
            "[budget.teams.web]\nusd = 3\n",
            "neither automations nor repositories",
        ),
    ] {
        place.write("caps.toml", text);
        refused(&with(&["budget", "list"]), &[words]);
    }
    place.write("slow.yaml", SLOW);
    place.must(&["automation", "check", "slow.yaml"]);
    let preview = place.must(&["campaign", "preview", "slow.yaml"]);
    assert!(
        preview.contains("1 tasks: at most $1.00 (from its caps alone"),
        "{preview}"
    );
    place.write("slow.yaml", SLOW.replace("usd: 2,", "usd: two,"));
    let said = place.say(&["automation", "check", "slow.yaml"]);
    assert!(
        said.err.contains("slow.yaml:8") && said.err.contains("no amount of dollars"),
        "{}",
        said.err
    );
}
