use std::collections::BTreeMap;
use std::sync::Arc;

use model::campaign::WaveProgress;
use model::rows::TaskRow;
use model::run::Target;
use model::task::{TaskStatus, WaitKind};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use store::{Append, Page, Store, TaskFilter, TaskOrder};

use crate::make::{append, at, campaign_id, commit, event, run_id, task, task_id};
use crate::place::Place;

const CAMPAIGNS: [&str; 3] = ["a", "b", "c"];
const CLASSES: [&str; 3] = ["one", "two", "three"];

fn any_task() -> impl Strategy<Value = TaskRow> {
    let place = (select(&CAMPAIGNS[..2]), 0..4_u32, 0..6_u8, any::<bool>());
    let status = (
        select(TaskStatus::ALL),
        select(WaitKind::ALL),
        any::<bool>(),
        any::<bool>(),
    );
    let change = (
        prop::option::of(1..5_u64),
        prop::option::of(select(&CLASSES[..])),
        0..20_i64,
    );
    (place, status, change).prop_map(
        |((campaign, wave, repository, path), status, (change, class, age))| {
            let (status, wait, settled, paused) = status;
            TaskRow {
                wave,
                status,
                wait: (status == TaskStatus::Waiting).then_some(wait),
                settled,
                paused,
                target: Target {
                    repository: format!("group/r{repository}"),
                    path: if path {
                        "sub".to_owned()
                    } else {
                        String::new()
                    },
                    key: String::new(),
                },
                change,
                diff_class: class.map(str::to_owned),
                updated_at: at(age),
                reason: Some("some_reason".to_owned()),
                sentence: Some("Something happened: look.".to_owned()),
                ..task(campaign, "")
            }
        },
    )
}

fn any_filter() -> impl Strategy<Value = (TaskFilter, bool, Index, u32)> {
    let of = (
        prop::option::of(select(&CAMPAIGNS[..])),
        prop::option::of(select(&CAMPAIGNS[..])),
        prop::option::of(select(&CAMPAIGNS[..])),
        prop::option::of(0..7_u8),
        prop::option::of(1..5_u64),
    );
    let with = (
        prop::collection::vec(select(TaskStatus::ALL), 0..4),
        prop::option::of(0..5_u32),
        prop::option::of(select(&CLASSES[..])),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, select(vec!["p/r1", "r", "%", "_", "R", ""])),
    );
    (of, with, any::<bool>(), any::<Index>(), 0..40_u32).prop_map(
        |(of, with, newest, offset, limit)| {
            let (campaign, run, automation, repository, change) = of;
            let (statuses, wave, class, inbox, unsettled, text) = with;
            let filter = TaskFilter {
                campaign: campaign.map(campaign_id),
                run: run.map(run_id),
                automation: automation.map(str::to_owned),
                repository: repository.map(|n| format!("group/r{n}")),
                change,
                statuses,
                wave,
                diff_class: class.map(str::to_owned),
                inbox,
                unsettled,
                text: text.map(str::to_owned),
            };
            (filter, newest, offset, limit)
        },
    )
}

fn matches(filter: &TaskFilter, row: &TaskRow) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
        wanted.is_none() || wanted == found
    }
    let for_person = row.wait.is_some_and(|wait| wait.is_for_person());
    is(filter.campaign.as_ref(), Some(&row.campaign))
        && is(filter.run.as_ref(), Some(&row.run))
        && is(filter.automation.as_ref(), Some(&row.automation))
        && is(filter.repository.as_ref(), Some(&row.target.repository))
        && is(filter.change.as_ref(), row.change.as_ref())
        && is(filter.wave.as_ref(), Some(&row.wave))
        && is(filter.diff_class.as_ref(), row.diff_class.as_ref())
        && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        && (!filter.inbox || row.status == TaskStatus::InReview || for_person)
        && (!filter.unsettled || !row.settled)
        && filter
            .text
            .as_ref()
            .is_none_or(|text| row.target.repository.contains(text.as_str()))
}

/// Rows in the order in which they were made.
fn expected(rows: &[TaskRow], filter: &TaskFilter, order: TaskOrder) -> Vec<TaskRow> {
    let mut found: Vec<(usize, &TaskRow)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| matches(filter, row))
        .collect();
    match order {
        TaskOrder::Newest => found.sort_by_key(|(n, row)| std::cmp::Reverse((row.updated_at, *n))),
        TaskOrder::Target => found.sort_by_key(|(n, row)| (row.wave, row.target.clone(), *n)),
    }
    found.into_iter().map(|(_, row)| row.clone()).collect()
}

pub(crate) async fn lists_and_counts_agree_with_a_naive_model(place: Place) {
    let store = place.open().await;
    let mut runner = TestRunner::new(Config {
        cases: 150,
        ..Config::default()
    });
    let rows = fill(&store, &mut runner).await;
    for campaign in CAMPAIGNS {
        summaries(&*store, &rows, campaign).await;
    }
    let handle = tokio::runtime::Handle::current();
    let check = move || {
        runner
            .run(&any_filter(), |(filter, newest, offset, limit)| {
                let order = if newest {
                    TaskOrder::Newest
                } else {
                    TaskOrder::Target
                };
                let all = expected(&rows, &filter, order);
                let offset = offset.index(all.len() + 1);
                let page = Page {
                    offset: offset as u32,
                    limit,
                };
                let found = handle
                    .block_on(store.tasks(filter.clone(), order, page))
                    .unwrap();
                let wanted: Vec<TaskRow> = all
                    .iter()
                    .skip(offset)
                    .take(limit as usize)
                    .cloned()
                    .collect();
                prop_assert_eq!(found, wanted);
                prop_assert_eq!(
                    handle.block_on(store.count_tasks(filter)).unwrap(),
                    all.len() as u64
                );
                Ok(())
            })
            .unwrap();
    };
    tokio::task::spawn_blocking(check).await.unwrap();
}

async fn fill(store: &Arc<dyn Store>, runner: &mut TestRunner) -> Vec<TaskRow> {
    let mut rows = Vec::new();
    for n in 0..250 {
        let row = any_task().new_tree(runner).unwrap().current();
        let row = TaskRow {
            id: task_id(&n.to_string()),
            ..row
        };
        // Half of them arrive where they are by a second append.
        if n % 2 == 0 {
            let before = TaskRow {
                status: TaskStatus::Queued,
                wait: None,
                change: None,
                ..row.clone()
            };
            store.commit(commit(vec![append(before, 0)])).await.unwrap();
        }
        let append = Append {
            spent_ms: n,
            ..append(row.clone(), 1 - n % 2)
        };
        store.commit(commit(vec![append])).await.unwrap();
        rows.push(row);
    }
    rows
}

async fn summaries(store: &dyn Store, rows: &[TaskRow], campaign: &str) {
    let id = campaign_id(campaign);
    let own: Vec<(usize, &TaskRow)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.campaign == id)
        .collect();

    let mut counts: BTreeMap<(TaskStatus, Option<&str>), u64> = BTreeMap::new();
    for (_, row) in &own {
        *counts
            .entry((row.status, row.wait.map(|wait| wait.as_str())))
            .or_default() += 1;
    }
    let found = store.status_counts(Some(id)).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|one| ((one.status, one.wait.map(|w| w.as_str())), one.count))
        .collect();
    assert_eq!(found, counts.into_iter().collect::<Vec<_>>());

    let mut waves = vec![
        WaveProgress::default();
        own.iter().map(|(_, row)| row.wave + 1).max().unwrap_or(0) as usize
    ];
    for (_, row) in &own {
        let wave = &mut waves[row.wave as usize];
        wave.total += 1;
        wave.settled += u32::from(row.settled);
        wave.proposed += u32::from(row.change.is_some());
        wave.merged += u32::from(row.status == TaskStatus::Merged);
        let bad = [
            TaskStatus::Failed,
            TaskStatus::Unverified,
            TaskStatus::Rejected,
        ]
        .contains(&row.status);
        wave.bad += u32::from(bad);
    }
    assert_eq!(store.wave_progress(id).await.unwrap(), waves);

    let spent = own.iter().map(|(n, _)| *n as u64).sum::<u64>();
    let submitted = own.iter().filter(|(_, row)| row.change.is_some()).count() as u64;
    assert_eq!(store.campaign_spend(id).await.unwrap(), (spent, submitted));

    let mut classes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (_, row) in &own {
        if let Some(class) = &row.diff_class {
            let counts = classes.entry(class.clone()).or_default();
            counts.0 += 1;
            counts.1 += u64::from(row.status == TaskStatus::InReview);
        }
    }
    let mut wanted: Vec<_> = classes.into_iter().collect();
    wanted.sort_by_key(|(class, (count, _))| (std::cmp::Reverse(*count), class.clone()));
    let found = store.diff_classes(id).await.unwrap();
    for one in &found {
        assert_eq!(
            (one.sample.campaign, one.sample.diff_class.as_ref()),
            (id, Some(&one.class))
        );
    }
    let found: Vec<_> = found
        .into_iter()
        .map(|one| (one.class, (one.count, one.open)))
        .collect();
    assert_eq!(found, wanted);
}

pub(crate) async fn awkward_text_comes_back_as_it_went_in(place: Place) {
    let store = place.open().await;
    let awkward = "quote ' \" backslash \\ newline \n percent % and 🦀 \u{202e}";
    let row = TaskRow {
        target: Target {
            repository: awkward.to_owned(),
            path: "ä/ö".to_owned(),
            key: "k'k".to_owned(),
        },
        sentence: Some(awkward.to_owned()),
        change: Some(u64::from(u32::MAX)),
        ..task("c", "a")
    };
    store
        .commit(commit(vec![append(row.clone(), 0)]))
        .await
        .unwrap();
    let filter = TaskFilter {
        repository: Some(awkward.to_owned()),
        ..TaskFilter::default()
    };
    assert_eq!(
        store
            .tasks(filter, TaskOrder::Target, Page::first(5))
            .await
            .unwrap(),
        [row]
    );

    // Text with a NUL is kept by one database and cannot be by the other; neither may fail.
    let nul = TaskRow {
        sentence: Some("a\0b".to_owned()),
        ..task("c", "b")
    };
    store.commit(commit(vec![append(nul, 0)])).await.unwrap();
    let mut one = event("nul");
    one.subject.repository = Some("a\0b".to_owned());
    one.data = serde_json::json!({"text": "a\0b", "far": -1.5e300});
    one.time = jiff::Timestamp::MIN;
    store
        .commit(store::Commit {
            event: Some(one.clone()),
            ..store::Commit::default()
        })
        .await
        .unwrap();
    assert_eq!(store.event(one.id).await.unwrap(), Some(one));
}
