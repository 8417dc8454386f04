//! Git's smart HTTP protocol, as far as rules look: which request is what, and which refs a push
//! updates (gitprotocol-http, gitprotocol-pack).

mod refs;
mod service;

pub use refs::RefUpdate;
pub use service::{GitRequest, classify, repository};
