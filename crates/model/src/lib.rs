//! The nouns: typed ids, event, automation, run, task, step, change, evidence, campaign, budget.
//!
//! This room knows no other. It holds plain data with its serialised form and nothing that
//! decides; the rules over these nouns are the room `engine`.

pub mod automation;
pub mod batch;
pub mod budget;
pub mod campaign;
pub mod change;
pub mod duration;
pub mod egress;
pub mod event;
pub mod evidence;
pub mod exec;
pub mod fact;
pub mod fence;
pub mod ids;
pub mod isolation;
pub mod network;
pub mod policy;
pub mod protocol;
pub mod reason;
pub mod repository;
pub mod rows;
pub mod run;
pub mod size;
pub mod step;
pub mod task;

pub use ids::{AutomationId, CampaignId, ChangeId, EffectId, EventId, RunId, TaskId};
/// A point in time, UTC, nanosecond resolution.
pub use jiff::Timestamp;
