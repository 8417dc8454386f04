//! Keys of the automation file that may be written in more than one way.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What starts an automation.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Only a person (or the API).
    Manual,
    /// Commits on a branch of a repository.
    Push(PushTrigger),
    /// A time.
    Schedule(ScheduleTrigger),
    /// A comment on a change.
    Comment(CommentTrigger),
    /// Something happened to a change.
    Change(ChangeTrigger),
    /// Any event, by type and condition.
    Event(EventTrigger),
}

/// Trigger `push`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushTrigger {
    /// Repository by name; every repository when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Branch; the default branch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A further CEL condition over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// Trigger `schedule`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTrigger {
    /// Cron expression of five fields.
    pub cron: String,
    /// IANA time zone; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// Trigger `comment`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentTrigger {
    /// Text the comment must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A further CEL condition over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// Trigger `change`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTrigger {
    /// What happened: `opened`, `approved`, `changes_requested`, `merged`, `closed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// A further CEL condition over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// Trigger `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTrigger {
    /// Type of the event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// A CEL condition over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

const TRIGGERS: &[&str] = &["manual", "push", "schedule", "comment", "change", "event"];

impl Serialize for Trigger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = match self {
            Self::Manual => return serializer.serialize_str("manual"),
            _ => serializer.serialize_map(Some(1))?,
        };
        match self {
            Self::Manual => {}
            Self::Push(inner) => map.serialize_entry("push", inner)?,
            Self::Schedule(inner) => map.serialize_entry("schedule", inner)?,
            Self::Comment(inner) => map.serialize_entry("comment", inner)?,
            Self::Change(inner) => map.serialize_entry("change", inner)?,
            Self::Event(inner) => map.serialize_entry("event", inner)?,
        }
        map.end()
    }
}

struct TriggerVisitor;

impl<'de> Visitor<'de> for TriggerVisitor {
    type Value = Trigger;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`manual`, or a map with one of push, schedule, comment, change, event")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Trigger, E> {
        match text {
            "manual" => Ok(Trigger::Manual),
            "push" => Ok(Trigger::Push(PushTrigger::default())),
            "comment" => Ok(Trigger::Comment(CommentTrigger::default())),
            "change" => Ok(Trigger::Change(ChangeTrigger::default())),
            other => Err(E::unknown_variant(other, TRIGGERS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Trigger, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom("an empty trigger"));
        };
        let trigger = match key.as_str() {
            "push" => Trigger::Push(map.next_value()?),
            "schedule" => Trigger::Schedule(map.next_value()?),
            "comment" => Trigger::Comment(map.next_value()?),
            "change" => Trigger::Change(map.next_value()?),
            "event" => Trigger::Event(map.next_value()?),
            other => return Err(de::Error::unknown_field(other, TRIGGERS)),
        };
        match map.next_key::<String>()? {
            None => Ok(trigger),
            Some(second) => Err(de::Error::custom(format!(
                "a trigger names one kind; `{second}` belongs in an entry of its own"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TriggerVisitor)
    }
}

impl JsonSchema for Trigger {
    fn schema_name() -> Cow<'static, str> {
        "Trigger".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let push = generator.subschema_for::<PushTrigger>();
        let schedule = generator.subschema_for::<ScheduleTrigger>();
        let comment = generator.subschema_for::<CommentTrigger>();
        let change = generator.subschema_for::<ChangeTrigger>();
        let event = generator.subschema_for::<EventTrigger>();
        json_schema!({
            "oneOf": [
                {"enum": ["manual", "push", "comment", "change"]},
                {
                    "type": "object",
                    "properties": {"push": push, "schedule": schedule, "comment": comment, "change": change, "event": event},
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// A command: a line for `sh -c`, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for `sh`.
    Line(String),
    /// A program and its arguments, no shell.
    Arguments(Vec<String>),
}

impl Command {
    /// What is executed.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Line(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Arguments(arguments) => arguments.clone(),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Line(line) => line.clone(),
            Self::Arguments(arguments) => arguments.join(" "),
        }
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Line(line) => serializer.serialize_str(line),
            Self::Arguments(arguments) => arguments.serialize(serializer),
        }
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: a line for sh, or a list of program and arguments")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Command, E> {
        if text.trim().is_empty() {
            return Err(E::custom("an empty command"));
        }
        Ok(Command::Line(text.to_owned()))
    }

    /// `command: true` is what people write, and means the program.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Command, E> {
        Ok(Command::Line(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
        let mut arguments = Vec::new();
        while let Some(argument) = seq.next_element::<String>()? {
            arguments.push(argument);
        }
        if arguments.is_empty() {
            return Err(de::Error::custom("an empty command"));
        }
        Ok(Command::Arguments(arguments))
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

impl JsonSchema for Command {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
    }
}

/// A check of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// A check that needs no tool, by name without `builtin:`.
    Builtin(String),
    /// A command; its failures are compared with those on the base.
    Command {
        /// What is run.
        command: Command,
        /// Name in reports; the command itself when absent.
        name: Option<String>,
        /// Whether it runs on the base first.
        baseline: bool,
        /// Wall time of one run.
        timeout: Option<crate::duration::Length>,
    },
    /// Every touched path must match one of these globs.
    Paths(Vec<String>),
    /// Upper bounds of the diff.
    Diff {
        /// Files touched.
        max_files: Option<u32>,
        /// Lines added and removed.
        max_lines: Option<u32>,
    },
}

impl Validator {
    /// Name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Builtin(name) => format!("builtin:{name}"),
            Self::Command {
                name: Some(name), ..
            } => name.clone(),
            Self::Command { command, .. } => command.display(),
            Self::Paths(_) => "paths".to_owned(),
            Self::Diff { .. } => "diff".to_owned(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidatorMap {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cmd: Option<Command>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    baseline: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<crate::duration::Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff: Option<DiffBounds>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiffBounds {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_files: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_lines: Option<u32>,
}

impl Serialize for Validator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let empty = ValidatorMap {
            cmd: None,
            name: None,
            baseline: None,
            timeout: None,
            paths: None,
            diff: None,
        };
        match self {
            Self::Builtin(name) => serializer.serialize_str(&format!("builtin:{name}")),
            Self::Command {
                command,
                name,
                baseline,
                timeout,
            } => ValidatorMap {
                cmd: Some(command.clone()),
                name: name.clone(),
                baseline: Some(*baseline),
                timeout: *timeout,
                ..empty
            }
            .serialize(serializer),
            Self::Paths(paths) => ValidatorMap {
                paths: Some(paths.clone()),
                ..empty
            }
            .serialize(serializer),
            Self::Diff {
                max_files,
                max_lines,
            } => {
                let diff = Some(DiffBounds {
                    max_files: *max_files,
                    max_lines: *max_lines,
                });
                ValidatorMap { diff, ..empty }.serialize(serializer)
            }
        }
    }
}

struct ValidatorVisitor;

impl<'de> Visitor<'de> for ValidatorVisitor {
    type Value = Validator;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`builtin:NAME`, or a map with one of cmd, paths, diff")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Validator, E> {
        match text.strip_prefix("builtin:") {
            Some(name) if !name.is_empty() => Ok(Validator::Builtin(name.to_owned())),
            _ => Err(E::custom(format!(
                "`{text}` is no validator (write `builtin:NAME`, or `cmd: {text}`)"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Validator, A::Error> {
        let map = ValidatorMap::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let kinds = usize::from(map.cmd.is_some())
            + usize::from(map.paths.is_some())
            + usize::from(map.diff.is_some());
        if kinds != 1 {
            return Err(de::Error::custom(
                "a validator has exactly one of cmd, paths, diff",
            ));
        }
        if map.cmd.is_none()
            && (map.name.is_some() || map.baseline.is_some() || map.timeout.is_some())
        {
            return Err(de::Error::custom(
                "name, baseline and timeout belong to cmd validators",
            ));
        }
        match map {
            ValidatorMap {
                cmd: Some(command),
                name,
                baseline,
                timeout,
                ..
            } => Ok(Validator::Command {
                command,
                name,
                baseline: baseline.unwrap_or(true),
                timeout,
            }),
            ValidatorMap {
                paths: Some(paths), ..
            } => Ok(Validator::Paths(paths)),
            ValidatorMap { diff, .. } => {
                let bounds = diff.unwrap_or(DiffBounds {
                    max_files: None,
                    max_lines: None,
                });
                Ok(Validator::Diff {
                    max_files: bounds.max_files,
                    max_lines: bounds.max_lines,
                })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Validator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValidatorVisitor)
    }
}

impl JsonSchema for Validator {
    fn schema_name() -> Cow<'static, str> {
        "Validator".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<ValidatorMap>();
        json_schema!({"oneOf": [{"type": "string", "pattern": "^builtin:"}, map]})
    }
}

/// Size of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// So many targets.
    Count(u32),
    /// All that remain.
    Rest,
}

impl Serialize for Wave {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Rest => serializer.serialize_str("rest"),
        }
    }
}

struct WaveVisitor;

impl Visitor<'_> for WaveVisitor {
    type Value = Wave;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of targets, or `rest`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Wave, E> {
        match u32::try_from(number) {
            Ok(count) if count > 0 => Ok(Wave::Count(count)),
            _ => Err(E::custom("a wave has at least one target")),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Wave, E> {
        let number =
            u64::try_from(number).map_err(|_| E::custom("a wave has at least one target"))?;
        self.visit_u64(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Wave, E> {
        match text {
            "rest" => Ok(Wave::Rest),
            other => Err(E::custom(format!(
                "`{other}` is no wave (write a number, or `rest`)"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Wave {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WaveVisitor)
    }
}

impl JsonSchema for Wave {
    fn schema_name() -> Cow<'static, str> {
        "Wave".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "integer", "minimum": 1}, {"const": "rest"}]})
    }
}

/// Type of a reported value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// A text.
    String,
    /// True or false.
    Bool,
    /// A list of texts.
    List,
}

impl OutputType {
    /// Whether a value is of this type.
    #[must_use]
    pub fn accepts(self, value: &serde_json::Value) -> bool {
        match self {
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Float => value.is_number(),
            Self::String => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::List => value
                .as_array()
                .is_some_and(|items| items.iter().all(serde_json::Value::is_string)),
        }
    }
}
