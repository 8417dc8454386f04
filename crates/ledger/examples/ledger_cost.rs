//! What the ledger costs here: `cargo run --release -p ledger --example ledger_cost`.

#![expect(clippy::print_stdout, reason = "prints figures")]

use std::convert::Infallible;
use std::error::Error;
use std::time::Instant;

use ledger::{
    Entry, Evidence, Hash, Heading, Leaf, SigningKey, Tree, inclusion_proof, sequence, verify,
    verify_inclusion,
};

const LEAVES: u64 = 500_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut start = Instant::now();
    let mut lap = |what: &str, times: u64| {
        let each = start.elapsed().as_secs_f64() / times as f64;
        println!("{what}: {:.2} µs each, {:.0}/s", each * 1e6, 1.0 / each);
        start = Instant::now();
    };
    let payload = [b'x'; 200];
    let leaves: Vec<Vec<u8>> = (0..LEAVES)
        .map(|n| {
            let heading = Heading {
                kind: "task.prepared".into(),
                at: 1_760_000_000_000_000 + n,
                actor: "automation:travis-to-actions".into(),
                scope: "org/platform".into(),
                subject: format!("task:{n}"),
                seq: 3,
            };
            Ok(Leaf::new(heading, &payload, [n as u8; 32])?.to_bytes())
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    lap("make a leaf", LEAVES);
    let mut tree = Tree::new();
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| tree.push(leaf)).collect();
    lap("push a leaf", LEAVES);
    let key = SigningKey::generate("nightcrew.example/ledger")?;
    lap("make a key", 1);
    let mut tree = Tree::new();
    let mut stored = Vec::new();
    for batch in leaves.chunks(100) {
        let sequenced = sequence(&tree, batch, &key);
        stored.push(sequenced.checkpoint.to_string());
        tree = sequenced.tree;
    }
    lap("sequence and sign a leaf in batches of 100", LEAVES);
    let verifier = key.verifier();
    let evidence = Evidence {
        key: &verifier,
        stored: &stored,
        elsewhere: &[],
    };
    let entries = (0..).zip(leaves).zip(&hashes).map(|((index, leaf), hash)| {
        Ok::<_, Infallible>(Entry {
            index,
            leaf,
            hash: *hash,
            payload: Some(payload.to_vec()),
        })
    });
    let verified = verify(entries, &evidence)?;
    lap(
        "verify an entry with payload, a checkpoint per 100",
        verified.entries,
    );
    let proof = inclusion_proof(&hashes[..], LEAVES / 3, LEAVES)?;
    lap("prove inclusion from leaf hashes", 1);
    verify_inclusion(
        &hashes[(LEAVES / 3) as usize],
        LEAVES / 3,
        LEAVES,
        &proof,
        &verified.root,
    )?;
    lap("check a proof", 1);
    Ok(())
}
