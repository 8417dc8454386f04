//! `devcontainer.json`, read as a recipe.
//!
//! The format is that of the Development Containers specification, as its JSON schema and metadata
//! reference describe it. Every key is in [`KEYS`], which says what becomes of it; there is no other
//! list. What would need a Docker engine, privileges, or the host's files, environment or commands is
//! refused by name, never ignored: an environment that silently lacks half of what was asked for fails
//! later and without a reason.

mod book;
mod features;
mod jsonc;
mod lifecycle;
mod mounts;
mod read;
mod substitute;
mod table;

pub use book::book_page;
pub use read::{Context, Reading, find, read};
pub use table::{KEYS, Row, Treatment};
