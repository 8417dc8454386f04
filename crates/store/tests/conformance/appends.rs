use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use model::rows::Stream;
use model::task::TaskStatus;
use store::{Append, Commit, Committed, DocumentWrite, Loaded, StoreError};

use crate::make::{
    add, append, at, campaign, claim, commit, effect, event, next, run, task, task_id,
};
use crate::place::Place;

pub(crate) async fn facts_come_back_in_order_with_the_newest_state(place: Place) {
    let store = place.open().await;
    let facts: Vec<String> = (1..=5).map(|n| format!("{{\"n\":{n}}}")).collect();
    let first = Append {
        facts: facts[..3].to_vec(),
        ..append(task("c", "a"), 0)
    };
    let second = Append {
        facts: facts[3..].to_vec(),
        state: "{\"last\":true}".to_owned(),
        ..append(task("c", "a"), 3)
    };
    store.commit(commit(vec![first])).await.unwrap();
    store.commit(commit(vec![second])).await.unwrap();

    let stream = Stream::Task(task_id("a"));
    let read = store.facts(stream, 0, 10).await.unwrap();
    assert_eq!(
        read.iter().map(|fact| fact.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        read.into_iter().map(|fact| fact.fact).collect::<Vec<_>>(),
        facts
    );
    assert_eq!(
        store
            .facts(stream, 2, 2)
            .await
            .unwrap()
            .iter()
            .map(|fact| fact.seq)
            .collect::<Vec<_>>(),
        [3, 4]
    );
    let loaded = store.load(stream).await.unwrap().unwrap();
    assert_eq!(
        (
            loaded.state.as_str(),
            loaded.seq,
            loaded.epoch,
            loaded.owner
        ),
        ("{\"last\":true}", 5, 0, None)
    );
    assert!(
        store
            .load(Stream::Task(task_id("b")))
            .await
            .unwrap()
            .is_none()
    );
}

pub(crate) async fn an_append_at_a_stale_sequence_number_changes_nothing(place: Place) {
    let store = place.open().await;
    add(&*store, vec![task("c", "a")]).await;
    for expected in [0, 2] {
        let stale = Commit {
            event: Some(event("e")),
            appends: vec![append(task("c", "b"), 0), append(task("c", "a"), expected)],
            effects: vec![effect("x", "lane", at(0))],
            documents: vec![DocumentWrite {
                kind: "k".into(),
                key: "a".into(),
                body: Some("1".into()),
            }],
            leaves: vec![b"leaf".to_vec()],
            ..Commit::default()
        };
        let refused = store.commit(stale).await;
        assert!(
            matches!(&refused, Err(StoreError::Conflict { what }) if *what == task_id("a").to_string()),
            "{refused:?}"
        );
    }
    assert!(store.event(event("e").id).await.unwrap().is_none());
    assert!(
        store
            .load(Stream::Task(task_id("b")))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.pending_effects(at(1)).await.unwrap(), 0);
    assert!(store.document("k", "a").await.unwrap().is_none());
    assert_eq!(store.ledger_state().await.unwrap().pending, 0);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn an_append_under_a_stale_epoch_is_fenced(place: Place) {
    let store = place.open().await;
    add(&*store, vec![campaign("c")]).await;
    add(&*store, vec![task("c", "a")]).await;
    let claimed = store.claim(claim("runner", 1)).await.unwrap().remove(0);
    assert_eq!(
        (claimed.task, claimed.seq, claimed.epoch),
        (task_id("a"), 1, 1)
    );
    let running = model::rows::TaskRow {
        status: TaskStatus::Running,
        ..task("c", "a")
    };
    for epoch in [0, 2] {
        let stale = Append {
            epoch: Some(epoch),
            ..next(running.clone(), &claimed)
        };
        let refused = store.commit(commit(vec![stale])).await;
        assert!(
            matches!(refused, Err(StoreError::Fenced { .. })),
            "{refused:?}"
        );
    }
    store
        .commit(commit(vec![next(running, &claimed)]))
        .await
        .unwrap();
    let Loaded {
        seq, epoch, owner, ..
    } = store
        .load(Stream::Task(task_id("a")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((seq, epoch, owner.as_deref()), (2, 1, Some("runner")));
}

pub(crate) async fn one_bad_commit_among_many_fails_alone(place: Place) {
    let store = place.open().await;
    add(&*store, vec![task("c", "taken")]).await;
    let mut waiting = Vec::new();
    for n in 0..200 {
        let store = Arc::clone(&store);
        let name = if n % 10 == 3 {
            "taken".to_owned()
        } else {
            format!("task-{n}")
        };
        waiting.push(tokio::spawn(async move {
            let other = append(task("c", &format!("beside-{n}")), 0);
            (
                n,
                store
                    .commit(commit(vec![other, append(task("c", &name), 0)]))
                    .await,
            )
        }));
    }
    for one in waiting {
        let (n, result) = one.await.unwrap();
        let beside = store
            .load(Stream::Task(task_id(&format!("beside-{n}"))))
            .await
            .unwrap();
        if n % 10 == 3 {
            assert!(
                matches!(result, Err(StoreError::Conflict { .. })),
                "{result:?}"
            );
            assert!(beside.is_none(), "nothing of a refused commit may stay");
        } else {
            assert_eq!(result.unwrap(), Committed::Applied);
            assert!(beside.is_some());
        }
    }
}

pub(crate) async fn of_two_writers_of_one_sequence_number_exactly_one_wins(place: Place) {
    const STREAMS: usize = 4;
    const EACH: u32 = 60;
    let stores = place.open_two().await;
    for n in 0..STREAMS {
        add(&*stores[0], vec![task("c", &format!("s{n}"))]).await;
    }
    let won = Arc::new(AtomicU32::new(0));
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = Arc::clone(&stores[writer % 2]);
        let won = Arc::clone(&won);
        writers.push(tokio::spawn(async move {
            for turn in 0..EACH {
                let name = format!("s{}", turn as usize % STREAMS);
                let stream = Stream::Task(task_id(&name));
                let seq = store.load(stream).await.unwrap().unwrap().seq;
                let facts = vec![format!("{{\"writer\":{writer},\"turn\":{turn}}}")];
                let append = Append {
                    facts,
                    ..append(task("c", &name), seq)
                };
                match store.commit(commit(vec![append])).await {
                    Ok(_) => won.fetch_add(1, Ordering::Relaxed),
                    Err(StoreError::Conflict { .. }) => 0,
                    Err(error) => panic!("{error}"),
                };
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut stored = Vec::new();
    for n in 0..STREAMS {
        let facts = stores[0]
            .facts(Stream::Task(task_id(&format!("s{n}"))), 0, 10_000)
            .await
            .unwrap();
        assert!(
            facts
                .iter()
                .enumerate()
                .all(|(at, fact)| fact.seq == at as u64 + 1)
        );
        stored.extend(facts.into_iter().skip(1).map(|fact| fact.fact));
    }
    let total = stored.len();
    stored.sort();
    stored.dedup();
    assert_eq!(stored.len(), total, "no fact is stored twice");
    assert_eq!(
        total as u32,
        won.load(Ordering::Relaxed),
        "every fact that was acknowledged is there"
    );
    assert!(total as u32 >= EACH);
}

pub(crate) async fn an_append_that_contradicts_itself_is_refused(place: Place) {
    let store = place.open().await;
    let empty = Append {
        facts: Vec::new(),
        ..append(task("c", "a"), 0)
    };
    let other = Append {
        stream: Stream::Task(task_id("b")),
        ..append(task("c", "a"), 0)
    };
    for bad in [empty, other] {
        let refused = store.commit(commit(vec![bad])).await;
        assert!(
            matches!(refused, Err(StoreError::Malformed(_))),
            "{refused:?}"
        );
    }
}

pub(crate) async fn everything_is_there_after_a_reopen(place: Place) {
    let store = place.open().await;
    let all = Commit {
        event: Some(event("e")),
        appends: vec![
            append(campaign("c"), 0),
            append(run("r"), 0),
            append(task("c", "a"), 0),
        ],
        effects: vec![effect("x", "lane", at(0))],
        documents: vec![DocumentWrite {
            kind: "k".into(),
            key: "a".into(),
            body: Some("1".into()),
        }],
        leaves: vec![b"leaf".to_vec()],
        ..Commit::default()
    };
    store.commit(all).await.unwrap();
    assert_eq!(store.claim(claim("runner", 5)).await.unwrap().len(), 1);
    drop(store);

    let store = place.open().await;
    assert_eq!(store.event(event("e").id).await.unwrap(), Some(event("e")));
    assert_eq!(
        store.campaign(campaign("c").id).await.unwrap(),
        Some(campaign("c"))
    );
    assert_eq!(
        store.runs(None, store::Page::first(9)).await.unwrap(),
        [run("r")]
    );
    let tasks = store
        .tasks(
            store::TaskFilter::default(),
            store::TaskOrder::Newest,
            store::Page::first(9),
        )
        .await;
    assert_eq!(tasks.unwrap(), [task("c", "a")]);
    assert_eq!(store.leases().await.unwrap()[0].owner, "runner");
    assert_eq!(store.pending_effects(at(0)).await.unwrap(), 1);
    assert_eq!(store.document("k", "a").await.unwrap().unwrap().body, "1");
    assert_eq!(store.pending_leaves(9).await.unwrap()[0].leaf, b"leaf");
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn a_change_wakes_whoever_waits(place: Place) {
    let [here, there] = place.open_two().await;
    // Whatever opening left behind is heard first.
    let heard = tokio::spawn(async move {
        here.changed().await;
        here
    });
    add(&*there, vec![task("c", "a")]).await;
    let here = heard.await.unwrap();
    // A change during work, before the wait begins, is remembered.
    add(&*here, vec![task("c", "b")]).await;
    here.changed().await;
}
