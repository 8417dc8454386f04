//! What git is told when a push is refused, in the form in which it shows it to whoever pushed
//! (gitprotocol-pack, "Report Status").

use super::packet::write;
use super::push::Push;
use super::refs::is_ref;

/// The `Content-Type` of such an answer; its status is 200, or git would not read it.
pub const RESULT_TYPE: &str = "application/x-git-receive-pack-result";

/// Longest reason, in bytes: git shows it on one line.
const LONGEST_REASON: usize = 400;

/// Band of data, and band of what is shown at once.
const DATA: u8 = 1;
const SHOWN: u8 = 2;

/// The body of an answer that refuses all refs of a push for one reason. `None` where the client
/// did not ask to be told: only the status of the answer can tell it then.
#[must_use]
pub fn refusal(push: &Push, reason: &str) -> Option<Vec<u8>> {
    if !push.report {
        return None;
    }
    let reason = one_line(reason);
    let mut report = Vec::new();
    write(None, b"unpack ok\n", &mut report);
    // A name that is no ref would be read as something else.
    for update in push.updates.iter().filter(|update| is_ref(&update.name)) {
        write(
            None,
            format!("ng {} {reason}\n", update.name).as_bytes(),
            &mut report,
        );
    }
    report.extend_from_slice(b"0000");
    if !push.side_band {
        return Some(report);
    }
    let mut answer = Vec::new();
    write(
        Some(SHOWN),
        format!("nightcrew: {reason}\n").as_bytes(),
        &mut answer,
    );
    write(Some(DATA), &report, &mut answer);
    answer.extend_from_slice(b"0000");
    Some(answer)
}

fn one_line(reason: &str) -> String {
    let mut line = String::new();
    for letter in reason.chars() {
        if line.len() + letter.len_utf8() > LONGEST_REASON {
            break;
        }
        line.push(if letter.is_control() { ' ' } else { letter });
    }
    line
}
