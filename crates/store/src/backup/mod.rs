//! The portable backup: JSON lines that either database writes and either reads.
//!
//! First line: format, version and number of records of each kind. Then the records, each kind
//! in the order in which it was stored. Last line: number of lines before it and their SHA-256,
//! so that a cut or changed file is found before anything of it is kept.

mod file;
mod insert;
mod record;

pub(crate) use file::{BackupReader, BackupWriter};
pub(crate) use insert::insert;
pub(crate) use record::{Record, SELECTS, read};
