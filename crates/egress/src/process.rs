//! The broker as a process of its own: what its parent and it say to each other.
//!
//! The parent spawns it with one end of a socket pair as its standard input, and hands it sockets
//! and secrets over that. It has no privilege, no files and no other way to be told anything. When
//! the parent goes, it goes; when it goes, its listeners go with it, so that environments have no
//! network rather than one that nobody judges.

mod budget;
pub mod client;
mod link;
pub mod message;
pub mod serve;
mod wire;

/// Why parent and broker do not understand each other.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The broker could not be started.
    #[error("start the broker's process")]
    Start(#[source] std::io::Error),
    /// The connection between them failed.
    #[error("talk to the broker's process")]
    Talk(#[source] std::io::Error),
    /// The broker's process ended.
    #[error("the broker's process ended: environments that it served have no network")]
    Gone,
    /// It did not answer in time.
    #[error("the broker's process does not answer")]
    Silent,
    /// It refused, in these words.
    #[error("{0}")]
    Refused(String),
    /// What it shall be could not be given up or set up.
    #[error("set up the broker's process: {0}")]
    SetUp(String),
}
