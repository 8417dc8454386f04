//! The whole corpus of real `.travis.yml` files: nothing panics, nothing is dropped, every output
//! is a valid workflow, and the job sets are equal.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test reports by failing and printing"
)]

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use pack_ci::{Options, Outcome, check_workflow, convert};

fn archive() -> Option<PathBuf> {
    let shared = std::env::var_os("NIGHTCREW_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = shared.join("data/travis-configs.tar.gz");
    if path.exists() {
        return Some(path);
    }
    if std::env::var("NIGHTCREW_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        panic!("{} is not there", path.display());
    }
    println!("SKIP corpus: {} is not there", path.display());
    None
}

fn files(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::File::open(archive).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.header().entry_type().is_file())
        .filter_map(|mut entry| {
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            name.ends_with(".yml").then_some((name, bytes))
        })
        .collect()
}

#[derive(Default)]
struct Statistics {
    converted: usize,
    refused: Vec<String>,
    unequal: Vec<String>,
    with_matrix: usize,
    unequal_with_matrix: usize,
    problems: Vec<String>,
    automatic: usize,
    automatic_but_secrets: usize,
    leaves: [usize; 3],
    secret_leaves: usize,
    not_understood: usize,
    reasons: BTreeMap<String, usize>,
}

#[test]
fn every_real_file_is_accounted_for_and_keeps_its_jobs() {
    let Some(archive) = archive() else { return };
    let files = files(&archive);
    let mut statistics = Statistics::default();
    let options = Options::default();
    let start = Instant::now();
    let mut slowest = (std::time::Duration::ZERO, String::new());
    for (name, bytes) in &files {
        let one = Instant::now();
        look_at(
            name,
            &String::from_utf8_lossy(bytes),
            &options,
            &mut statistics,
        );
        if one.elapsed() > slowest.0 {
            slowest = (one.elapsed(), name.clone());
        }
    }
    let elapsed = start.elapsed();
    report(&statistics, files.len(), elapsed, &slowest);
    assert!(files.len() > 6000);
    assert!(statistics.refused.len() <= 63, "at most 1 % may be refused");
    assert_eq!(statistics.problems, Vec::<String>::new());
    assert!(statistics.unequal.len() * 100 <= statistics.converted);
    assert!(elapsed.as_secs() < 60);
}

fn look_at(name: &str, text: &str, options: &Options, statistics: &mut Statistics) {
    let made = match convert(text, options) {
        Ok(made) => made,
        Err(error) => {
            statistics.refused.push(format!("{name}: {error}"));
            return;
        }
    };
    statistics.converted += 1;
    for problem in check_workflow(&made.workflow) {
        statistics
            .problems
            .push(format!("{name}:{}: {}", problem.line, problem.message));
    }
    let matrix = made.jobs_source.len() > 1;
    statistics.with_matrix += usize::from(matrix);
    if !made.equal {
        statistics.unequal.push(name.to_owned());
        statistics.unequal_with_matrix += usize::from(matrix);
    }
    statistics.automatic += usize::from(made.manual == 0);
    statistics.automatic_but_secrets += usize::from(made.manual == made.manual_secrets);
    statistics.secret_leaves += made.manual_secrets;
    for entry in &made.accounting {
        statistics.leaves[entry.outcome as usize] += 1;
        statistics.not_understood += usize::from(entry.detail.starts_with("not understood"));
    }
    assert_eq!(
        made.accounting.len(),
        made.mapped + made.not_needed + made.manual
    );
    let mut reasons: Vec<String> = made
        .manual_items()
        .into_iter()
        .filter(|entry| entry.outcome == Outcome::Manual)
        .map(|entry| {
            let key: String = entry
                .construct
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .collect();
            let detail: String = entry.detail.chars().take(60).collect();
            format!("{key}: {detail}")
        })
        .collect();
    reasons.sort();
    reasons.dedup();
    for reason in reasons {
        *statistics.reasons.entry(reason).or_default() += 1;
    }
}

fn report(
    statistics: &Statistics,
    files: usize,
    elapsed: std::time::Duration,
    slowest: &(std::time::Duration, String),
) {
    let leaves: usize = statistics.leaves.iter().sum();
    println!(
        "files {files}, converted {}, refused {}",
        statistics.converted,
        statistics.refused.len()
    );
    println!(
        "leaves {leaves}: not needed {}, mapped {}, manual {} (secrets {}, not understood {})",
        statistics.leaves[0],
        statistics.leaves[1],
        statistics.leaves[2],
        statistics.secret_leaves,
        statistics.not_understood
    );
    println!(
        "job sets unequal {} of {}, of those with a matrix {} of {}",
        statistics.unequal.len(),
        statistics.converted,
        statistics.unequal_with_matrix,
        statistics.with_matrix
    );
    println!(
        "nothing manual {}, nothing but secrets {}",
        statistics.automatic, statistics.automatic_but_secrets
    );
    println!(
        "time {:.2} s, {:.3} ms a file, slowest {:.1} ms ({})",
        elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1000.0 / files as f64,
        slowest.0.as_secs_f64() * 1000.0,
        slowest.1
    );
    for line in statistics.refused.iter().take(20) {
        println!("refused {line}");
    }
    for line in statistics.unequal.iter().take(20) {
        println!("unequal {line}");
    }
    for line in statistics.problems.iter().take(20) {
        println!("problem {line}");
    }
    let mut reasons: Vec<_> = statistics.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in reasons.iter().take(45) {
        println!("manual {count:5} {reason}");
    }
}
