//! The GitHub Actions side: tools, the workflow writer, and reading a workflow back.

mod format;
pub(crate) mod matrix;
pub(crate) mod pins;
pub(crate) mod readback;
pub(crate) mod tools;
mod writer;

pub(crate) use writer::write;
