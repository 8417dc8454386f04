use std::path::Path;
use std::sync::Arc;

use model::budget::{BudgetAsk, BudgetMove, Caps, Level, Reserving, Spending};
use model::rows::{Stream, TaskRow};
use model::task::{TaskStatus, WaitKind};
use store::{
    Append, Commit, DocumentWrite, EventFilter, LedgerEntry, Page, Sequenced, Store, StoreError,
    TaskFilter, TaskOrder,
};

use crate::make::{
    add, append, at, campaign, claim, commit, effect, event, next, run, task, task_id,
};
use crate::place::Place;

/// A store with something of everything.
async fn filled(place: &Place) -> Arc<dyn Store> {
    let store = place.open().await;
    for n in 0..20 {
        let name = format!("e{n}");
        let all = Commit {
            event: Some(event(&name)),
            appends: vec![append(run(&name), 0)],
            effects: vec![effect(&name, "lane", at(n))],
            documents: vec![DocumentWrite {
                kind: "k".into(),
                key: name.clone(),
                body: Some("{\"ä\":1}".into()),
            }],
            budget: vec![BudgetMove::Count(BudgetAsk {
                id: format!("environment:{n}"),
                holder: format!("task:{n}"),
                path: vec![Level {
                    scope: "organisation".into(),
                    title: "all".into(),
                    caps: Caps::default(),
                }],
                worst: Spending {
                    environments: 1,
                    ..Spending::ZERO
                },
                wish: Spending::ZERO,
                reserving: Reserving::AtLeast,
            })],
            leaves: vec![name.into_bytes()],
            ..Commit::default()
        };
        store.commit(all).await.unwrap();
    }
    add(&*store, vec![campaign("c")]).await;
    add(
        &*store,
        (0..30).map(|n| task("c", &format!("t{n}"))).collect(),
    )
    .await;
    for one in store.claim(claim("runner", 5)).await.unwrap() {
        let rows = store
            .tasks(TaskFilter::default(), TaskOrder::Newest, Page::first(99))
            .await
            .unwrap();
        let row = rows.into_iter().find(|row| row.id == one.task).unwrap();
        let row = TaskRow {
            status: TaskStatus::Waiting,
            wait: Some(WaitKind::Approval),
            ..row
        };
        store
            .commit(commit(vec![Append {
                spent_ms: 7,
                ..next(row, &one)
            }]))
            .await
            .unwrap();
    }
    let pending = store.pending_leaves(12).await.unwrap();
    let entry = |(index, leaf): (usize, &store::PendingLeaf)| LedgerEntry {
        index: index as u64,
        leaf: leaf.leaf.clone(),
        hash: [index as u8; 32],
    };
    let sequenced = Sequenced {
        expected_size: 0,
        rows: pending.iter().map(|leaf| leaf.row).collect(),
        entries: pending.iter().enumerate().map(entry).collect(),
        frontier: vec![0, 255],
        checkpoint: "signed\ntext".to_owned(),
    };
    store.sequence(sequenced).await.unwrap();
    store
}

/// Everything that can be read, as text to compare.
async fn everything(store: &dyn Store) -> String {
    let page = Page::first(10_000);
    let mut text = Vec::new();
    let tasks = store
        .tasks(TaskFilter::default(), TaskOrder::Newest, page)
        .await
        .unwrap();
    for row in &tasks {
        let stream = Stream::Task(row.id);
        let loaded = store.load(stream).await.unwrap();
        text.push(format!(
            "{row:?} {loaded:?} {:?}",
            store.facts(stream, 0, 99).await.unwrap()
        ));
    }
    let runs = store.runs(None, page).await.unwrap();
    for row in &runs {
        text.push(format!(
            "{row:?} {:?}",
            store.load(Stream::Run(row.id)).await.unwrap()
        ));
    }
    text.push(format!(
        "{:?}",
        store.campaigns(None, false, page).await.unwrap()
    ));
    text.push(format!("{:?}", store.leases().await.unwrap()));
    text.push(format!(
        "{:?}",
        store.events(EventFilter::default(), page).await.unwrap()
    ));
    text.push(format!(
        "{:?}",
        store.pending_effects(at(99)).await.unwrap()
    ));
    text.push(format!(
        "{:?}",
        store.documents("k", "", 999).await.unwrap()
    ));
    let leaves = store.pending_leaves(999).await.unwrap();
    text.push(format!(
        "{:?}",
        leaves.into_iter().map(|leaf| leaf.leaf).collect::<Vec<_>>()
    ));
    text.push(format!("{:?}", store.ledger_state().await.unwrap()));
    text.push(format!("{:?}", store.ledger_entries(0, 999).await.unwrap()));
    text.push(format!("{:?}", store.checkpoints(0, 999).await.unwrap()));
    text.push(format!(
        "{:?}",
        store.campaign_spend(campaign("c").id).await.unwrap()
    ));
    text.push(format!(
        "{:?} {:?}",
        store.budget_accounts("", "", 999).await.unwrap(),
        store.budget_reservations("", 999).await.unwrap()
    ));
    text.join("\n")
}

async fn empty_places() -> Vec<Place> {
    let mut places = vec![Place::sqlite()];
    places.extend(Place::postgres().await);
    places
}

pub(crate) async fn a_backup_restores_into_an_empty_store_of_either_kind(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&place).await;
    let file = folder.path().join("backup.jsonl");
    store.backup(&file).await.unwrap();
    let before = everything(&*store).await;
    for target in empty_places().await {
        let copy = target.open().await;
        copy.restore(&file).await.unwrap();
        assert_eq!(everything(&*copy).await, before);
        assert_eq!(copy.verify().await.unwrap(), Vec::<String>::new());
        let again = folder.path().join("again.jsonl");
        copy.backup(&again).await.unwrap();
        assert_eq!(
            std::fs::read(&again).unwrap(),
            std::fs::read(&file).unwrap(),
            "byte for byte"
        );

        // The copy is a store like any other: it goes on where the first one stood.
        add(&*copy, vec![task("c", "later")]).await;
        assert!(
            copy.load(Stream::Task(task_id("later")))
                .await
                .unwrap()
                .is_some()
        );
        copy.commit(Commit {
            leaves: vec![b"later".to_vec()],
            ..Commit::default()
        })
        .await
        .unwrap();
        assert_eq!(
            copy.pending_leaves(999).await.unwrap().last().unwrap().leaf,
            b"later"
        );
    }
}

pub(crate) async fn a_store_that_holds_something_is_not_restored_into(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    let store = filled(&place).await;
    store.backup(&file).await.unwrap();
    let before = everything(&*store).await;
    assert!(matches!(
        store.restore(&file).await,
        Err(StoreError::NotEmpty)
    ));
    assert_eq!(everything(&*store).await, before);
}

pub(crate) async fn a_cut_or_changed_backup_leaves_the_store_empty(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    filled(&Place::sqlite()).await.backup(&file).await.unwrap();
    let whole = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let last = lines.len() as u64;

    let store = place.open().await;
    let without_end = lines[..lines.len() - 1].join("\n") + "\n";
    refused(&*store, &file, &without_end, last).await;
    refused(
        &*store,
        &file,
        &whole[..whole.len() / 2],
        lines_in(&whole[..whole.len() / 2]),
    )
    .await;
    refused(
        &*store,
        &file,
        &whole.replace("person:ann", "person:eve"),
        last,
    )
    .await;
    refused(&*store, &file, &format!("{whole}{{}}\n"), last).await;
    refused(&*store, &file, "{\"format\":\"other\"}\n", 1).await;
    refused(&*store, &file, "", 1).await;
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    refused(&*store, &file, &(swapped.join("\n") + "\n"), last).await;
    let mut doubled = lines.clone();
    doubled.insert(2, lines[2]);
    refused(&*store, &file, &(doubled.join("\n") + "\n"), 0).await;

    std::fs::write(&file, &whole).unwrap();
    store.restore(&file).await.unwrap();
}

fn lines_in(text: &str) -> u64 {
    text.matches('\n').count() as u64 + 1
}

/// Restores a file that is not as it was written; 0 stands for any line.
async fn refused(store: &dyn Store, file: &Path, text: &str, line: u64) {
    std::fs::write(file, text).unwrap();
    let result = store.restore(file).await;
    match result {
        Err(StoreError::InvalidBackup { line: found, .. }) if line == 0 || line == found => {}
        other => panic!("expected a complaint about line {line}: {other:?}"),
    }
    let tasks = store.count_tasks(TaskFilter::default()).await.unwrap();
    let events = store
        .events(EventFilter::default(), Page::first(9))
        .await
        .unwrap();
    assert_eq!((tasks, events.len()), (0, 0));
}
