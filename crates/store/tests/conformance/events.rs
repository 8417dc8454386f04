use std::sync::Arc;

use model::event::Event;
use model::rows::Stream;
use store::{Commit, Committed, EventFilter, Page};

use crate::make::{append, at, effect, event, run, run_id};
use crate::place::Place;

fn admission(key: &str) -> Commit {
    Commit {
        event: Some(event(key)),
        appends: vec![append(run(key), 0)],
        effects: vec![effect(key, key, at(0))],
        leaves: vec![key.as_bytes().to_vec()],
        ..Commit::default()
    }
}

pub(crate) async fn an_event_seen_before_applies_nothing(place: Place) {
    let store = place.open().await;
    assert_eq!(
        store.commit(admission("e")).await.unwrap(),
        Committed::Applied
    );
    let again = Commit {
        appends: vec![append(run("other"), 0)],
        leaves: vec![b"x".to_vec()],
        ..admission("e")
    };
    assert_eq!(store.commit(again).await.unwrap(), Committed::Duplicate);
    assert!(
        store
            .load(Stream::Run(run_id("other")))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.ledger_state().await.unwrap().pending, 1);
    assert_eq!(
        store.runs(Some("e"), Page::first(9)).await.unwrap().len(),
        1
    );
    assert_eq!(store.event(event("e").id).await.unwrap(), Some(event("e")));
}

pub(crate) async fn an_event_offered_by_many_at_once_is_admitted_once(place: Place) {
    let stores = place.open_two().await;
    let offers: Vec<_> = (0..64)
        .map(|n| {
            let store = Arc::clone(&stores[n % 2]);
            tokio::spawn(async move {
                store
                    .commit(admission(&format!("e{}", n % 8)))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut applied = 0;
    for offer in offers {
        applied += usize::from(offer.await.unwrap() == Committed::Applied);
    }
    assert_eq!(applied, 8);
    assert_eq!(
        stores[0].runs(None, Page::first(99)).await.unwrap().len(),
        8
    );
    assert_eq!(stores[0].pending_effects(at(0)).await.unwrap(), 8);
}

pub(crate) async fn events_are_listed_newest_first_by_filter(place: Place) {
    let store = place.open().await;
    let mut all: Vec<Event> = Vec::new();
    for n in 0..20 {
        let mut one = event(&format!("e{n}"));
        one.event_type = if n % 2 == 0 {
            "push".to_owned()
        } else {
            "comment".to_owned()
        };
        one.subject.repository = (n % 5 != 0).then(|| format!("group/{}", n % 5));
        store
            .commit(Commit {
                event: Some(one.clone()),
                ..Commit::default()
            })
            .await
            .unwrap();
        all.insert(0, one);
    }
    let page = |offset, limit| Page { offset, limit };
    let none = EventFilter::default();
    assert_eq!(store.events(none.clone(), page(0, 99)).await.unwrap(), all);
    assert_eq!(
        store.events(none.clone(), page(3, 4)).await.unwrap(),
        all[3..7]
    );
    let before = EventFilter {
        before: Some(all[9].id),
        ..none.clone()
    };
    assert_eq!(store.events(before, page(0, 3)).await.unwrap(), all[10..13]);
    let filter = EventFilter {
        event_type: Some("push".into()),
        repository: Some("group/2".into()),
        ..none
    };
    let expected: Vec<Event> = all
        .iter()
        .filter(|one| {
            one.event_type == "push" && one.subject.repository.as_deref() == Some("group/2")
        })
        .cloned()
        .collect();
    assert_eq!(expected.len(), 2);
    assert_eq!(store.events(filter, page(0, 99)).await.unwrap(), expected);
}
