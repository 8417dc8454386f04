//! The demo keeps its promises without anybody watching.

mod common;

use common::{Place, skip};
use testkit::server::processes_of;

#[test]
fn the_demo_without_a_head_settles_every_task_and_says_what_came_of_it() {
    let place = Place::new();
    if place.say(&["doctor"]).code != Some(0) {
        return skip("this host refuses environments");
    }
    let said = place.say(&["--json", "demo", "--headless"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let outcome: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let count = |state: &str| outcome["tasks"][state].as_u64().unwrap_or(0);
    assert_eq!(outcome["repositories"], 35, "{outcome}");
    assert_eq!(
        (count("in_review"), count("failed"), count("no_change")),
        (29, 3, 2),
        "{outcome}"
    );
    let changes = outcome["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 29, "{outcome}");
    assert!(
        changes.iter().all(|change| change["state"] == "in_review"
            && change["commit"].as_str().is_some_and(|id| id.len() == 40)),
        "{outcome}"
    );
    assert_eq!(outcome["ledger"]["verified"], true, "{outcome}");
    assert_eq!(outcome["model"], "none", "{outcome}");
    assert!(outcome["isolation"].is_string(), "{outcome}");
    let refused = said.err.matches("\u{2714} refused").count();
    assert_eq!(refused, 14, "{}", said.err);
    assert!(
        said.err.contains("\u{2714} found, in entry"),
        "{}",
        said.err
    );
    let left = processes_of(&place.program.path, &place.program.data_dir);
    assert!(left.is_empty(), "{left:?}");
}
