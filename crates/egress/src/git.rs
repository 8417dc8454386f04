//! Git's smart HTTP protocol, as far as rules look: which request is what, and which refs a push
//! updates (gitprotocol-http, gitprotocol-pack).

mod packet;
mod push;
mod refs;
mod report;
mod service;

pub use push::{LONGEST_COMMANDS, MOST_UPDATES, Push, PushError, PushReader};
pub use refs::RefUpdate;
pub use report::{RESULT_TYPE, refusal};
pub use service::{GitRequest, classify, repository};
