//! Secrets of a data directory, and what the inbox learns of them.

use std::sync::Arc;

use egress::secret::{Secrets, SecretsOptions};
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

/// Says in the inbox what a person has to mend.
pub(crate) struct Watch(pub(crate) Arc<Secrets>);

impl Credentials for Watch {
    fn troubles(&self) -> Vec<CredentialTrouble> {
        let troubles = self.0.troubles().into_iter();
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
