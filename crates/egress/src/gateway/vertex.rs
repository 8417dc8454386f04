//! Tokens of Google's service accounts (RFC 7523 with RS256), kept until shortly before they
//! expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::connect::{Failed, Origin, Pool};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Most bytes of an answer with a token.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Longest time until a token is there.
const TOKEN_TIME: Duration = Duration::from_secs(20);

/// How long before its end a token is replaced, in seconds.
const EARLY: i64 = 120;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The key is no service account's.
    #[error("the key is not the JSON of a service account with an RSA key")]
    Key,
    /// The server of tokens could not be asked.
    #[error("the server of tokens cannot be asked")]
    Asked(#[from] Failed),
    /// It gave none.
    #[error("the server of tokens gave none")]
    Refused,
}

/// A service account, as Google's file says it.
#[derive(Deserialize)]
struct Account {
    client_email: String,
    #[serde(deserialize_with = "secret")]
    private_key: Zeroizing<String>,
    #[serde(default)]
    private_key_id: String,
    #[serde(default = "google")]
    token_uri: String,
}

fn secret<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(text).map(Zeroizing::new)
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

#[derive(Deserialize)]
struct Token {
    #[serde(deserialize_with = "secret")]
    access_token: Zeroizing<String>,
    #[serde(default)]
    expires_in: i64,
}

/// A kept token: the key it was got with, its value, and its end in seconds since 1970.
type Kept = (ring::digest::Digest, Zeroizing<String>, i64);

/// The tokens that are kept.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<String, Kept>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// A token for this upstream.
    ///
    /// # Errors
    /// [`NoToken`].
    pub async fn token(
        &self,
        upstream: &str,
        key: &str,
        url: Option<&Uri>,
        now: Timestamp,
        pool: &Pool,
    ) -> Result<Zeroizing<String>, NoToken> {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let seconds = now.as_second();
        if let Some((of, token, end)) = self.kept().get(upstream)
            && of.as_ref() == digest.as_ref()
            && *end > seconds + EARLY
        {
            return Ok(token.clone());
        }
        let account: Account = serde_json::from_str(key).map_err(|_| NoToken::Key)?;
        let assertion = assertion(&account, seconds).ok_or(NoToken::Key)?;
        let url = match url {
            Some(url) => url.clone(),
            None => account.token_uri.parse().map_err(|_| NoToken::Key)?,
        };
        let token = ask(pool, &url, &assertion).await?;
        let end = seconds.saturating_add(token.expires_in.clamp(0, 86_400));
        let kept = (digest, token.access_token.clone(), end);
        self.kept().insert(upstream.to_owned(), kept);
        Ok(token.access_token)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn assertion(account: &Account, now: i64) -> Option<String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.as_bytes()).ok()?;
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head =
        part(serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id }));
    let claims = part(serde_json::json!({
        "iss": account.client_email, "scope": SCOPE, "aud": account.token_uri,
        "iat": now, "exp": now + 3600,
    }));
    let text = format!("{head}.{claims}");
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .ok()?;
    Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

async fn ask(pool: &Pool, url: &Uri, assertion: &str) -> Result<Token, NoToken> {
    let origin = Origin::of(url);
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
    );
    let request = Request::post(url.path())
        .header(header::HOST, origin.authority())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .map_err(|_| NoToken::Key)?;
    let (answer, used) = pool.send(&origin, request, TOKEN_TIME).await?;
    if !answer.status().is_success() {
        return Err(NoToken::Refused);
    }
    let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect();
    let body = tokio::time::timeout(TOKEN_TIME, body).await;
    let body = body.ok().and_then(Result::ok).ok_or(NoToken::Refused)?;
    pool.put(used);
    serde_json::from_slice(&body.to_bytes()).map_err(|_| NoToken::Refused)
}
