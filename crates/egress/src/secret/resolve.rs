//! From a name to a value: kept here, elsewhere, or made for the task.

mod fetch;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::clouds::Tokens;
use super::config::{SecretsConfig, Seed};
use super::error::{FetchError, SecretError};
use super::http::Http;
use super::key::KeySource;
use super::name::{Context, Scope, SecretName};
use super::oidc::Issuer;
use super::record::{Record, Use, unfit_for_headers};
use super::reference::Reference;
use super::store::Store;
use super::vault::Vault;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A value that may be used now.
#[derive(Clone)]
pub struct Resolved {
    /// The secret.
    pub name: SecretName,
    /// Its scope.
    pub scope: Scope,
    /// The kind of place it came from.
    pub kind: &'static str,
    /// Whether it was made for this context and lives shortly.
    pub minted: bool,
    /// The value. Never shown, never logged.
    pub value: Zeroizing<String>,
    /// When it has to be asked for again; absent when only a change matters.
    pub until: Option<Timestamp>,
}

impl Resolved {
    /// The value, if it can stand in a header.
    ///
    /// # Errors
    /// When it could not.
    pub fn for_header(&self) -> Result<&Zeroizing<String>, SecretError> {
        match unfit_for_headers(&self.value) {
            None => Ok(&self.value),
            Some(has) => Err(SecretError::NotForHeaders {
                name: self.name.clone(),
                has,
            }),
        }
    }

    /// How its uses are named in the ledger: never by the value.
    #[must_use]
    pub fn ledger_name(&self) -> String {
        ledger_name(&self.name, &self.scope, self.kind)
    }
}

/// How uses of a secret are named in the ledger: `NAME (SCOPE, KIND)`.
#[must_use]
pub fn ledger_name(name: &SecretName, scope: &Scope, kind: &str) -> String {
    model::egress::harmless(&format!("{name} ({scope}, {kind})"))
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved")
            .field("name", &self.name)
            .field("scope", &self.scope)
            .field("kind", &self.kind)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Something that is wrong with a secret and that a person has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The secret.
    pub name: SecretName,
    /// Its scope.
    pub scope: Scope,
    /// Who is asked.
    pub owner: Option<String>,
    /// What is wrong.
    pub sentence: String,
    /// What to do.
    pub cure: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// What is true of one secret.
#[derive(Debug)]
pub struct Checked {
    /// The secret.
    pub record: Record,
    /// What is wrong with it.
    pub problem: Option<SecretError>,
}

/// What secrets are made of.
pub struct SecretsOptions {
    /// Folder of the files.
    pub folder: PathBuf,
    /// Where the key is.
    pub key: KeySource,
    /// How other places are reached.
    pub config: SecretsConfig,
    /// The clock.
    pub clock: Clock,
}

/// All secrets of one server. Calls block: for the disk, and for services on the network.
pub struct Secrets {
    store: Store,
    config: SecretsConfig,
    clock: Clock,
    http: Http,
    vault: Vault,
    tokens: Tokens,
    issuer: Mutex<Option<Arc<Issuer>>>,
    cache: Mutex<HashMap<String, Fetched>>,
    troubles: Mutex<BTreeMap<(SecretName, Scope), Trouble>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Fetched {
    value: Zeroizing<String>,
    until: Timestamp,
}

impl Secrets {
    /// Puts the parts together. The key is looked for when it is first needed.
    ///
    /// # Errors
    /// When the configuration of HTTP cannot be used.
    pub fn open(options: SecretsOptions) -> Result<Self, SecretError> {
        let http = Http::new(&options.config.http).map_err(|error| SecretError::Invalid {
            what: error.to_string(),
            cure: "correct [secrets.http] of the configuration".to_owned(),
        })?;
        Ok(Self {
            store: Store::at(options.folder, options.key),
            config: options.config,
            clock: options.clock,
            http,
            vault: Vault::default(),
            tokens: Tokens::default(),
            issuer: Mutex::default(),
            cache: Mutex::default(),
            troubles: Mutex::default(),
        })
    }

    /// What lies on the disk.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The value of a secret for an environment; notes the use.
    ///
    /// # Errors
    /// Why it may not or cannot be used. What a person has to mend is also among the
    /// [`troubles`](Self::troubles) until it works again.
    pub fn resolve(
        &self,
        name: &str,
        context: &Context,
        environment: &str,
    ) -> Result<Resolved, SecretError> {
        let name: SecretName = name.parse()?;
        let record = self.store.find(&name, context)?;
        let resolved = self.value_of(&record, context);
        self.remember(&record, resolved.as_ref().err());
        let resolved = resolved?;
        if let Err(error) = self
            .store
            .note_use(&record, Use::new(environment, context, self.now()))
        {
            tracing::warn!(%name, %error, "the use of a secret could not be noted beside it");
        }
        Ok(resolved)
    }

    /// Looks whether every secret could be used now. Tokens for a task are not made: what they are
    /// made from is looked at.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn check(&self) -> Result<(Vec<Checked>, Vec<SecretError>), SecretError> {
        let (records, damaged) = self.store.list()?;
        let checked = records.into_iter().map(|record| {
            let problem = self.check_one(&record).err();
            self.remember(&record, problem.as_ref());
            Checked { record, problem }
        });
        Ok((checked.collect(), damaged))
    }

    /// What a person has to mend: what expired, and what could not be had when it was last wanted.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        let (now, records) = (
            self.now(),
            self.store
                .list()
                .map(|(records, _)| records)
                .unwrap_or_default(),
        );
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        // What was set anew or removed since is over.
        troubles.retain(|(name, scope), trouble| {
            let record = records
                .iter()
                .find(|record| record.name == *name && record.scope == *scope);
            record.is_some_and(|record| record.changed <= trouble.since)
        });
        for record in records.iter().filter(|record| record.is_expired(now)) {
            let since = record.expires.unwrap_or(now);
            let error = expired(record, since);
            let trouble = trouble(record, &error, since.max(record.changed));
            troubles
                .entry((record.name.clone(), record.scope.clone()))
                .or_insert(trouble);
        }
        troubles.values().cloned().collect()
    }

    /// The issuer of identity tokens.
    ///
    /// # Errors
    /// When none is configured, or its key cannot be had.
    pub fn issuer(&self) -> Result<Arc<Issuer>, SecretError> {
        let mut kept = self.issuer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issuer) = &*kept {
            return Ok(Arc::clone(issuer));
        }
        let config = self
            .config
            .oidc
            .as_ref()
            .ok_or_else(|| SecretError::Invalid {
                what: "the configuration has no [secrets.oidc]".to_owned(),
                cure: "give it the address `issuer` at which clouds reach this server".to_owned(),
            })?;
        let issuer = Arc::new(Issuer::open(&self.store, config)?);
        *kept = Some(Arc::clone(&issuer));
        Ok(issuer)
    }

    /// Values from elsewhere are asked for again the next time.
    pub fn forget_fetched(&self) {
        self.cached().clear();
    }

    fn check_one(&self, record: &Record) -> Result<(), SecretError> {
        let now = self.now();
        if record.is_expired(now) {
            return Err(expired(record, now));
        }
        match &record.reference {
            Some(Reference::GithubApp(app)) => {
                let fetch = |source| fetch_error(record, source);
                self.seed(&Seed::Secret(app.key.clone()))
                    .map(drop)
                    .map_err(fetch)
            }
            Some(Reference::Oidc(_)) => self.issuer().map(drop),
            _ => self.value_of(record, &Context::default()).map(drop),
        }
    }

    fn value_of(&self, record: &Record, context: &Context) -> Result<Resolved, SecretError> {
        let now = self.now();
        if record.is_expired(now) {
            return Err(expired(record, record.expires.unwrap_or(now)));
        }
        let (value, until) = match &record.reference {
            None => (self.store.value(record)?, None),
            Some(reference) => {
                let fetched = self
                    .fetch(reference, context, now)
                    .map_err(|source| fetch_error(record, source))?;
                (fetched.value, Some(fetched.until))
            }
        };
        Ok(Resolved {
            name: record.name.clone(),
            scope: record.scope.clone(),
            kind: record.kind(),
            minted: record.reference.as_ref().is_some_and(Reference::is_minted),
            value,
            until: match (until, record.expires) {
                (Some(until), Some(expires)) => Some(until.min(expires)),
                (until, expires) => until.or(expires),
            },
        })
    }

    /// Keeps in mind what a person has to mend, until it works again.
    fn remember(&self, record: &Record, error: Option<&SecretError>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (record.name.clone(), record.scope.clone());
        match error {
            None => {
                troubles.remove(&key);
            }
            Some(error) if error.is_for_person() => {
                let trouble = trouble(record, error, self.now());
                troubles.entry(key).or_insert(trouble);
            }
            // It mends itself, or stays as it was.
            Some(_) => {}
        }
    }
}

fn trouble(record: &Record, error: &SecretError, since: Timestamp) -> Trouble {
    let mut sentence = error.to_string();
    if let SecretError::Fetch { source, .. } = error {
        sentence = format!("{sentence}: {source}");
    }
    Trouble {
        name: record.name.clone(),
        scope: record.scope.clone(),
        owner: record.owner.clone(),
        sentence,
        cure: error.cure(),
        since,
    }
}

fn expired(record: &Record, now: Timestamp) -> SecretError {
    SecretError::Expired {
        name: record.name.clone(),
        scope: record.scope.clone(),
        at: record.expires.unwrap_or(now),
    }
}

fn fetch_error(record: &Record, source: FetchError) -> SecretError {
    SecretError::Fetch {
        name: record.name.clone(),
        scope: record.scope.clone(),
        from: record.kind(),
        source,
    }
}
