//! How a record is stored again, the same for both databases.

use std::sync::LazyLock;

use super::record::Record;
use crate::columns::{CAMPAIGN, OUTBOX, RUN, to_json};
use crate::error::StoreError;
use crate::filter::Dialect;
use crate::projection::{self, TASK_IDENTITY, TASK_PROGRESS, placeholders};
use crate::value::Value;

/// Statements by kind of record.
struct Inserts {
    fact: String,
    state: String,
    task: String,
    campaign: String,
    run: String,
    event: String,
    effect: String,
    document: String,
    account: String,
    reservation: String,
    leaf: String,
    entry: String,
    checkpoint: String,
    ledger: String,
}

static SQLITE: LazyLock<Inserts> = LazyLock::new(|| Inserts::new('?'));
static POSTGRES: LazyLock<Inserts> = LazyLock::new(|| Inserts::new('$'));

impl Inserts {
    fn new(prefix: char) -> Self {
        let into = |table: &str, columns: &str| {
            let count = columns.split(',').count();
            format!(
                "INSERT INTO {table} ({columns}) VALUES ({})",
                placeholders(count, prefix)
            )
        };
        let task = format!(
            "{}, {}, epoch, owner, lease_until",
            TASK_IDENTITY.join(", "),
            TASK_PROGRESS.join(", ")
        );
        Self {
            fact: into("facts", "stream, seq, fact"),
            state: into("states", "stream, seq, state"),
            task: into("tasks", &task),
            campaign: into("campaigns", CAMPAIGN),
            run: into("runs", RUN),
            event: into("events", "id, type, repository, received_at, body"),
            effect: into("outbox", OUTBOX),
            document: into("documents", "kind, key, body"),
            account: into("budget_accounts", "scope, body"),
            reservation: into("budget_reservations", "id, holder, body"),
            leaf: into("ledger_pending", "leaf"),
            entry: into("ledger_entries", "idx, leaf, hash"),
            checkpoint: into("checkpoints", "size, body"),
            ledger: format!(
                "UPDATE ledger_state SET size = {prefix}1, frontier = {prefix}2, checkpoint = {prefix}3"
            ),
        }
    }
}

/// Hands statement and values of a record to `run`.
pub(crate) fn insert<T, E: From<StoreError>>(
    dialect: Dialect,
    record: &Record,
    run: impl FnOnce(&'static str, &[Value<'_>]) -> Result<T, E>,
) -> Result<T, E> {
    let sql: &'static Inserts = if dialect == Dialect::Sqlite {
        &SQLITE
    } else {
        &POSTGRES
    };
    match record {
        Record::Fact { stream, seq, fact } => run(
            &sql.fact,
            &[stream.as_str().into(), (*seq).into(), fact.as_str().into()],
        ),
        Record::State { stream, seq, state } => run(
            &sql.state,
            &[stream.as_str().into(), (*seq).into(), state.as_str().into()],
        ),
        Record::Task {
            row,
            spent_ms,
            epoch,
            owner,
            lease_until,
        } => {
            let mut values = projection::task_identity(row);
            values.extend(projection::task_progress(row, *spent_ms));
            values.push((*epoch).into());
            values.push(Value::text_or_null(owner.as_deref()));
            values.push(lease_until.map_or(Value::Null, Value::from));
            run(&sql.task, &values)
        }
        Record::Campaign { row } => run(&sql.campaign, &projection::campaign(row)),
        Record::Run { row } => run(&sql.run, &projection::run(row)),
        Record::Event { event } => run(&sql.event, &projection::event(event)?),
        Record::Effect { row } => run(&sql.effect, &projection::effect(row)?),
        Record::Document { kind, key, body } => run(
            &sql.document,
            &[
                kind.as_str().into(),
                key.as_str().into(),
                body.as_str().into(),
            ],
        ),
        Record::Account { account } => run(
            &sql.account,
            &[
                account.scope.as_str().into(),
                to_json(account)?.as_str().into(),
            ],
        ),
        Record::Reservation { reservation } => run(
            &sql.reservation,
            &[
                reservation.id.as_str().into(),
                reservation.holder.as_str().into(),
                to_json(reservation)?.as_str().into(),
            ],
        ),
        Record::Leaf { leaf } => run(&sql.leaf, &[bytes(leaf)?.as_slice().into()]),
        Record::Entry { index, leaf, hash } => {
            let (leaf, hash) = (bytes(leaf)?, bytes(hash)?);
            run(
                &sql.entry,
                &[
                    (*index).into(),
                    leaf.as_slice().into(),
                    hash.as_slice().into(),
                ],
            )
        }
        Record::Checkpoint { size, body } => {
            run(&sql.checkpoint, &[(*size).into(), body.as_str().into()])
        }
        Record::Ledger {
            size,
            frontier,
            checkpoint,
        } => {
            let frontier = bytes(frontier)?;
            let values = [
                (*size).into(),
                frontier.as_slice().into(),
                Value::text_or_null(checkpoint.as_deref()),
            ];
            run(&sql.ledger, &values)
        }
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, StoreError> {
    hex::decode(text).map_err(|error| StoreError::Damaged(format!("hexadecimal digits: {error}")))
}
