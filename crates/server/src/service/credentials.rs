//! Credentials that a person has to mend: entries of the inbox that come from what is true of the
//! secrets now, so that giving one a new value takes its entry away.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Service;
use super::inventory::blocking;
use crate::error::ServiceError;

/// A credential that expired, or that could not be had when it was last wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename = "credential_expired")]
pub struct CredentialTrouble {
    /// Name of the secret.
    pub name: String,
    /// Its scope: `organisation`, `automation:NAME` or `repository:NAME`.
    pub scope: String,
    /// Who is asked; anyone when absent.
    pub owner: Option<String>,
    /// What is wrong.
    pub sentence: String,
    /// What to do.
    pub cure: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Knows what is wrong with credentials. Called on a thread that may block.
pub trait Credentials: Send + Sync + 'static {
    /// Everything that a person has to mend.
    fn troubles(&self) -> Vec<CredentialTrouble>;
}

impl Service {
    /// Shows in the inbox what this one says. Only the first counts.
    pub fn watch_credentials(&self, credentials: Arc<dyn Credentials>) {
        if self.credentials.set(credentials).is_err() {
            tracing::warn!("credentials are watched already");
        }
    }

    /// Credentials that a person has to mend.
    ///
    /// # Errors
    /// When the thread that looks is lost.
    pub async fn credential_troubles(&self) -> Result<Vec<CredentialTrouble>, ServiceError> {
        match self.credentials.get() {
            Some(credentials) => {
                let credentials = Arc::clone(credentials);
                blocking(move || credentials.troubles()).await
            }
            None => Ok(Vec::new()),
        }
    }
}
