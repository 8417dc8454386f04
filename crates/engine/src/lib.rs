//! The rules as pure functions: match, decide, apply, effects, retry, wave, gate, budget
//! arithmetic, diff classes.
//!
//! No clock, no I/O, no async: the time and everything else that a decision needs is handed in.
//! `decide(state, command, context) → facts`, `apply(state, fact) → state`,
//! `effects(state, fact) → outbox`.

pub mod branch;
pub mod budget;
pub mod campaign;
pub mod condition;
pub mod context;
pub mod definition;
pub mod diff_class;
pub mod fence;
pub mod matching;
pub mod network;
pub mod ports;
pub mod rejection;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod targets;
pub mod task;
pub mod waves;

pub use context::Context;
pub use rejection::Rejection;
