//! The fence of an environment: the strictest of what the server and the automation ask for.
//!
//! The result is never weaker than either: whatever it lets execute, both let execute; whatever
//! either requires, it requires.

use model::automation::{ExecDefinition, ExecRuleDefinition, IsolationDefinition};
use model::exec::{ExecMode, ExecTarget};
use model::fence::Fence;
use model::isolation::IsolationLevel;
use model::network::NetworkLimits;

/// What one side asks for. Where it accepts weaker, it requires nothing.
#[must_use]
pub fn of(isolation: &IsolationDefinition, exec: &ExecDefinition) -> Fence {
    let hard = !isolation.accept_weaker;
    // These two levels mean that programs are judged; somebody who says no more than that wants to
    // know what executes.
    let judged = matches!(
        isolation.level,
        Some(IsolationLevel::L1 | IsolationLevel::L2)
    );
    let mode = match exec.effective_mode() {
        ExecMode::Off if judged => ExecMode::Observe,
        mode => mode,
    };
    Fence {
        required_level: isolation.level.filter(|_| hard),
        wanted_level: isolation.level,
        required_layers: if hard {
            isolation.layers.clone()
        } else {
            Vec::new()
        },
        wanted_layers: isolation.layers.clone(),
        required_mode: if hard { mode } else { ExecMode::Off },
        exec: ExecDefinition {
            mode: Some(mode),
            ..exec.clone()
        },
        network: NetworkLimits::default(),
    }
}

/// The strictest of both. The first side's reasons win where both have the same rule.
#[must_use]
pub fn strictest(first: &Fence, second: &Fence) -> Fence {
    Fence {
        required_level: first.required_level.max(second.required_level),
        wanted_level: first.wanted_level.max(second.wanted_level),
        required_layers: union(&first.required_layers, &second.required_layers, |a, b| {
            a == b
        }),
        wanted_layers: union(&first.wanted_layers, &second.wanted_layers, |a, b| a == b),
        required_mode: first.required_mode.max(second.required_mode),
        exec: exec(&first.exec, &second.exec),
        network: crate::network::tightest(&first.network, &second.network),
    }
}

fn exec(first: &ExecDefinition, second: &ExecDefinition) -> ExecDefinition {
    let mode = first.effective_mode().max(second.effective_mode());
    let same = |a: &ExecRuleDefinition, b: &ExecRuleDefinition| a.target == b.target;
    let sides = [first, second];
    // Who sees unknown content at all has a say in what passes unseen; who refuses it has a say in
    // what passes.
    let refusing = |side: &&&ExecDefinition| !side.effective_mode().permits_unknown();
    let seeing = |side: &&&ExecDefinition| side.effective_mode() != ExecMode::Off;
    let candidates = union(&first.allow, &second.allow, same);
    let vouched = |side: &ExecDefinition, target: &ExecTarget| {
        side.allow.iter().any(|rule| rule.target == *target)
    };
    let unseen = |target: &ExecTarget| {
        sides
            .iter()
            .filter(seeing)
            .all(|side| vouched(side, target))
    };
    let mut report = union(&first.report, &second.report, same);
    let mut allow = Vec::new();
    for rule in candidates {
        if mode.permits_unknown() {
            if sides.iter().any(|side| seeing(&side)) && unseen(&rule.target) {
                allow.push(rule);
            }
        } else if sides
            .iter()
            .filter(refusing)
            .all(|side| vouched(side, &rule.target))
        {
            if !unseen(&rule.target) && !report.iter().any(|other| same(other, &rule)) {
                report.push(rule.clone());
            }
            allow.push(rule);
        }
    }
    let producers = union(&first.producers, &second.producers, |a, b| a == b)
        .into_iter()
        .filter(|target| {
            sides
                .iter()
                .filter(refusing)
                .all(|side| side.producers.contains(target))
        })
        .collect();
    ExecDefinition {
        mode: Some(mode),
        deny: union(&first.deny, &second.deny, same),
        allow,
        report,
        producers,
        interpreters: union(&first.interpreters, &second.interpreters, |a, b| a == b),
    }
}

/// Everything in either, in order, once.
fn union<T: Clone>(first: &[T], second: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(first.len() + second.len());
    for item in first.iter().chain(second) {
        if !all.iter().any(|other| same(other, item)) {
            all.push(item.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> ExecRuleDefinition {
        ExecRuleDefinition {
            target: text.parse().unwrap(),
            reason: None,
        }
    }

    #[test]
    fn a_server_that_requires_is_not_loosened_by_an_automation_that_accepts_weaker() {
        let server = of(
            &IsolationDefinition {
                level: Some(IsolationLevel::L1),
                ..Default::default()
            },
            &ExecDefinition {
                deny: vec![rule("npx")],
                ..Default::default()
            },
        );
        let automation = of(
            &IsolationDefinition {
                level: Some(IsolationLevel::L2),
                layers: vec!["landlock".to_owned()],
                accept_weaker: true,
            },
            &ExecDefinition {
                mode: Some(ExecMode::Strict),
                ..Default::default()
            },
        );
        let fence = strictest(&server, &automation);
        assert_eq!(fence.required_level, Some(IsolationLevel::L1));
        assert_eq!(fence.wanted_level, Some(IsolationLevel::L2));
        assert!(fence.required_layers.is_empty());
        assert_eq!(fence.wanted_layers, ["landlock"]);
        assert_eq!(fence.required_mode, ExecMode::DenyList);
        assert_eq!(fence.exec.mode, Some(ExecMode::Strict));
        assert_eq!(fence.exec.deny, [rule("npx")]);
    }

    #[test]
    fn a_level_that_means_judging_judges() {
        let isolation = IsolationDefinition {
            level: Some(IsolationLevel::L1),
            ..Default::default()
        };
        let fence = of(&isolation, &ExecDefinition::default());
        assert_eq!(fence.exec.mode, Some(ExecMode::Observe));
    }

    #[test]
    fn an_automation_cannot_allow_what_the_server_does_not() {
        let side = |allow: &[&str]| ExecDefinition {
            mode: Some(ExecMode::AllowList),
            allow: allow.iter().map(|text| rule(text)).collect(),
            ..Default::default()
        };
        let merged = exec(&side(&["make"]), &side(&["make", "curl"]));
        assert_eq!(merged.allow, [rule("make")]);
    }

    #[test]
    fn what_one_side_only_watches_the_other_may_allow_and_it_is_reported() {
        let watching = ExecDefinition {
            mode: Some(ExecMode::DenyList),
            ..Default::default()
        };
        let allowing = ExecDefinition {
            mode: Some(ExecMode::AllowList),
            allow: vec![rule("tool")],
            ..Default::default()
        };
        let merged = exec(&watching, &allowing);
        assert_eq!(
            (merged.allow, merged.report),
            (vec![rule("tool")], vec![rule("tool")])
        );
    }
}
