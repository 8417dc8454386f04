//! What can be checked of a request before any database sees it.

use model::rows::{Row, Stream};

use crate::columns::Columns;
use crate::error::StoreError;
use crate::types::{Append, LedgerEntry, Sequenced, StatusCount};

impl Append {
    /// An append has facts, and its row is of its stream.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let is_own = match (&self.stream, &self.row) {
            (Stream::Task(id), Row::Task(row)) => *id == row.id,
            (Stream::Campaign(id), Row::Campaign(row)) => *id == row.id,
            (Stream::Run(id), Row::Run(row)) => *id == row.id,
            _ => false,
        };
        if !is_own {
            return Err(StoreError::Malformed(format!(
                "the row for {} is of something else",
                self.stream
            )));
        }
        if self.facts.is_empty() {
            return Err(StoreError::Malformed(format!(
                "nothing to append to {}",
                self.stream
            )));
        }
        Ok(())
    }
}

impl Sequenced {
    /// Size of the ledger afterwards.
    pub(crate) fn size(&self) -> u64 {
        self.expected_size + self.entries.len() as u64
    }

    /// One entry for each row, with indices that follow on.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let follows = (self.expected_size..)
            .zip(&self.entries)
            .all(|(index, entry)| entry.index == index);
        if follows && self.rows.len() == self.entries.len() {
            Ok(())
        } else {
            Err(StoreError::Malformed(
                "ledger entries do not follow on".to_owned(),
            ))
        }
    }
}

impl LedgerEntry {
    /// Reads (index, leaf, hash).
    pub(crate) fn read(row: &impl Columns) -> Result<Self, StoreError> {
        let hash = row.bytes(2)?.try_into();
        let hash =
            hash.map_err(|_| StoreError::Damaged("a leaf hash has not 32 bytes".to_owned()))?;
        Ok(Self {
            index: row.count(0)?,
            leaf: row.bytes(1)?,
            hash,
        })
    }
}

impl StatusCount {
    /// In the order of a task's life.
    pub(crate) fn sort(counts: &mut [Self]) {
        counts.sort_by_key(|count| (count.status, count.wait.map(|wait| wait.as_str())));
    }
}
