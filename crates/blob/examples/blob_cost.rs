//! What storing costs here: `cargo run --release -p blob --example blob_cost [FOLDER]`.

#![expect(clippy::print_stdout, reason = "prints figures")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use blob::BlobStore;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let mut start = Instant::now();
    let mut lap = |what: &str, times: u32| {
        println!("{what}: {:.1?} each", start.elapsed() / times);
        start = Instant::now();
    };
    let store = BlobStore::open(dir.path())?;
    lap("first open", 1);
    drop(BlobStore::open(dir.path())?);
    lap("later open", 1);
    let batch = |n: u32| (0..4_u32).map(move |k| [n, k].map(u32::to_be_bytes).concat().repeat(100));
    for n in 0..400 {
        store.put_batch(&batch(n).collect::<Vec<_>>())?;
    }
    lap("a batch of 4 new blobs of 800 bytes", 400);
    for n in 0..400 {
        store.put_batch(&batch(n).collect::<Vec<_>>())?;
    }
    lap("a batch of 4 blobs already stored", 400);
    for n in 1000..1400 {
        for content in batch(n) {
            store.put(&content)?;
        }
    }
    lap("4 new blobs one by one", 400);
    Ok(())
}
