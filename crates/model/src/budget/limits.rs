//! Caps of the organisation and of teams, as the server's configuration has them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Caps, Tokens, Usd};
use crate::duration::Length;

/// The table `[budget]`: caps of everything, and of teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetLimits {
    /// Money in US dollars.
    pub usd: Option<Usd>,
    /// Tokens of models.
    pub tokens: Option<Tokens>,
    /// Wall time of steps added up.
    pub wall: Option<Length>,
    /// Writes to forges.
    pub forge_writes: Option<u64>,
    /// Changes open at once.
    pub open_changes: Option<u64>,
    /// Environments at once.
    pub environments: Option<u64>,
    /// Teams by name.
    pub teams: BTreeMap<String, Team>,
}

/// A team: some automations and repositories, and the caps over all they do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Team {
    /// Its automations by name; `*` at the end stands for every ending.
    pub automations: Vec<String>,
    /// Its repositories by name; `*` at the end stands for every ending.
    pub repositories: Vec<String>,
    /// Money in US dollars.
    pub usd: Option<Usd>,
    /// Tokens of models.
    pub tokens: Option<Tokens>,
    /// Wall time of steps added up.
    pub wall: Option<Length>,
    /// Writes to forges.
    pub forge_writes: Option<u64>,
    /// Changes open at once.
    pub open_changes: Option<u64>,
    /// Environments at once.
    pub environments: Option<u64>,
}

/// The caps of either, which have the same keys.
macro_rules! caps {
    ($of:expr) => {
        Caps {
            money: $of.usd.map(|usd| usd.0.0),
            tokens: $of.tokens.map(|tokens| tokens.0),
            wall: $of
                .wall
                .map(|wall| u64::try_from(wall.0.as_millis()).unwrap_or(u64::MAX)),
            forge_writes: $of.forge_writes,
            open_changes: $of.open_changes,
            environments: $of.environments,
        }
    };
}

impl BudgetLimits {
    /// Caps of the organisation.
    #[must_use]
    pub fn caps(&self) -> Caps {
        caps!(self)
    }

    /// What is wrong with it, in words.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        for (name, team) in &self.teams {
            let good = !name.is_empty()
                && name.len() <= 60
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !good {
                return Some(format!(
                    "`{name}` is no name of a team: lower case letters, digits and dashes, at most 60"
                ));
            }
            if team.automations.is_empty() && team.repositories.is_empty() {
                return Some(format!(
                    "the team {name} has neither automations nor repositories, so its caps would never hold"
                ));
            }
        }
        None
    }
}

impl Team {
    /// Its caps.
    #[must_use]
    pub fn caps(&self) -> Caps {
        caps!(self)
    }

    /// Whether work of this automation on this repository is the team's.
    #[must_use]
    pub fn owns(&self, automation: &str, repository: &str) -> bool {
        let any = |patterns: &[String], name: &str| {
            patterns
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => pattern == name,
                })
        };
        any(&self.automations, automation) || any(&self.repositories, repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_is_found_by_automation_or_repository() {
        let team = Team {
            automations: vec!["travis-*".to_owned()],
            repositories: vec!["platform/api".to_owned()],
            ..Team::default()
        };
        assert!(team.owns("travis-to-actions", "web/shop"));
        assert!(team.owns("bump", "platform/api"));
        assert!(!team.owns("bump", "platform/api-v2"));
        assert!(!team.owns("travi", "web/shop"));
    }
}
