//! A control plane in memory, built on the engine. Every message goes through JSON, as it would to
//! a remote runner.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::Context;
use engine::task::{TaskCommand, apply, create, decide, initial};
use jiff::Timestamp;
use model::automation::{Automation, Definition};
use model::campaign::Campaign;
use model::egress::EgressBatch;
use model::event::{Event, NewEvent};
use model::exec::ExecBatch;
use model::fact::TaskFact;
use model::ids::{CampaignId, RunId, TaskId};
use model::protocol::{
    Assignment, ClaimRequest, Directive, Heartbeat, HeartbeatAnswer, LogChunk, LogLine, Recall,
    Report, ReportRequest,
};
use model::reason::{Reason, ReasonCode};
use model::repository::Repository;
use model::run::{Run, RunStatus, Target};
use model::task::{Task, TaskStatus, WaitKind};
use runner::{ControlPlane, ControlPlaneError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha1::{Digest, Sha1};
use tokio::sync::{Notify, watch};

/// What is known of one task.
struct Known {
    task: Task,
    facts: Vec<TaskFact>,
    assignment: Assignment,
    epoch: u64,
    leased: bool,
}

pub(crate) struct Plane {
    folder: PathBuf,
    now: Mutex<Timestamp>,
    tasks: Mutex<BTreeMap<TaskId, Known>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    lines: Mutex<Vec<(TaskId, LogLine)>>,
    /// What exec control refused or saw.
    pub(crate) batches: Mutex<Vec<ExecBatch>>,
    /// What left environments.
    pub(crate) reaches: Mutex<Vec<EgressBatch>>,
    requests: Mutex<Vec<usize>>,
    work: Notify,
    changed: watch::Sender<u64>,
    release: Mutex<Vec<TaskId>>,
    recalls: Mutex<Vec<Recall>>,
    recall_wake: Notify,
    /// So many requests are answered with "not available".
    pub(crate) busy: AtomicU32,
    /// Files beside automations.
    pub(crate) files: Mutex<BTreeMap<String, String>>,
}

/// Through JSON and back.
fn wire<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

impl Plane {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            now: Mutex::new(super::beginning()),
            tasks: Mutex::default(),
            blobs: Mutex::default(),
            lines: Mutex::default(),
            batches: Mutex::default(),
            reaches: Mutex::default(),
            requests: Mutex::default(),
            work: Notify::new(),
            changed: watch::channel(0).0,
            release: Mutex::default(),
            recalls: Mutex::default(),
            recall_wake: Notify::new(),
            busy: AtomicU32::new(0),
            files: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// Queues a task of an automation on a repository.
    pub(crate) fn queue(&self, automation: &str, repository: &str) -> TaskId {
        let definition =
            engine::definition::read(automation, "automation.yaml").expect("an automation");
        let now = self.now();
        let event = event(repository, now);
        let campaign = campaign(&definition, now);
        let run = Run {
            id: RunId::of(&definition.name, event.id),
            automation: definition.name.clone(),
            version: 1,
            event: event.id,
            status: RunStatus::Planning,
            campaign: None,
            tasks: 0,
            note: None,
            created_at: now,
        };
        let (id, fact) = create(&run, campaign.id, Target::repository(repository), 0);
        let task = initial(id, &fact, now).unwrap();
        let environment = &definition.environment;
        let fence = engine::fence::of(&environment.isolation, &environment.exec);
        let assignment = Assignment {
            task: task.clone(),
            seq: 1,
            epoch: 0,
            lease_until: now,
            automation: Automation {
                definition,
                version: 1,
                source: automation.to_owned(),
                files: self.files.lock().unwrap().clone(),
                enabled: true,
                applied_by: "person:test".to_owned(),
                applied_at: now,
            },
            campaign,
            repository: self.describe(repository),
            event,
            fence,
        };
        let known = Known {
            task,
            facts: vec![fact],
            assignment,
            epoch: 0,
            leased: false,
        };
        self.tasks.lock().unwrap().insert(id, known);
        self.work.notify_one();
        id
    }

    fn describe(&self, name: &str) -> Repository {
        Repository {
            name: name.to_owned(),
            forge: "local".to_owned(),
            clone_url: self
                .folder
                .join("repositories")
                .join(name)
                .to_str()
                .unwrap()
                .to_owned(),
            default_branch: "main".to_owned(),
            head: None,
            archived: false,
            files: Vec::new(),
            file_count: 0,
            languages: Vec::new(),
            facts: BTreeMap::new(),
            seen_at: self.now(),
        }
    }

    fn answer(&self) -> Result<(), ControlPlaneError> {
        let busy = self
            .busy
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match busy {
            Ok(_) => Err(ControlPlaneError::Unavailable("busy".to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// A command of somebody else than the runner.
    pub(crate) fn command(&self, id: TaskId, command: &TaskCommand) {
        self.apply(id, command).expect("a command that fits");
        self.work.notify_one();
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }

    fn apply(&self, id: TaskId, command: &TaskCommand) -> Result<(), engine::Rejection> {
        let now = self.now();
        let mut tasks = self.tasks.lock().unwrap();
        let known = tasks.get_mut(&id).unwrap();
        let definition = known.assignment.automation.definition.clone();
        for fact in decide(&known.task, command, &Context::permissive(now, &definition))? {
            apply(&mut known.task, &fact, now);
            known.facts.push(fact);
        }
        known.leased = known.task.status.is_leased();
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    pub(crate) fn task(&self, id: TaskId) -> Task {
        self.tasks.lock().unwrap()[&id].task.clone()
    }

    pub(crate) fn facts(&self, id: TaskId) -> Vec<TaskFact> {
        self.tasks.lock().unwrap()[&id].facts.clone()
    }

    /// Waits until the condition holds for the task; its state then.
    pub(crate) async fn until(&self, id: TaskId, condition: impl Fn(&Task) -> bool) -> Task {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                let task = self.task(id);
                if condition(&task) {
                    return task;
                }
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        waited.unwrap_or_else(|_| panic!("it stands still: {:#?}", self.task(id)))
    }

    /// Waits until nobody works on the task and nobody will.
    pub(crate) async fn settled(&self, id: TaskId) -> Task {
        self.until(id, |task| {
            !task.status.is_leased() && task.status != TaskStatus::Queued
        })
        .await
    }

    /// Waits for a line of a step's log.
    pub(crate) async fn line(&self, text: &str) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !self
                .lines
                .lock()
                .unwrap()
                .iter()
                .any(|(_, line)| line.text.contains(text))
            {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .expect("the line");
    }

    pub(crate) fn blob(&self, digest: &str) -> Vec<u8> {
        self.blobs.lock().unwrap()[digest].clone()
    }

    pub(crate) fn text(&self, digest: &str) -> String {
        String::from_utf8(self.blob(digest)).unwrap()
    }

    /// The log of a step of a task.
    pub(crate) fn log(&self, task: &Task, index: u32) -> String {
        let facts = self.facts(task.id);
        let digest = facts.iter().rev().find_map(|fact| match fact {
            TaskFact::StepFinished {
                index: found, log, ..
            } if *found == index => log.clone(),
            _ => None,
        });
        digest.map_or(String::new(), |digest| self.text(&digest))
    }

    /// Live lines so far.
    pub(crate) fn live(&self) -> Vec<LogLine> {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// How many reports each request had.
    pub(crate) fn requests(&self) -> Vec<usize> {
        self.requests.lock().unwrap().clone()
    }

    /// Tells the runner at its next heartbeat to let go.
    pub(crate) fn take_back(&self, id: TaskId) {
        self.release.lock().unwrap().push(id);
    }

    /// Has a task stopped at once, with its work kept.
    pub(crate) fn recall(&self, task: TaskId, epoch: u64) {
        let cause = "it runs wild".to_owned();
        self.recalls
            .lock()
            .unwrap()
            .push(Recall { task, epoch, cause });
        self.recall_wake.notify_one();
    }
}

fn event(repository: &str, now: Timestamp) -> Event {
    NewEvent {
        source: "test".to_owned(),
        event_type: "manual".to_owned(),
        subject: model::event::Subject::default(),
        dedupe_key: repository.to_owned(),
        time: None,
        actor: "person:test".to_owned(),
        data: serde_json::Value::Null,
    }
    .admitted(now)
}

fn campaign(definition: &Definition, now: Timestamp) -> Campaign {
    let opened = engine::campaign::open(
        &definition.name,
        1,
        definition.campaign.clone().unwrap_or_default(),
    );
    engine::campaign::initial(CampaignId::derived(&[&definition.name]), &opened, now).unwrap()
}

fn command(report: Report) -> TaskCommand {
    match report {
        Report::Prepared { base, isolation } => TaskCommand::Prepare { base, isolation },
        Report::StepStarted { index } => TaskCommand::StartStep { index },
        Report::StepFinished {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        } => TaskCommand::FinishStep {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        },
        Report::Validated { validators } => TaskCommand::Validate { validators },
        Report::Waits { wait } => TaskCommand::Wait { wait },
        Report::Proposed { proposal } => TaskCommand::Propose { proposal },
        Report::Ends { status, reason } => TaskCommand::End { status, reason },
        Report::Parked { cause } => TaskCommand::Halt {
            kind: WaitKind::Stop,
            reason: Reason::new(ReasonCode::Stopped, cause),
        },
        Report::Interrupted { cause } => TaskCommand::Interrupt {
            cause,
            blame: false,
        },
    }
}

#[async_trait]
impl ControlPlane for Plane {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Assignment>, ControlPlaneError> {
        let request = wire(&request);
        let queued: Vec<TaskId> = {
            let tasks = self.tasks.lock().unwrap();
            let free = tasks
                .iter()
                .filter(|(_, known)| known.task.status == TaskStatus::Queued);
            free.map(|(id, _)| *id)
                .take(request.slots as usize)
                .collect()
        };
        let mut given = Vec::new();
        for id in queued {
            self.apply(
                id,
                &TaskCommand::Claim {
                    runner: request.runner.clone(),
                },
            )
            .unwrap();
            let mut tasks = self.tasks.lock().unwrap();
            let known = tasks.get_mut(&id).unwrap();
            known.epoch += 1;
            let seq = known.facts.len() as u64;
            given.push(Assignment {
                task: known.task.clone(),
                epoch: known.epoch,
                seq,
                ..known.assignment.clone()
            });
        }
        Ok(wire(&given))
    }

    async fn work_arrived(&self) {
        self.work.notified().await;
    }

    async fn report(&self, request: ReportRequest) -> Result<Directive, ControlPlaneError> {
        let request = wire(&request);
        self.answer()?;
        self.requests.lock().unwrap().push(request.reports.len());
        if self.tasks.lock().unwrap()[&request.task].epoch != request.epoch {
            return Ok(Directive::Release {
                cause: "another runner has it".to_owned(),
            });
        }
        for report in request.reports {
            if let Err(rejection) = self.apply(request.task, &command(report)) {
                return Ok(Directive::Release {
                    cause: rejection.to_string(),
                });
            }
        }
        let task = self.task(request.task);
        Ok(wire(&if task.status.is_leased() {
            Directive::Continue {
                task: Box::new(task),
            }
        } else {
            Directive::Release {
                cause: format!("it is {}", task.status),
            }
        }))
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, ControlPlaneError> {
        let held = wire(&heartbeat).tasks;
        let wanted = self.release.lock().unwrap();
        let release = held
            .into_iter()
            .filter(|(id, _)| wanted.contains(id))
            .map(|(id, _)| (id, "taken back".to_owned()));
        Ok(wire(&HeartbeatAnswer {
            release: release.collect(),
        }))
    }

    async fn recalled(&self, _: &str) -> Vec<Recall> {
        self.recall_wake.notified().await;
        wire(&std::mem::take(&mut *self.recalls.lock().unwrap()))
    }

    async fn log(&self, chunk: LogChunk) {
        let chunk = wire(&chunk);
        self.lines
            .lock()
            .unwrap()
            .extend(chunk.lines.into_iter().map(|line| (chunk.task, line)));
        self.changed.send_modify(|version| *version += 1);
    }

    async fn egress_events(&self, batch: EgressBatch) -> Result<(), ControlPlaneError> {
        self.reaches.lock().unwrap().push(wire(&batch));
        Ok(())
    }

    async fn exec_events(&self, batch: ExecBatch) -> Result<(), ControlPlaneError> {
        let batch = wire(&batch);
        self.answer()?;
        self.batches.lock().unwrap().push(batch);
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    async fn put_blobs(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<String>, ControlPlaneError> {
        self.answer()?;
        let mut kept = self.blobs.lock().unwrap();
        let digests = blobs.into_iter().map(|bytes| {
            let digest = hex::encode(Sha1::digest(&bytes));
            kept.insert(digest.clone(), bytes);
            digest
        });
        Ok(digests.collect())
    }

    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, ControlPlaneError> {
        Ok(self.blob(digest))
    }
}
