//! Records of a backup and the queries that find them.

use jiff::Timestamp;
use model::budget::{Account, Reservation};
use model::event::Event;
use model::rows::{CampaignRow, OutboxRow, RunRow, TaskRow};
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, campaign_row, event, from_json, outbox_row, run_row, task_row};
use crate::error::StoreError;

/// One stored thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", deny_unknown_fields)]
pub(crate) enum Record {
    /// A fact.
    Fact {
        stream: String,
        seq: u64,
        fact: String,
    },
    /// Newest state of a stream.
    State {
        stream: String,
        seq: u64,
        state: String,
    },
    /// A task's row with its lease.
    Task {
        row: TaskRow,
        spent_ms: u64,
        epoch: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_until: Option<Timestamp>,
    },
    /// A campaign's row.
    Campaign { row: CampaignRow },
    /// A run's row.
    Run { row: RunRow },
    /// An event.
    Event { event: Event },
    /// An effect not yet done; leases on effects are not kept.
    Effect { row: OutboxRow },
    /// A document.
    Document {
        kind: String,
        key: String,
        body: String,
    },
    /// An account of the budget.
    Account { account: Account },
    /// What is held of the budget; leases of holders are not kept, so that it is charged unless a
    /// task holds it.
    Reservation { reservation: Reservation },
    /// A leaf without index, in hexadecimal.
    Leaf { leaf: String },
    /// A ledger entry, in hexadecimal.
    Entry {
        index: u64,
        leaf: String,
        hash: String,
    },
    /// A signed checkpoint.
    Checkpoint { size: u64, body: String },
    /// Where the ledger stands.
    Ledger {
        size: u64,
        frontier: String,
        checkpoint: Option<String>,
    },
}

/// Kinds of records, in the order of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fact,
    State,
    Task,
    Campaign,
    Run,
    Event,
    Effect,
    Document,
    Account,
    Reservation,
    Leaf,
    Entry,
    Checkpoint,
    Ledger,
}

/// Kind, table, and the query that finds its records in the order of storage.
pub(crate) const SELECTS: [(Kind, &str, &str); 14] = [
    (
        Kind::Fact,
        "facts",
        "SELECT stream, seq, fact FROM facts ORDER BY n",
    ),
    (
        Kind::State,
        "states",
        "SELECT stream, seq, state FROM states ORDER BY n",
    ),
    (
        Kind::Task,
        "tasks",
        "SELECT id, run, campaign, automation, repository, path, key, wave, created_at, status, wait, settled, \
         paused, next_step, round, reason, sentence, change, diff_class, updated_at, spent_ms, epoch, owner, \
         lease_until FROM tasks ORDER BY n",
    ),
    (
        Kind::Campaign,
        "campaigns",
        "SELECT id, automation, status, admitted_wave, targets, max_running, max_open, created_at, updated_at \
         FROM campaigns ORDER BY n",
    ),
    (
        Kind::Run,
        "runs",
        "SELECT id, automation, event, status, campaign, tasks, created_at FROM runs ORDER BY n",
    ),
    (Kind::Event, "events", "SELECT body FROM events ORDER BY n"),
    (
        Kind::Effect,
        "outbox",
        "SELECT id, due_at, lane, attempts, effect FROM outbox ORDER BY n",
    ),
    (
        Kind::Document,
        "documents",
        "SELECT kind, key, body FROM documents ORDER BY n",
    ),
    (
        Kind::Account,
        "budget_accounts",
        "SELECT body FROM budget_accounts ORDER BY n",
    ),
    (
        Kind::Reservation,
        "budget_reservations",
        "SELECT body FROM budget_reservations ORDER BY n",
    ),
    (
        Kind::Leaf,
        "ledger_pending",
        "SELECT leaf FROM ledger_pending ORDER BY n",
    ),
    (
        Kind::Entry,
        "ledger_entries",
        "SELECT idx, leaf, hash FROM ledger_entries ORDER BY idx",
    ),
    (
        Kind::Checkpoint,
        "checkpoints",
        "SELECT size, body FROM checkpoints ORDER BY size",
    ),
    (
        Kind::Ledger,
        "ledger_state",
        "SELECT size, frontier, checkpoint FROM ledger_state",
    ),
];

/// Reads a row of the query of a kind.
pub(crate) fn read(kind: Kind, row: &impl Columns) -> Result<Record, StoreError> {
    Ok(match kind {
        Kind::Fact => Record::Fact {
            stream: row.text(0)?,
            seq: row.count(1)?,
            fact: row.text(2)?,
        },
        Kind::State => Record::State {
            stream: row.text(0)?,
            seq: row.count(1)?,
            state: row.text(2)?,
        },
        Kind::Task => Record::Task {
            row: task_row(row)?,
            spent_ms: row.count(20)?,
            epoch: row.count(21)?,
            owner: row.text_or_null(22)?,
            lease_until: row.int_or_null(23)?.map(crate::columns::from_nanos),
        },
        Kind::Campaign => Record::Campaign {
            row: campaign_row(row)?,
        },
        Kind::Run => Record::Run { row: run_row(row)? },
        Kind::Event => Record::Event {
            event: event(row, 0)?,
        },
        Kind::Effect => Record::Effect {
            row: outbox_row(row)?,
        },
        Kind::Document => Record::Document {
            kind: row.text(0)?,
            key: row.text(1)?,
            body: row.text(2)?,
        },
        Kind::Account => Record::Account {
            account: from_json(&row.text(0)?)?,
        },
        Kind::Reservation => Record::Reservation {
            reservation: from_json(&row.text(0)?)?,
        },
        Kind::Leaf => Record::Leaf {
            leaf: hex::encode(row.bytes(0)?),
        },
        Kind::Entry => Record::Entry {
            index: row.count(0)?,
            leaf: hex::encode(row.bytes(1)?),
            hash: hex::encode(row.bytes(2)?),
        },
        Kind::Checkpoint => Record::Checkpoint {
            size: row.count(0)?,
            body: row.text(1)?,
        },
        Kind::Ledger => Record::Ledger {
            size: row.count(0)?,
            frontier: hex::encode(row.bytes(1)?),
            checkpoint: row.text_or_null(2)?,
        },
    })
}
