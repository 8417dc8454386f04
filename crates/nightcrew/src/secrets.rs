//! Secrets of a data directory: given to environments through the broker, masked in everything that
//! tasks print, and in the inbox when a person has to mend them.

use std::sync::Arc;

use egress::secret::{Context, Issue, Issued, Renewed, Secrets, SecretsOptions};
use model::network::CredentialUse;
use runner::Values;
use server::service::{CredentialTrouble, Credentials};

use crate::clock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;

/// The secrets of this data directory.
pub(crate) fn open(config: &Config, data_dir: &DataDir) -> Result<Secrets, Failure> {
    Ok(Secrets::open(SecretsOptions {
        folder: data_dir.secrets(),
        key: config.secrets.key_source(&data_dir.keys())?,
        config: config.secrets.clone(),
        clock: clock::clock(),
    })?)
}

/// What a server does with secrets. Calls block.
#[derive(Clone)]
pub(crate) struct Keeper {
    secrets: Arc<Secrets>,
    issued: Arc<Issued>,
    values: Arc<Values>,
}

impl Keeper {
    /// Opens the secrets of this data directory.
    pub(crate) fn open(config: &Config, data_dir: &DataDir) -> Result<Self, Failure> {
        let secrets = Arc::new(open(config, data_dir)?);
        Ok(Self {
            issued: Arc::new(Issued::new(Arc::clone(&secrets))),
            secrets,
            values: Arc::default(),
        })
    }

    /// Masks every value that was given out.
    pub(crate) fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values)
    }

    /// Credentials for an environment. They are masked before anybody has them.
    pub(crate) fn give(
        &self,
        environment: &str,
        context: &Context,
        uses: &[CredentialUse],
    ) -> Vec<Issue> {
        let issues = self.issued.issue(environment, context, uses);
        self.values.learn(self.issued.known());
        issues
    }

    /// What changed for environments that run; to be called about every second.
    #[expect(
        dead_code,
        reason = "called once the broker keeps placeholders when values change"
    )]
    pub(crate) fn renew(&self) -> Vec<Renewed> {
        let renewed = self.issued.renew();
        if !renewed.is_empty() {
            self.values.learn(self.issued.known());
        }
        renewed
    }

    /// An environment is gone.
    pub(crate) fn take_back(&self, environment: &str) {
        self.issued.forget(environment);
    }
}

impl Credentials for Keeper {
    fn troubles(&self) -> Vec<CredentialTrouble> {
        let troubles = self.secrets.troubles().into_iter();
        troubles
            .map(|trouble| CredentialTrouble {
                name: trouble.name.to_string(),
                scope: trouble.scope.to_string(),
                owner: trouble.owner,
                sentence: trouble.sentence,
                cure: trouble.cure,
                since: trouble.since,
            })
            .collect()
    }
}
