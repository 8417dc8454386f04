//! The program is killed while it works, and ends as if it had not been: the small version of
//! `cargo xtask chaos`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::Path;
use std::time::Duration;

use testkit::chaos::{Chaos, Kill};
use testkit::fleet::Source;

/// Whether environments can be made here; says why not.
#[expect(
    clippy::print_stdout,
    reason = "a skipped test says so where the test task looks for it"
)]
fn host_is_able(program: &Path) -> bool {
    let doctor = std::process::Command::new(program)
        .arg("doctor")
        .output()
        .unwrap();
    if doctor.status.success() {
        return true;
    }
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(),
        "this host refuses environments: {words}"
    );
    println!(
        "SKIP this host refuses environments: {}",
        words.lines().next().unwrap_or_default()
    );
    false
}

#[test]
fn a_campaign_that_is_killed_ends_like_one_that_is_left_alone() {
    let program = Path::new(env!("CARGO_BIN_EXE_nightcrew"));
    if !host_is_able(program) {
        return;
    }
    let mut chaos = Chaos::prepare(program, &Source::Synthetic, 12).unwrap();
    let calm = chaos.trial(&Kill::Never, None).unwrap();
    assert!(
        calm.problems.is_empty(),
        "undisturbed: {:#?}",
        calm.problems
    );
    let share = |part: u32| calm.took * part / 10;
    let kills = [
        Kill::Point("plan.before_done", 1),
        Kill::Point("submit.after_forge", 2),
        Kill::Point("step.after_report", 1),
        Kill::After(vec![share(3)]),
        Kill::After(vec![share(5), Duration::from_millis(40)]),
        Kill::After(vec![share(8)]),
    ];
    for kill in kills {
        let trial = chaos.trial(&kill, Some(&calm.ending)).unwrap();
        assert!(trial.problems.is_empty(), "{kill:?}: {:#?}", trial.problems);
    }
}
