//! The secret services of three clouds, over their HTTP APIs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

use super::config::{AwsConfig, AzureConfig, GcpConfig, Seed};
use super::error::FetchError;
use super::http::{Http, text};
use super::jwt;
use crate::sigv4::{self, AwsKey, Signed};

/// Time before its end at which a token is not used any more, in seconds.
const MARGIN: i64 = 120;
/// Longest life of a token that is believed, in seconds.
const LONGEST_LIFE: i64 = 3600;

/// Access tokens by whom they were given to.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (Zeroizing<String>, Timestamp)>>);

pub(super) type SeedReader<'a> = &'a dyn Fn(&Seed) -> Result<Zeroizing<String>, FetchError>;

impl Tokens {
    fn kept(&self, whose: &str, now: Timestamp) -> Option<Zeroizing<String>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = tokens.get(whose)?;
        (*until > now).then(|| token.clone())
    }

    /// Keeps the token of an OAuth answer.
    fn keep(
        &self,
        whose: &str,
        answer: &serde_json::Value,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, FetchError> {
        let token = text(&answer["access_token"], "access token")?;
        let life = answer["expires_in"]
            .as_i64()
            .unwrap_or(0)
            .clamp(0, LONGEST_LIFE)
            - MARGIN;
        if life > 0 {
            let until = now
                .checked_add(SignedDuration::from_secs(life))
                .unwrap_or(now);
            let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.insert(whose.to_owned(), (token.clone(), until));
        }
        Ok(token)
    }
}

/// AWS Secrets Manager: `GetSecretValue`.
pub(super) fn aws(
    http: &Http,
    config: &AwsConfig,
    seed: SeedReader<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Zeroizing<String>, FetchError> {
    let host = format!("secretsmanager.{}.amazonaws.com", config.region);
    let url = config
        .endpoint
        .clone()
        .unwrap_or_else(|| format!("https://{host}"));
    let url = url.trim_end_matches('/');
    let host = url
        .split_once("://")
        .map_or(host.as_str(), |(_, host)| host);
    let body = json!({"SecretId": id}).to_string();
    let (access, secret) = (
        seed(&config.access_key_id)?,
        seed(&config.secret_access_key)?,
    );
    let session = config.session_token.as_ref().map(seed).transpose()?;
    let mut headers = vec![
        ("content-type", "application/x-amz-json-1.1"),
        ("host", host),
        ("x-amz-target", "secretsmanager.GetSecretValue"),
    ];
    if let Some(session) = &session {
        headers.push(("x-amz-security-token", session));
    }
    let date = sigv4::amz_date(now);
    headers.push(("x-amz-date", &date));
    headers.sort_unstable();
    let key = AwsKey {
        id: &access,
        secret: &secret,
        session: session.as_ref().map(|session| session.as_str()),
    };
    let signed = Signed {
        method: "POST",
        path: "/",
        query: "",
        headers: &headers,
        body: body.as_bytes(),
        region: &config.region,
        service: "secretsmanager",
    };
    let authorization = sigv4::authorization(&key, &signed, &date);
    headers.push(("authorization", &authorization));
    headers.retain(|(name, _)| *name != "host");
    let answer = http.post(&format!("{url}/"), &headers, body.as_bytes())?;
    // Its refusals have status 400 and a type.
    if answer.status == 400 {
        let said = answer.said();
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let kind = json["__type"].as_str().unwrap_or_default();
        if kind.ends_with("ResourceNotFoundException") {
            return Err(FetchError::Missing(said));
        }
        if let Some(theirs) = answer.date
            && (kind.ends_with("SignatureException") || said.contains("Signature expired"))
        {
            return Err(FetchError::Clock {
                seconds: now.duration_since(theirs).as_secs(),
                said,
            });
        }
        return Err(FetchError::Denied(said));
    }
    let json = answer.json()?;
    match &json["SecretString"] {
        serde_json::Value::Null => decoded(&json["SecretBinary"], "value"),
        string => text(string, "value"),
    }
}

/// Google Secret Manager: `projects.secrets.versions.access`.
pub(super) fn gcp(
    http: &Http,
    tokens: &Tokens,
    config: &GcpConfig,
    seed: SeedReader<'_>,
    (project, name, version): (&str, &str, &str),
    now: Timestamp,
) -> Result<Zeroizing<String>, FetchError> {
    let account: serde_json::Value = serde_json::from_str(&seed(&config.service_account)?)
        .map_err(|_| FetchError::NotConfigured("the service account is no JSON".to_owned()))?;
    let part = |name: &str| {
        account[name].as_str().ok_or_else(|| {
            FetchError::NotConfigured(format!("the service account has no `{name}`"))
        })
    };
    let email = part("client_email")?;
    let token = match tokens.kept(email, now) {
        Some(token) => token,
        None => {
            let uri = part("token_uri")?;
            let claims = json!({
                "iss": email, "aud": uri, "scope": "https://www.googleapis.com/auth/cloud-platform",
                "iat": now.as_second(), "exp": now.as_second() + LONGEST_LIFE,
            });
            let assertion = jwt::rs256(
                part("private_key")?,
                account["private_key_id"].as_str(),
                &claims,
            )?;
            let body = Zeroizing::new(format!(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
                *assertion
            ));
            let answer = http.post(
                uri,
                &[("content-type", "application/x-www-form-urlencoded")],
                body.as_bytes(),
            )?;
            tokens.keep(email, &answer.json()?, now)?
        }
    };
    let base = config
        .endpoint
        .as_deref()
        .unwrap_or("https://secretmanager.googleapis.com");
    let base = base.trim_end_matches('/');
    let url = format!("{base}/v1/projects/{project}/secrets/{name}/versions/{version}:access");
    let bearer = Zeroizing::new(format!("Bearer {}", *token));
    let json = http.get(&url, &[("authorization", &bearer)])?.json()?;
    decoded(&json["payload"]["data"], "payload")
}

/// Azure Key Vault: `Get Secret`.
pub(super) fn azure(
    http: &Http,
    tokens: &Tokens,
    config: &AzureConfig,
    seed: SeedReader<'_>,
    (vault, name, version): (&str, &str, Option<&str>),
    now: Timestamp,
) -> Result<Zeroizing<String>, FetchError> {
    let whose = format!("{}/{}", config.tenant, config.client_id);
    let token = match tokens.kept(&whose, now) {
        Some(token) => token,
        None => {
            let login = config
                .login
                .as_deref()
                .unwrap_or("https://login.microsoftonline.com");
            let url = format!(
                "{}/{}/oauth2/v2.0/token",
                login.trim_end_matches('/'),
                config.tenant
            );
            let body = Zeroizing::new(format!(
                "grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default&client_id={}&client_secret={}",
                *escaped(&config.client_id),
                *escaped(&seed(&config.client_secret)?)
            ));
            let answer = http.post(
                &url,
                &[("content-type", "application/x-www-form-urlencoded")],
                body.as_bytes(),
            )?;
            tokens.keep(&whose, &answer.json()?, now)?
        }
    };
    let base = match &config.endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://{vault}.vault.azure.net"),
    };
    let version = version
        .map(|version| format!("/{version}"))
        .unwrap_or_default();
    let url = format!("{base}/secrets/{name}{version}?api-version=7.4");
    let bearer = Zeroizing::new(format!("Bearer {}", *token));
    let json = http.get(&url, &[("authorization", &bearer)])?.json()?;
    text(&json["value"], "value")
}

/// A text in base64.
fn decoded(value: &serde_json::Value, what: &str) -> Result<Zeroizing<String>, FetchError> {
    let bytes = STANDARD
        .decode(text(value, what)?.as_bytes())
        .map_err(|_| FetchError::Malformed(format!("its {what} is no base64")))?;
    super::local::text(&Zeroizing::new(bytes))
}

/// A value in a form (`application/x-www-form-urlencoded`).
fn escaped(text: &str) -> Zeroizing<String> {
    use std::fmt::Write as _;
    let mut out = Zeroizing::new(String::new());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
