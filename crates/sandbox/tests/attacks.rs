//! Every attack of the catalogue, in every mode and tier that this machine can make.
//!
//! The attacks are in `src/bin/attacker/`; what is promised is in `attacks/expected.rs`; how an
//! environment of a tier and mode is made is in `attacks/adapter.rs`.
//!
//! `NIGHTCREW_ATTACK_RESULTS=FILE` writes every result as JSON. `UPDATE_SECURITY_TABLE=1` writes the
//! table in `docs/security.md` anew. `NIGHTCREW_ATTACK_ONLY=PART` runs the attacks whose name
//! contains that.
#![expect(clippy::print_stdout, reason = "how much was tried is worth a line")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

#[path = "attacks/adapter.rs"]
mod adapter;
#[path = "attacks/catalogue.rs"]
mod catalogue;
#[path = "attacks/expected.rs"]
mod expected;
#[path = "attacks/judge.rs"]
mod judge;
#[path = "attacks/matrix.rs"]
mod matrix;
#[path = "attacks/ordinary.rs"]
mod ordinary;
#[path = "attacks/scene.rs"]
mod scene;
#[path = "attacks/table.rs"]
mod table;

use std::sync::{Mutex, PoisonError};

use adapter::{Mode, Tier};
use catalogue::Control;
use common::{is_root, skip};
use scene::Scene;

#[test]
fn the_catalogue_has_every_item_and_no_name_twice() {
    let attacks = catalogue::read();
    for item in (1..=30).chain(47..=63) {
        assert!(
            attacks.iter().any(|attack| attack.item == item),
            "item {item} has no attack"
        );
    }
    let mut names: Vec<&str> = attacks.iter().map(|attack| attack.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), attacks.len());
    assert!(attacks.len() >= 90, "{}", attacks.len());
}

#[test]
fn a_result_that_is_not_promised_differs_in_either_direction() {
    let row = |name: &str, outcome| matrix::Row {
        name: name.into(),
        item: 1,
        what: String::new(),
        tier: Tier::L1,
        mode: Mode::DenyList,
        outcome,
        seen: String::new(),
    };
    use matrix::Outcome::{Blocked, Bypass, Fault, NotApplicable};
    for (name, outcome, differs) in [
        ("exec-direct", Blocked, false),
        ("exec-direct", NotApplicable, false),
        ("exec-direct", Bypass, true),
        ("exec-direct", Fault, true),
        ("exec-padded-smuggled", Bypass, false),
        ("exec-padded-smuggled", Blocked, true),
        ("exec-padded", Bypass, true),
        ("exec-new-mount-bind", Bypass, true),
        ("audit-flood", Bypass, true),
        ("proc-mount", Bypass, true),
        ("proc-mount", Fault, true),
    ] {
        let difference = row(name, outcome).difference();
        assert_eq!(difference.is_some(), differs, "{name} {outcome:?}");
    }
}

#[test]
fn every_attack_with_a_control_works_where_nothing_stops_it() {
    let scene = Scene::new();
    let mut failed = Vec::new();
    for attack in catalogue::read() {
        if attack.control == Control::None || (attack.control == Control::Root && !is_root()) {
            continue;
        }
        let (code, seen) = scene.control(&attack.name);
        match code {
            0 => {}
            20 => println!("{}: {seen}", attack.name),
            _ => failed.push(format!("{} ended with {code}: {seen}", attack.name)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_attack_on_the_fence_is_blocked_or_listed_without_exec_control() {
    hold(Tier::L0Root, Mode::Off);
}

#[test]
fn every_attack_on_an_ordinary_users_fence_is_blocked_or_listed() {
    hold(Tier::L0, Mode::Off);
}

#[test]
fn every_attack_is_blocked_or_listed_in_deny_list_mode() {
    hold(Tier::L1, Mode::DenyList);
}

#[test]
fn every_attack_is_blocked_or_listed_in_deny_list_mode_without_a_gate() {
    hold(Tier::L0, Mode::DenyList);
}

#[test]
fn every_attack_is_blocked_or_listed_in_allow_list_mode() {
    hold(Tier::L1, Mode::AllowList);
}

#[test]
fn every_attack_is_blocked_or_listed_in_allow_list_mode_without_a_gate() {
    hold(Tier::L0, Mode::AllowList);
}

#[test]
fn every_attack_is_blocked_or_listed_in_strict_mode() {
    hold(Tier::L1, Mode::Strict);
}

#[test]
fn every_attack_is_blocked_or_listed_in_strict_mode_without_a_gate() {
    hold(Tier::L0, Mode::Strict);
}

/// The part of a matrix that an ordinary user runs, started by [`ordinary::run`].
#[test]
#[ignore = "started by the others, as another user"]
fn part_of_an_ordinary_user() {
    ordinary::part();
}

/// Runs one cell of the matrix; any difference from what is promised fails.
fn hold(tier: Tier, mode: Mode) {
    // One after the other, whatever cargo does: what an attack leaves is looked for on the whole host.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = match matrix::run(tier, mode) {
        Ok(rows) => rows,
        Err(reason) => return skip(&format!("{} {}: {reason}", tier.name(), mode.name())),
    };
    table::record(&rows);
    let differences: Vec<String> = rows.iter().filter_map(matrix::Row::difference).collect();
    println!(
        "{} {}: {} attacks, {} differ",
        tier.name(),
        mode.name(),
        rows.len(),
        differences.len()
    );
    assert!(
        differences.is_empty(),
        "{} {}\n{}",
        tier.name(),
        mode.name(),
        differences.join("\n")
    );
}
