//! The kill switch, at every level: what is stopped, by whom and why. A stop is a document with a
//! leaf in the ledger; it holds until somebody lifts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use model::ids::TaskId;
use model::reason::{Reason, ReasonCode};
use model::task::{Task, WaitKind};
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite};
use tokio::sync::watch;

use super::commit::leaf;
use super::{Actor, Service, Update};
use crate::budget::is_name;
use crate::error::ServiceError;

/// Kind of the documents.
const STOP: &str = "stop";
/// Stops at once, at most.
const MOST_STOPS: u32 = 1000;
/// Longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// Something that is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// What: `organisation`, `team:NAME`, `automation:NAME`, `campaign:ID`, `run:ID`, `task:ID`,
    /// `environment:NAME`, `model:NAME` or `host:NAME`.
    pub scope: String,
    /// Who stopped it.
    pub by: String,
    /// Why, in words; empty when nobody said.
    #[serde(default)]
    pub because: String,
    /// When.
    pub at: Timestamp,
}

impl Stopped {
    /// The sentence for people and agents.
    #[must_use]
    pub fn sentence(&self) -> String {
        let because = if self.because.is_empty() {
            String::new()
        } else {
            format!(": {}", self.because)
        };
        format!(
            "{} stopped {}{because}; `nightcrew stop --lift {}` lets it go on",
            self.by, self.scope, self.scope
        )
    }
}

/// Everything that is stopped, by scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stops(pub BTreeMap<String, Stopped>);

impl Stops {
    /// What stops somebody who is in all of these scopes.
    pub fn first<'a>(&self, scopes: impl IntoIterator<Item = &'a str>) -> Option<&Stopped> {
        scopes.into_iter().find_map(|scope| self.0.get(scope))
    }
}

/// What is known of stops; nothing until they were read for the first time.
pub(crate) type Known = watch::Sender<Option<Arc<Stops>>>;

impl Service {
    /// Everything that is stopped.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stops(&self) -> Result<Arc<Stops>, ServiceError> {
        if let Some(stops) = self.stops.borrow().clone() {
            return Ok(stops);
        }
        self.read_stops().await
    }

    /// What is stopped from now on, for brokers and gateways: nothing until it was read.
    #[must_use]
    pub fn watch_stops(&self) -> watch::Receiver<Option<Arc<Stops>>> {
        self.stops.subscribe()
    }

    /// Reads what is stopped, also by other processes.
    pub(crate) async fn read_stops(&self) -> Result<Arc<Stops>, ServiceError> {
        let mut stops = Stops::default();
        for document in self.store.documents(STOP, "", MOST_STOPS).await? {
            stops
                .0
                .insert(document.key, serde_json::from_str(&document.body)?);
        }
        let stops = Arc::new(stops);
        let known = Arc::clone(&stops);
        self.stops.send_if_modified(|before| {
            let news = before.as_deref() != Some(&*known);
            *before = Some(known);
            news
        });
        Ok(stops)
    }

    /// What stops a task, if something does.
    pub(crate) async fn stopped(&self, task: &Task) -> Result<Option<Stopped>, ServiceError> {
        let stops = self.stops().await?;
        if stops.0.is_empty() {
            return Ok(None);
        }
        let levels = self.levels_of_task(task).await?;
        let automation = format!("automation:{}", task.automation);
        let scopes = levels
            .iter()
            .map(|level| level.scope.as_str())
            .chain([automation.as_str()]);
        Ok(stops.first(scopes).cloned())
    }

    /// Stops a scope: nothing of it starts, what runs is halted with its work kept, its calls and
    /// connections are refused.
    ///
    /// # Errors
    /// When there is no such scope, or the store fails.
    pub async fn stop(
        self: &Arc<Self>,
        scope: &str,
        because: &str,
        actor: &Actor,
    ) -> Result<Stopped, ServiceError> {
        let scope = self.find_scope(scope).await?;
        if because.len() > LONGEST_REASON {
            return Err(ServiceError::Invalid(format!(
                "the reason is longer than {LONGEST_REASON} bytes"
            )));
        }
        if self.stops().await?.0.len() >= MOST_STOPS as usize {
            return Err(ServiceError::Invalid(format!(
                "{MOST_STOPS} stops hold already; lift some, or stop the organisation"
            )));
        }
        let stopped = Stopped {
            scope: scope.clone(),
            by: actor.name.clone(),
            because: because.to_owned(),
            at: self.now(),
        };
        let body = serde_json::to_string(&stopped)?;
        self.write_stop(&scope, Some(body), "stop.set", actor)
            .await?;
        // Brokers and gateways hear of it before tasks are looked for.
        self.read_stops().await?;
        self.halt_stopped().await?;
        self.publish(Update::Stops);
        Ok(stopped)
    }

    /// Lifts a stop; what waits for its end goes on, unless something else stops it.
    ///
    /// # Errors
    /// When the scope is not stopped, or the store fails.
    pub async fn lift(self: &Arc<Self>, scope: &str, actor: &Actor) -> Result<(), ServiceError> {
        let scope = self.find_scope(scope).await?;
        if !self.read_stops().await?.0.contains_key(&scope) {
            return Err(ServiceError::not_found("stop of", scope));
        }
        self.write_stop(&scope, None, "stop.lifted", actor).await?;
        self.read_stops().await?;
        for row in self.waiting_for(WaitKind::Stop).await? {
            let task = self.task(row.id).await?;
            if self.stopped(&task).await?.is_none() {
                self.wake(row.id).await?;
            }
        }
        self.outbox.notify_one();
        self.publish(Update::Stops);
        Ok(())
    }

    async fn write_stop(
        &self,
        scope: &str,
        body: Option<String>,
        kind: &str,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        let payload = body.clone().unwrap_or_default();
        let seq = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let leaf = leaf(
            now,
            &actor.name,
            scope,
            scope,
            seq,
            kind,
            payload.as_bytes(),
        )?;
        let commit = Commit {
            documents: vec![DocumentWrite {
                kind: STOP.to_owned(),
                key: scope.to_owned(),
                body,
            }],
            leaves: vec![leaf],
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        self.leaves.notify_one();
        Ok(())
    }

    /// Halts every task that a runner holds and something stops.
    pub(crate) async fn halt_stopped(self: &Arc<Self>) -> Result<(), ServiceError> {
        for lease in self.store.leases().await? {
            let task = self.task(lease.task).await?;
            if let Some(stopped) = self.stopped(&task).await? {
                let reason = Reason::new(ReasonCode::Stopped, stopped.sentence());
                self.halt(lease.task, WaitKind::Stop, reason).await?;
            }
        }
        Ok(())
    }

    /// The scope that a person means, in its full form.
    ///
    /// # Errors
    /// When there is no such thing.
    pub async fn find_scope(&self, text: &str) -> Result<String, ServiceError> {
        let text = text.trim();
        if text == engine::budget::ORGANISATION || text == "everything" {
            return Ok(engine::budget::ORGANISATION.to_owned());
        }
        let (kind, name) = text.split_once(':').ok_or_else(|| no_scope(text))?;
        Ok(match kind {
            "team" if self.caps.teams.contains_key(name) => text.to_owned(),
            "team" => return Err(ServiceError::not_found("team", name)),
            "automation" => {
                let found = self.automation(name).await?;
                found.ok_or_else(|| ServiceError::not_found("automation", name))?;
                text.to_owned()
            }
            "campaign" => format!("campaign:{}", self.find_campaign(name).await?),
            "task" | "agent" => format!("task:{}", self.find_task(name).await?),
            "run" => {
                let id: model::RunId = name.parse().map_err(|_| no_scope(text))?;
                self.run(id).await?;
                text.to_owned()
            }
            "environment" | "model" | "host" if is_name(name) => text.to_owned(),
            _ => return Err(no_scope(text)),
        })
    }

    /// The task of a scope that is one.
    pub(crate) fn task_of(scope: &str) -> Option<TaskId> {
        scope.strip_prefix("task:")?.parse().ok()
    }
}

fn no_scope(text: &str) -> ServiceError {
    let shown: String = text.chars().take(60).collect();
    ServiceError::Invalid(format!(
        "`{shown}` is no scope: write organisation, team:NAME, automation:NAME, campaign:NAME, run:ID, task:ID, environment:NAME, model:NAME or host:NAME"
    ))
}
