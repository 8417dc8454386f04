//! Answers of the gateway's own, in the shape that the caller's dialect has for errors.
//!
//! What can never succeed is told so that agents' programs stop. Anthropic's programs try 408, 409,
//! 429 and 5xx again unless `x-should-retry: false` is said; Codex tries everything again but 400 and
//! some of 429. So in OpenAI's dialects what is final is a 400, and in Anthropic's it is what its
//! documentation has for the case, with that header.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use model::egress::EgressRefusal;

use crate::Body;
use crate::meter::Dialect;

/// The header with the refusal's code, by which tests and people find it.
pub const REFUSED_HEADER: &str = "x-nightcrew-refused";

/// A refusal on its way to the caller.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its code.
    pub code: EgressRefusal,
    /// The sentence.
    pub sentence: String,
    /// What kind of answer it is.
    pub kind: Answered,
}

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Ask differently.
    Invalid,
    /// Not ask.
    Forbidden,
    /// Not ask there.
    NoPath,
    /// Ask for less.
    TooLarge,
    /// Ask a person for money.
    Budget,
    /// Ask later, after so many seconds.
    Later(u64),
    /// Ask again: the upstream could not.
    Upstream,
}

impl Refusal {
    /// A refusal with this sentence behind what its code says.
    #[must_use]
    pub fn new(code: EgressRefusal, kind: Answered, more: &str) -> Self {
        let sentence = if more.is_empty() {
            code.sentence().to_owned()
        } else {
            format!("{}: {more}", code.sentence())
        };
        Self {
            code,
            sentence,
            kind,
        }
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, dialect: Dialect) -> Response<Body> {
        let sentence = format!("nightcrew: {}", self.sentence);
        let (status, kind) = if dialect == Dialect::Messages {
            self.anthropic()
        } else {
            self.openai()
        };
        let value = if dialect == Dialect::Messages {
            serde_json::json!({ "type": "error", "error": { "type": kind, "message": sentence } })
        } else {
            serde_json::json!({ "error": { "message": sentence, "type": kind, "param": null, "code": kind } })
        };
        let mut answer = Response::new(whole(value.to_string()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let code = serde_json::to_value(self.code).ok();
        let code = code.as_ref().and_then(serde_json::Value::as_str);
        if let Ok(code) = HeaderValue::from_str(code.unwrap_or_default()) {
            headers.insert(REFUSED_HEADER, code);
        }
        if let Answered::Later(seconds) = self.kind {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        } else if self.kind != Answered::Upstream {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        answer
    }

    const fn anthropic(&self) -> (StatusCode, &'static str) {
        match self.kind {
            Answered::Invalid => (StatusCode::BAD_REQUEST, "invalid_request_error"),
            Answered::Forbidden => (StatusCode::FORBIDDEN, "permission_error"),
            Answered::NoPath => (StatusCode::NOT_FOUND, "not_found_error"),
            Answered::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            Answered::Budget => (StatusCode::PAYMENT_REQUIRED, "billing_error"),
            Answered::Later(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
            Answered::Upstream => (StatusCode::SERVICE_UNAVAILABLE, "api_error"),
        }
    }

    const fn openai(&self) -> (StatusCode, &'static str) {
        match self.kind {
            Answered::Invalid => (StatusCode::BAD_REQUEST, "invalid_request_error"),
            Answered::Forbidden => (StatusCode::BAD_REQUEST, "permission_denied"),
            Answered::NoPath => (StatusCode::NOT_FOUND, "not_found"),
            Answered::TooLarge => (StatusCode::BAD_REQUEST, "request_too_large"),
            Answered::Budget => (StatusCode::BAD_REQUEST, "insufficient_quota"),
            Answered::Later(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
            Answered::Upstream => (StatusCode::SERVICE_UNAVAILABLE, "server_error"),
        }
    }
}

/// A body that is all there.
#[must_use]
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Body::new(Full::new(bytes.into()).map_err(|never| match never {}))
}
