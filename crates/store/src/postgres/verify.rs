//! What we can check about our tables; PostgreSQL checks its pages itself.

use deadpool_postgres::GenericClient;

use super::client::{Fault, all};
use crate::columns::Columns as _;
use crate::verify::CHECKS;

/// Everything that is wrong, in words; nothing when all is well.
pub(super) async fn verify(client: &impl GenericClient) -> Result<Vec<String>, Fault> {
    let mut problems = Vec::new();
    for check in CHECKS {
        let found = all(client, check.sql, &[], |row| row.text(0)).await?;
        problems.extend(
            found
                .into_iter()
                .map(|what| format!("{}: {what}", check.problem)),
        );
    }
    Ok(problems)
}
