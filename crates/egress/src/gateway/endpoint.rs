//! What of the vendors' APIs the gateway knows. Everything else is refused, byte for byte: no
//! other spelling of a path is looked for.

use http::{Method, Uri};

use crate::meter::Dialect;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A model shall answer.
    Answer(Dialect),
    /// Tokens of a request shall be counted, which costs nothing.
    Count,
    /// Which models there are.
    Models,
    /// Whether anybody is there.
    Here,
}

/// Why it is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The path.
    Path,
    /// The method.
    Method,
}

impl Endpoint {
    /// What a request calls.
    ///
    /// # Errors
    /// What of it is not known.
    pub fn of(method: &Method, uri: &Uri) -> Result<Self, Unknown> {
        let query = uri.query().unwrap_or_default();
        let (endpoint, right) = match uri.path() {
            "/v1/messages" => (Self::Answer(Dialect::Messages), Method::POST),
            "/v1/messages/count_tokens" => (Self::Count, Method::POST),
            "/v1/responses" => (Self::Answer(Dialect::Responses), Method::POST),
            "/v1/chat/completions" => (Self::Answer(Dialect::Chat), Method::POST),
            "/v1/models" => (Self::Models, Method::GET),
            "/" => (Self::Here, Method::GET),
            _ => return Err(Unknown::Path),
        };
        // What vendors' own programs add; none of it is passed on but `beta=true`.
        let known = match endpoint {
            Self::Answer(Dialect::Messages) | Self::Count => {
                query.is_empty() || query == "beta=true"
            }
            Self::Answer(_) => query.is_empty(),
            Self::Models => true,
            Self::Here => query.is_empty(),
        };
        if !known {
            return Err(Unknown::Path);
        }
        if *method == right || (endpoint == Self::Here && *method == Method::HEAD) {
            Ok(endpoint)
        } else {
            Err(Unknown::Method)
        }
    }

    /// In which dialect errors are told: that of the path, otherwise Anthropic's, whose shape the
    /// other programs show as it is.
    #[must_use]
    pub fn dialect(path: &str) -> Dialect {
        match path {
            "/v1/responses" => Dialect::Responses,
            "/v1/chat/completions" => Dialect::Chat,
            _ => Dialect::Messages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_paths_are_known_in_only_this_spelling() {
        let of = |method: Method, uri: &str| Endpoint::of(&method, &uri.parse().unwrap());
        assert_eq!(
            of(Method::POST, "/v1/messages?beta=true"),
            Ok(Endpoint::Answer(Dialect::Messages))
        );
        assert_eq!(
            of(Method::POST, "/v1/responses"),
            Ok(Endpoint::Answer(Dialect::Responses))
        );
        assert_eq!(
            of(Method::GET, "/v1/models?client_version=1"),
            Ok(Endpoint::Models)
        );
        for path in [
            "/v1/messages/batches",
            "/v1/files",
            "/v1/complete",
            "/v1/embeddings",
            "/v1/messages/../files",
            "/v1/messages%2fbatches",
            "//v1/files",
            "//v1/messages",
            "/v1/messages/",
            "/V1/messages",
            "/v1/message%73",
            "/openai/deployments/big/chat/completions",
            "/v1/realtime",
            "/v1/messages?key=x",
            "/v1/responses?model=big",
            "/v1/organizations/api_keys",
            "/v1/messages?beta=true&model=big",
        ] {
            assert_eq!(of(Method::POST, path), Err(Unknown::Path), "{path}");
        }
        assert_eq!(of(Method::DELETE, "/v1/messages"), Err(Unknown::Method));
        assert_eq!(of(Method::POST, "/v1/models"), Err(Unknown::Method));
    }
}
