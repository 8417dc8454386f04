//! The kinds of steps, one file each.

pub(crate) mod approve;
pub(crate) mod change;
pub(crate) mod command;
pub(crate) mod report;
pub(crate) mod validate;
