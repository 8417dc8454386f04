//! Backup and restore of a PostgreSQL store.

use std::path::Path;

use deadpool_postgres::{Client, Transaction};
use futures_util::TryStreamExt as _;
use tokio_postgres::IsolationLevel;

use super::client::{Fault, Step, number, pipeline};
use crate::backup::{BackupReader, BackupWriter, Record, SELECTS, insert, read};
use crate::error::StoreError;
use crate::filter::Dialect;
use crate::value::Value;

/// Records sent to the server at once.
const BATCH: usize = 500;

/// Writes one state of the store, unmoved by what is committed meanwhile.
pub(super) async fn write(client: &mut Client, to: &Path) -> Result<(), Fault> {
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    let snapshot = snapshot.start().await?;
    let mut counts = Vec::new();
    for (_, table, _) in SELECTS {
        counts.push((
            table,
            number(&snapshot, &format!("SELECT count(*) FROM {table}"), &[]).await?,
        ));
    }
    let mut file = BackupWriter::create(to, &counts)?;
    for (kind, _, sql) in SELECTS {
        let rows = snapshot.query_raw(sql, Vec::<i64>::new()).await?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await? {
            file.add(&read(kind, &row)?)?;
        }
    }
    snapshot.commit().await?;
    let finished = tokio::task::spawn_blocking(move || file.finish()).await;
    Ok(finished.unwrap_or(Err(StoreError::Closed))?)
}

/// Fills an empty store, inside a transaction.
pub(super) async fn restore(transaction: &Transaction<'_>, from: &Path) -> Result<(), Fault> {
    // Two restores at once would both find it empty.
    transaction
        .batch_execute("LOCK TABLE ledger_state IN EXCLUSIVE MODE")
        .await?;
    for (_, table, _) in SELECTS {
        let condition = if table == "ledger_state" {
            " WHERE size > 0"
        } else {
            ""
        };
        if number(
            transaction,
            &format!("SELECT count(*) FROM {table}{condition}"),
            &[],
        )
        .await?
            > 0
        {
            return Err(StoreError::NotEmpty.into());
        }
    }
    let mut file = BackupReader::open(from)?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(record) = file.next()? {
        batch.push(record);
        if batch.len() == BATCH {
            store(transaction, &file, &batch).await?;
            batch.clear();
        }
    }
    store(transaction, &file, &batch).await
}

async fn store(
    transaction: &Transaction<'_>,
    file: &BackupReader,
    batch: &[Record],
) -> Result<(), Fault> {
    let mut steps = Vec::with_capacity(batch.len());
    for record in batch {
        steps.push(insert(Dialect::Postgres, record, |sql, values| {
            Ok::<_, StoreError>(Step {
                sql,
                values: values.iter().cloned().map(Value::into_static).collect(),
            })
        })?);
    }
    let complain = |fault| match fault {
        // A record that is there twice; the line is that of the end of its batch.
        Fault::Failed(error) if error.as_db_error().is_some() => {
            Fault::Refused(file.invalid(&super::client::failed(&error).to_string()))
        }
        fault => fault,
    };
    pipeline(transaction, &steps)
        .await
        .map(drop)
        .map_err(complain)
}
