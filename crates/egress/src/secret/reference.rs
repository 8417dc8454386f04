//! Where the value of a secret is, when it is not kept here: one line of text that is no secret
//! itself.
//!
//! ```text
//! env:NAME                                  a variable of the server
//! file:/run/secrets/token                   a file
//! command:["op", "read", "op://team/x"]     what a command prints
//! vault:secret/team/ci#token                HashiCorp Vault, KV version 2: mount, path, field
//! aws-sm:prod/ci#token                      AWS Secrets Manager: id or ARN, field of its JSON
//! gcp-sm:project/name[/version][#field]     Google Secret Manager
//! azure-kv:vault/name[/version][#field]     Azure Key Vault
//! github-app:APP/INSTALLATION?key=NAME&repositories=@target&permissions=contents:write
//! oidc:AUDIENCE                             an identity token that Nightcrew issues for the task
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::SecretError;
use super::name::SecretName;

/// Most bytes of a reference.
const LONGEST: usize = 2048;
/// Most words of a command, repositories or permissions.
const MOST_PARTS: usize = 64;

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// A variable of the server.
    Env(String),
    /// A file.
    File(PathBuf),
    /// What a command prints.
    Command(Vec<String>),
    /// HashiCorp Vault, KV version 2.
    Vault {
        /// Where the secrets engine is mounted.
        mount: String,
        /// Path below it.
        path: String,
        /// Field.
        field: String,
    },
    /// AWS Secrets Manager.
    Aws {
        /// Id or ARN.
        id: String,
        /// Field of its JSON; all of it when absent.
        field: Option<String>,
    },
    /// Google Secret Manager.
    Gcp {
        /// Project.
        project: String,
        /// Name.
        name: String,
        /// Version, or `latest`.
        version: String,
        /// Field of its JSON; all of it when absent.
        field: Option<String>,
    },
    /// Azure Key Vault.
    Azure {
        /// The vault's name.
        vault: String,
        /// Name.
        name: String,
        /// Version; the newest when absent.
        version: Option<String>,
        /// Field of its JSON; all of it when absent.
        field: Option<String>,
    },
    /// A token of a GitHub App's installation.
    GithubApp(GithubApp),
    /// An identity token that Nightcrew issues, for this audience.
    Oidc(String),
}

/// A token of a GitHub App's installation, narrowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GithubApp {
    /// Id of the App, or its client id.
    pub app: String,
    /// Id of the installation.
    pub installation: u64,
    /// The secret that holds the App's private key, of the organisation's scope.
    pub key: SecretName,
    /// Repositories by name; `@target` is the one the task works on. Never empty.
    pub repositories: Vec<String>,
    /// Permissions with `read` or `write`. Never empty.
    pub permissions: BTreeMap<String, String>,
}

impl Reference {
    /// The kind of place.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Env(_) => "env",
            Self::File(_) => "file",
            Self::Command(_) => "command",
            Self::Vault { .. } => "vault",
            Self::Aws { .. } => "aws-sm",
            Self::Gcp { .. } => "gcp-sm",
            Self::Azure { .. } => "azure-kv",
            Self::GithubApp(_) => "github-app",
            Self::Oidc(_) => "oidc",
        }
    }

    /// Whether the value is made anew for each task, and lives shortly.
    #[must_use]
    pub const fn is_minted(&self) -> bool {
        matches!(self, Self::GithubApp(_) | Self::Oidc(_))
    }
}

/// Letters and digits of names at services: nothing that has a meaning in a URL or a header.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+=:".contains(&byte))
        && text != "."
        && text != ".."
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_plain)
}

fn plain(text: &str) -> Option<String> {
    is_plain(text).then(|| text.to_owned())
}

impl FromStr for Reference {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let (kind, rest) = text.split_once(':').unwrap_or_default();
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(wrong("it is too long, or has a control character"));
        }
        let has_field = matches!(kind, "vault" | "aws-sm" | "gcp-sm" | "azure-kv");
        let (place, field) = match rest.split_once('#').filter(|_| has_field) {
            Some((place, field)) => {
                let field = plain(field).ok_or_else(|| wrong("the field after `#` is none"))?;
                (place, Some(field))
            }
            None => (rest, None),
        };
        let parts: Vec<&str> = place.split('/').collect();
        let read = match (kind, parts.as_slice()) {
            ("env", _) => variable(rest),
            ("file", _) if rest.starts_with('/') => Some(Self::File(PathBuf::from(rest))),
            ("command", _) => command(rest),
            ("vault", [mount, path @ ..]) if is_plain(mount) && is_path(&path.join("/")) => {
                let field =
                    field.ok_or_else(|| wrong("vault needs a field: `vault:MOUNT/PATH#FIELD`"))?;
                Some(Self::Vault {
                    mount: (*mount).to_owned(),
                    path: path.join("/"),
                    field,
                })
            }
            ("aws-sm", _) if is_path(place) => Some(Self::Aws {
                id: place.to_owned(),
                field,
            }),
            ("gcp-sm", [project, name, version @ ..]) if version.len() < 2 && is_path(place) => {
                Some(Self::Gcp {
                    project: (*project).to_owned(),
                    name: (*name).to_owned(),
                    version: version
                        .first()
                        .map_or("latest", |version| version)
                        .to_owned(),
                    field,
                })
            }
            ("azure-kv", [vault, name, version @ ..])
                if version.len() < 2 && is_path(place) && is_label(vault) =>
            {
                Some(Self::Azure {
                    vault: (*vault).to_owned(),
                    name: (*name).to_owned(),
                    version: version.first().map(|version| (*version).to_owned()),
                    field,
                })
            }
            ("github-app", _) => return github(rest).map(Self::GithubApp),
            ("oidc", _) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
                Some(Self::Oidc(rest.to_owned()))
            }
            _ => None,
        };
        read.ok_or_else(|| wrong("its form is not known"))
    }
}

/// Part of a host's name, so that a reference cannot name another host.
fn is_label(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn variable(name: &str) -> Option<Reference> {
    let good = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    good.then(|| Reference::Env(name.to_owned()))
}

fn command(text: &str) -> Option<Reference> {
    let words: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).ok()?
    } else {
        text.split_whitespace().map(str::to_owned).collect()
    };
    let good = !words.is_empty() && words.len() <= MOST_PARTS && !words[0].is_empty();
    good.then_some(Reference::Command(words))
}

fn github(text: &str) -> Result<GithubApp, SecretError> {
    let form = "write `github-app:APP/INSTALLATION?key=SECRET&repositories=@target&permissions=contents:write,metadata:read`";
    let (place, query) = text.split_once('?').ok_or_else(|| wrong(form))?;
    let (app, installation) = place.split_once('/').ok_or_else(|| wrong(form))?;
    let installation = installation
        .parse()
        .map_err(|_| wrong("the installation is a number"))?;
    let (mut key, mut repositories, mut permissions) = (None, Vec::new(), BTreeMap::new());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong(form))?;
        match name {
            "key" => key = Some(value.parse()?),
            "repositories" => repositories = value.split(',').map(str::to_owned).collect(),
            "permissions" => {
                for permission in value.split(',') {
                    let (name, access) = permission.split_once(':').ok_or_else(|| wrong(form))?;
                    if !is_plain(name) || !["read", "write", "admin"].contains(&access) {
                        return Err(wrong("a permission is written like `contents:read`"));
                    }
                    permissions.insert(name.to_owned(), access.to_owned());
                }
            }
            _ => return Err(wrong(form)),
        }
    }
    let good = is_plain(app)
        && !repositories.is_empty()
        && repositories.len().max(permissions.len()) <= MOST_PARTS
        && repositories.iter().all(|name| is_plain(name))
        && !permissions.is_empty();
    match key {
        Some(key) if good => Ok(GithubApp {
            app: app.to_owned(),
            installation,
            key,
            repositories,
            permissions,
        }),
        // A token for everything the App may do is never what a task needs.
        _ => Err(wrong(form)),
    }
}

fn wrong(what: &str) -> SecretError {
    SecretError::Invalid {
        what: format!("this is not a reference: {what}"),
        cure: "the forms are `env:NAME`, `file:/PATH`, `command:PROGRAM …`, `vault:MOUNT/PATH#FIELD`, `aws-sm:ID[#FIELD]`, \
               `gcp-sm:PROJECT/NAME`, `azure-kv:VAULT/NAME`, `github-app:…`, `oidc:AUDIENCE`; see docs/book/credentials.md"
            .to_owned(),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        let hash = |field: &Option<String>| {
            field
                .as_ref()
                .map(|field| format!("#{field}"))
                .unwrap_or_default()
        };
        match self {
            Self::Env(name) | Self::Oidc(name) => write!(f, "{kind}:{name}"),
            Self::File(path) => write!(f, "{kind}:{}", path.display()),
            Self::Command(words) => {
                let words = serde_json::to_string(words).map_err(|_| fmt::Error)?;
                write!(f, "{kind}:{words}")
            }
            Self::Vault { mount, path, field } => write!(f, "{kind}:{mount}/{path}#{field}"),
            Self::Aws { id, field } => write!(f, "{kind}:{id}{}", hash(field)),
            Self::Gcp {
                project,
                name,
                version,
                field,
            } => {
                write!(f, "{kind}:{project}/{name}/{version}{}", hash(field))
            }
            Self::Azure {
                vault,
                name,
                version,
                field,
            } => {
                write!(f, "{kind}:{vault}/{name}")?;
                if let Some(version) = version {
                    write!(f, "/{version}")?;
                }
                f.write_str(&hash(field))
            }
            Self::GithubApp(app) => {
                let permissions: Vec<String> = app
                    .permissions
                    .iter()
                    .map(|(name, access)| format!("{name}:{access}"))
                    .collect();
                let (repositories, permissions) =
                    (app.repositories.join(","), permissions.join(","));
                write!(
                    f,
                    "{kind}:{}/{}?key={}&repositories={repositories}&permissions={permissions}",
                    app.app, app.installation, app.key
                )
            }
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &[&str] = &[
        "env:TOKEN",
        "file:/run/secrets/a b",
        "command:op read op://team/x",
        "command:[\"sh\",\"-c\",\"echo a b\"]",
        "vault:secret/team/ci#token",
        "aws-sm:prod/ci",
        "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci-AbCdEf#token",
        "gcp-sm:proj/ci",
        "gcp-sm:proj/ci/7#a",
        "azure-kv:team/ci",
        "azure-kv:team/ci/0123abc#a",
        "github-app:Iv1.abc/42?key=app-key&repositories=@target&permissions=contents:write,metadata:read",
        "oidc:sts.amazonaws.com",
    ];

    #[test]
    fn references_are_read_as_they_are_written() {
        for text in GOOD {
            let reference: Reference = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                reference.to_string().parse::<Reference>().unwrap(),
                reference,
                "{text}"
            );
        }
    }

    #[test]
    fn what_would_reach_elsewhere_or_everything_is_no_reference() {
        for text in [
            "",
            "env:",
            "env:A B",
            "file:relative",
            "command:",
            "command:[]",
            "vault:secret#x",
            "vault:secret/a",
            "vault:secret/../sys#x",
            "vault:secret/a?b#x",
            "aws-sm:",
            "azure-kv:evil.example/x",
            "azure-kv:a/b/c/d",
            "gcp-sm:p",
            "gcp-sm:p/../x",
            "github-app:1/2",
            "github-app:1/2?key=k&repositories=a",
            "github-app:1/2?key=k&permissions=contents:read",
            "github-app:1/x?key=k&repositories=a&permissions=c:read",
            "github-app:1/2?key=k&repositories=a/b&permissions=c:read",
            "oidc:",
            "oidc:a b",
            "unknown:x",
            "env:A\n",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_read_as_something_that_is_written_otherwise(text in "(env|file|vault|aws-sm|gcp-sm|azure-kv|github-app|oidc|command):[ -~]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(again, reference);
            }
        }
    }
}
