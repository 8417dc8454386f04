//! API, console, intake and dispatcher.
//!
//! * [`service`]: what people and machines may ask of the control plane; every write goes
//!   through its one way of deciding and committing.
//! * [`dispatch`]: what happens by itself: outbox, leases, schedules, the forge's news, waves,
//!   the ledger's sequencer.

pub mod dispatch;
pub mod error;
pub mod logs;
pub mod service;

pub use error::ServiceError;
pub use service::{Actor, Service, ServiceOptions, Update};
