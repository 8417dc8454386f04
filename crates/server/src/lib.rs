//! API, console, intake and dispatcher.
//!
//! * [`service`]: what people and machines may ask of the control plane; every write goes
//!   through its one way of deciding and committing.
//! * [`dispatch`]: what happens by itself: outbox, leases, schedules, the forge's news, waves,
//!   the ledger's sequencer.
//! * [`http`]: the one HTTP server with its two faces, `api` (JSON) and `console` (pages).

mod api;
mod budget;
mod console;
pub mod dispatch;
pub mod error;
pub mod http;
mod inventory;
pub mod logs;
pub mod service;
mod terminal;

pub use error::ServiceError;
pub use http::{AppState, Auth, router};
pub use service::{Actor, Service, ServiceOptions, Stopped, Stops, Update};
