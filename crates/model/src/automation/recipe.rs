//! The key `environment.recipe` of the automation file: what an environment is made of.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::forms::Command;
use crate::duration::Length;

/// What an environment is made of: `default`, or a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RecipeDefinition {
    /// The host's programs, read-only, without any set-up.
    #[default]
    Default,
    /// What the map says.
    Inline(Box<InlineRecipe>),
}

/// A recipe written into the automation file. At most one of `image`, `folder` and `devcontainer`
/// is the root; without one it is the host's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InlineRecipe {
    /// An OCI image: a reference, the path of a layout folder, or the path of a tarball.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image's digest; another content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// A folder of the runner's host that holds a whole root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// A `devcontainer.json` of the repository, by its path from the repository's top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devcontainer: Option<String>,
    /// Commands that prepare the root, once per recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<Command>,
    /// Caches of ecosystems: set-up fills them, and what a task adds is its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<CacheKind>,
    /// Programs that run beside the steps, such as a database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceDefinition>,
    /// Versions of tools that must be there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub toolchains: BTreeMap<ToolKind, String>,
}

/// A tool whose version can be asked for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ToolKind {
    /// `rustc`.
    Rust,
    /// `node`.
    Node,
    /// `python3`.
    Python,
    /// `go`.
    Go,
    /// `java`.
    Java,
}

impl ToolKind {
    /// Its name in automation files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
            Self::Go => "go",
            Self::Java => "java",
        }
    }
}

impl RecipeDefinition {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// The map, where there is one.
    #[must_use]
    pub fn inline(&self) -> Option<&InlineRecipe> {
        match self {
            Self::Default => None,
            Self::Inline(recipe) => Some(recipe),
        }
    }
}

impl Serialize for RecipeDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str("default"),
            Self::Inline(recipe) => recipe.serialize(serializer),
        }
    }
}

struct RecipeVisitor;

impl<'de> Visitor<'de> for RecipeVisitor {
    type Value = RecipeDefinition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`default`, or a map with image, folder, devcontainer, setup, caches, services, toolchains")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RecipeDefinition, E> {
        match text {
            "default" => Ok(RecipeDefinition::Default),
            other => Err(E::custom(format!(
                "there is no recipe `{other}` (write `default`, or a map such as {{image: {other}}})"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RecipeDefinition, A::Error> {
        let recipe = InlineRecipe::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(RecipeDefinition::Inline(Box::new(recipe)))
    }
}

impl<'de> Deserialize<'de> for RecipeDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecipeVisitor)
    }
}

impl JsonSchema for RecipeDefinition {
    fn schema_name() -> Cow<'static, str> {
        "Recipe".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inline = generator.subschema_for::<InlineRecipe>();
        json_schema!({"oneOf": [{"const": "default"}, inline]})
    }
}

/// An ecosystem with a folder for downloads.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// Rust.
    Cargo,
    /// Node.
    Npm,
    /// Python.
    Pip,
    /// Go.
    Go,
    /// Java.
    Maven,
}

/// A program that runs beside the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDefinition {
    /// Its name, unique: lower case letters, digits and dashes.
    pub name: String,
    /// What is run.
    pub command: Command,
    /// Variables given to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When it can be used; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Readiness>,
    /// How long it may take until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Length>,
}

/// When a service can be used: exactly one of the keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// This command ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Something listens on this TCP port of the environment's loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// This file, by its absolute path inside, is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}
