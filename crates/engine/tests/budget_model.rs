//! The tree of caps against a reference that keeps no sums: it adds up everything that ever
//! happened, at every level, whenever it is asked.

use std::collections::BTreeMap;

use engine::budget::Tree;
use model::budget::{
    BudgetAnswer, BudgetAsk, BudgetSettle, Caps, Dimension, Level, Reserving, Spending,
};
use proptest::prelude::*;

/// A reservation as the reference remembers it.
#[derive(Debug, Clone)]
struct Held {
    holder: usize,
    path: Vec<String>,
    amount: Spending,
}

/// Everything that happened.
#[derive(Debug, Clone, Default)]
struct Reference {
    held: BTreeMap<String, Held>,
    spent: Vec<(Vec<String>, Spending)>,
    raised: BTreeMap<String, Caps>,
}

impl Reference {
    fn spent(&self, scope: &str) -> Spending {
        self.spent
            .iter()
            .filter(|(path, _)| path.iter().any(|level| level == scope))
            .fold(Spending::ZERO, |sum, (_, spent)| sum.plus(*spent))
    }

    fn held(&self, scope: &str) -> Spending {
        self.held
            .values()
            .filter(|held| held.path.iter().any(|level| level == scope))
            .fold(Spending::ZERO, |sum, held| sum.plus(held.amount))
    }

    fn cap(&self, level: &Level, dimension: Dimension) -> u64 {
        let cap = level.caps.get(dimension);
        let raised = self
            .raised
            .get(&level.scope)
            .and_then(|caps| caps.get(dimension));
        cap.map_or(u64::MAX, |cap| cap.max(raised.unwrap_or(0)))
    }

    /// What is right to answer: 0 granted, 1 wait, 2 refused.
    fn verdict(&self, path: &[Level], need: &Spending) -> u8 {
        let mut verdict = 0;
        for level in path {
            for dimension in Dimension::ALL {
                let need = u128::from(need.get(dimension));
                let cap = u128::from(self.cap(level, dimension));
                let spent = u128::from(self.spent(&level.scope).get(dimension));
                let held = u128::from(self.held(&level.scope).get(dimension));
                if need > 0 && spent + need > cap {
                    return 2;
                }
                if need > 0 && spent + held + need > cap {
                    verdict = 1;
                }
            }
        }
        verdict
    }
}

#[derive(Debug, Clone)]
enum Act {
    Reserve {
        id: usize,
        holder: usize,
        place: usize,
        worst: Spending,
        wish: Spending,
        at_least: bool,
    },
    Settle {
        id: usize,
        spent: Spending,
        release: Spending,
    },
    Expire(usize),
    Raise(usize, u64),
}

fn spending() -> impl Strategy<Value = Spending> {
    (0_u64..40, 0_u64..40, 0_u64..3).prop_map(|(money, tokens, environments)| Spending {
        money,
        tokens,
        environments,
        ..Spending::ZERO
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..8_usize, 0..3_usize, 0..PLACES, spending(), spending(), any::<bool>()).prop_map(
            |(id, holder, place, worst, more, at_least)| Act::Reserve {
                // A reservation is one holder's, and of one place.
                id: id * 100 + holder * 10 + place, holder, place, worst, wish: worst.plus(more), at_least,
            }),
        6 => (0..8_usize, 0..3_usize, 0..PLACES, spending(), spending()).prop_map(
            |(id, holder, place, spent, release)| Act::Settle { id: id * 100 + holder * 10 + place, spent, release }),
        1 => (0..3_usize).prop_map(Act::Expire),
        1 => (0..SCOPES.len(), 0_u64..400).prop_map(|(scope, to)| Act::Raise(scope, to)),
    ]
}

const SCOPES: [&str; 7] = [
    "organisation",
    "team:a",
    "team:b",
    "campaign:1",
    "campaign:2",
    "task:1",
    "task:2",
];
const PLACES: usize = 4;

fn path(place: usize, caps: &[Caps; 7]) -> Vec<Level> {
    let scopes: &[usize] = match place {
        0 => &[0, 1, 3, 5],
        1 => &[0, 1, 2, 3, 6],
        2 => &[0, 2, 4],
        _ => &[0, 4, 6],
    };
    scopes
        .iter()
        .map(|scope| Level {
            scope: SCOPES[*scope].to_owned(),
            title: SCOPES[*scope].to_owned(),
            caps: caps[*scope],
        })
        .collect()
}

fn caps() -> impl Strategy<Value = [Caps; 7]> {
    proptest::array::uniform7((
        proptest::option::of(0_u64..300),
        proptest::option::of(0_u64..300),
        proptest::option::of(0_u64..6),
    ))
    .prop_map(|all| {
        all.map(|(money, tokens, environments)| Caps {
            money,
            tokens,
            environments,
            ..Caps::default()
        })
    })
}

fn compare(tree: &Tree, reference: &Reference) -> Result<(), TestCaseError> {
    for scope in SCOPES {
        let account = tree.accounts.get(scope).cloned().unwrap_or_default();
        prop_assert_eq!(account.spent, reference.spent(scope), "spent of {}", scope);
        prop_assert_eq!(account.held, reference.held(scope), "held of {}", scope);
    }
    let ids: Vec<&String> = tree.reservations.keys().collect();
    let known: Vec<&String> = reference.held.keys().collect();
    prop_assert_eq!(ids, known);
    Ok(())
}

fn reserve(
    tree: &mut Tree,
    reference: &mut Reference,
    ask: &BudgetAsk,
    holder: usize,
) -> Result<(), TestCaseError> {
    let had = reference
        .held
        .get(&ask.id)
        .map_or(Spending::ZERO, |held| held.amount);
    let need = match ask.reserving {
        Reserving::More => ask.worst,
        Reserving::AtLeast => ask.worst.minus(had),
    };
    let right = reference.verdict(&ask.path, &need);
    let before = tree.clone();
    let answer = tree.reserve(ask);
    match answer {
        BudgetAnswer::Granted(more) => {
            prop_assert_eq!(right, 0);
            prop_assert!(more.covers(&need));
            prop_assert!(need.plus(ask.wish.minus(ask.worst)).covers(&more));
            // Never above any cap at any level, the welcome part included.
            prop_assert_eq!(reference.verdict(&ask.path, &more), 0);
            let held = reference
                .held
                .entry(ask.id.clone())
                .or_insert_with(|| Held {
                    holder,
                    path: ask.path.iter().map(|level| level.scope.clone()).collect(),
                    amount: Spending::ZERO,
                });
            held.amount = held.amount.plus(more);
        }
        BudgetAnswer::Wait(refused) => {
            prop_assert_eq!(right, 1, "{}", refused);
            prop_assert_eq!(&before, &*tree);
        }
        BudgetAnswer::Refused(refused) => {
            prop_assert_eq!(right, 2, "{}", refused);
            prop_assert!(ask.path.iter().any(|level| level.scope == refused.scope));
            prop_assert_eq!(&before, &*tree);
        }
        BudgetAnswer::HolderGone => prop_assert!(false, "a tree knows no leases"),
    }
    Ok(())
}

fn settle(tree: &mut Tree, reference: &mut Reference, settle: &BudgetSettle) {
    tree.settle(settle);
    let Some(mut held) = reference.held.remove(&settle.id) else {
        return;
    };
    let spent = settle.spent.flow();
    held.amount = held.amount.minus(spent.plus(settle.release));
    reference.spent.push((held.path.clone(), spent));
    if !held.amount.is_zero() {
        reference.held.insert(settle.id.clone(), held);
    }
}

fn expire(tree: &mut Tree, reference: &mut Reference, holder: usize) {
    tree.expire(&holder.to_string());
    let (gone, kept) = std::mem::take(&mut reference.held)
        .into_iter()
        .partition(|(_, held)| held.holder == holder);
    reference.held = kept;
    let gone: BTreeMap<String, Held> = gone;
    for held in gone.into_values() {
        reference.spent.push((held.path, held.amount.flow()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_adding_everything_up_says(caps in caps(), acts in proptest::collection::vec(act(), 1..60)) {
        let mut tree = Tree::default();
        let mut reference = Reference::default();
        for act in acts {
            match act {
                Act::Reserve { id, holder, place, worst, wish, at_least } => {
                    let reserving = if at_least { Reserving::AtLeast } else { Reserving::More };
                    let ask = BudgetAsk {
                        id: id.to_string(), holder: holder.to_string(), path: path(place, &caps), worst, wish, reserving,
                    };
                    reserve(&mut tree, &mut reference, &ask, holder)?;
                }
                Act::Settle { id, spent, release } => {
                    let what = BudgetSettle { id: id.to_string(), spent, release };
                    settle(&mut tree, &mut reference, &what);
                }
                Act::Expire(holder) => expire(&mut tree, &mut reference, holder),
                Act::Raise(scope, to) => {
                    let to = Caps { money: Some(to), ..Caps::default() };
                    // Only an account that is there is raised.
                    if tree.accounts.contains_key(SCOPES[scope]) {
                        let raised = reference.raised.entry(SCOPES[scope].to_owned()).or_default();
                        *raised = raised.or(&to);
                    }
                    tree.raise(SCOPES[scope], &to);
                }
            }
            compare(&tree, &reference)?;
        }
    }

    /// Settlements commute: whichever comes first, the sums are the same.
    #[test]
    fn the_order_of_settlements_does_not_matter(
        asks in proptest::collection::vec((0..PLACES, spending()), 1..8),
        spent in proptest::collection::vec(spending(), 8),
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut tree = Tree::default();
        for (id, (place, worst)) in asks.iter().enumerate() {
            let ask = BudgetAsk {
                id: id.to_string(), holder: String::new(), path: path(*place, &Default::default()),
                worst: *worst, wish: *worst, reserving: Reserving::More,
            };
            prop_assert!(matches!(tree.reserve(&ask), BudgetAnswer::Granted(_)));
        }
        let mut other = tree.clone();
        let all = |id: usize| BudgetSettle { spent: spent[id], ..BudgetSettle::give_back(id.to_string()) };
        (0..8).for_each(|id| tree.settle(&all(id)));
        order.iter().for_each(|id| other.settle(&all(*id)));
        prop_assert_eq!(&tree, &other);
        // Everything is settled: nothing is held, and settling again is harmless.
        (0..8).for_each(|id| tree.settle(&all(id)));
        prop_assert_eq!(&tree, &other);
        prop_assert!(tree.reservations.is_empty());
        prop_assert!(tree.accounts.values().all(|account| account.held.is_zero()));
    }

    /// No numbers make it panic or let anything past a cap.
    #[test]
    fn numbers_of_any_size_are_borne(
        cap in proptest::option::of(any::<u64>()),
        amounts in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 1..20),
    ) {
        let level = Level {
            scope: "organisation".into(), title: "all".into(),
            caps: Caps { money: cap, ..Caps::default() },
        };
        let mut tree = Tree::default();
        let mut granted = 0_u128;
        let mut overspent = 0_u128;
        for (number, (worst, spent, keep)) in amounts.into_iter().enumerate() {
            let money = |money| Spending { money, ..Spending::ZERO };
            let ask = BudgetAsk {
                id: number.to_string(), holder: String::new(), path: vec![level.clone()],
                worst: money(worst), wish: money(u64::MAX), reserving: Reserving::More,
            };
            if let BudgetAnswer::Granted(more) = tree.reserve(&ask) {
                granted += u128::from(more.money);
                prop_assert!(granted + overspent <= u128::from(cap.unwrap_or(u64::MAX)));
                if !keep {
                    tree.settle(&BudgetSettle { id: number.to_string(), spent: money(spent), release: money(u64::MAX) });
                    granted -= u128::from(more.money);
                    overspent += u128::from(spent);
                }
            }
        }
    }
}

#[test]
fn a_refusal_names_the_cap_and_the_cure() {
    let level = Level {
        scope: "team:platform".into(),
        title: "the team platform".into(),
        caps: Caps {
            money: Some(3_000_000),
            ..Caps::default()
        },
    };
    let ask = |id: &str, money: u64| BudgetAsk {
        id: id.into(),
        holder: String::new(),
        path: vec![level.clone()],
        worst: Spending {
            money,
            ..Spending::ZERO
        },
        wish: Spending::ZERO,
        reserving: Reserving::More,
    };
    let mut tree = Tree::default();
    assert!(matches!(
        tree.reserve(&ask("a", 2_000_000)),
        BudgetAnswer::Granted(_)
    ));
    let BudgetAnswer::Wait(waits) = tree.reserve(&ask("b", 2_000_000)) else {
        panic!("what is held may come back");
    };
    assert_eq!(
        waits.sentence,
        "the team platform may spend $3.00, and what is left of it is held for calls under way ($2.00)"
    );
    tree.settle(&BudgetSettle {
        id: "a".into(),
        spent: Spending {
            money: 2_000_000,
            ..Spending::ZERO
        },
        release: Spending::ZERO,
    });
    let BudgetAnswer::Refused(refused) = tree.reserve(&ask("b", 2_000_000)) else {
        panic!("nothing can come back");
    };
    assert_eq!(refused.scope, "team:platform");
    assert_eq!(
        refused.sentence,
        "the team platform has spent $2.00 of its $3.00, which leaves no room for $2.00; \
         `nightcrew budget raise team:platform --usd N` goes on"
    );
}
