//! What the fuzzer checks, over its corpus and over changed copies of it.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed step fails the test"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../fuzz/checks.rs"]
mod checks;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has a corpus");
    files
        .into_iter()
        .map(|file| fs::read(file).unwrap())
        .collect()
}

/// Carries a check out over the corpus, then over copies with bytes put in, changed and taken away.
fn check(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|data| check(data));
    let changes = prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..8);
    let mut runner = proptest::test_runner::TestRunner::default();
    let inputs = (any::<Index>(), any::<Index>(), changes);
    let outcome = runner.run(&inputs, |(one, other, changes)| {
        let mut data = one.get(&corpus).clone();
        for (place, byte, kind) in changes {
            let at = place.index(data.len() + 1);
            match kind {
                0 => data.insert(at, byte),
                1 if at < data.len() => data[at] = byte,
                2 if at < data.len() => drop(data.remove(at)),
                _ => data.extend_from_slice(
                    &other.get(&corpus)[..place.index(other.get(&corpus).len() + 1)],
                ),
            }
        }
        check(&data);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn hosts() {
    check("host", checks::host);
}

#[test]
fn requests() {
    check("request", checks::request);
}

#[test]
fn questions() {
    check("dns", checks::dns);
}

#[test]
fn placeholders() {
    check("placeholder", checks::placeholder);
}

#[test]
fn pushes() {
    check("git", checks::git);
}

#[test]
fn masks() {
    check("mask", checks::mask);
}
