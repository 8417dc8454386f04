//! What a fact asks to be done outside.

use jiff::Timestamp;
use model::fact::TaskFact;
use model::rows::Effect;
use model::task::{Task, TaskStatus};

/// An effect with the lane it belongs to and its earliest time.
pub type Asked = (Effect, String, Timestamp);

/// Effects of `fact`, one of the facts of a decision that led from `before` to `after`; `seq` is the
/// fact's own number.
///
/// `before` and `after` enclose the *whole* decision: a proposal that the same decision ends for
/// want of evidence, or stops for a consent, must not reach the forge.
#[must_use]
pub fn effects(
    before: &Task,
    after: &Task,
    fact: &TaskFact,
    seq: u64,
    now: Timestamp,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let writer_lane = || format!("forge:{}", after.target.repository);
    match fact {
        TaskFact::Waited { wait } => {
            if let Some(until) = wait.until {
                asked.push((
                    Effect::Wake {
                        task: after.id,
                        seq,
                    },
                    format!("wake:{}", after.id),
                    until,
                ));
            }
        }
        TaskFact::Proposed { .. } | TaskFact::Woken { .. } if after.status == TaskStatus::Ready => {
            asked.push((Effect::SubmitChange { task: after.id }, writer_lane(), now));
        }
        // A change that nobody will decide on any more must not stay open, nor its branch. One that
        // is ready may be on its way: the same lane closes it after it arrived.
        TaskFact::Ended {
            status: TaskStatus::Cancelled,
            ..
        } if before.change.is_some() || before.status == TaskStatus::Ready => {
            asked.push((Effect::CloseChange { task: after.id }, writer_lane(), now));
        }
        _ => {}
    }
    asked
}
