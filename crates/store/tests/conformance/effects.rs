use std::sync::Arc;

use model::ids::EffectId;
use model::rows::OutboxRow;
use store::{Commit, Store};

use crate::make::{at, effect};
use crate::place::Place;

async fn put(store: &dyn Store, effects: Vec<OutboxRow>) {
    // One commit each, so that their order is the order of this list in either database.
    for effect in effects {
        store
            .commit(Commit {
                effects: vec![effect],
                ..Commit::default()
            })
            .await
            .unwrap();
    }
}

async fn done(store: &dyn Store, name: &str) {
    let done = vec![EffectId::derived(&[name])];
    store
        .commit(Commit {
            done,
            ..Commit::default()
        })
        .await
        .unwrap();
}

async fn due(store: &dyn Store, seconds: i64) -> (Vec<OutboxRow>, Option<jiff::Timestamp>) {
    store
        .due_effects("me", at(seconds), at(seconds + 60), 10)
        .await
        .unwrap()
}

fn named(rows: &[OutboxRow], names: &[&str]) -> bool {
    rows.iter()
        .map(|row| row.id)
        .eq(names.iter().map(|name| EffectId::derived(&[name])))
}

pub(crate) async fn a_lane_hands_out_one_effect_at_a_time(place: Place) {
    let store = place.open().await;
    put(
        &*store,
        vec![
            effect("a1", "a", at(2)),
            effect("a2", "a", at(1)),
            effect("b1", "b", at(3)),
        ],
    )
    .await;
    assert_eq!(store.pending_effects(at(2)).await.unwrap(), 2);
    let (rows, next) = due(&*store, 5).await;
    assert!(
        named(&rows, &["a1", "b1"]),
        "oldest of each lane, by when they came due: {rows:?}"
    );
    assert_eq!(next, None);
    assert_eq!(rows[0], effect("a1", "a", at(2)));
    assert!(due(&*store, 6).await.0.is_empty(), "the lane is busy");
    done(&*store, "a1").await;
    assert!(named(&due(&*store, 7).await.0, &["a2"]));
    done(&*store, "a2").await;
    done(&*store, "b1").await;
    assert_eq!(store.pending_effects(at(99)).await.unwrap(), 0);
}

pub(crate) async fn a_timer_holds_its_lane_up_only_when_it_is_due(place: Place) {
    let store = place.open().await;
    put(
        &*store,
        vec![
            effect("timer", "a", at(50)),
            effect("now", "a", at(0)),
            effect("then", "a", at(70)),
        ],
    )
    .await;
    let (rows, next) = due(&*store, 10).await;
    assert!(named(&rows, &["now"]));
    assert_eq!(next, Some(at(50)));
    assert!(
        due(&*store, 60).await.0.is_empty(),
        "due, but another of its lane is being done"
    );
    done(&*store, "now").await;
    let (rows, next) = due(&*store, 60).await;
    assert!(named(&rows, &["timer"]));
    assert_eq!(next, Some(at(70)));
    let (rows, _) = due(&*store, 75).await;
    assert!(rows.is_empty());
}

pub(crate) async fn an_effect_put_off_keeps_its_place(place: Place) {
    let store = place.open().await;
    put(
        &*store,
        vec![
            effect("a1", "a", at(0)),
            effect("a2", "a", at(0)),
            effect("b1", "b", at(0)),
        ],
    )
    .await;
    assert!(named(&due(&*store, 1).await.0, &["a1", "b1"]));
    store
        .defer_effect(EffectId::derived(&["a1"]), at(30))
        .await
        .unwrap();
    let (rows, next) = due(&*store, 2).await;
    assert!(
        rows.is_empty(),
        "the next of the lane does not overtake: {rows:?}"
    );
    assert_eq!(next, Some(at(30)));
    let (rows, _) = due(&*store, 30).await;
    assert!(named(&rows, &["a1"]));
    assert_eq!(rows[0].attempts, 1);
}

pub(crate) async fn an_effect_is_leased_to_one_owner(place: Place) {
    let stores = place.open_two().await;
    let lanes = 40;
    put(
        &*stores[0],
        (0..lanes)
            .map(|n| effect(&format!("e{n}"), &format!("lane-{n}"), at(0)))
            .collect(),
    )
    .await;
    let mut owners = Vec::new();
    for n in 0..8 {
        let store = Arc::clone(&stores[n % 2]);
        owners.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let (rows, next) = store
                    .due_effects(&format!("o{n}"), at(5), at(20), 3)
                    .await
                    .unwrap();
                mine.extend(rows.iter().map(|row| row.id));
                if rows.is_empty() && next != Some(at(5)) {
                    return mine;
                }
            }
        }));
    }
    let mut all = Vec::new();
    for owner in owners {
        all.extend(owner.await.unwrap());
    }
    all.sort();
    let total = all.len();
    all.dedup();
    assert_eq!((all.len(), total), (lanes, lanes));
    let (none, next) = stores[0]
        .due_effects("late", at(19), at(30), 99)
        .await
        .unwrap();
    assert_eq!(
        (none.len(), next),
        (0, Some(at(20))),
        "when the lease of somebody else runs out"
    );
    let (again, _) = stores[0]
        .due_effects("late", at(20), at(30), 99)
        .await
        .unwrap();
    assert_eq!(again.len(), lanes, "a lease that ran out is no lease");
}

pub(crate) async fn an_effect_is_added_once(place: Place) {
    let store = place.open().await;
    let other = OutboxRow {
        lane: "other".to_owned(),
        due_at: at(9),
        ..effect("a", "lane", at(0))
    };
    put(&*store, vec![effect("a", "lane", at(0)), other]).await;
    let (rows, _) = due(&*store, 20).await;
    assert_eq!(rows, [effect("a", "lane", at(0))]);
}

pub(crate) async fn freed_effects_are_handed_out_again_at_once(place: Place) {
    let store = place.open().await;
    put(
        &*store,
        vec![effect("a1", "a", at(1)), effect("b1", "b", at(1))],
    )
    .await;
    assert!(named(&due(&*store, 5).await.0, &["a1", "b1"]));
    assert!(named(&due(&*store, 6).await.0, &[]), "both are held");
    store.free_effects().await.unwrap();
    let (rows, _) = due(&*store, 6).await;
    assert!(named(&rows, &["a1", "b1"]));
    assert!(
        rows.iter().all(|row| row.attempts == 0),
        "being freed is no attempt"
    );
}
