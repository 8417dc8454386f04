//! The part `[secrets]` of the configuration: the key, and how other places are reached.

use std::path::PathBuf;

use serde::Deserialize;

use super::error::{FetchError, SecretError};
use super::http::HttpSettings;
use super::key::KeySource;
use super::name::SecretName;

/// Everything about secrets that is configured. What is absent is not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsConfig {
    /// A variable that holds the key.
    pub key_variable: Option<String>,
    /// A command that prints the key, such as one that asks the system's keyring.
    pub key_command: Option<Vec<String>>,
    /// A file with the passphrase that opens the key.
    pub key_passphrase_file: Option<PathBuf>,
    /// Seconds for which a value from elsewhere is kept in memory; 60 when absent.
    pub cache: Option<u32>,
    /// How other places are reached.
    pub http: HttpSettings,
    /// HashiCorp Vault.
    pub vault: Option<VaultConfig>,
    /// AWS Secrets Manager.
    pub aws: Option<AwsConfig>,
    /// Google Secret Manager.
    pub gcp: Option<GcpConfig>,
    /// Azure Key Vault.
    pub azure: Option<AzureConfig>,
    /// GitHub.
    pub github: GithubConfig,
    /// Identity tokens that Nightcrew issues.
    pub oidc: Option<OidcConfig>,
}

/// HashiCorp Vault: a token, or a role's id and secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Address, such as `https://vault.example.org:8200`.
    pub address: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The token.
    #[serde(default)]
    pub token: Option<Seed>,
    /// AppRole's role.
    #[serde(default)]
    pub role_id: Option<String>,
    /// AppRole's secret.
    #[serde(default)]
    pub secret_id: Option<Seed>,
    /// Where AppRole is mounted; `approle` when absent.
    #[serde(default)]
    pub approle_mount: Option<String>,
}

/// AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// Region.
    pub region: String,
    /// Access key.
    pub access_key_id: Seed,
    /// Its secret.
    pub secret_access_key: Seed,
    /// Token of a session.
    #[serde(default)]
    pub session_token: Option<Seed>,
    /// Address in place of the region's.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Google Secret Manager.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcpConfig {
    /// JSON of a service account's key.
    pub service_account: Seed,
    /// Address in place of the service's.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Azure Key Vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureConfig {
    /// Tenant.
    pub tenant: String,
    /// Client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Seed,
    /// Address in place of every vault's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Address in place of the one that gives tokens.
    #[serde(default)]
    pub login: Option<String>,
}

/// GitHub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GithubConfig {
    /// Address of its API; `https://api.github.com` when absent.
    pub api: Option<String>,
}

/// Identity tokens that Nightcrew issues.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Address at which clouds find the issuer's document.
    pub issuer: String,
    /// Seconds that a token is good for; 600 when absent, at most 3600.
    #[serde(default)]
    pub lifetime: Option<u32>,
}

/// Where a value comes from that is needed to get at others: `env:NAME`, `file:/PATH`, or
/// `secret:NAME` of the organisation's scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// A variable.
    Env(String),
    /// A file.
    File(PathBuf),
    /// A secret whose value is kept here.
    Secret(SecretName),
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let seed = match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Some(Self::File(PathBuf::from(path))),
            Some(("secret", name)) => name.parse().ok().map(Self::Secret),
            _ => None,
        };
        // The text may be the value itself, written at the wrong place: it is not repeated.
        seed.ok_or_else(|| {
            serde::de::Error::custom("values do not stand in the configuration: write `env:NAME`, `file:/PATH` or `secret:NAME`")
        })
    }
}

impl SecretsConfig {
    /// Where the key is, for a data directory whose keys lie in `keys`.
    ///
    /// # Errors
    /// When more than one place is named.
    pub fn key_source(&self, keys: &std::path::Path) -> Result<KeySource, SecretError> {
        let file = keys.join("secrets.key");
        match (
            &self.key_variable,
            &self.key_command,
            &self.key_passphrase_file,
        ) {
            (None, None, None) => Ok(KeySource::File(file)),
            (Some(name), None, None) => Ok(KeySource::Variable(name.clone())),
            (None, Some(argv), None) => Ok(KeySource::Command(argv.clone())),
            (None, None, Some(phrase)) => Ok(KeySource::Passphrase {
                phrase: phrase.clone(),
                file: file.with_extension("key.age"),
            }),
            _ => Err(SecretError::Invalid {
                what: "the configuration names more than one place for the key of the secrets"
                    .to_owned(),
                cure:
                    "keep one of key_variable, key_command and key_passphrase_file under [secrets]"
                        .to_owned(),
            }),
        }
    }
}

/// The configuration of a place that is referred to.
pub(super) fn needed<'a, T>(config: Option<&'a T>, part: &str) -> Result<&'a T, FetchError> {
    config.ok_or_else(|| {
        FetchError::NotConfigured(format!("the configuration has no [secrets.{part}]"))
    })
}
