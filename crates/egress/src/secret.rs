//! Secrets at rest, by reference, and minted.
//!
//! | file | idea |
//! |---|---|
//! | `name` | names, and scopes: who may use a secret |
//! | `record`, `store`, `files` | one file per secret: metadata open, value sealed with age |
//! | `key` | where the key is that seals them |
//! | `reference` | values that are elsewhere: one line each |
//! | `local`, `vault`, `clouds`, `http` | getting at them |
//! | `github`, `oidc`, `jwt` | tokens that are made for one task and live shortly |
//! | `resolve` | from a name to a value, and what is wrong where there is none |
//! | `issue` | what environments hold, renewed while they run |
//!
//! Nothing here is async: whoever calls does so from a thread that may block. Values are
//! [`Zeroizing`](zeroize::Zeroizing), have no `Debug`, and no error carries one.

mod clouds;
mod config;
mod error;
mod files;
mod github;
mod http;
mod issue;
mod jwt;
mod key;
mod local;
mod name;
mod oidc;
mod record;
mod reference;
mod resolve;
mod store;
mod vault;

pub use config::{
    AwsConfig, AzureConfig, GcpConfig, GithubConfig, OidcConfig, SecretsConfig, Seed, VaultConfig,
};
pub use error::{FetchError, SecretError};
pub use http::HttpSettings;
pub use issue::{Issue, Issued, Renewed};
pub use key::KeySource;
pub use name::{Context, LONGEST_NAME, Scope, SecretName};
pub use oidc::{DISCOVERY_PATH, Issuer, KEYS_PATH};
pub use record::{Content, NewSecret, Record, Use, Uses, unfit_for_headers};
pub use reference::{GithubApp, Reference};
pub use resolve::{Checked, Clock, Resolved, Secrets, SecretsOptions, Trouble, ledger_name};
pub use store::{Rekeyed, Store};
