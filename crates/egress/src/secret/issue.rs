//! Values that environments hold through the broker: given out, renewed before they end or when
//! somebody changes them, and taken back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use model::network::CredentialUse;
use zeroize::Zeroizing;

use super::error::SecretError;
use super::name::Context;
use super::resolve::{Resolved, Secrets};
use crate::credential::Bound;

/// Values that are remembered for masking, the newest.
const MOST_KNOWN: usize = 512;
/// Seconds between two tries to have what could not be had.
const AGAIN: i64 = 30;

/// One credential of an environment as it is now. An error is what the broker refuses its uses with
/// (`credential_missing`).
#[derive(Debug)]
pub struct Issue {
    /// Where it is put.
    pub used: CredentialUse,
    /// The value, or why there is none.
    pub resolved: Result<Resolved, Arc<SecretError>>,
}

impl Issue {
    /// As the broker takes it, with what the environment sees in its place; `None` without a value.
    #[must_use]
    pub fn bound(&self, placeholder: String) -> Option<Bound> {
        let resolved = self.resolved.as_ref().ok()?;
        Some(Bound {
            placeholder,
            used: self.used.clone(),
            value: resolved.value.clone(),
        })
    }
}

/// Credentials of an environment that changed, all of them: what the broker is to be told.
#[derive(Debug)]
pub struct Renewed {
    /// The environment.
    pub environment: String,
    /// Its credentials.
    pub issues: Vec<Issue>,
}

struct Holder {
    context: Context,
    uses: Vec<CredentialUse>,
    held: Vec<Option<Zeroizing<String>>>,
    due: Option<Timestamp>,
}

/// Who holds what. Calls block as those of [`Secrets`] do.
pub struct Issued {
    secrets: Arc<Secrets>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    holders: BTreeMap<String, Holder>,
    revision: u64,
    /// Values that were given out and may still be in some text, the oldest first.
    known: VecDeque<(String, Zeroizing<String>)>,
}

impl Inner {
    fn learn(&mut self, issues: &[Issue]) {
        for issue in issues {
            let Ok(resolved) = &issue.resolved else {
                continue;
            };
            if !self.known.iter().any(|(_, value)| *value == resolved.value) {
                let known = (resolved.name.to_string(), resolved.value.clone());
                self.known.push_back(known);
            }
        }
        while self.known.len() > MOST_KNOWN {
            self.known.pop_front();
        }
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl Issued {
    /// Nobody holds anything yet.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>) -> Self {
        let inner = Inner {
            revision: secrets.store().revision().unwrap_or(0),
            ..Inner::default()
        };
        Self {
            secrets,
            inner: Mutex::new(inner),
        }
    }

    /// Gives an environment its credentials. What cannot be had does not keep it from the others.
    pub fn issue(
        &self,
        environment: &str,
        context: &Context,
        uses: &[CredentialUse],
    ) -> Vec<Issue> {
        let issues = self.resolve(environment, context, uses);
        let holder = Holder {
            context: context.clone(),
            uses: uses.to_vec(),
            held: held(&issues),
            due: self.due(&issues),
        };
        let mut inner = self.inner();
        inner.learn(&issues);
        inner.holders.insert(environment.to_owned(), holder);
        issues
    }

    /// An environment is gone. Values stay known for masking as long as this lives.
    pub fn forget(&self, environment: &str) {
        self.inner().holders.remove(environment);
    }

    /// Asks again for what has to be asked for again, and for everything when a secret was changed
    /// by whomever. To be called about every second: without a change it costs one small file.
    #[must_use]
    pub fn renew(&self) -> Vec<Renewed> {
        let now = self.secrets.now();
        let revision = self.secrets.store().revision().unwrap_or(0);
        let wanted: Vec<(String, Context, Vec<CredentialUse>)> = {
            let mut inner = self.inner();
            let changed = inner.revision != revision;
            inner.revision = revision;
            if changed {
                self.secrets.forget_fetched();
            }
            let due = |holder: &Holder| changed || holder.due.is_some_and(|due| due <= now);
            let holders = inner.holders.iter().filter(|(_, holder)| due(holder));
            holders
                .map(|(environment, holder)| {
                    (
                        environment.clone(),
                        holder.context.clone(),
                        holder.uses.clone(),
                    )
                })
                .collect()
        };
        let mut renewed = Vec::new();
        for (environment, context, uses) in wanted {
            let issues = self.resolve(&environment, &context, &uses);
            let (new, due) = (held(&issues), self.due(&issues));
            let mut inner = self.inner();
            inner.learn(&issues);
            // It may be gone meanwhile.
            let Some(holder) = inner.holders.get_mut(&environment) else {
                continue;
            };
            holder.due = due;
            if holder.held != new {
                holder.held = new;
                renewed.push(Renewed {
                    environment,
                    issues,
                });
            }
        }
        renewed
    }

    /// Every value that was given out, with the name of its secret, for masking: also such as ended since, because what was
    /// printed before may be shown after.
    #[must_use]
    pub fn known(&self) -> Vec<(String, Zeroizing<String>)> {
        self.inner().known.iter().cloned().collect()
    }

    fn resolve(&self, environment: &str, context: &Context, uses: &[CredentialUse]) -> Vec<Issue> {
        let one = |used: &CredentialUse| {
            let resolved = self.secrets.resolve(&used.secret, context, environment);
            let resolved =
                resolved.and_then(|resolved| resolved.for_header().map(drop).map(|()| resolved));
            Issue {
                used: used.clone(),
                resolved: resolved.map_err(Arc::new),
            }
        };
        uses.iter().map(one).collect()
    }

    fn due(&self, issues: &[Issue]) -> Option<Timestamp> {
        let soon = self
            .secrets
            .now()
            .checked_add(jiff::SignedDuration::from_secs(AGAIN))
            .ok();
        let of = |issue: &Issue| match &issue.resolved {
            Ok(resolved) => resolved.until,
            Err(_) => soon,
        };
        issues.iter().filter_map(of).min()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held(issues: &[Issue]) -> Vec<Option<Zeroizing<String>>> {
    issues
        .iter()
        .map(|issue| {
            issue
                .resolved
                .as_ref()
                .ok()
                .map(|resolved| resolved.value.clone())
        })
        .collect()
}
