//! Exec control by content, as root: what is refused is refused by every way that leads to it, what
//! is not is not, and nobody outside notices.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod kit;
mod modes;
mod robust;
mod vectors;
