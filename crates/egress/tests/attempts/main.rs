//! Attempts to get out, by the names of `attacks/*.toml`: each with the allowed request before and
//! after, so that what is refused is refused for its own sake.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod bypass;
mod credential;
mod git;
mod identity;
mod names;
mod plain;
mod process;
mod protocol;
mod second;
mod server;
mod support;
mod volume;
