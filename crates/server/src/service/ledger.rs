//! The ledger: leaves get their indices, and everything can be verified.

use ::ledger::{Entry, Evidence, Finding, Hash, SignedCheckpoint, Tree};
use model::egress::EgressBatch;
use model::exec::ExecBatch;
use model::rows::Stream;
use serde::{Deserialize, Serialize};
use store::{LedgerEntry, Sequenced, StoreError};

use super::batches::document_of;
use super::{Service, Update};
use crate::error::ServiceError;

/// Leaves sequenced in one go.
const BATCH: u32 = 2000;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    /// Whether everything agrees.
    pub verified: bool,
    /// Entries looked at.
    pub entries: u64,
    /// Root over them, in hexadecimal.
    pub root: String,
    /// Checkpoints that agreed.
    pub checkpoints: u64,
    /// Payloads (facts) compared with their leaves.
    pub payloads: u64,
    /// The first thing that is wrong, in words.
    pub finding: Option<String>,
}

impl Service {
    /// Gives waiting leaves their indices. Returns how many.
    ///
    /// # Errors
    /// When the store fails; a sequencer of another replica being faster is no error.
    pub async fn sequence(&self) -> Result<usize, ServiceError> {
        let pending = self.store.pending_leaves(BATCH).await?;
        if pending.is_empty() {
            return Ok(0);
        }
        let state = self.store.ledger_state().await?;
        let tree = if state.frontier.is_empty() {
            Tree::new()
        } else {
            Tree::from_bytes(&state.frontier)
                .map_err(|error| ServiceError::Damaged(error.to_string()))?
        };
        if let Some(text) = &state.checkpoint {
            agree(&tree, text)?;
        }
        let sequenced = ::ledger::sequence(&tree, pending.iter().map(|leaf| &leaf.leaf), &self.key);
        let count = pending.len();
        let rows = pending.iter().map(|leaf| leaf.row).collect();
        let entries = (sequenced.first_index..)
            .zip(pending)
            .zip(&sequenced.hashes);
        let entries = entries
            .map(|((index, leaf), hash)| LedgerEntry {
                index,
                leaf: leaf.leaf,
                hash: *hash.as_bytes(),
            })
            .collect();
        let size = sequenced.tree.size();
        let write = Sequenced {
            expected_size: state.size,
            rows,
            entries,
            frontier: sequenced.tree.to_bytes(),
            checkpoint: sequenced.checkpoint.to_string(),
        };
        fault::point("sequence.before_commit");
        match self.store.sequence(write).await {
            Ok(()) => {
                fault::point("sequence.after_commit");
                self.publish(Update::Ledger { size });
                Ok(count)
            }
            Err(StoreError::Conflict { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sequences everything that waits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sequence_all(&self) -> Result<(), ServiceError> {
        while self.sequence().await? > 0 {}
        Ok(())
    }

    /// The key by which checkpoints are verified, in the form of C2SP signed-note.
    #[must_use]
    pub fn ledger_key(&self) -> String {
        self.key.verifier().to_string()
    }

    /// Verifies the whole ledger against its stored checkpoints, the facts that its leaves stand
    /// for, and `earlier` checkpoints kept elsewhere.
    ///
    /// # Errors
    /// When the store cannot be read, or an earlier checkpoint is none; a finding is no error.
    pub async fn verify_ledger(&self, earlier: &[String]) -> Result<LedgerReport, ServiceError> {
        verify(self.store.as_ref(), &self.key.verifier(), earlier).await
    }
}

/// Verifies the ledger in a store; for servers, and for offline copies.
///
/// # Errors
/// As [`Service::verify_ledger`].
pub async fn verify(
    store: &dyn store::Store,
    key: &::ledger::VerifierKey,
    earlier: &[String],
) -> Result<LedgerReport, ServiceError> {
    let mut elsewhere = Vec::new();
    for text in earlier {
        let checkpoint = SignedCheckpoint::parse(text).map_err(|error| {
            ServiceError::Invalid(format!("the earlier checkpoint is none: {error}"))
        })?;
        elsewhere.push(checkpoint);
    }
    let stored: Vec<String> = store
        .checkpoints(0, u32::MAX)
        .await?
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let mut entries: Vec<Result<Entry, StoreError>> = Vec::new();
    let mut from = 0;
    loop {
        let page = store.ledger_entries(from, 5000).await?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for entry in page {
            let payload = payload_of(store, &entry.leaf).await?;
            entries.push(Ok(Entry {
                index: entry.index,
                leaf: entry.leaf,
                hash: Hash::from_bytes(entry.hash),
                payload,
            }));
        }
    }
    let count = entries.len() as u64;
    let evidence = Evidence {
        key,
        stored: &stored,
        elsewhere: &elsewhere,
    };
    Ok(match ::ledger::verify(entries, &evidence) {
        Ok(verified) => LedgerReport {
            verified: true,
            entries: verified.entries,
            root: verified.root.to_string(),
            checkpoints: verified.checkpoints as u64,
            payloads: verified.payloads,
            finding: None,
        },
        Err(finding) => LedgerReport {
            verified: false,
            entries: count,
            root: String::new(),
            checkpoints: 0,
            payloads: 0,
            finding: Some(describe(&finding)),
        },
    })
}

/// The fact that a leaf stands for, where it is a fact of a stream, or the document.
async fn payload_of(
    store: &dyn store::Store,
    leaf: &[u8],
) -> Result<Option<Vec<u8>>, ServiceError> {
    let Ok(leaf) = ::ledger::Leaf::parse(leaf) else {
        return Ok(None);
    };
    let heading = leaf.heading();
    let document = document_of::<ExecBatch>(heading);
    if let Some((kind, key)) = document.or_else(|| document_of::<EgressBatch>(heading)) {
        let document = store.document(kind, &key).await?;
        return Ok(document.map(|document| document.body.into_bytes()));
    }
    let subject = &heading.subject;
    let stream = if let Ok(id) = subject.parse() {
        Stream::Task(id)
    } else if let Ok(id) = subject.parse() {
        Stream::Campaign(id)
    } else if let Ok(id) = subject.parse() {
        Stream::Run(id)
    } else {
        return Ok(None);
    };
    let Some(after) = heading.seq.checked_sub(1) else {
        return Ok(None);
    };
    let facts = store.facts(stream, after, 1).await?;
    Ok(facts
        .into_iter()
        .next()
        .filter(|fact| fact.seq == heading.seq)
        .map(|fact| fact.fact.into_bytes()))
}

fn agree(tree: &Tree, checkpoint: &str) -> Result<(), ServiceError> {
    let checkpoint = SignedCheckpoint::parse(checkpoint)
        .map_err(|error| ServiceError::Damaged(error.to_string()))?;
    let checkpoint = checkpoint.unverified();
    if checkpoint.size != tree.size() || checkpoint.root != tree.root() {
        let text = "the ledger's frontier does not agree with its newest checkpoint; run `nightcrew ledger verify`";
        return Err(ServiceError::Damaged(text.to_owned()));
    }
    Ok(())
}

fn describe(finding: &Finding) -> String {
    finding.to_string()
}
