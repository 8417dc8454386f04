//! Questions to services that keep or make secrets. The one place that knows the HTTP library.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use zeroize::Zeroizing;

use super::error::FetchError;

/// Most bytes of an answer.
const LONGEST_ANSWER: u64 = 1024 * 1024;
/// Most bytes of an answer's headers.
const LONGEST_HEADERS: usize = 32 * 1024;
/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most bytes of a service's own words that are repeated.
const WORDS: usize = 200;

/// How services are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// A proxy on the way, as a URL.
    pub proxy: Option<String>,
    /// A PEM file with certificates that are trusted in place of the public ones.
    pub certificates: Option<PathBuf>,
}

pub(super) struct Http {
    agent: Agent,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The service's clock.
    pub(super) date: Option<Timestamp>,
}

impl Http {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, FetchError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            let wrong =
                |cause: &str| FetchError::NotConfigured(format!("{}: {cause}", path.display()));
            let pem = super::local::file(path).map_err(|error| wrong(&error.to_string()))?;
            let mut certificates = Vec::new();
            for item in ureq::tls::parse_pem(pem.as_bytes()) {
                if let PemItem::Certificate(certificate) =
                    item.map_err(|_| wrong("it is no PEM"))?
                {
                    certificates.push(certificate);
                }
            }
            if certificates.is_empty() {
                return Err(wrong("there is no certificate in it"));
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let proxy = settings.proxy.as_deref().map(ureq::Proxy::new).transpose();
        let proxy = proxy.map_err(|_| {
            FetchError::NotConfigured("the proxy is no URL that can be used".to_owned())
        })?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the token along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Given, even if none: else the library looks at variables of this process.
            .proxy(proxy)
            .tls_config(tls.build())
            .user_agent("nightcrew")
            .max_response_header_size(LONGEST_HEADERS)
            .timeout_global(Some(PATIENCE))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
        })
    }

    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, FetchError> {
        let mut request = self.agent.get(checked(url)?);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, FetchError> {
        let mut request = self.agent.post(checked(url)?);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body))
    }
}

/// TLS, or this host itself.
fn checked(url: &str) -> Result<Uri, FetchError> {
    let wrong = |what: &str| FetchError::NotConfigured(format!("the address {what}"));
    let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    let host = uri.host().unwrap_or_default();
    let here = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if here => Ok(uri),
        _ => Err(wrong(
            "begins with `https://`; without TLS only this host is asked",
        )),
    }
}

fn answer(
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, FetchError> {
    let response = result.map_err(|error| FetchError::Unreachable(error.to_string()))?;
    let status = response.status().as_u16();
    let date = response
        .headers()
        .get("date")
        .and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp()));
    let mut body = Zeroizing::new(Vec::new());
    response
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader()
        .take(LONGEST_ANSWER + 1)
        .read_to_end(&mut body)
        .map_err(|error| FetchError::Unreachable(error.to_string()))?;
    if body.len() as u64 > LONGEST_ANSWER {
        return Err(FetchError::Malformed(format!(
            "it has more than {LONGEST_ANSWER} bytes"
        )));
    }
    Ok(Answer { status, body, date })
}

impl Answer {
    /// The JSON of a good answer; else why not.
    pub(super) fn json(&self) -> Result<serde_json::Value, FetchError> {
        match self.status {
            200..=299 => serde_json::from_slice(&self.body)
                .map_err(|_| FetchError::Malformed("it is no JSON".to_owned())),
            status => Err(self.refused(status)),
        }
    }

    fn refused(&self, status: u16) -> FetchError {
        let said = self.said();
        match status {
            401 | 403 => FetchError::Denied(said),
            404 => FetchError::Missing(said),
            429 => FetchError::Busy,
            500..=599 => FetchError::Unreachable(said),
            300..=399 => FetchError::Malformed(format!("{said}: redirects are not followed")),
            _ => FetchError::Denied(said),
        }
    }

    /// What the service says about a refusal: its own short words, made harmless.
    pub(super) fn said(&self) -> String {
        let json: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let words = json.as_ref().and_then(|json| {
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            text(&json["message"])
                .or_else(|| text(&json["Message"]))
                .or_else(|| text(&json["errors"][0]))
                .or_else(|| text(&json["error"]["message"]))
                .or_else(|| text(&json["error_description"]))
                .or_else(|| text(&json["__type"]))
                .or_else(|| text(&json["error"]))
        });
        let words: String = words.unwrap_or_default().chars().take(WORDS).collect();
        match words.is_empty() {
            true => format!("status {}", self.status),
            false => format!(
                "status {}, {}",
                self.status,
                model::egress::harmless(&words)
            ),
        }
    }
}

/// A text of an answer that has to be there.
pub(super) fn text(value: &serde_json::Value, what: &str) -> Result<Zeroizing<String>, FetchError> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(FetchError::Malformed(format!("it has no {what}"))),
    }
}

/// One field of a value that is JSON, or all of it.
pub(super) fn field(
    value: Zeroizing<String>,
    field: Option<&str>,
) -> Result<Zeroizing<String>, FetchError> {
    let Some(field) = field else {
        return Ok(value);
    };
    let json: serde_json::Value = serde_json::from_str(&value).map_err(|_| {
        FetchError::Malformed("the value is no JSON, and a field of it is wanted".to_owned())
    })?;
    match &json[field] {
        serde_json::Value::String(text) => Ok(Zeroizing::new(text.clone())),
        serde_json::Value::Null => Err(FetchError::Missing(format!(
            "the value has no field `{field}`"
        ))),
        other => Ok(Zeroizing::new(other.to_string())),
    }
}
