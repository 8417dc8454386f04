//! Talking to the control plane: patient when it is busy, obedient to its answers.

use std::sync::Arc;
use std::time::Duration;

use model::exec::ExecBatch;
use model::ids::TaskId;
use model::protocol::{Directive, Report, ReportRequest};
use model::task::Task;

use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::halt::Halt;
use crate::held::StopWatch;
use crate::mask::Mask;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries of a message that must get through while the runner stops.
const LAST_TRIES: u32 = 5;

/// One task's line to the control plane.
pub(crate) struct Talk {
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) runner: String,
    pub(crate) task: TaskId,
    pub(crate) epoch: u64,
    pub(crate) stop: StopWatch,
    pub(crate) mask: Arc<dyn Mask>,
}

impl Talk {
    /// Reports, and gives the task as it now stands. A release is [`Halt::Released`].
    pub(crate) async fn report(&mut self, reports: Vec<Report>) -> Result<Task, Halt> {
        let (before, after) = fault_points(&reports);
        if let Some(point) = before {
            fault::point(point);
        }
        let request = self.request(reports);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.control.report(request.clone()).await {
                Ok(Directive::Continue { task }) => {
                    if let Some(point) = after {
                        fault::point(point);
                    }
                    return Ok(*task);
                }
                Ok(Directive::Release { cause }) => {
                    if let Some(point) = after {
                        fault::point(point);
                    }
                    return Err(Halt::Released(cause));
                }
                Err(error) => self.bear(&error, &mut pause).await?,
            }
        }
    }

    /// What is said leaves without secrets, wherever it came from.
    fn request(&self, mut reports: Vec<Report>) -> ReportRequest {
        for report in &mut reports {
            crate::mask::report(self.mask.as_ref(), report);
        }
        ReportRequest {
            runner: self.runner.clone(),
            task: self.task,
            epoch: self.epoch,
            reports,
        }
    }

    /// Reports while the work is being stopped: tries a few times, and then leaves it to the lease.
    pub(crate) async fn report_last(&self, reports: Vec<Report>) {
        let request = self.request(reports);
        let mut pause = FIRST_PAUSE;
        for _ in 0..LAST_TRIES {
            match self.control.report(request.clone()).await {
                Ok(_) => return,
                Err(ControlPlaneError::Refused(cause)) => {
                    tracing::warn!(task = %self.task, cause, "the last report was refused");
                    return;
                }
                Err(ControlPlaneError::Unavailable(_)) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::warn!(task = %self.task, "the last report did not get through: the lease will expire");
    }

    /// Records what exec control refused or saw, as often as it takes.
    pub(crate) async fn exec_events(&mut self, batch: ExecBatch) -> Result<(), Halt> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.control.exec_events(batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => self.bear(&error, &mut pause).await?,
            }
        }
    }

    /// Stores blobs; their digests in order.
    pub(crate) async fn put(&mut self, blobs: Vec<Vec<u8>>) -> Result<Vec<String>, Halt> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = blobs.len();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.control.put_blobs(blobs.clone()).await {
                Ok(digests) if digests.len() == wanted => return Ok(digests),
                Ok(_) => {
                    return Err(Halt::Interrupted(
                        "the control plane lost a blob".to_owned(),
                    ));
                }
                Err(error) => self.bear(&error, &mut pause).await?,
            }
        }
    }

    async fn bear(&mut self, error: &ControlPlaneError, pause: &mut Duration) -> Result<(), Halt> {
        match error {
            ControlPlaneError::Refused(cause) => {
                tracing::error!(task = %self.task, cause, "the control plane refused a message");
                Err(Halt::Interrupted(format!(
                    "the control plane refused a message: {cause}"
                )))
            }
            ControlPlaneError::Unavailable(cause) => {
                tracing::warn!(task = %self.task, cause, "the control plane is not available: trying again");
                let woken = tokio::time::timeout(*pause, self.stop.stopped())
                    .await
                    .is_ok();
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                match self.stop.now() {
                    Some(halt) if woken => Err(halt),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The fault points around a message: a proposal, or the end of a step.
fn fault_points(reports: &[Report]) -> (Option<&'static str>, Option<&'static str>) {
    let proposes = |report: &Report| matches!(report, Report::Proposed { .. });
    let ends_step = |report: &Report| matches!(report, Report::StepFinished { .. });
    if reports.iter().any(proposes) {
        (Some("propose.before_report"), Some("propose.after_report"))
    } else if reports.iter().any(ends_step) {
        (Some("step.before_report"), Some("step.after_report"))
    } else {
        (None, None)
    }
}
