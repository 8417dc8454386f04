//! Real test surroundings: fleet builder, a server to kill, chaos, throw-away PostgreSQL, a registry with an image.

pub mod api;
pub mod browser;
pub mod chaos;
pub mod fleet;
mod objects;
pub mod postgres;
pub mod registry;
pub mod server;
