//! What commands and keepers say to each other.

use serde::{Deserialize, Serialize};

use model::isolation::Isolation;

use crate::failure::Failure;

/// A command's wish: one per conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// How is it?
    Status,
    /// Run a program. With it come descriptors: standard output, standard error, and standard input
    /// if `stdin`. Hanging up kills it.
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its variables.
        env: Vec<(String, String)>,
        /// Where it starts; `/work` when absent.
        cwd: Option<String>,
        /// Whether a descriptor for standard input comes along.
        stdin: bool,
        /// It is killed after so many milliseconds.
        timeout_ms: Option<u64>,
    },
    /// Run a program on a terminal of the environment's own: [`Answer::Terminal`] comes first, with
    /// its steering end. Hanging up kills it.
    Shell {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its variables.
        env: Vec<(String, String)>,
        /// Where it starts; `/work` when absent.
        cwd: Option<String>,
        /// Lines of the terminal.
        rows: u16,
        /// Characters of a line.
        columns: u16,
    },
    /// Destroy the environment and end. The answer comes when nothing of it is left.
    End,
}

/// A keeper's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The environment stands.
    Status(Box<Status>),
    /// The program runs, and this is its terminal.
    Terminal,
    /// The program ended.
    Exited {
        /// Its exit code; 128 + signal for a signal, 124 when its time was over.
        code: u8,
        /// Why, when it was not the program's own end.
        note: Option<String>,
        /// Refusals of exec control while it ran, in words.
        refused: Vec<String>,
    },
    /// It was destroyed.
    Ended,
    /// It was not done.
    Failed {
        /// Why.
        message: String,
        /// The cure.
        hint: Option<String>,
    },
}

impl Answer {
    /// A failure as an answer.
    pub(crate) fn failed(failure: &Failure) -> Self {
        Self::Failed {
            message: failure.message().to_owned(),
            hint: failure.cure().map(str::to_owned),
        }
    }
}

/// How an environment is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Process of the keeper.
    pub(crate) keeper: u32,
    /// Process of its supervisor.
    pub(crate) supervisor: u32,
    /// How it is fenced.
    pub(crate) isolation: Isolation,
    /// Memory in bytes as the host's cgroups count it, where they do.
    pub(crate) memory: Option<u64>,
    /// Processes and threads, likewise.
    pub(crate) processes: Option<u64>,
    /// Whether a program runs in it.
    pub(crate) busy: bool,
    /// Refusals of exec control so far.
    pub(crate) denied: u64,
    /// Other events of exec control so far.
    pub(crate) unknown: u64,
}
