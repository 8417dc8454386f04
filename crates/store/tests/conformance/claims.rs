use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::campaign::CampaignStatus;
use model::ids::TaskId;
use model::rows::{CampaignRow, TaskRow};
use model::task::TaskStatus;
use store::{Append, Claim, Claimed, LeaseChange, Limits, Store};

use crate::make::{add, append, at, campaign, claim, commit, next, task, task_id};
use crate::place::Place;

fn tasks(campaign: &str, count: u32) -> Vec<TaskRow> {
    (0..count)
        .map(|n| task(campaign, &format!("{campaign}-{n}")))
        .collect()
}

fn by_campaign(claimed: &[Claimed], campaigns: &[(&str, u32)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (name, count) in campaigns {
        let own: BTreeSet<TaskId> = tasks(name, *count).iter().map(|row| row.id).collect();
        counts.insert(
            (*name).to_owned(),
            claimed.iter().filter(|one| own.contains(&one.task)).count(),
        );
    }
    counts
}

pub(crate) async fn no_task_is_claimed_twice(place: Place) {
    let stores = place.open_two().await;
    add(&*stores[0], vec![campaign("a"), campaign("b")]).await;
    add(&*stores[0], tasks("a", 150)).await;
    add(&*stores[0], tasks("b", 90)).await;
    let mut claimers = Vec::new();
    for n in 0..8 {
        let store = Arc::clone(&stores[n % 2]);
        claimers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = store.claim(claim(&format!("runner-{n}"), 7)).await.unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed.into_iter().map(|one| (one.task, one.epoch, n)));
            }
        }));
    }
    let mut seen = BTreeMap::new();
    for claimer in claimers {
        for (task, epoch, owner) in claimer.await.unwrap() {
            assert_eq!(epoch, 1);
            assert!(
                seen.insert(task, owner).is_none(),
                "{task} was claimed twice"
            );
        }
    }
    assert_eq!(seen.len(), 240);
    for lease in stores[0].leases().await.unwrap() {
        assert_eq!(lease.owner, format!("runner-{}", seen[&lease.task]));
    }
}

pub(crate) async fn a_small_campaign_is_not_starved_by_a_big_one(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("big"), campaign("small")]).await;
    add(&*store, tasks("big", 1000)).await;
    add(&*store, tasks("small", 10)).await;
    let all = [("big", 1000), ("small", 10)];
    let first = by_campaign(&store.claim(claim("r", 8)).await.unwrap(), &all);
    assert_eq!((first["big"], first["small"]), (4, 4));
    let second = by_campaign(&store.claim(claim("r", 20)).await.unwrap(), &all);
    assert_eq!(
        (second["big"], second["small"]),
        (14, 6),
        "what the small one cannot use goes to the big one"
    );
}

/// Claims, works and lets go at random until all is done, watching the limits all the while.
pub(crate) async fn limits_hold_under_concurrency(place: Place) {
    let stores = place.open_two().await;
    let limited = |name: &str, running: Option<u32>, open: Option<u32>| CampaignRow {
        max_running: running,
        max_open: open,
        ..campaign(name)
    };
    add(
        &*stores[0],
        vec![
            limited("a", Some(3), None),
            limited("b", None, Some(4)),
            limited("c", None, None),
        ],
    )
    .await;
    for name in ["a", "b", "c"] {
        add(&*stores[0], tasks(name, 20)).await;
    }
    let limits = Limits {
        running: Some(9),
        running_per_campaign: Some(5),
    };
    let mut claimers = Vec::new();
    for n in 0..8 {
        let store = Arc::clone(&stores[n % 2]);
        claimers.push(tokio::spawn(async move { work(&*store, n, limits).await }));
    }
    let mut done = 0;
    for claimer in claimers {
        done += claimer.await.unwrap();
    }
    assert_eq!(done, 60);
    assert!(stores[0].leases().await.unwrap().is_empty());
}

async fn work(store: &dyn Store, n: usize, limits: Limits) -> usize {
    let mut done = 0;
    let mut idle = 0;
    while idle < 200 {
        let wish = Claim {
            limits,
            ..claim(&format!("r{n}"), 4)
        };
        let claimed = store.claim(wish).await.unwrap();
        idle = if claimed.is_empty() { idle + 1 } else { 0 };
        watch(store).await;
        for one in claimed {
            let row = row_of(store, one.task).await;
            let open = TaskRow {
                status: TaskStatus::Ready,
                ..row.clone()
            };
            let kept = next(open, &one);
            store.commit(commit(vec![kept])).await.unwrap();
            let ended = TaskRow {
                status: TaskStatus::Merged,
                settled: true,
                ..row
            };
            let last = Append {
                epoch: Some(one.epoch),
                lease: LeaseChange::Release,
                ..append(ended, one.seq + 1)
            };
            store.commit(commit(vec![last])).await.unwrap();
            done += 1;
        }
        if store
            .status_counts(None)
            .await
            .unwrap()
            .iter()
            .all(|count| count.status == TaskStatus::Merged)
        {
            return done;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing moves although tasks are left");
}

async fn row_of(store: &dyn Store, id: TaskId) -> TaskRow {
    let all = store
        .tasks(
            store::TaskFilter::default(),
            store::TaskOrder::Target,
            store::Page::first(999),
        )
        .await;
    all.unwrap().into_iter().find(|row| row.id == id).unwrap()
}

async fn watch(store: &dyn Store) {
    let leases = store.leases().await.unwrap();
    assert!(leases.len() <= 9, "{} leased in all", leases.len());
    for (name, most) in [("a", 3), ("b", 4), ("c", 5)] {
        let own: BTreeSet<TaskId> = tasks(name, 20).iter().map(|row| row.id).collect();
        let leased = leases
            .iter()
            .filter(|lease| own.contains(&lease.task))
            .count();
        assert!(leased <= most, "{leased} leased of {name}, {most} allowed");
    }
}

pub(crate) async fn only_what_may_start_is_claimed(place: Place) {
    let store = place.open().await;
    let with = |name: &str, status| CampaignRow {
        status,
        ..campaign(name)
    };
    add(
        &*store,
        vec![
            campaign("on"),
            with("paused", CampaignStatus::Paused),
            with("held", CampaignStatus::Held),
            with("closed", CampaignStatus::Closed),
            CampaignRow {
                max_open: Some(2),
                ..campaign("full")
            },
        ],
    )
    .await;
    let mut rows = vec![
        task("on", "good"),
        TaskRow {
            paused: true,
            ..task("on", "paused-task")
        },
    ];
    rows.push(TaskRow {
        wave: 1,
        ..task("on", "later")
    });
    rows.push(task("nowhere", "without-campaign"));
    for status in TaskStatus::ALL
        .iter()
        .filter(|status| **status != TaskStatus::Queued)
    {
        rows.push(TaskRow {
            status: *status,
            ..task("on", status.as_str())
        });
    }
    for name in ["paused", "held", "closed", "full"] {
        rows.push(task(name, &format!("{name}-queued")));
    }
    rows.push(TaskRow {
        status: TaskStatus::Submitted,
        ..task("full", "f1")
    });
    rows.push(TaskRow {
        status: TaskStatus::InReview,
        ..task("full", "f2")
    });
    add(&*store, rows).await;

    let claimed: Vec<TaskId> = store
        .claim(claim("r", 50))
        .await
        .unwrap()
        .iter()
        .map(|one| one.task)
        .collect();
    assert_eq!(claimed, [task_id("good")]);

    // Each obstacle goes away.
    let admitted = CampaignRow {
        admitted_wave: 1,
        ..campaign("on")
    };
    let resumed = with("held", CampaignStatus::Active);
    let unpaused = task("on", "paused-task");
    let merged = TaskRow {
        status: TaskStatus::Merged,
        ..task("full", "f1")
    };
    let moves = vec![
        append(admitted, 1),
        append(resumed, 1),
        append(unpaused, 1),
        append(merged, 1),
    ];
    store.commit(commit(moves)).await.unwrap();
    let claimed: BTreeSet<TaskId> = store
        .claim(claim("r", 50))
        .await
        .unwrap()
        .iter()
        .map(|one| one.task)
        .collect();
    let expected = ["paused-task", "later", "held-queued", "full-queued"].map(task_id);
    assert_eq!(claimed, BTreeSet::from(expected));
}

pub(crate) async fn a_campaign_claims_by_wave_then_age(place: Place) {
    let store = place.open().await;
    add(
        &*store,
        vec![CampaignRow {
            admitted_wave: 2,
            ..campaign("c")
        }],
    )
    .await;
    let rows = [("d", 2, 0), ("c", 1, 9), ("b", 1, 4), ("a", 0, 7)];
    let rows = rows.map(|(name, wave, age)| TaskRow {
        wave,
        created_at: at(age),
        ..task("c", name)
    });
    add(&*store, rows.to_vec()).await;
    let mut order = Vec::new();
    for _ in 0..2 {
        order.extend(
            store
                .claim(claim("r", 2))
                .await
                .unwrap()
                .iter()
                .map(|one| one.task),
        );
    }
    assert_eq!(order, ["a", "b", "c", "d"].map(task_id));
}
