//! Typed ids. An id that names something unique by its parts is derived from those parts
//! (UUID version 5), so that "the same thing twice" cannot be written down at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Namespace of every derived id (random, fixed for ever: changing it would orphan all data).
const NAMESPACE: Uuid = Uuid::from_u128(0x8f1e_5a0b_2c5d_4e0f_9b3a_6d71_c0de_c4e3);

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id (expected `{prefix}_` and 32 hexadecimal digits)")]
pub struct InvalidId {
    kind: &'static str,
    prefix: &'static str,
    text: String,
}

fn derive(prefix: &str, parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(prefix.as_bytes());
    for part in parts {
        // Length-prefixed, so that ("ab","c") and ("a","bc") differ.
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The text before the underscore of every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID made elsewhere (a random or time-ordered one).
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id of the one thing that these parts name.
            #[must_use]
            pub fn derived(parts: &[&str]) -> Self {
                Self(derive($prefix, parts))
            }

            /// The underlying UUID.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }

            /// The first eight hexadecimal digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                let full = self.0.simple().to_string();
                full[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId { kind: $kind, prefix: $prefix, text: text.to_owned() };
                let bare = text.strip_prefix(concat!($prefix, "_")).ok_or_else(invalid)?;
                if bare.len() != 32 {
                    return Err(invalid());
                }
                Uuid::try_parse(bare).map(Self).map_err(|_| invalid())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(
    /// An automation, derived from its name.
    AutomationId, "automation", "aut"
);
typed_id!(
    /// A campaign.
    CampaignId, "campaign", "cmp"
);
typed_id!(
    /// A change, derived from (campaign, target).
    ChangeId, "change", "chg"
);
typed_id!(
    /// An outbox row, derived from (stream, sequence, position).
    EffectId, "effect", "eff"
);
typed_id!(
    /// An event, derived from (source, dedupe key).
    EventId, "event", "evt"
);
typed_id!(
    /// A run, derived from (automation, event).
    RunId, "run", "run"
);
typed_id!(
    /// A task, derived from (run, target).
    TaskId, "task", "tsk"
);

impl EventId {
    /// The event that `source` names `dedupe_key`; the same pair is the same event.
    #[must_use]
    pub fn of(source: &str, dedupe_key: &str) -> Self {
        Self::derived(&[source, dedupe_key])
    }
}

impl RunId {
    /// The one run of an automation for an event.
    #[must_use]
    pub fn of(automation: &str, event: EventId) -> Self {
        Self::derived(&[automation, &event.to_string()])
    }
}

impl TaskId {
    /// The one task of a run on a target.
    #[must_use]
    pub fn of(run: RunId, target: &crate::run::Target) -> Self {
        Self::derived(&[
            &run.to_string(),
            &target.repository,
            &target.path,
            &target.key,
        ])
    }
}

impl ChangeId {
    /// The one change of a campaign on a target.
    #[must_use]
    pub fn of(campaign: CampaignId, target: &crate::run::Target) -> Self {
        Self::derived(&[
            &campaign.to_string(),
            &target.repository,
            &target.path,
            &target.key,
        ])
    }
}

impl EffectId {
    /// The effect at `position` of the fact at `seq` of a stream.
    #[must_use]
    pub fn of(stream: &str, seq: u64, position: usize) -> Self {
        Self::derived(&[stream, &seq.to_string(), &position.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = EventId::of("forge", "push/1");
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert!(id.to_string().parse::<RunId>().is_err());
        assert!("evt_12".parse::<EventId>().is_err());
    }

    #[test]
    fn derived_ids_separate_their_parts() {
        assert_ne!(EventId::of("ab", "c"), EventId::of("a", "bc"));
        assert_eq!(EventId::of("a", "b"), EventId::of("a", "b"));
    }
}
