//! Errors as RFC 9457 problem details.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::definition::DefinitionError;
use forge::ForgeError;
use serde::Serialize;
use store::StoreError;

use crate::error::ServiceError;

/// A problem: `application/problem+json` for machines; the console shows the same in words.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(flatten)]
    place: Option<Place>,
}

/// Where in an automation file.
#[derive(Debug, Clone, Serialize)]
struct Place {
    file: String,
    line: u64,
    column: u64,
    key: String,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:nightcrew:problem:{code}"),
            title: title(code),
            status,
            detail: detail.into(),
            code,
            hint: None,
            place: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not_found", detail)
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    fn definition(error: DefinitionError) -> Self {
        let detail = error.to_string();
        let DefinitionError {
            file,
            line,
            column,
            key,
            message: _,
            hint,
        } = error;
        let mut problem = Self::new(422, "definition", detail);
        problem.hint = hint;
        problem.place = Some(Place {
            file,
            line,
            column,
            key,
        });
        problem
    }
}

const fn title(code: &str) -> &'static str {
    // The codes of `docs/book/api.md`.
    match code.as_bytes() {
        b"unauthorized" => "not signed in",
        b"forbidden" => "not allowed",
        b"wrong_host" => "wrong host",
        b"not_found" => "not found",
        b"rejected" => "does not fit the state of things",
        b"conflict" => "conflict",
        b"definition" => "the automation file is wrong",
        b"condition" => "the condition is wrong",
        b"invalid" => "the request makes no sense",
        b"malformed" => "the request cannot be read",
        b"rate_limited" => "the forge asks to wait",
        b"forge" => "the forge failed",
        b"unavailable" => "not available now",
        b"full" => "the disk is full",
        _ => "something is broken here",
    }
}

/// The command that lists things of a kind.
fn list_of(what: &str) -> Option<&'static str> {
    match what {
        "automation" => Some("automation list"),
        "campaign" => Some("campaign list --all"),
        "event" => Some("event list"),
        "repository" => Some("inventory list"),
        "task" => Some("task list"),
        _ => None,
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let text = explain(&error);
        match error {
            ServiceError::NotFound { what, .. } => {
                let mut problem = Self::new(404, "not_found", text);
                problem.hint = list_of(what).map(|list| format!("`nightcrew {list}` lists them"));
                problem
            }
            ServiceError::Rejected(_) => Self::new(409, "rejected", text),
            ServiceError::Definition(error) => Self::definition(*error),
            ServiceError::Condition(_) => Self::new(422, "condition", text),
            ServiceError::Invalid(_) => Self::new(422, "invalid", text),
            ServiceError::Forbidden { .. } => Self::new(403, "forbidden", text)
                .hint("whoever keeps the policy can change that rule"),
            ServiceError::Store(error) => Self::from(error),
            ServiceError::Forge(error) => Self::from(error),
            ServiceError::Blob(blob::Error::NotFound { .. }) => Self::new(404, "not_found", text),
            ServiceError::Blob(blob::Error::Full { .. }) => Self::new(507, "full", text),
            ServiceError::Blob(_) | ServiceError::Damaged(_) => Self::new(500, "internal", text),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        let mut problem = match &error {
            StoreError::Conflict { .. } | StoreError::Fenced { .. } => {
                Self::new(409, "conflict", text)
            }
            StoreError::Full { .. } => Self::new(507, "full", text),
            StoreError::ReadOnly { .. } | StoreError::Postgres(_) | StoreError::Closed => {
                Self::new(503, "unavailable", text)
            }
            _ => Self::new(500, "internal", text),
        };
        problem.hint = error.cure().map(str::to_owned);
        problem
    }
}

impl From<ForgeError> for Problem {
    fn from(error: ForgeError) -> Self {
        let text = explain(&error);
        match error {
            ForgeError::NotFound(_) => Self::new(404, "not_found", text),
            ForgeError::Invalid(_) => Self::new(422, "invalid", text),
            ForgeError::Conflicts { files } => {
                let names: Vec<String> = files.iter().take(5).map(ToString::to_string).collect();
                Self::new(409, "conflict", format!("{text}: {}", names.join(", ")))
                    .hint("retry the task: it begins again on the newest base")
            }
            ForgeError::BranchMoved { .. } => Self::new(409, "conflict", text)
                .hint("somebody's commits are on the branch and stay there; look at them before you decide"),
            ForgeError::Exists(_) | ForgeError::Conflict(_) | ForgeError::Closed { .. } => {
                Self::new(409, "conflict", text)
            }
            ForgeError::RateLimited { .. } => Self::new(429, "rate_limited", text),
            _ => Self::new(502, "forge", text),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::new(500, "internal", format!("stored data is damaged: {error}"))
    }
}

/// An error with its causes, on one line.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status >= 500 {
            tracing::error!(code = self.code, detail = self.detail, "a request failed");
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response()
    }
}
