//! What a check's output says failed, as a set of names, so that two runs can be compared.
//!
//! Lines `not ok NAME: why` and `not ok 3 - NAME # why` count (Test Anything Protocol 14, and the
//! plainer form without numbers); `# TODO` and `# SKIP` do not. Without any such line the exit code
//! is the one name there is.

use std::collections::BTreeSet;

use model::protocol::LogStream;
use sandbox::ExitStatus;

use crate::log::plain;
use crate::outputs::shortened;

/// Names kept of one run.
const MOST: usize = 1000;
/// Longest name, in bytes.
const LONGEST: usize = 200;
/// Longest line looked at.
const LONGEST_LINE: usize = 4096;

/// Reads lines as they come.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    line: Vec<u8>,
    names: BTreeSet<String>,
    /// Whether there was any line that speaks of a test.
    spoke: bool,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What failed.
    pub(crate) names: BTreeSet<String>,
    /// The program was not found or cannot be executed, and nothing was said.
    pub(crate) missing: bool,
}

impl Failures {
    /// Takes in what was printed; only standard output counts.
    pub(crate) fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        if stream != LogStream::Out {
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE
                .saturating_sub(self.line.len())
                .min(piece.len());
            self.line.extend_from_slice(&piece[..room]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = plain(line.trim_ascii());
        let rest = match (line.strip_prefix("not ok"), line.strip_prefix("ok")) {
            (Some(rest), _) if rest.is_empty() || rest.starts_with([' ', '\t']) => rest,
            (None, Some(rest)) if rest.starts_with([' ', '\t']) => {
                self.spoke = true;
                return;
            }
            _ if line.starts_with("Bail out!") => " bail out",
            _ => return,
        };
        self.spoke = true;
        if self.names.len() < MOST
            && let Some(name) = name(rest)
        {
            self.names.insert(name);
        }
    }

    /// Ends the run.
    pub(crate) fn finish(mut self, status: ExitStatus) -> Outcome {
        if !self.line.is_empty() {
            self.end_line();
        }
        let missing = !self.spoke && matches!(status, ExitStatus::Code(126 | 127));
        let name = match status {
            ExitStatus::Code(0) => None,
            ExitStatus::TimedOut => Some("ran out of time".to_owned()),
            // What failed was said; the exit code adds nothing.
            _ if !self.names.is_empty() => None,
            ExitStatus::Code(code) => Some(format!("exit code {code}")),
            ExitStatus::Signal(signal) => Some(format!("signal {signal}")),
            ExitStatus::EnvironmentGone => Some("the environment was lost".to_owned()),
        };
        self.names.extend(name);
        Outcome {
            names: self.names,
            missing,
        }
    }
}

/// The name in what follows `not ok`; `None` when it is expected to fail.
fn name(rest: &str) -> Option<String> {
    let rest = rest.trim();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, mut text) = rest.split_at(digits);
    if !text.is_empty() && !text.starts_with([' ', '\t']) {
        text = rest;
    }
    let text = text.trim_start().trim_start_matches("- ");
    // A directive may follow the number directly.
    let (text, directive) = match text.strip_prefix("# ") {
        Some(directive) => ("", directive),
        None => text.split_once(" # ").unwrap_or((text, "")),
    };
    let directive = directive.to_ascii_uppercase();
    if directive.starts_with("TODO") || directive.starts_with("SKIP") {
        return None;
    }
    let text = text.split_once(": ").map_or(text, |(name, _)| name).trim();
    let text = if text.is_empty() { number } else { text };
    let text = if text.is_empty() {
        "a test without a name"
    } else {
        text
    };
    Some(shortened(text.to_owned(), LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str, status: ExitStatus) -> (Vec<String>, bool) {
        let mut failures = Failures::default();
        for piece in text.as_bytes().chunks(7) {
            failures.write(LogStream::Out, piece);
        }
        let outcome = failures.finish(status);
        (outcome.names.into_iter().collect(), outcome.missing)
    }

    #[test]
    fn failures_have_names_without_their_reasons_and_numbers() {
        let text = "1..4\nok 1 - fine\nnot ok 2 - \x1b[31mbroken\x1b[0m\nnot ok links-exist: no page\nnot ok 4 # TODO later\n\
                    not ok 12\nnot okay\n  ok indented\nnot ok 3rd-party: gone";
        assert_eq!(
            outcome(text, ExitStatus::Code(1)).0,
            ["12", "3rd-party", "broken", "links-exist"]
        );
    }

    #[test]
    fn without_names_the_exit_code_is_the_name() {
        assert_eq!(
            outcome("oh no\n", ExitStatus::Code(3)),
            (vec!["exit code 3".to_owned()], false)
        );
        assert_eq!(outcome("ok all\n", ExitStatus::Code(2)).0, ["exit code 2"]);
        assert_eq!(outcome("", ExitStatus::Code(0)).0, Vec::<String>::new());
        assert_eq!(
            outcome("not ok a\n", ExitStatus::TimedOut).0,
            ["a", "ran out of time"]
        );
    }

    #[test]
    fn a_missing_tool_is_told_from_a_failure() {
        assert!(outcome("", ExitStatus::Code(127)).1);
        assert!(!outcome("not ok a\n", ExitStatus::Code(127)).1);
    }
}
