//! A second, independent account of a task's life, written from SPECIFICATION.md. It knows the
//! words of the commands and none of the facts.

use std::collections::BTreeSet;

use engine::task::TaskCommand;
use jiff::Timestamp;
use model::automation::{OnTimeout, StepKind};
use model::change::ReviewVerdict;
use model::evidence::Verdict;
use model::step::StepOutcome;
use model::task::{TaskStatus as S, WaitKind as W};

use super::support::{Says, World};

/// What a person's consent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Consent {
    Start,
    Step(u32),
    Submit,
}

#[derive(Debug, Clone)]
pub(crate) struct Waits {
    pub(crate) kind: W,
    pub(crate) until: Option<Timestamp>,
    pub(crate) silence: bool,
    pub(crate) role: Option<String>,
    /// What it was asked for, and where it leads back to.
    pub(crate) consent: Option<Consent>,
    pub(crate) of_review: bool,
    /// Halted on its way to the forge.
    pub(crate) ready: bool,
    /// After a failure: in a fresh environment, from the first step.
    pub(crate) anew: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) status: S,
    pub(crate) waits: Option<Waits>,
    pub(crate) paused: bool,
    pub(crate) next: u32,
    pub(crate) running: Option<u32>,
    pub(crate) attempt: u32,
    pub(crate) lost: u32,
    pub(crate) base: Option<String>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) consents: BTreeSet<Consent>,
    pub(crate) proposed: bool,
    pub(crate) change: bool,
    pub(crate) spent_ms: u64,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            status: S::Queued,
            waits: None,
            paused: false,
            next: 0,
            running: None,
            attempt: 1,
            lost: 0,
            base: None,
            verdicts: vec![],
            consents: BTreeSet::new(),
            proposed: false,
            change: false,
            spent_ms: 0,
        }
    }

    fn leased(&self) -> bool {
        matches!(self.status, S::Preparing | S::Running | S::Validating)
    }

    fn anew(&mut self) {
        self.status = S::Queued;
        self.waits = None;
        self.next = 0;
        self.running = None;
        self.base = None;
        self.verdicts.clear();
    }

    fn end(&mut self, status: S) -> bool {
        self.status = status;
        self.waits = None;
        self.paused = false;
        true
    }

    fn wait(&mut self, kind: W) -> &mut Waits {
        self.status = S::Waiting;
        self.waits.insert(Waits {
            kind,
            until: None,
            silence: false,
            role: None,
            consent: None,
            of_review: false,
            ready: false,
            anew: false,
        })
    }

    fn wake(&mut self) -> bool {
        let waits = self.waits.take().expect("only what waits is woken");
        if waits.of_review {
            self.status = S::InReview;
        } else if waits.ready || waits.consent == Some(Consent::Submit) {
            self.status = S::Ready;
        } else if waits.anew {
            self.anew();
            self.attempt += 1;
        } else {
            self.status = S::Queued;
        }
        true
    }

    fn consented(&mut self) -> bool {
        let consent = self
            .waits
            .as_ref()
            .and_then(|waits| waits.consent)
            .expect("an approval is for something");
        self.consents.insert(consent);
        if let Consent::Step(index) = consent {
            self.next = index + 1;
            self.running = None;
        }
        self.wake()
    }

    /// Whether the command is accepted; if so, what follows has happened.
    pub(crate) fn tell(&mut self, command: &TaskCommand, world: &World) -> bool {
        use TaskCommand as C;
        if self.status.is_final() {
            return match command {
                C::Retry { .. } => {
                    matches!(
                        self.status,
                        S::Failed | S::Unverified | S::Rejected | S::Cancelled
                    ) && self.retry()
                }
                _ => false,
            };
        }
        match command {
            C::Claim { .. } => self.claim(world),
            C::Prepare { base, .. } => {
                let goes_on = self.next > 0 || self.base.is_some();
                let fits = !goes_on || self.base.as_ref() == Some(&base.commit);
                let may = self.status == S::Preparing && fits && base.branch == "main";
                if may {
                    self.status = S::Running;
                    self.base = Some(base.commit.clone());
                }
                may
            }
            C::StartStep { index } => {
                let known = world.definition.steps.get(*index as usize);
                let may = self.status == S::Running && *index == self.next && known.is_some();
                if may {
                    self.running = Some(*index);
                    if known.is_some_and(|step| step.kind() == Some(StepKind::Validate)) {
                        self.status = S::Validating;
                    }
                }
                may
            }
            C::FinishStep {
                index,
                outcome,
                wall_ms,
                ..
            } => self.finish(*index, outcome, *wall_ms, world),
            C::Validate { validators } => {
                let may = self.status == S::Validating;
                if may {
                    self.verdicts
                        .extend(validators.iter().map(|result| result.verdict));
                }
                may
            }
            C::Wait { wait } => self.ask(wait, world),
            C::Halt { kind, .. } => {
                let ready = self.status == S::Ready;
                let may = (self.status == S::Queued || ready || self.leased())
                    && matches!(kind, W::Budget | W::Quota | W::Stop);
                if may {
                    self.wait(*kind).ready = ready;
                }
                may
            }
            C::Wake => {
                let may = self.waits.as_ref().is_some_and(|waits| {
                    matches!(waits.kind, W::Timer | W::Quota | W::Budget | W::Stop)
                        && waits.until.is_none_or(|until| until <= world.now)
                });
                may && self.wake()
            }
            C::Expire => {
                let Some(waits) = self.waits.clone() else {
                    return false;
                };
                if waits.until.is_none_or(|until| until > world.now) {
                    return false;
                }
                match waits.kind {
                    W::Approval if waits.silence => self.consented(),
                    W::Approval | W::Person => self.end(S::Rejected),
                    W::Timer | W::Quota | W::Budget | W::Stop => self.wake(),
                    W::Ci => false,
                }
            }
            C::Approve { by, roles } => {
                let Some(waits) = &self.waits else {
                    return false;
                };
                let role = waits.role.as_ref().is_none_or(|role| roles.contains(role));
                let may = waits.kind == W::Approval && is_person(by) && role;
                may && self.consented()
            }
            C::Deny { by, .. } => {
                let asked = self
                    .waits
                    .as_ref()
                    .is_some_and(|waits| waits.kind == W::Approval);
                asked && is_person(by) && self.end(S::Rejected)
            }
            C::Propose { proposal } => self.propose(&proposal.base, world),
            C::Submit { .. } => {
                let may = self.status == S::Ready;
                if may {
                    self.status = S::InReview;
                    self.change = true;
                }
                may
            }
            C::Refuse { .. } => self.status == S::Ready && self.end(S::Failed),
            C::Review { verdict, .. } => {
                let answered = self.waits.as_ref().is_some_and(|waits| waits.of_review);
                match verdict {
                    ReviewVerdict::Approved if answered => self.wake(),
                    ReviewVerdict::ChangesRequested if self.status == S::InReview => {
                        self.wait(W::Person).of_review = true;
                        true
                    }
                    _ => answered || self.status == S::InReview,
                }
            }
            C::Merge { .. } => self.change && self.end(S::Merged),
            C::Close { .. } => self.change && self.end(S::Rejected),
            C::End { status, .. } => {
                let may = matches!(status, S::NoChange | S::Unverified | S::Failed);
                self.leased() && may && self.end(*status)
            }
            C::Interrupt { blame, .. } => {
                if !self.leased() {
                    return false;
                }
                if *blame && self.lost >= 3 {
                    return self.end(S::Failed);
                }
                self.lost += u32::from(*blame);
                self.anew();
                true
            }
            C::Retry { .. } => {
                let may = self
                    .waits
                    .as_ref()
                    .is_some_and(|waits| matches!(waits.kind, W::Person | W::Budget));
                may && self.retry()
            }
            C::Pause => {
                let may = !self.paused;
                if may {
                    self.paused = true;
                    if self.leased() {
                        self.anew();
                    }
                }
                may
            }
            C::Resume => std::mem::take(&mut self.paused),
            C::Cancel { .. } => self.end(S::Cancelled),
            C::Supersede { .. } => self.end(S::Superseded),
        }
    }

    fn retry(&mut self) -> bool {
        self.anew();
        self.attempt = 1;
        self.lost = 0;
        self.consents.clear();
        self.proposed = false;
        true
    }

    fn claim(&mut self, world: &World) -> bool {
        if self.status != S::Queued || self.paused {
            return false;
        }
        let cap = world
            .definition
            .budget
            .as_ref()
            .and_then(|budget| budget.per_task.as_ref()?.wall);
        if world.exec == Says::Forbid {
            return self.end(S::Failed);
        }
        if world.exec == Says::Ask && !self.consents.contains(&Consent::Start) {
            let waits = self.wait(W::Approval);
            waits.role = Some("owner".into());
            waits.consent = Some(Consent::Start);
        } else if cap.is_some_and(|cap| u128::from(self.spent_ms) >= cap.0.as_millis()) {
            self.wait(W::Budget);
        } else {
            self.status = S::Preparing;
        }
        true
    }

    fn finish(&mut self, index: u32, outcome: &StepOutcome, wall_ms: u64, world: &World) -> bool {
        if !matches!(self.status, S::Running | S::Validating) || self.running != Some(index) {
            return false;
        }
        let Some(step) = world.definition.steps.get(index as usize) else {
            return false;
        };
        let kind = step.kind().expect("one kind");
        let succeeded = *outcome == StepOutcome::Succeeded;
        if kind == StepKind::Approve && succeeded && !self.consents.contains(&Consent::Step(index))
        {
            return false;
        }
        self.spent_ms = self.spent_ms.saturating_add(wall_ms);
        self.running = None;
        match outcome {
            StepOutcome::Succeeded | StepOutcome::Skipped => {
                self.next = index + 1;
                self.status = S::Running;
                if kind == StepKind::Validate && succeeded {
                    if self.verdicts.contains(&Verdict::Failed) {
                        self.end(S::Failed);
                    } else if self.verdicts.contains(&Verdict::Missing) {
                        self.end(S::Unverified);
                    }
                }
            }
            StepOutcome::Failed { .. } | StepOutcome::TimedOut => {
                if kind == StepKind::Report || self.attempt > step.retries.unwrap_or(0) {
                    self.end(S::Failed);
                } else {
                    // How long is the engine's choice; that a time is set is not.
                    let waits = self.wait(W::Timer);
                    waits.anew = true;
                    waits.until = Some(Timestamp::MAX);
                }
            }
        }
        true
    }

    fn ask(&mut self, wait: &model::task::Wait, world: &World) -> bool {
        if !matches!(self.status, S::Running | S::Preparing) {
            return false;
        }
        let approve = self.running.and_then(|index| {
            world
                .definition
                .steps
                .get(index as usize)
                .and_then(|step| Some((index, step.approve.as_ref()?)))
        });
        match (wait.kind, approve) {
            (W::Approval, Some((index, rules))) => {
                let silence = rules.otherwise == OnTimeout::Permit;
                let role = rules.by.strip_prefix("role:").map(str::to_owned);
                let waits = self.wait(W::Approval);
                waits.silence = silence;
                waits.role = role;
                waits.consent = Some(Consent::Step(index));
            }
            (W::Approval | W::Ci | W::Stop, None) | (_, Some(_)) => return false,
            (W::Timer, None) if wait.until.is_none() => return false,
            (kind, None) => {
                self.wait(kind);
            }
        }
        if let Some(waits) = &mut self.waits {
            waits.until = wait.until;
        }
        true
    }

    fn propose(&mut self, base: &str, world: &World) -> bool {
        let changing = self.running.is_some_and(|index| {
            world
                .definition
                .steps
                .get(index as usize)
                .is_some_and(|step| step.kind() == Some(StepKind::Change))
        });
        if self.status != S::Running || !changing || self.base.as_deref() != Some(base) {
            return false;
        }
        self.next = self.running.take().map_or(self.next, |index| index + 1);
        self.proposed = true;
        let passed = !self.verdicts.is_empty()
            && self
                .verdicts
                .iter()
                .all(|verdict| *verdict == Verdict::Passed);
        match world.open {
            _ if !passed => self.end(S::Unverified),
            Says::Forbid => self.end(S::Failed),
            Says::Ask => {
                let waits = self.wait(W::Approval);
                waits.role = Some("owner".into());
                waits.consent = Some(Consent::Submit);
                true
            }
            Says::Permit => {
                self.status = S::Ready;
                true
            }
        }
    }
}

fn is_person(by: &str) -> bool {
    by.len() > "person:".len() && by.starts_with("person:")
}
