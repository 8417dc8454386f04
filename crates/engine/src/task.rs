//! The life of a task: one command per file, one place that applies facts, one that derives effects.

mod apply;
mod approve;
mod cancel;
mod claim;
mod close;
mod command;
mod create;
mod deny;
mod effects;
mod end;
mod expire;
mod finish_step;
mod halt;
mod interrupt;
mod merge;
mod pause;
mod prepare;
mod propose;
mod refuse;
mod resume;
mod retry;
mod review;
mod start_step;
mod submit;
mod supersede;
mod validate;
mod wait;
mod wake;

pub use apply::{apply, replay};
pub use command::{TaskCommand, decide};
pub use create::{create, initial};
pub use effects::{Asked, effects};

/// Index under which a consent to start at all is kept (policy asked for it, not a step).
pub const START_APPROVAL: u32 = u32::MAX;
/// Index under which a consent to submit is kept (policy asked for it, not a step).
pub const SUBMIT_APPROVAL: u32 = u32::MAX - 1;
/// Times a task may lose its runner in one round before it is given up.
pub const MOST_INTERRUPTIONS: u32 = 3;
