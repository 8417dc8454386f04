//! Step kind `approve`: asks a person, and lets go of the environment until there is an answer.

use model::automation::{OnTimeout, StepDefinition};
use model::protocol::Report;
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Wait, WaitKind};

use crate::halt::Halt;
use crate::snapshot::Snapshot;
use crate::task::Work;

/// Runs the step: goes on when a person consented, otherwise parks the task.
pub(crate) async fn run(work: &mut Work, index: u32, step: &StepDefinition) -> Result<(), Halt> {
    let Some(approve) = &step.approve else {
        return Ok(());
    };
    work.pending.push(Report::StepStarted { index });
    if work
        .assignment
        .task
        .approvals
        .iter()
        .any(|approval| approval.step == index)
    {
        work.finished(index, StepOutcome::Succeeded, Outputs::new(), None, 0);
        return Ok(());
    }
    let now = (work.shared.options.clock)();
    let until = approve
        .within
        .and_then(|within| now.checked_add(within.0).ok());
    let sentence = approve.ask.clone().unwrap_or_else(|| {
        format!(
            "{} asks for consent on {}",
            work.assignment.task.automation, work.assignment.task.target
        )
    });
    let wait = Wait {
        kind: WaitKind::Approval,
        reason: Reason::new(ReasonCode::ApprovalNeeded, sentence),
        owner: Some(approve.by.clone()),
        until,
        silence_permits: approve.otherwise == OnTimeout::Permit,
    };
    park(work).await?;
    work.pending.push(Report::Waits { wait });
    match work.flush().await {
        Err(Halt::Released(cause)) => Err(Halt::Released(cause)),
        other => {
            // It does not wait: the workspace has no use.
            work.keep = false;
            let refused =
                || Halt::Interrupted("the control plane did not let the task wait".to_owned());
            Err(other.err().unwrap_or_else(refused))
        }
    }
}

/// Lets go of the environment and keeps the workspace. Before it is reported: a task that waits
/// must find its workspace whatever happens in between.
pub(crate) async fn park(work: &mut Work) -> Result<(), Halt> {
    work.let_go().await;
    let kept = match &work.snapshot {
        Some(snapshot) => snapshot.save(&work.place),
        None => Snapshot::forget(&work.place),
    };
    kept.and_then(|()| work.place.keep())
        .map_err(|error| Halt::broken("the workspace cannot be kept", &error))?;
    work.keep = true;
    Ok(())
}
