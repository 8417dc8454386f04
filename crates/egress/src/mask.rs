//! Secrets taken out of what leaves: logs, answers, diffs, also where they are encoded or cut.
