//! Identity tokens that Nightcrew issues, by which clouds give access without a key of their own
//! (OpenID Connect Core 1.0, Discovery 1.0). Documents are pure functions: whoever serves them is
//! elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::config::OidcConfig;
use super::error::{FetchError, SecretError};
use super::jwt;
use super::name::Context;
use super::store::Store;

/// Path of the issuer's document below the issuer's address.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// Path of its keys.
pub const KEYS_PATH: &str = "/.well-known/jwks.json";
/// Life of a token when none is configured, in seconds.
const LIFE: i64 = 600;
/// Longest life of a token, in seconds.
const LONGEST_LIFE: i64 = 3600;
/// The document in which the key is sealed.
const KEY: &str = "oidc-key";
/// Coordinates of a point on P-256 have 32 bytes each, after one that says so (SEC 1, 2.3.3).
const HALF: usize = 32;

/// Issues tokens and says how they are checked.
pub struct Issuer {
    address: String,
    life: i64,
    pair: EcdsaKeyPair,
    id: String,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("address", &self.address)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// The issuer whose key is sealed in the store; made at first use.
    ///
    /// # Errors
    /// When the key of the store cannot be had, or the address is none.
    pub fn open(store: &Store, config: &OidcConfig) -> Result<Self, SecretError> {
        let address = config.issuer.trim_end_matches('/').to_owned();
        if !address.starts_with("https://") {
            return Err(SecretError::Invalid {
                what: "the issuer's address does not begin with `https://`".to_owned(),
                cure:
                    "clouds read its keys there: give the address at which they reach this server"
                        .to_owned(),
            });
        }
        let key = store.own(KEY, generate)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &SystemRandom::new());
        let pair = pair.map_err(|_| unusable())?;
        let id = thumbprint(&pair);
        let life = config
            .lifetime
            .map_or(LIFE, i64::from)
            .clamp(60, LONGEST_LIFE);
        Ok(Self {
            address,
            life,
            pair,
            id,
        })
    }

    /// The issuer's document.
    #[must_use]
    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.address,
            "jwks_uri": format!("{}{KEYS_PATH}", self.address),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid"],
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "automation", "repository", "task"],
        })
    }

    /// Its public keys (RFC 7517).
    #[must_use]
    pub fn keys(&self) -> Value {
        let (x, y) = coordinates(&self.pair);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": x, "y": y}]})
    }

    /// A token for a task, and when it is to be made anew.
    pub(super) fn issue(
        &self,
        context: &Context,
        audience: &str,
        now: Timestamp,
    ) -> Result<(Zeroizing<String>, Timestamp), FetchError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| FetchError::Unreachable(format!("no random bytes: {error}")))?;
        let (from, to) = (now.as_second(), now.as_second() + self.life);
        let claims = json!({
            "iss": self.address, "sub": subject(context)?, "aud": audience, "iat": from, "nbf": from, "exp": to,
            "jti": hex::encode(id), "automation": context.automation, "repository": context.repository, "task": context.task,
        });
        let token = jwt::es256(&self.pair, &self.id, &claims)?;
        // Anew after two thirds, so that what is given out is good for some time.
        let until = now
            .checked_add(SignedDuration::from_secs(self.life * 2 / 3))
            .unwrap_or(now);
        Ok((token, until))
    }
}

/// `automation:NAME:repository:NAME:task:ID`. Parts with a colon would be read as others.
fn subject(context: &Context) -> Result<String, FetchError> {
    let part = |text: &Option<String>, what: &str| match text {
        Some(text) if !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control()) => {
            Ok(text.clone())
        }
        _ => Err(FetchError::NotConfigured(format!(
            "identity tokens are for tasks, and this has no {what}"
        ))),
    };
    Ok(format!(
        "automation:{}:repository:{}:task:{}",
        part(&context.automation, "automation")?,
        part(&context.repository, "repository")?,
        part(&context.task, "task")?
    ))
}

fn generate() -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    Ok(Zeroizing::new(
        key.map_err(|_| unusable())?.as_ref().to_vec(),
    ))
}

fn unusable() -> SecretError {
    SecretError::Invalid {
        what: "the issuer's key cannot be used".to_owned(),
        cure: format!(
            "remove secrets/{KEY}.age in the data directory; clouds then read the new key by themselves"
        ),
    }
}

fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    let point = pair.public_key().as_ref();
    let part =
        |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + HALF).unwrap_or_default());
    (part(1), part(1 + HALF))
}

/// The key's id: its thumbprint (RFC 7638).
fn thumbprint(pair: &EcdsaKeyPair) -> String {
    let (x, y) = coordinates(pair);
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}
