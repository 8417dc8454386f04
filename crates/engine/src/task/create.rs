//! A task is made: once for each (run, target), by its derived id.

use jiff::Timestamp;
use model::fact::TaskFact;
use model::ids::{CampaignId, RunId, TaskId};
use model::run::{Run, Target};
use model::task::{Task, TaskStatus};

/// The first fact of a task of `run` on `target`.
#[must_use]
pub fn create(run: &Run, campaign: CampaignId, target: Target, wave: u32) -> (TaskId, TaskFact) {
    let id = TaskId::of(run.id, &target);
    let fact = TaskFact::Created {
        run: run.id,
        campaign,
        automation: run.automation.clone(),
        version: run.version,
        target,
        wave,
    };
    (id, fact)
}

/// A task as it stands after its first fact; `None` when the fact is not a creation.
#[must_use]
pub fn initial(id: TaskId, fact: &TaskFact, at: Timestamp) -> Option<Task> {
    let TaskFact::Created {
        run,
        campaign,
        automation,
        version,
        target,
        wave,
    } = fact
    else {
        return None;
    };
    Some(blank(
        id,
        *run,
        *campaign,
        automation,
        *version,
        target.clone(),
        *wave,
        at,
    ))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one fact, taken apart in one place"
)]
fn blank(
    id: TaskId,
    run: RunId,
    campaign: CampaignId,
    automation: &str,
    version: u32,
    target: Target,
    wave: u32,
    at: Timestamp,
) -> Task {
    Task {
        id,
        run,
        campaign,
        automation: automation.to_owned(),
        version,
        target,
        wave,
        status: TaskStatus::Queued,
        wait: None,
        paused: false,
        next_step: 0,
        attempt: 1,
        round: 1,
        interruptions: 0,
        runner: None,
        base: None,
        isolation: None,
        steps: Vec::new(),
        outputs: std::collections::BTreeMap::new(),
        validators: Vec::new(),
        approvals: Vec::new(),
        spent_ms: 0,
        proposal: None,
        change: None,
        reason: None,
        created_at: at,
        updated_at: at,
    }
}
