//! The way through the tree of caps to what a task spends.

use model::automation::BudgetRules;
use model::budget::{BudgetLimits, Caps, Level, Reservation};
use model::ids::{CampaignId, RunId, TaskId};

use super::MOST_LEVELS;

/// The account of everything.
pub const ORGANISATION: &str = "organisation";

/// Whose way it is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Automation by name.
    pub automation: &'a str,
    /// Repository by name.
    pub repository: &'a str,
    /// Campaign.
    pub campaign: CampaignId,
    /// Run.
    pub run: RunId,
    /// Task.
    pub task: TaskId,
}

/// The topmost level.
#[must_use]
pub fn organisation(limits: &BudgetLimits) -> Level {
    Level {
        scope: ORGANISATION.to_owned(),
        title: "the organisation".to_owned(),
        caps: limits.caps(),
    }
}

/// Organisation, teams, campaign, run, task. A task of several teams counts in all of them.
#[must_use]
pub fn levels(limits: &BudgetLimits, rules: Option<&BudgetRules>, place: &Place<'_>) -> Vec<Level> {
    let mut levels = vec![organisation(limits)];
    let teams = limits
        .teams
        .iter()
        .filter(|(_, team)| team.owns(place.automation, place.repository));
    // The fixed levels, and one for a model, have their places.
    for (name, team) in teams.take(MOST_LEVELS - 6) {
        levels.push(Level {
            scope: format!("team:{name}"),
            title: format!("the team {name}"),
            caps: team.caps(),
        });
    }
    levels.push(Level {
        scope: format!("campaign:{}", place.campaign),
        title: format!("the campaign of {}", place.automation),
        caps: rules.map_or_else(Caps::default, BudgetRules::caps),
    });
    levels.push(Level {
        scope: format!("run:{}", place.run),
        title: format!("the run of {}", place.automation),
        caps: Caps::default(),
    });
    levels.push(Level {
        scope: format!("task:{}", place.task),
        title: format!("the task on {}", place.repository),
        caps: rules.map_or_else(Caps::default, BudgetRules::task_caps),
    });
    levels
}

/// The way that an ask takes: a reservation that is there stays in the accounts it began in,
/// whatever the configuration says by now, or it could not be taken back from them.
#[must_use]
pub fn way(reservation: Option<&Reservation>, path: &[Level]) -> Vec<Level> {
    let Some(reservation) = reservation else {
        return path.to_vec();
    };
    let known = |scope: &String| path.iter().find(|level| level.scope == *scope).cloned();
    let bare = |scope: &String| Level {
        scope: scope.clone(),
        title: String::new(),
        caps: Caps::default(),
    };
    reservation
        .scopes
        .iter()
        .map(|scope| known(scope).unwrap_or_else(|| bare(scope)))
        .collect()
}
