//! The ways in which models are spoken to.

use serde::{Deserialize, Serialize};

/// A way in which models are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Anthropic's Messages (`/v1/messages`).
    Messages,
    /// OpenAI's Responses (`/v1/responses`).
    Responses,
    /// OpenAI's Chat Completions (`/v1/chat/completions`), which local servers speak too.
    Chat,
}
