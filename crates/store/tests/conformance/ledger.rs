use std::sync::Arc;

use store::{Commit, Document, DocumentWrite, LedgerEntry, Sequenced, Store, StoreError};

use crate::place::Place;

async fn sequenced(store: &dyn Store, limit: u32) -> Sequenced {
    let state = store.ledger_state().await.unwrap();
    let pending = store.pending_leaves(limit).await.unwrap();
    let entries: Vec<LedgerEntry> = (state.size..)
        .zip(&pending)
        .map(|(index, leaf)| LedgerEntry {
            index,
            leaf: leaf.leaf.clone(),
            hash: [index as u8; 32],
        })
        .collect();
    let size = state.size + entries.len() as u64;
    Sequenced {
        expected_size: state.size,
        rows: pending.iter().map(|leaf| leaf.row).collect(),
        entries,
        frontier: size.to_be_bytes().to_vec(),
        checkpoint: format!("checkpoint {size}"),
    }
}

pub(crate) async fn leaves_are_numbered_once_without_gaps(place: Place) {
    let stores = place.open_two().await;
    for n in 0..50_u8 {
        let leaves = vec![vec![n, 0], vec![n, 1]];
        stores[0]
            .commit(Commit {
                leaves,
                ..Commit::default()
            })
            .await
            .unwrap();
    }
    let stale = sequenced(&*stores[0], 10).await;
    let mut sequencers = Vec::new();
    for n in 0..4 {
        let store = Arc::clone(&stores[n % 2]);
        sequencers.push(tokio::spawn(async move {
            while store.ledger_state().await.unwrap().pending > 0 {
                match store.sequence(sequenced(&*store, 7).await).await {
                    Ok(()) | Err(StoreError::Conflict { .. }) => {}
                    // State and leaves are read one after the other, so they may be of two moments.
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for sequencer in sequencers {
        sequencer.await.unwrap();
    }
    let refused = stores[0].sequence(stale).await;
    assert!(
        matches!(&refused, Err(StoreError::Conflict { what }) if what == "ledger"),
        "{refused:?}"
    );

    let state = stores[1].ledger_state().await.unwrap();
    assert_eq!((state.size, state.pending), (100, 0));
    assert_eq!(state.frontier, 100_u64.to_be_bytes());
    assert_eq!(state.checkpoint.as_deref(), Some("checkpoint 100"));
    let entries = stores[0].ledger_entries(0, 1000).await.unwrap();
    assert!(
        entries
            .iter()
            .enumerate()
            .all(|(at, entry)| entry.index == at as u64)
    );
    let leaves: Vec<Vec<u8>> = entries.iter().map(|entry| entry.leaf.clone()).collect();
    let expected: Vec<Vec<u8>> = (0..50_u8).flat_map(|n| [vec![n, 0], vec![n, 1]]).collect();
    assert_eq!(
        leaves, expected,
        "in the order in which they were committed"
    );
    assert_eq!(
        stores[0].ledger_entries(98, 10).await.unwrap(),
        entries[98..]
    );
    let checkpoints = stores[0].checkpoints(50, 1000).await.unwrap();
    assert!(
        checkpoints
            .iter()
            .all(|(size, text)| *size >= 50 && *text == format!("checkpoint {size}"))
    );
    assert_eq!(checkpoints.last().unwrap().0, 100);
    assert_eq!(stores[0].verify().await.unwrap(), Vec::<String>::new());

    let gap = LedgerEntry {
        index: 101,
        leaf: vec![1],
        hash: [0; 32],
    };
    let gap = Sequenced {
        entries: vec![gap],
        rows: vec![1],
        ..sequenced(&*stores[0], 1).await
    };
    assert!(matches!(
        stores[0].sequence(gap).await,
        Err(StoreError::Malformed(_))
    ));
}

pub(crate) async fn documents_are_written_listed_and_deleted(place: Place) {
    let store = place.open().await;
    let write = |kind: &str, key: &str, body: Option<&str>| DocumentWrite {
        kind: kind.to_owned(),
        key: key.to_owned(),
        body: body.map(str::to_owned),
    };
    let documents = vec![
        write("repository", "b", Some("1")),
        write("repository", "B", Some("2")),
        write("repository", "a", Some("3")),
        write("repository", "ä", Some("4")),
        write("automation", "a", Some("5")),
        write("repository", "gone", Some("6")),
        write("repository", "gone", None),
        write("repository", "a", Some("7")),
    ];
    store
        .commit(Commit {
            documents,
            ..Commit::default()
        })
        .await
        .unwrap();
    let document = |key: &str, body: &str| Document {
        key: key.to_owned(),
        body: body.to_owned(),
    };
    assert_eq!(
        store.document("repository", "a").await.unwrap(),
        Some(document("a", "7"))
    );
    assert_eq!(store.document("repository", "gone").await.unwrap(), None);
    let all = [
        document("B", "2"),
        document("a", "7"),
        document("b", "1"),
        document("ä", "4"),
    ];
    assert_eq!(
        store.documents("repository", "", 9).await.unwrap(),
        all,
        "keys are ordered by their bytes"
    );
    assert_eq!(
        store.documents("repository", "a", 1).await.unwrap(),
        all[2..3]
    );
}
