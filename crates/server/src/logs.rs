//! Live logs: the newest lines of running tasks, kept in memory for whoever looks.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use model::TaskId;
use model::protocol::{LogChunk, LogLine};

/// Lines kept for one task.
const KEPT: usize = 2000;

/// The newest lines of tasks that run.
#[derive(Debug, Default)]
pub struct Logs {
    tails: Mutex<HashMap<TaskId, Tail>>,
}

#[derive(Debug, Default)]
struct Tail {
    first: u64,
    lines: VecDeque<LogLine>,
}

impl Logs {
    /// Adds lines; the oldest are dropped above the bound.
    pub fn push(&self, chunk: LogChunk) {
        let Ok(mut tails) = self.tails.lock() else {
            return;
        };
        let tail = tails.entry(chunk.task).or_default();
        for line in chunk.lines {
            if tail.lines.len() == KEPT {
                tail.lines.pop_front();
                tail.first += 1;
            }
            tail.lines.push_back(line);
        }
    }

    /// Lines from number `from` on, and the number to ask from next.
    #[must_use]
    pub fn since(&self, task: TaskId, from: u64) -> (Vec<LogLine>, u64) {
        let Ok(tails) = self.tails.lock() else {
            return (Vec::new(), from);
        };
        let Some(tail) = tails.get(&task) else {
            return (Vec::new(), from);
        };
        let skip = usize::try_from(from.saturating_sub(tail.first)).unwrap_or(usize::MAX);
        let lines = tail.lines.iter().skip(skip).cloned().collect();
        (lines, tail.first + tail.lines.len() as u64)
    }

    /// Forgets a task: its whole log is a blob now.
    pub fn forget(&self, task: TaskId) {
        if let Ok(mut tails) = self.tails.lock() {
            tails.remove(&task);
        }
    }
}
