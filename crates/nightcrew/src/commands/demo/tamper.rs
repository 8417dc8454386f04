//! One bit of a copy of the ledger is flipped, and found.

use std::path::Path;

use ledger::{Entry, Evidence, Hash, SignedCheckpoint, SigningKey};
use store::OpenOptions;

use crate::data_dir::DataDir;
use crate::failure::{Doing, Failure};

const COPY: &str = "ledger-copy";

/// What was done to the copy, and what verification said.
pub(super) struct Tampering {
    pub(super) entries: usize,
    pub(super) flipped: usize,
    pub(super) untouched: bool,
    pub(super) finding: Option<String>,
    /// The checkpoint kept from before.
    pub(super) checkpoint: String,
}

impl Tampering {
    /// Whether only the flipped bit was complained of.
    pub(super) fn was_found(&self) -> bool {
        self.untouched && self.finding.is_some()
    }
}

/// Copies the database of a control plane that does not run.
pub(super) fn copy(data_dir: &DataDir) -> Result<(), Failure> {
    let folder = data_dir.root().join(COPY);
    std::fs::create_dir_all(&folder).doing(format_args!("make {}", folder.display()))?;
    let database = data_dir.database();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = database.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        let from = database.with_file_name(&name);
        if from.exists() {
            std::fs::copy(&from, folder.join(&name))
                .doing(format_args!("copy {}", from.display()))?;
        }
    }
    Ok(())
}

/// Verifies the copy as it is, flips one bit in the middle, and verifies again.
pub(super) async fn flip_one_bit(data_dir: &DataDir, root: &Path) -> Result<Tampering, Failure> {
    let folder = root.join(COPY);
    let address = format!("sqlite:{}", folder.join("nightcrew.sqlite").display());
    let copy = store::open(&address, OpenOptions { backup_dir: None }).await?;
    let rows = copy.ledger_entries(0, u32::MAX).await?;
    let stored: Vec<String> = copy
        .checkpoints(0, u32::MAX)
        .await?
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    drop(copy);
    let key = SigningKey::load_or_create(&data_dir.ledger_key(), "nightcrew")
        .doing("load the ledger's key")?
        .verifier();
    let checkpoint = stored
        .last()
        .cloned()
        .ok_or_else(|| Failure::new("the ledger has no checkpoint yet"))?;
    let elsewhere = [SignedCheckpoint::parse(&checkpoint).doing("read a checkpoint")?];
    let evidence = Evidence {
        key: &key,
        stored: &stored,
        elsewhere: &elsewhere,
    };
    let mut entries: Vec<Entry> = rows
        .into_iter()
        .map(|row| Entry {
            index: row.index,
            leaf: row.leaf,
            hash: Hash::from_bytes(row.hash),
            payload: None,
        })
        .collect();
    let verify = |entries: &[Entry]| {
        let entries = entries
            .iter()
            .cloned()
            .map(Ok::<_, std::convert::Infallible>);
        ledger::verify(entries, &evidence)
    };
    let untouched = verify(&entries).is_ok();
    let flipped = entries.len() / 2;
    if let Some(byte) = entries
        .get_mut(flipped)
        .and_then(|entry| entry.leaf.get_mut(20))
    {
        *byte ^= 1;
    }
    let finding = verify(&entries).err().map(|finding| finding.to_string());
    let _ = std::fs::remove_dir_all(&folder);
    Ok(Tampering {
        entries: entries.len(),
        flipped,
        untouched,
        finding,
        checkpoint,
    })
}
