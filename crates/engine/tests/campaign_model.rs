//! Random campaigns: waves, gates, pauses and runs that add targets.

#![expect(clippy::unwrap_used, reason = "a test stops at what cannot be")]

use engine::campaign::{CampaignCommand, apply, decide, initial, open, replay};
use engine::waves;
use jiff::Timestamp;
use model::automation::{CampaignRules, Gate, Wave};
use model::campaign::{Campaign, CampaignStatus, WaveProgress};
use model::fact::{CampaignFact, FACT_VERSION, Recorded};
use model::ids::{CampaignId, EventId, RunId};
use proptest::prelude::*;

fn rules() -> impl Strategy<Value = CampaignRules> {
    let wave = prop_oneof![4 => (0..6u32).prop_map(Wave::Count), 1 => Just(Wave::Rest)];
    let share = || prop::option::of(prop_oneof![Just(0.0), Just(0.5), Just(0.9), Just(1.0)]);
    let gate = (share(), share()).prop_map(|(verified, merged)| Gate { verified, merged });
    (
        prop::option::of(0..5u32),
        prop::collection::vec(wave, 0..4),
        prop::option::of(gate),
    )
        .prop_map(|(canary, waves, gate)| CampaignRules {
            canary,
            waves,
            gate,
            ..CampaignRules::default()
        })
}

/// What became of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Bad,
    Empty,
    InReview,
    Merged,
}

#[derive(Debug, Clone)]
enum Move {
    Plan(u32, Option<CampaignRules>),
    Advance,
    Settle(usize, Fate),
    Pause,
    Resume,
    Close,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let fate = prop_oneof![
        1 => Just(Fate::Open),
        2 => Just(Fate::Bad),
        1 => Just(Fate::Empty),
        3 => Just(Fate::InReview),
        4 => Just(Fate::Merged),
    ];
    let one = prop_oneof![
        4 => (0..12u32, prop::option::weighted(0.3, rules())).prop_map(|(count, rules)| Move::Plan(count, rules)),
        20 => Just(Move::Advance),
        30 => (any::<usize>(), fate).prop_map(|(task, fate)| Move::Settle(task, fate)),
        2 => Just(Move::Pause),
        4 => Just(Move::Resume),
        1 => Just(Move::Close),
    ];
    prop::collection::vec(one, 1..120)
}

/// A campaign with the tasks that its plans made, as the planner makes them.
struct Fleet {
    campaign: Campaign,
    facts: Vec<Recorded<CampaignFact>>,
    /// Wave and fate of each task.
    tasks: Vec<(u32, Fate)>,
}

impl Fleet {
    fn new(rules: CampaignRules) -> Self {
        let opened = open("a", 1, rules);
        let campaign =
            initial(CampaignId::derived(&["c"]), &opened, Timestamp::UNIX_EPOCH).unwrap();
        Self {
            campaign,
            facts: vec![recorded(opened)],
            tasks: vec![],
        }
    }

    fn tell(&mut self, command: &CampaignCommand) -> Option<Vec<CampaignFact>> {
        let facts = decide(&self.campaign, command).ok()?;
        for fact in &facts {
            apply(&mut self.campaign, fact, Timestamp::UNIX_EPOCH);
            self.facts.push(recorded(fact.clone()));
        }
        Some(facts)
    }

    fn plan(&mut self, count: u32, rules: CampaignRules) {
        let before = self.campaign.targets;
        let old = self.tasks.clone();
        let run = RunId::of("a", EventId::of("t", &self.facts.len().to_string()));
        if self
            .tell(&CampaignCommand::Plan { run, count, rules })
            .is_none()
        {
            return;
        }
        for position in before..before + count {
            self.tasks
                .push((waves::wave_of(&self.campaign.waves, position), Fate::Open));
        }
        for (position, (wave, _)) in (0..).zip(&old) {
            assert_eq!(
                waves::wave_of(&self.campaign.waves, position),
                *wave,
                "a planned target changed its wave"
            );
        }
    }

    fn progress(&self) -> Vec<WaveProgress> {
        let mut progress = vec![WaveProgress::default(); self.campaign.waves.len()];
        for (wave, fate) in &self.tasks {
            let of = &mut progress[*wave as usize];
            of.total += 1;
            of.settled += u32::from(*fate != Fate::Open);
            of.bad += u32::from(*fate == Fate::Bad);
            of.proposed += u32::from(matches!(fate, Fate::InReview | Fate::Merged));
            of.merged += u32::from(*fate == Fate::Merged);
        }
        progress
    }

    /// Whether the gate after `wave` lets the next one in, from the rules' own words.
    fn gate_is_reached(&self, wave: u32) -> bool {
        let of = self.progress()[wave as usize];
        let Some(gate) = &self.campaign.rules.gate else {
            return true;
        };
        let good = f64::from(of.total - of.bad);
        let verified = gate
            .verified
            .is_none_or(|share| of.total == 0 || good / f64::from(of.total) >= share);
        let merged = gate.merged.is_none_or(|share| {
            of.proposed == 0 || f64::from(of.merged) / f64::from(of.proposed) >= share
        });
        verified && merged
    }
}

fn recorded(fact: CampaignFact) -> Recorded<CampaignFact> {
    Recorded {
        v: FACT_VERSION,
        at: Timestamp::UNIX_EPOCH,
        actor: "system".into(),
        scope: "s".into(),
        fact,
    }
}

fn live(first: CampaignRules, moves: Vec<Move>) -> Fleet {
    let mut fleet = Fleet::new(first.clone());
    let mut rules = first;
    for one in moves {
        let before = fleet.campaign.clone();
        match one {
            Move::Plan(count, new) => {
                rules = new.unwrap_or(rules);
                fleet.plan(count, rules.clone());
            }
            Move::Advance => advance(&mut fleet),
            Move::Settle(task, fate) => {
                let admitted = fleet.campaign.admitted_wave;
                let mut open: Vec<_> = fleet
                    .tasks
                    .iter_mut()
                    .filter(|(wave, _)| *wave <= admitted)
                    .collect();
                if !open.is_empty() {
                    let task = task % open.len();
                    open[task].1 = fate;
                }
            }
            Move::Pause => {
                let may = matches!(before.status, CampaignStatus::Active | CampaignStatus::Held);
                assert_eq!(fleet.tell(&CampaignCommand::Pause).is_some(), may);
            }
            Move::Resume => resume(&mut fleet),
            Move::Close => {
                let may = before.status != CampaignStatus::Closed;
                assert_eq!(
                    fleet
                        .tell(&CampaignCommand::Close {
                            note: "done".into()
                        })
                        .is_some(),
                    may
                );
            }
        }
        check(&before, &fleet);
    }
    fleet
}

fn advance(fleet: &mut Fleet) {
    let before = fleet.campaign.clone();
    let progress = fleet.progress();
    let facts = fleet
        .tell(&CampaignCommand::Advance { progress })
        .expect("advancing is never wrong");
    assert!(before.status == CampaignStatus::Active || facts.is_empty());
    for fact in &facts {
        match fact {
            CampaignFact::WaveAdmitted { wave } => {
                for (of, fate) in &fleet.tasks {
                    assert!(
                        of >= wave || *fate != Fate::Open,
                        "wave {wave} came before {of} was settled"
                    );
                }
                let overridden = before.gate_overridden == Some(wave - 1);
                assert!(
                    overridden || fleet.gate_is_reached(wave - 1),
                    "wave {wave} passed its gate: {before:?}"
                );
            }
            CampaignFact::Held { note } => {
                assert!(!note.is_empty());
                assert!(
                    !fleet.gate_is_reached(fleet.campaign.admitted_wave),
                    "held with its gate reached"
                );
            }
            other => panic!("advancing gives {other:?}"),
        }
    }
    // A campaign that lets nothing in says why: something is open, a gate waits, or nothing is left.
    let admitted = fleet.campaign.admitted_wave;
    let last = admitted as usize + 1 >= fleet.campaign.waves.len();
    let open = fleet
        .tasks
        .iter()
        .any(|(wave, fate)| *wave <= admitted && *fate == Fate::Open);
    if fleet.campaign.status == CampaignStatus::Active && !last && !open {
        let gate = fleet.campaign.rules.gate.as_ref();
        assert!(
            gate.is_some_and(|gate| gate.merged.is_some()),
            "stuck for no reason: {:?}",
            fleet.campaign
        );
    }
}

fn resume(fleet: &mut Fleet) {
    let before = fleet.campaign.clone();
    match (before.status, fleet.tell(&CampaignCommand::Resume)) {
        (CampaignStatus::Held, Some(_)) => {
            assert_eq!(
                fleet.campaign.gate_overridden,
                Some(before.admitted_wave),
                "one gate, the one that held"
            );
        }
        (CampaignStatus::Paused, Some(_)) => {
            assert_eq!(fleet.campaign.gate_overridden, before.gate_overridden);
        }
        (CampaignStatus::Active | CampaignStatus::Closed, None) => {}
        (status, told) => panic!("resuming what is {status:?} gives {told:?}"),
    }
}

fn check(before: &Campaign, fleet: &Fleet) {
    let now = &fleet.campaign;
    assert!(now.admitted_wave >= before.admitted_wave);
    assert!((now.admitted_wave as usize) < now.waves.len());
    assert_eq!(now.waves.iter().sum::<u32>(), now.targets);
    assert_eq!(now.targets as usize, fleet.tasks.len());
    if before.status == CampaignStatus::Closed {
        assert_eq!(now, before, "what is closed stays as it is");
    }
    assert_eq!(replay(now.id, &fleet.facts).as_ref(), Some(now));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_campaign_lives_as_specified(rules in rules(), moves in moves()) {
        live(rules, moves);
    }

    #[test]
    fn planned_targets_keep_their_wave_whatever_the_rules_become(
        plans in prop::collection::vec((rules(), prop_oneof![0..40u32, Just(u32::MAX / 2)]), 1..5),
    ) {
        let mut sizes = vec![0];
        let mut targets = 0u32;
        for (rules, count) in plans {
            let before = targets;
            targets = targets.saturating_add(count);
            let now = waves::extended(&sizes, &rules, targets);
            prop_assert_eq!(now.iter().map(|size| u64::from(*size)).sum::<u64>(), u64::from(targets));
            for position in (0..before).take(200) {
                prop_assert_eq!(waves::wave_of(&now, position), waves::wave_of(&sizes, position));
            }
            sizes = now;
        }
    }

    #[test]
    fn advancing_survives_any_numbers(rules in rules(), numbers in prop::collection::vec(any::<[u32; 5]>(), 0..5)) {
        let mut fleet = Fleet::new(rules.clone());
        fleet.plan(20, rules);
        let progress = numbers
            .into_iter()
            .map(|[total, settled, bad, proposed, merged]| WaveProgress { total, settled, bad, proposed, merged })
            .collect();
        fleet.tell(&CampaignCommand::Advance { progress });
        prop_assert!((fleet.campaign.admitted_wave as usize) < fleet.campaign.waves.len());
    }
}

#[test]
fn a_larger_canary_in_a_later_version_does_not_stop_an_open_campaign() {
    let rules = |canary| CampaignRules {
        canary: Some(canary),
        ..CampaignRules::default()
    };
    let mut fleet = Fleet::new(rules(2));
    fleet.plan(6, rules(2));
    fleet.plan(3, rules(5));
    for (_, fate) in &mut fleet.tasks {
        *fate = Fate::Merged;
    }
    advance(&mut fleet);
    assert_eq!(
        fleet.campaign.admitted_wave as usize + 1,
        fleet.campaign.waves.len(),
        "{:?}",
        fleet.campaign
    );
}

#[test]
fn a_merge_gate_that_nothing_can_reach_any_more_holds() {
    let gate = Some(Gate {
        verified: None,
        merged: Some(0.5),
    });
    let rules = CampaignRules {
        canary: Some(2),
        gate,
        ..CampaignRules::default()
    };
    let mut fleet = Fleet::new(rules.clone());
    fleet.plan(4, rules);
    let lost = WaveProgress {
        total: 2,
        settled: 2,
        bad: 2,
        proposed: 2,
        merged: 0,
    };
    fleet.tell(&CampaignCommand::Advance {
        progress: vec![
            lost,
            WaveProgress {
                total: 2,
                ..Default::default()
            },
        ],
    });
    assert_eq!(fleet.campaign.status, CampaignStatus::Held);
}
