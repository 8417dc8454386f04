//! Why a command was not accepted.

/// A command that does not fit the state: nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The thing exists already.
    #[error("it exists already")]
    Exists,
    /// The command does not apply in this status.
    #[error("`{command}` does not apply to a task that is {status}")]
    WrongStatus {
        /// Command by name.
        command: &'static str,
        /// Status by name.
        status: String,
    },
    /// A person paused it.
    #[error("it is paused")]
    Paused,
    /// The step is not the next one, or not the one that runs.
    #[error("step {index} is not the one expected ({expected})")]
    WrongStep {
        /// Given.
        index: u32,
        /// Expected.
        expected: u32,
    },
    /// The command is about an earlier state of things.
    #[error("it is out of date: {0}")]
    Stale(&'static str),
    /// The person may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// The automation has no such step.
    #[error("the automation has no step {0}")]
    NoSuchStep(u32),
    /// The command is not one that this state knows.
    #[error("{0}")]
    Invalid(String),
}
