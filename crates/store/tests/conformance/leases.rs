use model::rows::{Stream, TaskRow};
use model::task::TaskStatus;
use store::{Append, Claim, LeaseChange, StoreError};

use crate::make::{add, at, campaign, claim, commit, next, task, task_id};
use crate::place::Place;

pub(crate) async fn a_lease_is_extended_until_it_is_lost(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("c")]).await;
    add(&*store, vec![task("c", "a"), task("c", "b")]).await;
    let claimed = store.claim(claim("r", 2)).await.unwrap();
    let held: Vec<_> = claimed.iter().map(|one| (one.task, one.epoch)).collect();
    assert!(store.extend("r", &held, at(500)).await.unwrap().is_empty());
    assert!(
        store
            .leases()
            .await
            .unwrap()
            .iter()
            .all(|lease| lease.until == at(500) && lease.epoch == 1)
    );

    let running = TaskRow {
        status: TaskStatus::Running,
        ..task("c", "a")
    };
    let one = claimed.iter().find(|one| one.task == task_id("a")).unwrap();
    store
        .commit(commit(vec![Append {
            lease: LeaseChange::Release,
            ..next(running, one)
        }]))
        .await
        .unwrap();
    assert_eq!(
        store.extend("r", &held, at(600)).await.unwrap(),
        [task_id("a")]
    );
    assert_eq!(
        store
            .extend("other", &held[1..], at(600))
            .await
            .unwrap()
            .len(),
        1,
        "only the owner extends"
    );
    let stranger = (task_id("nobody"), 1);
    assert_eq!(
        store.extend("r", &[stranger], at(600)).await.unwrap(),
        [stranger.0]
    );
}

pub(crate) async fn a_dropped_lease_puts_the_task_back(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("c")]).await;
    add(&*store, vec![task("c", "a")]).await;
    let one = store.claim(claim("r", 1)).await.unwrap().remove(0);
    store.drop_lease(one.task, one.epoch + 1).await.unwrap();
    assert_eq!(
        store.leases().await.unwrap().len(),
        1,
        "a stale epoch drops nothing"
    );
    store.drop_lease(one.task, one.epoch).await.unwrap();
    assert!(store.leases().await.unwrap().is_empty());
    let late = store.commit(commit(vec![next(task("c", "a"), &one)])).await;
    assert!(
        matches!(late, Err(StoreError::Fenced { .. })),
        "who dropped it cannot begin it: {late:?}"
    );

    let again = store.claim(claim("r", 1)).await.unwrap().remove(0);
    assert!(again.epoch > one.epoch);
    let running = TaskRow {
        status: TaskStatus::Running,
        ..task("c", "a")
    };
    store
        .commit(commit(vec![next(running, &again)]))
        .await
        .unwrap();
    store.drop_lease(again.task, again.epoch).await.unwrap();
    assert_eq!(
        store.leases().await.unwrap().len(),
        1,
        "a task that has begun keeps its lease"
    );
}

pub(crate) async fn a_claim_never_begun_returns_when_its_lease_runs_out(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("c")]).await;
    add(&*store, vec![task("c", "a"), task("c", "b")]).await;
    let first = store.claim(claim("gone", 2)).await.unwrap();
    let begun = first.iter().find(|one| one.task == task_id("b")).unwrap();
    let running = TaskRow {
        status: TaskStatus::Running,
        ..task("c", "b")
    };
    store
        .commit(commit(vec![next(running, begun)]))
        .await
        .unwrap();

    assert!(
        store
            .claim(Claim {
                now: at(99),
                ..claim("r", 9)
            })
            .await
            .unwrap()
            .is_empty()
    );
    let later = Claim {
        now: at(100),
        until: at(200),
        ..claim("r", 9)
    };
    let again = store.claim(later).await.unwrap();
    assert_eq!(
        again.iter().map(|one| one.task).collect::<Vec<_>>(),
        [task_id("a")],
        "what has begun is not taken"
    );
    let old = first.iter().find(|one| one.task == task_id("a")).unwrap();
    let late = store.commit(commit(vec![next(task("c", "a"), old)])).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
}

pub(crate) async fn a_release_fences_the_old_owner(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("c")]).await;
    add(&*store, vec![task("c", "a")]).await;
    let one = store.claim(claim("r", 1)).await.unwrap().remove(0);
    // Somebody without the lease ends it, as when a person cancels.
    let cancelled = TaskRow {
        status: TaskStatus::Cancelled,
        settled: true,
        ..task("c", "a")
    };
    let end = Append {
        epoch: None,
        lease: LeaseChange::Release,
        ..next(cancelled.clone(), &one)
    };
    store.commit(commit(vec![end])).await.unwrap();
    let late = Append {
        epoch: Some(one.epoch),
        ..crate::make::append(cancelled, 2)
    };
    assert!(matches!(
        store.commit(commit(vec![late])).await,
        Err(StoreError::Fenced { .. })
    ));
    let loaded = store
        .load(Stream::Task(task_id("a")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((loaded.owner, loaded.epoch, loaded.seq), (None, 2, 2));
}
