//! Events: something that happened. Immutable; the envelope is that of CloudEvents 1.0.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::EventId;

/// Event types that Nightcrew itself makes; others may come from outside.
pub mod types {
    /// Commits arrived on a branch.
    pub const PUSH: &str = "push";
    /// Somebody wrote a comment on a change.
    pub const COMMENT: &str = "comment";
    /// A change was opened, approved, merged, …: the verb is in `data.action`.
    pub const CHANGE: &str = "change";
    /// A schedule came due.
    pub const SCHEDULE: &str = "schedule";
    /// A person asked.
    pub const MANUAL: &str = "manual";
}

/// What an event is about, normalised over all sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subject {
    /// Name of the repository, `owner/name` or `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Branch without `refs/heads/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Number of the change at its forge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
    /// Automation by name, for schedules and manual starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automation: Option<String>,
}

/// An admitted event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Derived from `source` and `dedupe_key`.
    pub id: EventId,
    /// Where it came from, such as `forge:local` or `schedule`.
    pub source: String,
    /// Its type, see [`types`].
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it is about.
    pub subject: Subject,
    /// What makes it the same event when it is delivered again.
    pub dedupe_key: String,
    /// When it happened, by the source.
    pub time: Timestamp,
    /// When it was admitted here.
    pub received_at: Timestamp,
    /// Who caused it.
    pub actor: String,
    /// Whatever else the source said: data, never instructions.
    pub data: serde_json::Value,
}

/// An event as it is offered for admission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Where it comes from.
    pub source: String,
    /// Its type, see [`types`].
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it is about.
    #[serde(default)]
    pub subject: Subject,
    /// What makes it the same event when it is delivered again.
    pub dedupe_key: String,
    /// When it happened; the time of admission when absent.
    #[serde(default)]
    pub time: Option<Timestamp>,
    /// Who caused it.
    pub actor: String,
    /// Whatever else the source says.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl NewEvent {
    /// The event this becomes when it is admitted at `now`.
    #[must_use]
    pub fn admitted(self, now: Timestamp) -> Event {
        Event {
            id: EventId::of(&self.source, &self.dedupe_key),
            source: self.source,
            event_type: self.event_type,
            subject: self.subject,
            dedupe_key: self.dedupe_key,
            time: self.time.unwrap_or(now),
            received_at: now,
            actor: self.actor,
            data: self.data,
        }
    }
}

impl Event {
    /// The CloudEvents 1.0 JSON form (specification: CloudEvents JSON Event Format 1.0).
    #[must_use]
    pub fn to_cloudevent(&self) -> serde_json::Value {
        serde_json::json!({
            "specversion": "1.0",
            "id": self.dedupe_key,
            "source": self.source,
            "type": self.event_type,
            "time": self.time,
            "datacontenttype": "application/json",
            "nightcrewid": self.id,
            "nightcrewactor": self.actor,
            "data": {"subject": self.subject, "data": self.data},
        })
    }
}
