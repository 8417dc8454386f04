//! What somebody inside is told when something is refused.

use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use model::egress::EgressRefusal;

use crate::Body;

/// The header by which programs know that an answer is the broker's own.
pub const REFUSED_HEADER: &str = "x-nightcrew-refused";

/// A refusal with the rule that it came from, where one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: EgressRefusal,
    /// The rule as a person finds it; empty where none decided.
    pub rule: String,
}

impl From<EgressRefusal> for Refusal {
    fn from(code: EgressRefusal) -> Self {
        Self {
            code,
            rule: String::new(),
        }
    }
}

impl Refusal {
    /// The same, with the rule that decided.
    #[must_use]
    pub fn by(code: EgressRefusal, rule: &str) -> Self {
        Self {
            code,
            rule: rule.to_owned(),
        }
    }

    /// The answer of HTTP. It says nothing that was sent, and nothing about anybody else.
    #[must_use]
    pub fn answer(&self) -> Response<Body> {
        let name = code_name(self.code);
        let document = serde_json::json!({
            "type": "about:blank",
            "title": self.code.sentence(),
            "status": status(self.code).as_u16(),
            "code": name,
            "rule": self.rule,
            "detail": cure(self.code),
        });
        let mut answer = Response::new(text(format!("{document}\n")));
        *answer.status_mut() = status(self.code);
        let headers = answer.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(REFUSED_HEADER, name);
        }
        if ends_connection(self.code) {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A body of this text.
#[must_use]
pub fn text(text: String) -> Body {
    Body::new(Full::from(text).map_err(|never| match never {}))
}

/// A body of nothing.
#[must_use]
pub fn empty() -> Body {
    Body::new(http_body_util::Empty::new().map_err(|never| match never {}))
}

/// The code as the ledger has it.
#[must_use]
pub fn code_name(code: EgressRefusal) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::from("refused"),
    }
}

const fn status(code: EgressRefusal) -> StatusCode {
    match code {
        EgressRefusal::NamesDisagree => StatusCode::MISDIRECTED_REQUEST,
        EgressRefusal::NameInvalid | EgressRefusal::ProtocolInvalid => StatusCode::BAD_REQUEST,
        EgressRefusal::VolumeExhausted | EgressRefusal::BudgetExhausted => {
            StatusCode::TOO_MANY_REQUESTS
        }
        EgressRefusal::Stopped | EgressRefusal::CredentialMissing => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        EgressRefusal::Unreachable => StatusCode::BAD_GATEWAY,
        _ => StatusCode::FORBIDDEN,
    }
}

/// Whether what follows on the connection cannot be believed.
const fn ends_connection(code: EgressRefusal) -> bool {
    matches!(
        code,
        EgressRefusal::ProtocolInvalid | EgressRefusal::NameInvalid | EgressRefusal::Stopped
    )
}

const fn cure(code: EgressRefusal) -> &'static str {
    match code {
        EgressRefusal::ProtocolInvalid
        | EgressRefusal::NameInvalid
        | EgressRefusal::NamesDisagree => "Send one well-formed request with one name.",
        EgressRefusal::CredentialMisplaced => {
            "Send the placeholder only to the host, and in the header, that its rule names."
        }
        EgressRefusal::CredentialMissing => {
            "Ask the operator to renew the secret; then the request can be sent again."
        }
        EgressRefusal::Unreachable => "Ask the operator whether the host can be reached.",
        EgressRefusal::Stopped => "A person has to let it go on.",
        EgressRefusal::VolumeExhausted => {
            "Send less, or ask the operator for larger limits of this environment."
        }
        EgressRefusal::BudgetExhausted => "Ask for a larger budget.",
        _ => {
            "Ask for a rule in `environment.network` of the automation, or ask the operator where the limits are theirs."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_names_code_rule_and_cure() {
        let answer = Refusal::by(EgressRefusal::PathNotNamed, "network[2]").answer();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()[REFUSED_HEADER], "path_not_named");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["rule"], "network[2]");
        assert!(
            document["detail"]
                .as_str()
                .unwrap()
                .contains("environment.network")
        );
    }
}
