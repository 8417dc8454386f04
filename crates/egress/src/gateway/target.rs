//! A call as an upstream wants it: path, headers, key, and where it cannot be avoided the body.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::Full;
use zeroize::Zeroizing;

use super::Shared;
use super::config::{GatewayConfig, Kind, Upstream};
use super::connect::Origin;
use super::endpoint::Endpoint;
use super::headers;
use crate::meter::price::Price;
use crate::meter::{Dialect, Facts, edit};
use crate::sigv4::{self, AwsKey, Signed};

/// The version of the Messages API where a caller names none.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// One place where a model can be called.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    pub(super) name: String,
    pub(super) upstream: Upstream,
    pub(super) model: String,
    pub(super) price: Price,
}

/// What a caller wants, read.
pub(super) struct Wanted {
    pub(super) endpoint: Endpoint,
    pub(super) dialect: Dialect,
    pub(super) headers: HeaderMap,
    pub(super) betas: Vec<String>,
    pub(super) beta_query: bool,
    pub(super) facts: Facts,
    pub(super) body: Bytes,
    /// The memory that it takes, which others wait for.
    pub(super) _room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A request that is ready to be sent. It holds the key, so it is never shown.
pub(super) struct Prepared {
    pub(super) origin: Origin,
    pub(super) request: Request<Full<Bytes>>,
    /// What the key was, to be kept out of what upstreams say about it.
    pub(super) key: Option<Zeroizing<String>>,
}

/// There is no key, or it is none.
#[derive(Debug, thiserror::Error)]
#[error("the key of upstream `{0}` is missing, has expired, or is not of its kind")]
pub(super) struct NoKey(pub(super) String);

impl Aim {
    /// Makes the request.
    pub(super) async fn prepare(
        &self,
        shared: &Shared,
        config: &GatewayConfig,
        wanted: &Wanted,
    ) -> Result<Prepared, NoKey> {
        let no_key = || NoKey(self.name.clone());
        let key = match &self.upstream.key {
            Some(secret) => Some(config.keys.key(secret).ok_or_else(no_key)?),
            None if self.upstream.kind == Kind::Local => None,
            None => return Err(no_key()),
        };
        let origin = Origin::of(&self.upstream.url);
        let (path, query) = self.path(wanted);
        let body = self.body(wanted);
        let mut passed = self.headers(wanted);
        if let Ok(host) = HeaderValue::from_str(&origin.authority()) {
            passed.insert(header::HOST, host);
        }
        let value = key.as_deref().map_or("", String::as_str);
        let put = match self.upstream.kind {
            Kind::Anthropic => insert(&mut passed, "x-api-key", value),
            Kind::Azure => insert(&mut passed, "api-key", value),
            Kind::Openai => insert(&mut passed, "authorization", &format!("Bearer {value}")),
            Kind::Local if key.is_none() => Some(()),
            Kind::Local => insert(&mut passed, "authorization", &format!("Bearer {value}")),
            Kind::Vertex => {
                let token = self.vertex(shared, config, value).await;
                let token = token.ok_or_else(no_key)?;
                insert(&mut passed, "authorization", &format!("Bearer {}", *token))
            }
            Kind::Bedrock => self.bedrock(config, value, &path, &body, &mut passed),
        };
        put.ok_or_else(no_key)?;
        let uri = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        let mut request = Request::post(uri)
            .body(Full::new(body))
            .map_err(|_| no_key())?;
        *request.headers_mut() = passed;
        Ok(Prepared {
            origin,
            request,
            key,
        })
    }

    /// Whether its streamed answers are framed as Amazon does.
    pub(super) fn is_framed(&self, wanted: &Wanted) -> bool {
        self.upstream.kind == Kind::Bedrock && wanted.facts.stream
    }

    /// Whether tokens can be counted there.
    pub(super) const fn counts(&self) -> bool {
        !matches!(self.upstream.kind, Kind::Bedrock)
    }

    fn path(&self, wanted: &Wanted) -> (String, String) {
        let before = self.upstream.url.path().trim_end_matches('/');
        let model = sigv4::encoded_segment(&self.model);
        let version = self.upstream.api_version.as_deref().unwrap_or_default();
        let version = if version.is_empty() {
            String::new()
        } else {
            format!("api-version={version}")
        };
        let counted = wanted.endpoint == Endpoint::Count;
        match (self.upstream.kind, wanted.dialect) {
            (Kind::Bedrock, _) => {
                let call = if wanted.facts.stream {
                    "invoke-with-response-stream"
                } else {
                    "invoke"
                };
                (format!("{before}/model/{model}/{call}"), String::new())
            }
            (Kind::Vertex, _) => {
                let (region, project) = (&self.upstream.region, &self.upstream.project);
                let (model, call) = match (counted, wanted.facts.stream) {
                    (true, _) => ("count-tokens", "rawPredict"),
                    (false, true) => (model.as_str(), "streamRawPredict"),
                    (false, false) => (model.as_str(), "rawPredict"),
                };
                let path = format!(
                    "{before}/v1/projects/{project}/locations/{region}/publishers/anthropic/models/{model}:{call}"
                );
                (path, String::new())
            }
            (Kind::Azure, Dialect::Chat) => (
                format!("{before}/openai/deployments/{model}/chat/completions"),
                version,
            ),
            (Kind::Azure, _) => (format!("{before}/openai/v1/responses"), version),
            (_, Dialect::Messages) => {
                let count = if counted { "/count_tokens" } else { "" };
                let query = if wanted.beta_query { "beta=true" } else { "" };
                (format!("{before}/v1/messages{count}"), query.to_owned())
            }
            (_, Dialect::Responses) => (format!("{before}/v1/responses"), String::new()),
            (_, Dialect::Chat) => (format!("{before}/v1/chat/completions"), String::new()),
        }
    }

    fn body(&self, wanted: &Wanted) -> Bytes {
        let (facts, body) = (&wanted.facts, &wanted.body);
        match self.upstream.kind {
            Kind::Bedrock => {
                let mut put = vec!["\"anthropic_version\":\"bedrock-2023-05-31\"".to_owned()];
                if !wanted.betas.is_empty() {
                    let betas = serde_json::Value::from(wanted.betas.clone());
                    put.push(format!("\"anthropic_beta\":{betas}"));
                }
                edit::reshaped(body, facts, &["model", "stream"], &put)
            }
            Kind::Vertex => {
                let put = "\"anthropic_version\":\"vertex-2023-10-16\"".to_owned();
                if wanted.endpoint == Endpoint::Count {
                    let renamed = edit::renamed(facts, &self.model);
                    return edit::edited(body, renamed.into_iter().collect());
                }
                edit::reshaped(body, facts, &["model"], &[put])
            }
            _ => {
                let mut edits: Vec<_> = edit::renamed(facts, &self.model).into_iter().collect();
                if wanted.dialect == Dialect::Chat {
                    edits.extend(edit::telling_usage(body, facts));
                }
                edit::edited(body, edits)
            }
        }
    }

    fn headers(&self, wanted: &Wanted) -> HeaderMap {
        let mut passed = wanted.headers.clone();
        match self.upstream.kind {
            Kind::Bedrock => {
                passed.clear();
                passed.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                );
                let accept = if wanted.facts.stream {
                    "application/vnd.amazon.eventstream"
                } else {
                    "application/json"
                };
                passed.insert(header::ACCEPT, HeaderValue::from_static(accept));
                return passed;
            }
            Kind::Anthropic | Kind::Local if wanted.dialect == Dialect::Messages => {
                passed
                    .entry("anthropic-version")
                    .or_insert(HeaderValue::from_static(ANTHROPIC_VERSION));
            }
            _ => {
                passed.remove("anthropic-version");
            }
        }
        if wanted.dialect == Dialect::Messages
            && !wanted.betas.is_empty()
            && let Ok(betas) = HeaderValue::from_str(&wanted.betas.join(","))
        {
            passed.insert("anthropic-beta", betas);
        }
        // Compressed answers could not be read on the side.
        passed.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        passed
    }

    async fn vertex(
        &self,
        shared: &Shared,
        config: &GatewayConfig,
        key: &str,
    ) -> Option<Zeroizing<String>> {
        let url = self.upstream.token_url.as_ref();
        let now = (config.clock)();
        let token = shared.tokens.token(&self.name, key, url, now, &shared.pool);
        match token.await {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::warn!(upstream = self.name, %error, "no token");
                None
            }
        }
    }

    fn bedrock(
        &self,
        config: &GatewayConfig,
        key: &str,
        path: &str,
        body: &Bytes,
        passed: &mut HeaderMap,
    ) -> Option<()> {
        let key = AwsKey::read(key)?;
        let date = sigv4::amz_date((config.clock)());
        let host = passed.get(header::HOST)?.to_str().ok()?.to_owned();
        let mut signed = vec![
            ("content-type", "application/json"),
            ("host", host.as_str()),
            ("x-amz-date", date.as_str()),
        ];
        if let Some(session) = key.session {
            signed.push(("x-amz-security-token", session));
            insert(passed, "x-amz-security-token", session)?;
        }
        let signed = Signed {
            method: "POST",
            path,
            query: "",
            headers: &signed,
            body,
            region: &self.upstream.region,
            service: "bedrock",
        };
        let authorization = sigv4::authorization(&key, &signed, &date);
        insert(passed, "x-amz-date", &date)?;
        insert(passed, "authorization", &authorization)
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Option<()> {
    headers.insert(name, headers::secret(value)?);
    Some(())
}
