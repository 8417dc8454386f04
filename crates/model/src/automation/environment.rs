//! The key `environment` of the automation file: what an environment is made of, what it may use,
//! how it is fenced, and which programs may execute in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::recipe::RecipeDefinition;
use crate::duration::Length;
use crate::exec::{ExecMode, ExecTarget};
use crate::isolation::IsolationLevel;
use crate::network::NetworkDefinition;
use crate::size::ByteSize;

/// Where steps execute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentDefinition {
    /// What it is made of.
    #[serde(default, skip_serializing_if = "RecipeDefinition::is_default")]
    pub recipe: RecipeDefinition,
    /// Hard limits of the environment.
    #[serde(default)]
    pub limits: LimitsDefinition,
    /// How strongly it is fenced.
    #[serde(default, skip_serializing_if = "IsolationDefinition::is_default")]
    pub isolation: IsolationDefinition,
    /// Which programs may execute.
    #[serde(default, skip_serializing_if = "ExecDefinition::is_default")]
    pub exec: ExecDefinition,
    /// What it may reach; nothing when absent.
    #[serde(default, skip_serializing_if = "NetworkDefinition::is_default")]
    pub network: NetworkDefinition,
    /// Further host folders shown read-only, such as a toolchain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Variables given to every step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// Hard limits of an environment; what is absent takes the runner's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsDefinition {
    /// Wall time of one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Length>,
    /// Processes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Memory of the whole environment, scratch space included. Where the host cannot count that
    /// (no cgroup), the bound holds for each process instead, and the evidence says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Address space of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_memory: Option<ByteSize>,
    /// Cores of the whole environment; parts are fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// Bytes that workspace, home and outputs may add on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Files and folders that workspace, home and outputs may add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Size of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ByteSize>,
    /// Bytes of a step's log that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<ByteSize>,
}

/// A number of cores, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cores(pub u32);

/// Cores, at most.
const MOST_CORES: u32 = 4096;

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

impl Serialize for Cores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_u32(self.0 / 1000),
            _ => serializer.serialize_f64(f64::from(self.0) / 1000.0),
        }
    }
}

struct CoresVisitor;

impl Visitor<'_> for CoresVisitor {
    type Value = Cores;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of cores, such as 2 or 0.5")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cores, E> {
        match u32::try_from(number) {
            Ok(cores @ 1..=MOST_CORES) => Ok(Cores(cores * 1000)),
            _ => Err(E::custom(format!(
                "{number} is no number of cores: 0.01 to {MOST_CORES}"
            ))),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cores, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(0))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cores, E> {
        if !(0.01..=f64::from(MOST_CORES)).contains(&number) {
            return Err(E::custom(format!(
                "{number} is no number of cores: 0.01 to {MOST_CORES}"
            )));
        }
        // Within the bounds just checked, so the conversion is exact enough and cannot wrap.
        Ok(Cores((number * 1000.0).round() as u32))
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CoresVisitor)
    }
}

impl JsonSchema for Cores {
    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0.01, "maximum": MOST_CORES, "description": "a number of cores: 2, 0.5"})
    }
}

/// How strongly an environment is fenced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IsolationDefinition {
    /// The least level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<IsolationLevel>,
    /// Layers that must be in force, by name, such as `landlock`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Goes on where the host cannot do what is asked here, and says so in the evidence. What the
    /// server asks for is not affected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub accept_weaker: bool,
}

impl IsolationDefinition {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Which programs may execute, judged by the bytes that execute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExecDefinition {
    /// How strictly; when absent, `deny-list` if something is denied, `observe` if something is
    /// reported, `off` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ExecMode>,
    /// What may not execute. A denial wins over a permission.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<ExecRuleDefinition>,
    /// What may execute though it is not part of the root: for `allow-list` and `strict`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<ExecRuleDefinition>,
    /// What is reported when it executes. It permits nothing that is not permitted otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub report: Vec<ExecRuleDefinition>,
    /// Programs of the root whose output may execute, such as a compiler: for `allow-list`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<ExecTarget>,
    /// Interpreters whose scripts count as executable content, besides files that begin with `#!`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interpreters: Vec<ExecTarget>,
}

impl ExecDefinition {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The mode, said or meant.
    #[must_use]
    pub fn effective_mode(&self) -> ExecMode {
        match self.mode {
            Some(mode) => mode,
            None if !self.deny.is_empty() => ExecMode::DenyList,
            None if !self.report.is_empty() => ExecMode::Observe,
            None => ExecMode::Off,
        }
    }
}

/// One rule of exec control: a text, or a map with one of `name`, `path`, `package`, `sha256` and a
/// `reason`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecRuleDefinition {
    /// What it is about.
    pub target: ExecTarget,
    /// Said to whoever is refused: why, and how to ask.
    pub reason: Option<String>,
}

/// Longest reason of a rule, in bytes.
const LONGEST_REASON: usize = 1000;

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RuleMap {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Serialize for ExecRuleDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.reason.is_none() {
            return self.target.serialize(serializer);
        }
        let mut map = RuleMap {
            reason: self.reason.clone(),
            ..RuleMap::default()
        };
        match self.target.clone() {
            ExecTarget::Name(text) => map.name = Some(text),
            ExecTarget::Path(text) => map.path = Some(text),
            ExecTarget::Package(text) => map.package = Some(text),
            ExecTarget::Sha256(text) => map.sha256 = Some(text),
        }
        map.serialize(serializer)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = ExecRuleDefinition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a name such as npx, an absolute path, package:NAME, sha256:DIGEST, or a map with one of \
             name, path, package, sha256 and a reason",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ExecRuleDefinition, E> {
        Ok(ExecRuleDefinition {
            target: text.parse().map_err(E::custom)?,
            reason: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ExecRuleDefinition, A::Error> {
        let map = RuleMap::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let targets = [
            map.name.map(ExecTarget::Name),
            map.path.map(ExecTarget::Path),
            map.package.map(ExecTarget::Package),
            map.sha256.map(ExecTarget::Sha256),
        ];
        let mut targets = targets.into_iter().flatten();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err(de::Error::custom(
                "a rule has exactly one of name, path, package, sha256",
            ));
        };
        if map
            .reason
            .as_ref()
            .is_some_and(|reason| reason.len() > LONGEST_REASON)
        {
            return Err(de::Error::custom(format!(
                "a reason has at most {LONGEST_REASON} bytes"
            )));
        }
        Ok(ExecRuleDefinition {
            target: target.checked().map_err(de::Error::custom)?,
            reason: map.reason,
        })
    }
}

impl<'de> Deserialize<'de> for ExecRuleDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor)
    }
}

impl JsonSchema for ExecRuleDefinition {
    fn schema_name() -> Cow<'static, str> {
        "ExecRule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<ExecTarget>();
        let map = generator.subschema_for::<RuleMap>();
        json_schema!({"oneOf": [target, map]})
    }
}
