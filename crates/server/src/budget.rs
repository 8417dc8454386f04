//! Caps at work: purses that calls are paid from, what belongs to the commits of tasks, raises,
//! and what was spent.
//!
//! The truth is in the store. A process that pays for many calls holds slices of it in *purses*,
//! one for each account and model, under a lease: what is in a purse is held in the store, so that
//! whatever happens to the process, what it may have spent is charged.

mod moves;
mod path;
mod pay;
mod purse;
mod turns;

pub(crate) use moves::halt;
pub(crate) use path::{Account, is_name};
pub(crate) use pay::{Budgets, Unpaid};
pub(crate) use purse::Key;
