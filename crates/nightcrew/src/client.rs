//! Talks to a running control plane over its API.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::data_dir::Endpoint;
use crate::failure::{Doing, Failure};

/// A connection to one control plane.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    authority: String,
}

impl Client {
    /// A client for a server that said where it is.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let authority = endpoint
            .url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self {
            endpoint,
            authority,
        }
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// Whether the server answers.
    pub(crate) async fn is_alive(&self) -> bool {
        self.get::<Value>("/status").await.is_ok()
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let body = self.send(Method::GET, path, None).await?;
        serde_json::from_slice(&body).doing(format_args!("understand the answer to {path}"))
    }

    /// Reads a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let body = self.send(Method::GET, path, None).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        value: &Value,
    ) -> Result<T, Failure> {
        let body = self.send(Method::POST, path, Some(value)).await?;
        serde_json::from_slice(&body).doing(format_args!("understand the answer to {path}"))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        value: Option<&Value>,
    ) -> Result<Bytes, Failure> {
        let lost = || format!("reach the server at {}", self.endpoint.url);
        let stream = TcpStream::connect(&self.authority).await.doing(lost())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .doing(lost())?;
        let connection = tokio::spawn(connection);
        let payload = match value {
            Some(value) => Bytes::from(serde_json::to_vec(value).doing("write the request")?),
            None => Bytes::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", &self.authority)
            .header("authorization", format!("Bearer {}", self.endpoint.token))
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(payload))
            .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}")))?;
        let answer = sender.send_request(request).await.doing(lost())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.doing(lost())?.to_bytes();
        connection.abort();
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status.as_u16(), &body))
    }
}

/// A problem (RFC 9457) as a failure.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |key: &str| {
        problem
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let message = text("detail").or_else(|| text("title")).map_or_else(
        || format!("the server answered with status {status}"),
        str::to_owned,
    );
    let failure = if status == 422 {
        Failure::usage(message)
    } else {
        Failure::new(message)
    };
    match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Text made safe as a part of a path or query.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
