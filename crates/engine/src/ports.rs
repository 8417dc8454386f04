//! What the rules ask of the outside: policy and budget. Both can say no.

use model::policy::{Ask, Decision};

/// Decides whether an act is allowed. Implementations are pure over what they were loaded with.
pub trait Policy: Send + Sync {
    /// The strictest answer over all scopes.
    fn decide(&self, ask: &Ask) -> Decision;
}

/// Everything is permitted. For tests, and where an operator has said so.
#[derive(Debug, Clone, Copy, Default)]
pub struct PermitAll;

impl Policy for PermitAll {
    fn decide(&self, _: &Ask) -> Decision {
        Decision::Permit
    }
}

/// One rule of a [`RuleList`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name given in answers.
    pub name: String,
    /// Act it is about, such as `open_change`; every act when absent.
    #[serde(default)]
    pub action: Option<model::policy::Action>,
    /// Automation it is about; every one when absent.
    #[serde(default)]
    pub automation: Option<String>,
    /// Repository it is about; every one when absent.
    #[serde(default)]
    pub repository: Option<String>,
    /// What it says.
    pub effect: RuleEffect,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// No.
    Forbid,
    /// Only with the consent of this person or role.
    NeedsApproval(String),
}

/// A list of restrictions: whatever no rule restricts is permitted, and rules can only tighten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleList {
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Policy for RuleList {
    fn decide(&self, ask: &Ask) -> Decision {
        let mut decision = Decision::Permit;
        let applies = |rule: &&Rule| {
            rule.action.is_none_or(|action| action == ask.action)
                && rule
                    .automation
                    .as_ref()
                    .is_none_or(|name| *name == ask.automation)
                && rule
                    .repository
                    .as_ref()
                    .is_none_or(|name| Some(name) == ask.repository.as_ref())
        };
        for rule in self.rules.iter().filter(applies) {
            match &rule.effect {
                RuleEffect::Forbid => {
                    return Decision::Forbid {
                        rule: rule.name.clone(),
                    };
                }
                RuleEffect::NeedsApproval(by) => {
                    if decision == Decision::Permit {
                        decision = Decision::NeedsApproval {
                            by: by.clone(),
                            rule: rule.name.clone(),
                        };
                    }
                }
            }
        }
        decision
    }
}

/// What a campaign has used up of its hard caps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    /// Wall time of its tasks in milliseconds.
    pub wall_ms: u64,
    /// Changes submitted.
    pub changes: u64,
}

/// Decides whether more may be spent.
pub trait Budget: Send + Sync {
    /// `Err` with a sentence when a cap leaves no room for a task to start.
    fn may_start(
        &self,
        rules: Option<&model::automation::BudgetRules>,
        task_ms: u64,
        campaign: Spend,
    ) -> Result<(), String>;
}

/// The caps written in the automation file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caps;

impl Budget for Caps {
    fn may_start(
        &self,
        rules: Option<&model::automation::BudgetRules>,
        task_ms: u64,
        campaign: Spend,
    ) -> Result<(), String> {
        let Some(rules) = rules else { return Ok(()) };
        if let Some(cap) = rules.wall
            && u128::from(campaign.wall_ms) >= cap.0.as_millis()
        {
            return Err(format!(
                "the campaign has used its {cap} of wall time; raise budget.wall to go on"
            ));
        }
        if let Some(cap) = rules.changes
            && campaign.changes >= u64::from(cap)
        {
            return Err(format!(
                "the campaign has submitted its {cap} changes; raise budget.changes to go on"
            ));
        }
        if let Some(cap) = rules.per_task.as_ref().and_then(|task| task.wall)
            && u128::from(task_ms) >= cap.0.as_millis()
        {
            return Err(format!(
                "the task has used its {cap} of wall time; raise budget.per_task.wall to go on"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::policy::Action;

    use super::*;

    #[test]
    fn rules_only_tighten_and_the_strictest_wins() {
        let rule = |name: &str, effect| Rule {
            name: name.to_owned(),
            action: Some(Action::OpenChange),
            automation: None,
            repository: None,
            effect,
        };
        let ask = Ask {
            principal: "system".into(),
            action: Action::OpenChange,
            automation: "a".into(),
            repository: Some("r".into()),
        };
        let list = RuleList {
            rules: vec![
                rule("ask", RuleEffect::NeedsApproval("anyone".into())),
                rule("no", RuleEffect::Forbid),
            ],
        };
        assert_eq!(list.decide(&ask), Decision::Forbid { rule: "no".into() });
        let other = Ask {
            action: Action::Exec,
            ..ask
        };
        assert_eq!(list.decide(&other), Decision::Permit);
    }
}
