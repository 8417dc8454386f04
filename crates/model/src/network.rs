//! The key `environment.network` of the automation file: what an environment may reach, and with
//! which credential.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::size::ByteSize;

/// What an environment may reach. Nothing unless it is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NetworkDefinition(pub Vec<NetworkEntry>);

impl NetworkDefinition {
    /// Whether nothing can be reached.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names of the bundles that ship: lists of hosts that a package manager or the like needs.
pub const BUNDLES: &[&str] = &[
    "alpine",
    "crates",
    "debian",
    "github-read",
    "go",
    "gradle",
    "maven",
    "nodejs",
    "npm",
    "nuget",
    "packagist",
    "pypi",
    "rubygems",
    "rustup",
    "ubuntu",
];

/// Most entries of a definition.
pub const MOST_ENTRIES: usize = 256;

/// Most values of one key of a rule.
pub const MOST_VALUES: usize = 256;

/// Most ports that all rules of a definition name together, beside 80 and 443.
pub const MOST_PORTS: usize = 64;

/// What a server permits at most, whatever automations ask for: its configuration's `[network]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkLimits {
    /// Hosts that no environment reaches: a name, `*.` and a name for everything below it, or an
    /// address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Hosts, as in `deny`, and names of bundles: nothing else may be reached. No limit when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_only: Option<Vec<String>>,
}

/// One thing that may be reached: a bundle by its name, or a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkEntry {
    /// A list of hosts under one name, such as `crates` or `npm`.
    Bundle(String),
    /// A host, with what may be done there.
    Host(Box<HostRule>),
}

/// A host that may be reached. What is absent is not narrowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRule {
    /// A name, `*.` and a name for everything below it, or an address.
    pub host: String,
    /// Ports. When absent 443, or 80 for `http`; `tcp` has to name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// How it is spoken to. When absent `https` where methods, paths, git or a credential are named,
    /// else `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<NetworkProtocol>,
    /// HTTP methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Paths, with `*` for a part of one segment and `**` for any number of segments, also none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Git repositories there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitRule>,
    /// Programs that may connect, by name or path inside the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// The credential that is put in, outside the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialUse>,
    /// Whether it may have a private address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Bytes that may be sent there by one environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<ByteSize>,
}

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkProtocol {
    /// HTTP over TLS that the broker ends, looks into, and begins anew. Rules about methods, paths,
    /// git and credentials need it.
    Https,
    /// TLS that goes through as it is, to the host its client names. For clients that trust only
    /// their own certificates.
    Tls,
    /// HTTP without TLS.
    Http,
    /// Anything over TCP, to the one name the connection's address was given out for.
    Tcp,
}

/// What may be done with git repositories of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitRule {
    /// Repositories as paths, with `*` and `**` as in paths; all when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Refs that may be pushed to, as full names with `*` and `**` as in paths; none when absent. Deleting a ref and
    /// pushing what does not follow from it is refused always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<String>,
}

/// A credential and where it is put. The environment sees a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialUse {
    /// Name of the secret.
    pub secret: String,
    /// The header; `authorization` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The variable that holds the placeholder inside; none when absent, and then the header is
    /// put in by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Text of the header, with `{}` for the value: `Bearer {}` when absent. `basic NAME` makes
    /// the header of HTTP's basic authentication for that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = NetworkEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bundle such as `npm`, or a host with its rules")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<NetworkEntry, E> {
        Ok(NetworkEntry::Bundle(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NetworkEntry, A::Error> {
        HostRule::deserialize(de::value::MapAccessDeserializer::new(map))
            .map(|rule| NetworkEntry::Host(Box::new(rule)))
    }
}

impl<'de> Deserialize<'de> for NetworkEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl Serialize for NetworkEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bundle(name) => serializer.serialize_str(name),
            Self::Host(rule) => rule.serialize(serializer),
        }
    }
}

impl JsonSchema for NetworkEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NetworkEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let host = generator.subschema_for::<HostRule>();
        json_schema!({
            "description": "A bundle by its name, or a host with what may be done there.",
            "anyOf": [{ "type": "string" }, host]
        })
    }
}
