//! `cargo xtask test`: format, lints, all tests, and an honest last line.
//!
//! Nothing stays behind: tests get a temporary folder that is removed afterwards, and processes
//! that a test forgot are found (they become children of this one) and ended.

mod agents;
mod kernel;
mod leftovers;
mod needs;
mod output;

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::shell::{cargo, must, root, run, say};
use output::Totals;

/// What to test, and how strictly.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Turn every skipped test into a failure
    #[arg(long)]
    require_all: bool,
    /// Tests only: leave out format and lints
    #[arg(long)]
    quick: bool,
    /// Only tests whose name contains one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Runs everything; whether all of it passed.
pub(crate) fn execute(options: &Options) -> Result<bool> {
    announce(options);
    let mut missing = needs::provide()?;
    missing.extend(kernel::provide()?);
    missing.extend(agents::provide()?);
    let checks = !options.quick && options.names.is_empty();
    let mut totals = Totals::default();
    if checks {
        check(&mut totals, "format", &["fmt", "--all", "--check"])?;
        let lints = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        check(&mut totals, "lints", &lints)?;
        if needs::can_build_exec_control() {
            let name = "lints of exec control in the kernel";
            let lints = [
                "clippy",
                "-p",
                "sandbox",
                "--features",
                "bpf-lsm",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ];
            check(&mut totals, name, &lints)?;
        }
    }
    say("== the program, for tests that start it");
    if let Err(error) = must(&mut cargo(&["build", "--quiet", "-p", "nightcrew"])) {
        say(format!("{error:#}"));
        totals.failed += 1;
        totals
            .failures
            .push("the program does not build".to_owned());
    }
    tests(options, &mut totals)?;
    report(options, &totals, &missing);
    Ok(totals.failed == 0)
}

fn announce(options: &Options) {
    say("This checks format and lints, and runs the tests of every crate.");
    say("Tests use real programs: git, PostgreSQL (a throw-away server of their own), Chromium.");
    if options.require_all {
        say("Every test must run: a skipped one is a failure (--require-all).");
    } else {
        say("A test that cannot run here is skipped and named at the end.");
    }
}

fn check(totals: &mut Totals, name: &str, arguments: &[&str]) -> Result<()> {
    say(format!("== {name}: cargo {}", arguments.join(" ")));
    if run(&mut cargo(arguments))? {
        totals.passed += 1;
    } else {
        totals.failed += 1;
        totals
            .failures
            .push(format!("cargo {}", arguments.join(" ")));
    }
    Ok(())
}

fn tests(options: &Options, totals: &mut Totals) -> Result<()> {
    let place = tempfile::Builder::new()
        .prefix("nightcrew-tests.")
        .tempdir()
        .context("make a temporary folder")?;
    leftovers::open_to_all(place.path())?;
    leftovers::adopt()?;
    say("== tests: cargo test --workspace");
    run_tests(options, place.path(), &["--workspace"], totals)?;
    // In a second run, so that the first is the program as it is shipped.
    if needs::can_build_exec_control() {
        say("== tests of exec control in the kernel: cargo test -p sandbox --features bpf-lsm");
        let arguments = [
            "-p",
            "sandbox",
            "--features",
            "bpf-lsm",
            "--test",
            "bpf_lsm",
        ];
        run_tests(options, place.path(), &arguments, totals)?;
    }
    for left in leftovers::end_processes() {
        say(format!(
            "a test left a process behind, which is ended now: {left}"
        ));
    }
    for left in leftovers::names(place.path()) {
        say(format!(
            "a test left this behind, which is removed now: {left}"
        ));
    }
    place.close().context("remove the temporary folder")?;
    Ok(())
}

/// Runs the tests that `which` names, in a temporary folder.
fn run_tests(options: &Options, place: &Path, which: &[&str], totals: &mut Totals) -> Result<()> {
    let mut command = cargo(&["test"]);
    command
        .args(which)
        .args(["--no-fail-fast", "--", "--show-output"])
        .args(&options.names)
        .env("TMPDIR", place)
        .env("NIGHTCREW_SHARED", shared());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
        command.env_remove(name);
    }
    if options.require_all {
        command.env("NIGHTCREW_REQUIRE_ALL", "1");
    }
    output::follow(&mut command, totals)
}

/// Settings of a developer's own Nightcrew must not reach the tests.
fn is_ours(name: &OsString) -> bool {
    let kept = [
        "NIGHTCREW_TEST_KERNEL",
        "NIGHTCREW_TEST_POSTGRES",
        "NIGHTCREW_SHARED",
        "NIGHTCREW_REQUIRE_ALL",
    ];
    name.to_str()
        .is_some_and(|name| name.starts_with("NIGHTCREW_") && !kept.contains(&name))
}

/// The folder with large inputs that are not part of the project.
fn shared() -> OsString {
    std::env::var_os("NIGHTCREW_SHARED").unwrap_or_else(|| root().join("../shared").into())
}

fn report(options: &Options, totals: &Totals, missing: &[String]) {
    let mut skipped = totals.skips.clone();
    skipped.extend(missing.iter().cloned());
    if !skipped.is_empty() {
        let rule = "─".repeat(78);
        say(format!("┌{rule}\n│ NOT TESTED HERE"));
        skipped.iter().for_each(|line| say(format!("│ {line}")));
        say(format!("└{rule}"));
    }
    totals
        .failures
        .iter()
        .for_each(|failure| say(format!("FAILED {failure}")));
    let skips = totals.skips.len();
    if options.require_all && skips > 0 {
        say("--require-all: a skipped test is a failure");
    }
    say(format!(
        "{} passed, {} failed, {} skipped",
        totals.passed - totals.skipped_passes(),
        totals.failed,
        totals.skipped()
    ));
}
