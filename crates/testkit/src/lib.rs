//! Real test surroundings: fleet builder, fault injector, throw-away PostgreSQL.

pub mod postgres;
