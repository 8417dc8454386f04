//! How the gateway is set up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::connect::{Dial, Direct};
use crate::meter::{Dialect, PriceTable};

/// What an operator writes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Servers by names that the operator chooses.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which models are served where. A model without a route is refused.
    pub routes: Vec<Route>,
    /// Bounds of a minute.
    pub limits: Limits,
    /// Fields of requests that are passed on although they are not known here.
    pub fields: BTreeSet<String>,
    /// Beginnings of names of `anthropic-beta` that are passed on beyond those that are known.
    pub betas: BTreeSet<String>,
    /// Folder that keeps answers for [`Self::replay`].
    pub record: Option<PathBuf>,
    /// Folder that answers in place of every upstream.
    pub replay: Option<PathBuf>,
    /// Whether replayed answers take the time that they took.
    pub replay_timing: bool,
    /// Whether what is recorded keeps the requests too.
    pub keep_prompts: bool,
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anthropic's own.
    Anthropic,
    /// OpenAI's own.
    Openai,
    /// Azure OpenAI.
    Azure,
    /// Anthropic's models at Amazon Bedrock. The key is `ID:SECRET` or `ID:SECRET:SESSION`.
    Bedrock,
    /// Anthropic's models at Google's Vertex AI. The key is a service account's JSON.
    Vertex,
    /// A server of one's own: llama.cpp, Ollama, vLLM, or what speaks like them.
    Local,
}

/// A server of models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What it is.
    pub kind: Kind,
    /// Where it is: scheme, host, port, and what its paths begin with.
    #[serde(with = "uri")]
    pub url: Uri,
    /// Name of the secret that is its key.
    #[serde(default)]
    pub key: Option<String>,
    /// How it may be spoken to, where that is not what its kind speaks.
    #[serde(default)]
    pub dialects: BTreeSet<Dialect>,
    /// Region (Bedrock, Vertex).
    #[serde(default)]
    pub region: String,
    /// Project (Vertex).
    #[serde(default)]
    pub project: String,
    /// Version of the API (Azure).
    #[serde(default)]
    pub api_version: Option<String>,
    /// Where a service account gets its tokens, when not where its file says (Vertex).
    #[serde(default, with = "optional_uri")]
    pub token_url: Option<Uri>,
    /// Its prices in hundredths of the table's.
    #[serde(default = "hundred")]
    pub price_percent: u32,
    /// Longest time that a call may last, in seconds.
    #[serde(default = "half_an_hour")]
    pub longest: u64,
}

const fn hundred() -> u32 {
    100
}

const fn half_an_hour() -> u64 {
    1800
}

impl Upstream {
    /// One of this kind at this place, with nothing else set.
    #[must_use]
    pub fn new(kind: Kind, url: Uri) -> Self {
        Self {
            kind,
            url,
            key: None,
            dialects: BTreeSet::new(),
            region: String::new(),
            project: String::new(),
            api_version: None,
            token_url: None,
            price_percent: hundred(),
            longest: half_an_hour(),
        }
    }

    /// Whether it can be spoken to so.
    #[must_use]
    pub fn speaks(&self, dialect: Dialect) -> bool {
        if !self.dialects.is_empty() {
            return self.dialects.contains(&dialect);
        }
        match self.kind {
            Kind::Anthropic | Kind::Bedrock | Kind::Vertex => dialect == Dialect::Messages,
            Kind::Openai | Kind::Azure => dialect != Dialect::Messages,
            Kind::Local => true,
        }
    }

    /// How long a call may last.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_secs(self.longest)
    }
}

/// Where a model is served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name that is asked for, with `*` at its end for all that begin so.
    pub model: String,
    /// Where, in the order in which they are tried.
    pub to: Vec<Target>,
}

/// A model at a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The server.
    pub upstream: String,
    /// Its name there; the one that is asked for when absent.
    #[serde(default)]
    pub model: Option<String>,
}

/// Bounds of a minute. What is absent is not bounded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// For each environment.
    pub environment: Rate,
    /// For models by their names, over all environments.
    pub models: BTreeMap<String, Rate>,
    /// Calls of one environment at the same time; [`super::MOST_CALLS`] when absent.
    pub calls: Option<usize>,
}

/// A rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Calls a minute.
    pub requests: Option<u32>,
    /// Tokens a minute.
    pub tokens: Option<u64>,
}

/// Gives keys by the names of their secrets. Asked for each call, so a new one needs no restart.
pub trait Keys: Send + Sync + 'static {
    /// The key, unless it is missing or has expired.
    fn key(&self, secret: &str) -> Option<Zeroizing<String>>;
}

impl Keys for BTreeMap<String, Zeroizing<String>> {
    fn key(&self, secret: &str) -> Option<Zeroizing<String>> {
        self.get(secret).cloned()
    }
}

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything that a gateway needs.
#[derive(Clone)]
pub struct GatewayConfig {
    /// What the operator wrote.
    pub settings: Settings,
    /// What models cost.
    pub prices: PriceTable,
    /// The keys.
    pub keys: Arc<dyn Keys>,
    /// How servers are reached.
    pub dial: Arc<dyn Dial>,
    /// Whom to believe that it is who it says.
    pub tls: Arc<rustls::ClientConfig>,
    /// The time.
    pub clock: Clock,
    /// How long a call may wait for others' settlements, and for its turn within a minute.
    pub patience: Duration,
    /// How long tries that failed without cost may be repeated.
    pub retry_for: Duration,
}

impl std::fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayConfig")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl GatewayConfig {
    /// With this clock and TLS, and otherwise what is usual.
    #[must_use]
    pub fn new(settings: Settings, tls: Arc<rustls::ClientConfig>, clock: Clock) -> Self {
        Self {
            settings,
            prices: PriceTable::default(),
            keys: Arc::new(BTreeMap::new()),
            dial: Arc::new(Direct),
            tls,
            clock,
            patience: Duration::from_secs(120),
            retry_for: Duration::from_secs(60),
        }
    }
}

mod uri {
    use http::Uri;
    use serde::{Deserialize as _, Deserializer, de::Error as _};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        let text = String::deserialize(deserializer)?;
        let uri: Uri = text.parse().map_err(D::Error::custom)?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if scheme && uri.host().is_some() && uri.query().is_none() {
            return Ok(uri);
        }
        Err(D::Error::custom(format!(
            "`{text}` is not of the form https://HOST or http://HOST:PORT/PATH"
        )))
    }
}

mod optional_uri {
    use http::Uri;
    use serde::Deserializer;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Uri>, D::Error> {
        super::uri::deserialize(deserializer).map(Some)
    }
}
