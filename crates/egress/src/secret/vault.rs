//! HashiCorp Vault: the KV secrets engine, version 2, over its HTTP API.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::config::{Seed, VaultConfig};
use super::error::FetchError;
use super::http::{Http, text};

/// Lease of a token whose end is not told, in seconds.
const LEASE: i64 = 300;

/// A token that was given for a role.
struct Token {
    value: Zeroizing<String>,
    until: Timestamp,
}

#[derive(Default)]
pub(super) struct Vault {
    token: Mutex<Option<Token>>,
}

/// A place in it.
pub(super) struct Place<'a> {
    pub(super) mount: &'a str,
    pub(super) path: &'a str,
    pub(super) field: &'a str,
}

type SeedReader<'a> = &'a dyn Fn(&Seed) -> Result<Zeroizing<String>, FetchError>;

impl Vault {
    pub(super) fn read(
        &self,
        http: &Http,
        config: &VaultConfig,
        seed: SeedReader<'_>,
        place: &Place<'_>,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, FetchError> {
        let url = format!("{}/v1/{}/data/{}", base(config), place.mount, place.path);
        let (token, kept) = self.token(http, config, seed, now)?;
        let mut answer = http.get(&url, &headers(config, &token))?;
        if answer.status == 403 && kept {
            // It may have been revoked before its time.
            *self.kept() = None;
            let (token, _) = self.token(http, config, seed, now)?;
            answer = http.get(&url, &headers(config, &token))?;
        }
        let json = answer.json()?;
        match &json["data"]["data"][place.field] {
            serde_json::Value::Null => Err(FetchError::Missing(format!(
                "{}/{} has no field `{}`",
                place.mount, place.path, place.field
            ))),
            serde_json::Value::String(value) => Ok(Zeroizing::new(value.clone())),
            other => Ok(Zeroizing::new(other.to_string())),
        }
    }

    /// The token, and whether it is one that was given for a role earlier.
    fn token(
        &self,
        http: &Http,
        config: &VaultConfig,
        seed: SeedReader<'_>,
        now: Timestamp,
    ) -> Result<(Zeroizing<String>, bool), FetchError> {
        let (role, secret) = match (&config.token, &config.role_id, &config.secret_id) {
            (Some(token), None, None) => return Ok((seed(token)?, false)),
            (None, Some(role), Some(secret)) => (role, secret),
            _ => {
                return Err(FetchError::NotConfigured(
                    "[secrets.vault] has either `token`, or `role_id` and `secret_id`".to_owned(),
                ));
            }
        };
        if let Some(token) = &*self.kept()
            && token.until > now
        {
            return Ok((token.value.clone(), true));
        }
        let mount = config.approle_mount.as_deref().unwrap_or("approle");
        let url = format!("{}/v1/auth/{mount}/login", base(config));
        let secret = seed(secret)?;
        let body = serde_json::json!({"role_id": role, "secret_id": *secret}).to_string();
        let mut headers = vec![("content-type", "application/json")];
        if let Some(namespace) = &config.namespace {
            headers.push(("x-vault-namespace", namespace));
        }
        let json = http
            .post(&url, &headers, Zeroizing::new(body).as_bytes())?
            .json()?;
        let value = text(&json["auth"]["client_token"], "token")?;
        let lease = json["auth"]["lease_duration"]
            .as_i64()
            .filter(|lease| *lease > 0)
            .unwrap_or(LEASE);
        // Given up a tenth before its end, so that it does not end on the way.
        let lease = jiff::SignedDuration::from_secs((lease - lease / 10).min(24 * 3600));
        let until = now.checked_add(lease).unwrap_or(now);
        *self.kept() = Some(Token {
            value: value.clone(),
            until,
        });
        Ok((value, false))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn base(config: &VaultConfig) -> &str {
    config.address.trim_end_matches('/')
}

fn headers<'a>(config: &'a VaultConfig, token: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("x-vault-token", token), ("x-vault-request", "true")];
    if let Some(namespace) = &config.namespace {
        headers.push(("x-vault-namespace", namespace));
    }
    headers
}
