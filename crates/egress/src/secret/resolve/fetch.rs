//! Values from elsewhere: had from their place, and kept for a while.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::super::clouds;
use super::super::config::{Seed, needed};
use super::super::error::{FetchError, SecretError};
use super::super::http::field;
use super::super::name::{Context, Scope};
use super::super::reference::Reference;
use super::super::vault::Place;
use super::super::{github, local};
use super::{Fetched, Secrets, expired};

/// Seconds for which a value from elsewhere is kept when nothing is configured.
const CACHE: u32 = 60;
/// Longest that can be configured, in seconds.
const LONGEST_CACHE: u32 = 3600;
/// Values from elsewhere kept in memory, at most.
const MOST_CACHED: usize = 4096;

impl Secrets {
    pub(super) fn fetch(
        &self,
        reference: &Reference,
        context: &Context,
        now: Timestamp,
    ) -> Result<Fetched, FetchError> {
        let key = cache_key(reference, context)?;
        if let Some(fetched) = self.cached().get(&key)
            && fetched.until > now
        {
            return Ok(fetched.clone());
        }
        let fetched = self.fetch_anew(reference, context, now)?;
        if fetched.value.len() > local::LONGEST_VALUE {
            return Err(FetchError::Malformed(format!(
                "the value has more than {} bytes",
                local::LONGEST_VALUE
            )));
        }
        let mut cache = self.cached();
        cache.retain(|_, fetched| fetched.until > now);
        if cache.len() < MOST_CACHED {
            cache.insert(key, fetched.clone());
        }
        Ok(fetched)
    }

    pub(super) fn fetch_anew(
        &self,
        reference: &Reference,
        context: &Context,
        now: Timestamp,
    ) -> Result<Fetched, FetchError> {
        let (http, seed) = (&self.http, &|seed: &Seed| self.seed(seed));
        let value = match reference {
            Reference::Env(name) => local::variable(name)?,
            Reference::File(path) => local::file(path)?,
            Reference::Command(argv) => local::command(argv)?,
            Reference::Vault { mount, path, field } => {
                let config = needed(self.config.vault.as_ref(), "vault")?;
                self.vault
                    .read(http, config, seed, &Place { mount, path, field }, now)?
            }
            Reference::Aws { id, field: wanted } => {
                let config = needed(self.config.aws.as_ref(), "aws")?;
                field(clouds::aws(http, config, seed, id, now)?, wanted.as_deref())?
            }
            Reference::Gcp {
                project,
                name,
                version,
                field: wanted,
            } => {
                let config = needed(self.config.gcp.as_ref(), "gcp")?;
                let place = (project.as_str(), name.as_str(), version.as_str());
                field(
                    clouds::gcp(http, &self.tokens, config, seed, place, now)?,
                    wanted.as_deref(),
                )?
            }
            Reference::Azure {
                vault,
                name,
                version,
                field: wanted,
            } => {
                let config = needed(self.config.azure.as_ref(), "azure")?;
                let place = (vault.as_str(), name.as_str(), version.as_deref());
                field(
                    clouds::azure(http, &self.tokens, config, seed, place, now)?,
                    wanted.as_deref(),
                )?
            }
            Reference::GithubApp(app) => {
                let pem = self.seed(&Seed::Secret(app.key.clone()))?;
                let names = github::repositories(app, context)?;
                let api = self.config.github.api.as_deref();
                let (value, until) = github::mint(http, api, app, &names, &pem, now)?;
                return Ok(Fetched { value, until });
            }
            Reference::Oidc(audience) => {
                let issuer = self
                    .issuer()
                    .map_err(|error| FetchError::NotConfigured(error.to_string()))?;
                let (value, until) = issuer.issue(context, audience, now)?;
                return Ok(Fetched { value, until });
            }
        };
        let kept = self.config.cache.unwrap_or(CACHE).min(LONGEST_CACHE);
        let until = now
            .checked_add(SignedDuration::from_secs(i64::from(kept)))
            .unwrap_or(now);
        Ok(Fetched { value, until })
    }

    /// What is needed to get at other values. Kept here or on this host only, so that nothing
    /// refers to itself.
    pub(super) fn seed(&self, seed: &Seed) -> Result<Zeroizing<String>, FetchError> {
        match seed {
            Seed::Env(name) => local::variable(name),
            Seed::File(path) => local::file(path),
            Seed::Secret(name) => {
                let named = |error: SecretError| FetchError::NotConfigured(error.to_string());
                let record = self
                    .store
                    .record(name, &Scope::Organisation)
                    .map_err(named)?;
                match &record.reference {
                    _ if record.is_expired(self.now()) => Err(named(expired(&record, self.now()))),
                    None => self.store.value(&record).map_err(named),
                    Some(Reference::Env(name)) => local::variable(name),
                    Some(Reference::File(path)) => local::file(path),
                    Some(Reference::Command(argv)) => local::command(argv),
                    Some(other) => Err(FetchError::NotConfigured(format!(
                        "`{name}` is itself a reference of the kind `{}`",
                        other.kind()
                    ))),
                }
            }
        }
    }

    pub(super) fn cached(&self) -> MutexGuard<'_, HashMap<String, Fetched>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a value from elsewhere depends on.
fn cache_key(reference: &Reference, context: &Context) -> Result<String, FetchError> {
    Ok(match reference {
        Reference::GithubApp(app) => format!(
            "{reference} {}",
            github::repositories(app, context)?.join(",")
        ),
        Reference::Oidc(_) => format!("{reference} {context:?}"),
        _ => reference.to_string(),
    })
}
