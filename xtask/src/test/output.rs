//! Reads what `cargo test` prints while it passes by: totals, failures, and tests that were skipped.
//!
//! Tests run with `--show-output`, so that a skipped test's reason appears under its name; the
//! rest of what passing tests print is left out.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::shell::say;

/// What became of all tests.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// As cargo counts: a test that skipped itself has passed.
    pub(super) passed: usize,
    pub(super) failed: usize,
    ignored: usize,
    /// `SKIP reason (test)`, one for each reason of each test.
    pub(super) skips: Vec<String>,
    /// Names of failed tests.
    pub(super) failures: Vec<String>,
    skipped_tests: BTreeSet<String>,
}

impl Totals {
    /// Tests that passed without having tested anything.
    pub(super) fn skipped_passes(&self) -> usize {
        self.skipped_tests.len().min(self.passed)
    }

    /// Tests that did not run.
    pub(super) fn skipped(&self) -> usize {
        self.skipped_tests.len() + self.ignored
    }
}

/// Where in the output a reader is.
#[derive(Debug, Default)]
struct Reader {
    /// The test program.
    program: String,
    /// The test whose output this is.
    test: String,
    /// Inside the output of tests that passed.
    hidden: bool,
}

/// Runs tests, prints what matters, and counts.
pub(super) fn follow(command: &mut Command, totals: &mut Totals) -> Result<()> {
    // Cargo names test programs on its standard error: both come through one pipe, in order.
    let (reading, writing) = std::io::pipe().context("make a pipe")?;
    command
        .stderr(writing.try_clone().context("copy a pipe")?)
        .stdout(writing)
        .stdin(Stdio::null());
    let mut child = command.spawn().context("start cargo test")?;
    // This end of the pipe must not stay open here.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = Reader::default();
    let before = totals.failed;
    for line in BufReader::new(reading).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("read from cargo test")?).into_owned();
        if reader.take(&line, totals) {
            say(&line);
        }
    }
    let status = child.wait().context("wait for cargo test")?;
    if !status.success() && totals.failed == before {
        totals.failed += 1;
        totals.failures.push(format!(
            "cargo test ({status}): a test program did not build or died"
        ));
    }
    Ok(())
}

impl Reader {
    /// Notes what a line says; whether it should be shown.
    fn take(&mut self, line: &str, totals: &mut Totals) -> bool {
        let words = line.trim();
        if let Some(program) = words
            .strip_prefix("Running ")
            .or_else(|| words.strip_prefix("Doc-tests "))
        {
            self.program = program.split(" (").next().unwrap_or_default().to_owned();
            self.hidden = false;
        } else if line == "successes:" {
            self.hidden = true;
        } else if line == "failures:" {
            self.hidden = false;
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.hidden = false;
            totals.passed += count(counts, " passed");
            totals.failed += count(counts, " failed");
            totals.ignored += count(counts, " ignored");
        } else if let Some(test) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.test = test.to_owned();
        } else if let Some(at) = line
            .find("SKIP ")
            .filter(|at| self.hidden && line[..*at].trim().is_empty())
        {
            let name = format!("{} {}", self.program, self.test);
            totals.skips.push(format!("{} ({name})", &line[at..]));
            totals.skipped_tests.insert(name);
        } else if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            totals.failures.push(format!("{} {test}", self.program));
        }
        !self.hidden && !line.ends_with(" ... ok")
    }
}

/// The number before a word.
fn count(counts: &str, word: &str) -> usize {
    let before = counts
        .split(word)
        .next()
        .filter(|before| before.len() < counts.len());
    before
        .and_then(|text| text.rsplit([' ', ';']).next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Totals, String) {
        let (mut totals, mut reader) = (Totals::default(), Reader::default());
        let shown: Vec<&str> = text
            .lines()
            .filter(|line| reader.take(line, &mut totals))
            .collect();
        (totals, shown.join("\n"))
    }

    #[test]
    fn a_skipped_test_is_no_passed_test_and_is_named() {
        let (totals, shown) = read(
            "     Running tests/a.rs (target/debug/deps/a-1)\n\nrunning 3 tests\ntest x ... ok\ntest y ... ok\n\
             test z ... ignored\n\nsuccesses:\n\n---- y stdout ----\nSKIP no browser: none\nmore words\n\n\nsuccesses:\n    x\n    y\n\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
        );
        assert_eq!(
            (
                totals.passed - totals.skipped_passes(),
                totals.failed,
                totals.skipped()
            ),
            (1, 0, 2)
        );
        assert_eq!(totals.skips, ["SKIP no browser: none (tests/a.rs y)"]);
        assert!(!shown.contains("more words"), "{shown}");
    }

    #[test]
    fn failures_are_counted_named_and_shown() {
        let (totals, shown) = read(
            "     Running unittests src/lib.rs (target/debug/deps/b-1)\ntest m::bad ... FAILED\n\nfailures:\n\n---- m::bad stdout ----\n\
             panicked at it\n\nfailures:\n    m::bad\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured",
        );
        assert_eq!((totals.passed, totals.failed), (0, 1));
        assert_eq!(totals.failures, ["unittests src/lib.rs m::bad"]);
        assert!(shown.contains("panicked at it"), "{shown}");
    }
}
