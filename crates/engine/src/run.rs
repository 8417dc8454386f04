//! The life of a run: it starts, and its tasks are planned or it fails. Everything else about a
//! run is derived from its tasks.

use jiff::Timestamp;
use model::fact::{Recorded, RunFact};
use model::ids::RunId;
use model::run::{Run, RunStatus};

/// A run as it stands after its first fact; `None` when the fact is not a start.
#[must_use]
pub fn initial(id: RunId, fact: &RunFact, at: Timestamp) -> Option<Run> {
    let RunFact::Started {
        automation,
        version,
        event,
    } = fact
    else {
        return None;
    };
    Some(Run {
        id,
        automation: automation.clone(),
        version: *version,
        event: *event,
        status: RunStatus::Planning,
        campaign: None,
        tasks: 0,
        note: None,
        created_at: at,
    })
}

/// Folds one fact into the state.
pub fn apply(run: &mut Run, fact: &RunFact) {
    match fact {
        RunFact::Started { .. } => {}
        RunFact::Planned {
            campaign,
            tasks,
            note,
        } => {
            run.status = RunStatus::Planned;
            run.campaign = Some(*campaign);
            run.tasks = *tasks;
            run.note.clone_from(note);
        }
        RunFact::Failed { note } => {
            run.status = RunStatus::Failed;
            run.note = Some(note.clone());
        }
    }
}

/// The state after all facts of a stream, or `None` when the first is not a start.
#[must_use]
pub fn replay(id: RunId, facts: &[Recorded<RunFact>]) -> Option<Run> {
    let (first, rest) = facts.split_first()?;
    let mut run = initial(id, &first.fact, first.at)?;
    for fact in rest {
        apply(&mut run, &fact.fact);
    }
    Some(run)
}
