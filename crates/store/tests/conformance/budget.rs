use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::budget::{
    BudgetAnswer, BudgetAsk, BudgetMove, BudgetSettle, Caps, Level, Reserving, Spending,
};
use store::{Commit, Store, StoreError};

use crate::make::{append, commit, task};
use crate::place::Place;

const LONG: Duration = Duration::from_secs(600);

fn level(scope: &str, money: Option<u64>) -> Level {
    Level {
        scope: scope.to_owned(),
        title: format!("the {scope}"),
        caps: Caps {
            money,
            ..Caps::default()
        },
    }
}

fn money(money: u64) -> Spending {
    Spending {
        money,
        ..Spending::ZERO
    }
}

fn ask(id: &str, path: Vec<Level>, worst: u64) -> BudgetAsk {
    BudgetAsk {
        id: id.to_owned(),
        holder: "process".to_owned(),
        path,
        worst: money(worst),
        wish: money(worst),
        reserving: Reserving::More,
    }
}

fn settled(id: &str, spent: u64) -> BudgetSettle {
    BudgetSettle {
        spent: money(spent),
        ..BudgetSettle::give_back(id.to_owned())
    }
}

async fn spent_and_held(store: &dyn Store, scope: &str) -> (u64, u64) {
    let account = store
        .budget_account(scope)
        .await
        .unwrap()
        .unwrap_or_default();
    (account.spent.money, account.held.money)
}

pub(crate) async fn a_cap_holds_at_every_level_against_many_writers(place: Place) {
    let [one, other] = place.open_two().await;
    assert!(one.keep_budget("process", LONG, true).await.unwrap());
    let granted = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u64 {
        let store = Arc::clone(if writer % 2 == 0 { &one } else { &other });
        let granted = Arc::clone(&granted);
        writers.spawn(async move {
            for call in 0..20_u64 {
                let id = format!("{writer}-{call}");
                let team = if writer < 4 { "team:a" } else { "team:b" };
                let path = vec![
                    level("organisation", Some(1_000)),
                    level(team, (team == "team:a").then_some(300)),
                    level(&format!("task:{writer}"), None),
                ];
                match store.reserve_budget(ask(&id, path, 20)).await.unwrap() {
                    BudgetAnswer::Granted(more) => {
                        assert_eq!(more, money(20));
                        granted.fetch_add(1, Ordering::Relaxed);
                        if call % 2 == 0 {
                            store.settle_budget(vec![settled(&id, 15)]).await.unwrap();
                        }
                    }
                    BudgetAnswer::Wait(_) | BudgetAnswer::Refused(_) => {}
                    BudgetAnswer::HolderGone => panic!("the lease is long"),
                }
                // Nobody ever sees a sum above its cap.
                for (scope, cap) in [("organisation", 1_000), ("team:a", 300)] {
                    let (spent, held) = spent_and_held(&*store, scope).await;
                    assert!(spent + held <= cap, "{scope}: {spent} + {held}");
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let (spent, held) = spent_and_held(&*one, "organisation").await;
    let settled = spent / 15;
    assert_eq!(held, (granted.load(Ordering::Relaxed) - settled) * 20);
    assert!(
        1_000 - spent - held < 20,
        "what is left is less than one call"
    );
    // Levels below add up to the one above.
    let (mut below_spent, mut below_held) = (0, 0);
    for account in other.budget_accounts("task:", "", 99).await.unwrap() {
        assert_eq!(
            account.parent.as_deref().map(|parent| &parent[..5]),
            Some("team:")
        );
        below_spent += account.spent.money;
        below_held += account.held.money;
    }
    assert_eq!((below_spent, below_held), (spent, held));
}

pub(crate) async fn what_a_dead_process_held_counts_as_spent(place: Place) {
    let store = place.open().await;
    let path = || vec![level("organisation", Some(100)), level("task:x", None)];
    let answer = store.reserve_budget(ask("a", path(), 10)).await.unwrap();
    assert_eq!(answer, BudgetAnswer::HolderGone, "it has no lease yet");
    assert!(
        store
            .keep_budget("process", Duration::ZERO, true)
            .await
            .unwrap()
    );
    assert!(
        !store.keep_budget("process", LONG, true).await.unwrap(),
        "the name is taken"
    );
    assert!(
        !store.keep_budget("process", LONG, false).await.unwrap(),
        "it ran out"
    );
    assert!(store.keep_budget("other", LONG, true).await.unwrap());
    assert!(store.keep_budget("other", LONG, false).await.unwrap());
    let of = |id: &str, holder: &str, worst| BudgetAsk {
        holder: holder.to_owned(),
        ..ask(id, path(), worst)
    };
    assert!(matches!(
        store.reserve_budget(of("b", "other", 30)).await.unwrap(),
        BudgetAnswer::Granted(_)
    ));
    let in_use = BudgetAsk {
        worst: Spending {
            environments: 1,
            ..money(5)
        },
        ..of("c", "task:x", 0)
    };
    assert!(matches!(
        store.reserve_budget(in_use).await.unwrap(),
        BudgetAnswer::Granted(_)
    ));
    assert_eq!(
        store.expire_budget(None).await.unwrap(),
        vec![],
        "everybody lives"
    );
    // Another process comes up and has the store alone: `other` is dead. Tasks are not.
    assert!(store.keep_budget("new", LONG, true).await.unwrap());
    let charged = store.expire_budget(Some("new")).await.unwrap();
    assert_eq!(
        charged
            .iter()
            .map(|one| one.id.as_str())
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(spent_and_held(&*store, "organisation").await, (30, 5));
    assert_eq!(spent_and_held(&*store, "task:x").await, (30, 5));
    // Its late word changes nothing, and it gets nothing more.
    store.settle_budget(vec![settled("b", 7)]).await.unwrap();
    assert_eq!(spent_and_held(&*store, "organisation").await, (30, 5));
    assert_eq!(
        store.reserve_budget(of("d", "other", 1)).await.unwrap(),
        BudgetAnswer::HolderGone
    );
    let held = store.budget_reservations("", 99).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].amount.environments, 1);
}

pub(crate) async fn a_commit_without_room_changes_nothing(place: Place) {
    let store = place.open().await;
    let hold = |id: &str, reserving| {
        BudgetMove::Reserve(BudgetAsk {
            holder: "task:t".to_owned(),
            reserving,
            ..ask(id, vec![level("organisation", Some(100))], 60)
        })
    };
    let with = |name: &str, budget| Commit {
        budget,
        leaves: vec![name.as_bytes().to_vec()],
        ..commit(vec![append(task("c", name), 0)])
    };
    store
        .commit(with("t1", vec![hold("a", Reserving::AtLeast)]))
        .await
        .unwrap();
    // At least so much: once more is no second one.
    store
        .commit(with("t2", vec![hold("a", Reserving::AtLeast)]))
        .await
        .unwrap();
    assert_eq!(spent_and_held(&*store, "organisation").await, (0, 60));
    let refused = store
        .commit(with("t3", vec![hold("b", Reserving::More)]))
        .await;
    let Err(StoreError::Cap {
        refused,
        waits: true,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.scope, "organisation");
    assert_eq!(store.pending_leaves(99).await.unwrap().len(), 2);
    assert_eq!(spent_and_held(&*store, "organisation").await, (0, 60));
    // A raise and a settlement make room, each with what else it belongs to.
    let raise = BudgetMove::Raise {
        scope: "organisation".to_owned(),
        to: Caps {
            money: Some(110),
            ..Caps::default()
        },
    };
    let part = BudgetMove::Settle(BudgetSettle {
        release: money(10),
        ..settled("a", 5)
    });
    store.commit(with("t4", vec![raise, part])).await.unwrap();
    store
        .commit(with("t5", vec![hold("b", Reserving::More)]))
        .await
        .unwrap();
    assert_eq!(spent_and_held(&*store, "organisation").await, (5, 105));
    let account = store.budget_account("organisation").await.unwrap().unwrap();
    assert_eq!(
        (account.caps.money, account.effective().money),
        (Some(100), Some(110))
    );
    // What is in use already is counted whatever the caps say.
    let BudgetMove::Reserve(more) = hold("z", Reserving::AtLeast) else {
        panic!("it is one");
    };
    store
        .commit(with("t6", vec![BudgetMove::Count(more)]))
        .await
        .unwrap();
    assert_eq!(spent_and_held(&*store, "organisation").await, (5, 165));
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn numbers_beyond_those_of_the_database_come_back(place: Place) {
    let store = place.open().await;
    let big = u64::MAX - 1;
    let huge = BudgetAsk {
        holder: "task:t".to_owned(),
        ..ask("huge", vec![level("organisation", None)], big)
    };
    assert!(matches!(
        store.reserve_budget(huge.clone()).await.unwrap(),
        BudgetAnswer::Granted(_)
    ));
    assert_eq!(spent_and_held(&*store, "organisation").await, (0, big));
    assert!(matches!(
        store.reserve_budget(huge).await.unwrap(),
        BudgetAnswer::Wait(_)
    ));
    let long = BudgetAsk {
        holder: "task:t".to_owned(),
        ..ask("x", vec![level(&"x".repeat(9_999), None)], 1)
    };
    assert!(matches!(
        store.reserve_budget(long).await,
        Err(StoreError::Malformed(_))
    ));
}
