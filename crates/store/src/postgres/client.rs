//! How statements, values and rows cross to PostgreSQL.

use bytes::BytesMut;
use deadpool_postgres::GenericClient;
use futures_util::future::join_all;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::columns::Columns;
use crate::error::StoreError;
use crate::value::Value;

/// Why work stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The event of a commit is there already: nothing of the commit may stay.
    Duplicate,
    /// The work itself is at fault.
    Refused(StoreError),
    /// The database, or the way to it, is.
    Failed(tokio_postgres::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Duplicate => Self::Conflict {
                what: "event".to_owned(),
            },
            Fault::Refused(error) => error,
            Fault::Failed(error) => failed(&error),
        }
    }
}

impl Fault {
    /// Whether another try of the same transaction may go through: it collided with another one.
    pub(super) fn is_collision(&self) -> bool {
        let Self::Failed(error) = self else {
            return false;
        };
        matches!(
            error.code(),
            Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE)
        )
    }
}

/// Names a failure; what the server said is more than what the library says about it.
pub(super) fn failed(error: &tokio_postgres::Error) -> StoreError {
    if let Some(said) = error.as_db_error() {
        return StoreError::Postgres(format!("{} ({})", said.message(), said.code().code()));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    StoreError::Postgres(text)
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(ty, out),
            Self::Flag(flag) => flag.to_sql(ty, out),
            // PostgreSQL has no way to keep a NUL in text.
            Self::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql(ty, out)
            }
            Self::Text(text) => text.as_ref().to_sql(ty, out),
            Self::Bytes(bytes) => bytes.as_ref().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::BOOL | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

fn damaged(at: usize, error: &tokio_postgres::Error) -> StoreError {
    StoreError::Damaged(format!("column {at}: {error}"))
}

impl Columns for Row {
    fn text_or_null(&self, at: usize) -> Result<Option<String>, StoreError> {
        self.try_get(at).map_err(|error| damaged(at, &error))
    }

    fn int_or_null(&self, at: usize) -> Result<Option<i64>, StoreError> {
        self.try_get(at).map_err(|error| damaged(at, &error))
    }

    fn flag(&self, at: usize) -> Result<bool, StoreError> {
        self.try_get(at).map_err(|error| damaged(at, &error))
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        self.try_get(at).map_err(|error| damaged(at, &error))
    }
}

fn bound<'a>(values: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

/// Runs a statement that returns nothing; the number of rows it changed.
pub(super) async fn execute(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value<'_>],
) -> Result<u64, Fault> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, &bound(values)).await?)
}

/// Every row of a query.
pub(super) async fn all<T>(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnMut(&Row) -> Result<T, StoreError> + Send,
) -> Result<Vec<T>, Fault> {
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &bound(values)).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The first row of a query, if there is one.
pub(super) async fn first<T>(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnMut(&Row) -> Result<T, StoreError> + Send,
) -> Result<Option<T>, Fault> {
    Ok(all(client, sql, values, read).await?.into_iter().next())
}

/// The one number that a query returns.
pub(super) async fn number(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value<'_>],
) -> Result<u64, Fault> {
    Ok(first(client, sql, values, |row| row.count(0))
        .await?
        .unwrap_or(0))
}

/// A statement to send, and what the number of rows it finds or changes means.
pub(super) struct Step<'a> {
    /// SQL, one of a fixed set.
    pub(super) sql: &'static str,
    /// Its values.
    pub(super) values: Vec<Value<'a>>,
}

/// Sends all statements without waiting for answers in between, and returns how many rows each
/// one found or changed. They are executed in order; after a failure all others fail too.
pub(super) async fn pipeline_results(
    client: &impl GenericClient,
    steps: &[Step<'_>],
) -> Result<Vec<Result<u64, tokio_postgres::Error>>, Fault> {
    let mut prepared = Vec::with_capacity(steps.len());
    for step in steps {
        prepared.push(client.prepare_cached(step.sql).await?);
    }
    let sent =
        steps
            .iter()
            .zip(&prepared)
            .map(|(step, statement)| async move {
                client.execute(statement, &bound(&step.values)).await
            });
    Ok(join_all(sent).await)
}

/// Like [`pipeline_results`], with the first failure as the failure of the whole.
pub(super) async fn pipeline(
    client: &impl GenericClient,
    steps: &[Step<'_>],
) -> Result<Vec<u64>, Fault> {
    let results = pipeline_results(client, steps).await?;
    Ok(results.into_iter().collect::<Result<_, _>>()?)
}
