//! Lists and single things, all read without touching the big columns they do not return.

use model::campaign::WaveProgress;
use model::event::Event;
use model::ids::{CampaignId, EventId};
use model::rows::{CampaignRow, RunRow, Stream, TaskRow};
use rusqlite::Connection;

use super::connection::{all, first, number};
use super::fault::Fault;
use crate::columns::{
    CAMPAIGN, Columns as _, RUN, TASK, campaign_row, event, run_row, task_row, wait_kind,
};
use crate::filter::{Dialect, Query};
use crate::types::{
    DiffClassRow, Document, EventFilter, FactRow, Loaded, Page, StatusCount, TaskFilter, TaskOrder,
};
use crate::value::Value;

fn query(head: String) -> Query {
    Query::new(Dialect::Sqlite, head)
}

pub(super) fn load(connection: &Connection, stream: Stream) -> Result<Option<Loaded>, Fault> {
    let sql = "SELECT s.state, s.seq, coalesce(t.epoch, 0), t.owner FROM states s
               LEFT JOIN tasks t ON t.id = s.stream WHERE s.stream = ?1";
    first(connection, sql, &[Value::id(&stream)], |row| {
        Ok(Loaded {
            state: row.text(0)?,
            seq: row.count(1)?,
            epoch: row.count(2)?,
            owner: row.text_or_null(3)?,
        })
    })
}

pub(super) fn facts(
    connection: &Connection,
    stream: Stream,
    after: u64,
    limit: u32,
) -> Result<Vec<FactRow>, Fault> {
    let sql = "SELECT seq, fact FROM facts WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    all(
        connection,
        sql,
        &[Value::id(&stream), after.into(), limit.into()],
        |row| {
            Ok(FactRow {
                seq: row.count(0)?,
                fact: row.text(1)?,
            })
        },
    )
}

pub(super) fn one_event(connection: &Connection, id: EventId) -> Result<Option<Event>, Fault> {
    first(
        connection,
        "SELECT body FROM events WHERE id = ?1",
        &[Value::id(&id)],
        |row| event(row, 0),
    )
}

pub(super) fn events(
    connection: &Connection,
    filter: &EventFilter,
    page: Page,
) -> Result<Vec<Event>, Fault> {
    let query = query("SELECT body FROM events".to_owned())
        .events(filter)
        .newest()
        .page(page);
    all(connection, &query.sql, &query.values, |row| event(row, 0))
}

pub(super) fn tasks(
    connection: &Connection,
    filter: &TaskFilter,
    order: TaskOrder,
    page: Page,
) -> Result<Vec<TaskRow>, Fault> {
    let query = query(format!("SELECT {TASK} FROM tasks"))
        .tasks(filter)
        .order(order)
        .page(page);
    all(connection, &query.sql, &query.values, |row| task_row(row))
}

pub(super) fn count_tasks(connection: &Connection, filter: &TaskFilter) -> Result<u64, Fault> {
    let query = query("SELECT count(*) FROM tasks".to_owned()).tasks(filter);
    number(connection, &query.sql, &query.values)
}

pub(super) fn status_counts(
    connection: &Connection,
    campaign: Option<CampaignId>,
) -> Result<Vec<StatusCount>, Fault> {
    let head = "SELECT status, wait, count(*) FROM tasks".to_owned();
    let mut query = query(head).tasks(&TaskFilter {
        campaign,
        ..TaskFilter::default()
    });
    query.sql.push_str(" GROUP BY status, wait");
    let mut counts = all(connection, &query.sql, &query.values, |row| {
        Ok(StatusCount {
            status: row.parsed(0)?,
            wait: wait_kind(row, 1)?,
            count: row.count(2)?,
        })
    })?;
    StatusCount::sort(&mut counts);
    Ok(counts)
}

pub(super) fn wave_progress(
    connection: &Connection,
    campaign: CampaignId,
) -> Result<Vec<WaveProgress>, Fault> {
    let sql =
        "SELECT wave, count(*), sum(settled), sum(status IN ('failed', 'unverified', 'rejected')),
                      count(change), sum(status = 'merged')
               FROM tasks INDEXED BY tasks_by_campaign
               WHERE campaign = ?1 GROUP BY wave ORDER BY wave";
    let rows = all(connection, sql, &[Value::id(&campaign)], |row| {
        crate::waves::read(row)
    })?;
    Ok(crate::waves::without_gaps(rows))
}

pub(super) fn campaign_spend(
    connection: &Connection,
    campaign: CampaignId,
) -> Result<(u64, u64), Fault> {
    let sql = "SELECT coalesce(sum(spent_ms), 0), count(change) FROM tasks WHERE campaign = ?1";
    let found = first(connection, sql, &[Value::id(&campaign)], |row| {
        Ok((row.count(0)?, row.count(1)?))
    })?;
    Ok(found.unwrap_or_default())
}

pub(super) fn diff_classes(
    connection: &Connection,
    campaign: CampaignId,
) -> Result<Vec<DiffClassRow>, Fault> {
    let sql = "SELECT diff_class, count(*), sum(status = 'in_review'),
                      coalesce(min(CASE WHEN status = 'in_review' THEN n END), min(n))
               FROM tasks WHERE campaign = ?1 AND diff_class IS NOT NULL
               GROUP BY diff_class ORDER BY 2 DESC, 1";
    let classes = all(connection, sql, &[Value::id(&campaign)], |row| {
        Ok((row.text(0)?, row.count(1)?, row.count(2)?, row.int(3)?))
    })?;
    let one = format!("SELECT {TASK} FROM tasks WHERE n = ?1");
    let mut found = Vec::with_capacity(classes.len());
    for (class, count, open, n) in classes {
        if let Some(sample) = first(connection, &one, &[Value::Int(n)], |row| task_row(row))? {
            found.push(DiffClassRow {
                class,
                count,
                open,
                sample,
            });
        }
    }
    Ok(found)
}

pub(super) fn campaign(
    connection: &Connection,
    id: CampaignId,
) -> Result<Option<CampaignRow>, Fault> {
    let sql = format!("SELECT {CAMPAIGN} FROM campaigns WHERE id = ?1");
    first(connection, &sql, &[Value::id(&id)], |row| campaign_row(row))
}

pub(super) fn campaigns(
    connection: &Connection,
    automation: Option<&str>,
    open_only: bool,
    page: Page,
) -> Result<Vec<CampaignRow>, Fault> {
    let mut query = query(format!("SELECT {CAMPAIGN} FROM campaigns"));
    if let Some(automation) = automation {
        query.equals("automation", automation.into());
    }
    if open_only {
        query = query.and("status <> 'closed'");
    }
    let query = query.newest().page(page);
    all(connection, &query.sql, &query.values, |row| {
        campaign_row(row)
    })
}

pub(super) fn runs(
    connection: &Connection,
    automation: Option<&str>,
    page: Page,
) -> Result<Vec<RunRow>, Fault> {
    let mut query = query(format!("SELECT {RUN} FROM runs"));
    if let Some(automation) = automation {
        query.equals("automation", automation.into());
    }
    let query = query.newest().page(page);
    all(connection, &query.sql, &query.values, |row| run_row(row))
}

pub(super) fn document(
    connection: &Connection,
    kind: &str,
    key: &str,
) -> Result<Option<Document>, Fault> {
    let sql = "SELECT key, body FROM documents WHERE kind = ?1 AND key = ?2";
    first(connection, sql, &[kind.into(), key.into()], |row| {
        Ok(Document {
            key: row.text(0)?,
            body: row.text(1)?,
        })
    })
}

pub(super) fn documents(
    connection: &Connection,
    kind: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Document>, Fault> {
    let sql = "SELECT key, body FROM documents WHERE kind = ?1 AND key > ?2 ORDER BY key LIMIT ?3";
    all(
        connection,
        sql,
        &[kind.into(), after.into(), limit.into()],
        |row| {
            Ok(Document {
                key: row.text(0)?,
                body: row.text(1)?,
            })
        },
    )
}
