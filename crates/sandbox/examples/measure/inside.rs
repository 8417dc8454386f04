//! What is measured from inside an environment: this same program, as a step.

use std::process::{Command, Stdio};
use std::time::Instant;

/// `first FOLDER`: microseconds for each file of the tree, opened once. `again FILE N`: the same
/// file again and again. `exec N`: `/bin/true`, N times. `make FOLDER N`: new files, written, read.
/// Prints the median of batches.
pub(crate) fn run(arguments: &[String]) {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().expect("a number");
    let value = match words.as_slice() {
        ["first", folder] => first(folder),
        ["again", file, n] => again(file, number(n)),
        ["exec", n] => exec(number(n)),
        ["make", folder, n] => make(folder, number(n)),
        _ => panic!("unknown: {words:?}"),
    };
    println!("{value}");
}

fn us(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn each(total: f64, count: usize) -> f64 {
    total / count.max(1) as f64
}

fn open(path: &std::path::Path) {
    std::fs::File::open(path).expect("a file");
}

fn first(folder: &str) -> f64 {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        for file in std::fs::read_dir(entry.path()).expect("a folder").flatten() {
            // Known to the directory cache on both sides before the time counts.
            let _ = std::fs::symlink_metadata(file.path());
            files.push(file.path());
        }
    }
    let began = Instant::now();
    for file in &files {
        open(file);
    }
    each(us(began), files.len())
}

fn again(file: &str, count: usize) -> f64 {
    let file = std::path::Path::new(file);
    for _ in 0..100 {
        open(file);
    }
    let batches: Vec<f64> = (0..20)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..count / 20 {
                open(file);
            }
            each(us(began), count / 20)
        })
        .collect();
    crate::median(&batches)
}

fn exec(count: usize) -> f64 {
    let times: Vec<f64> = (0..count)
        .map(|_| {
            let began = Instant::now();
            let status = Command::new("/bin/true").stdin(Stdio::null()).status();
            assert!(status.is_ok_and(|status| status.success()), "true is true");
            us(began)
        })
        .collect();
    crate::median(&times)
}

fn make(folder: &str, count: usize) -> f64 {
    std::fs::create_dir_all(folder).expect("a folder");
    let began = Instant::now();
    for n in 0..count {
        let path = format!("{folder}/{n}");
        std::fs::write(&path, "module.exports = 1;\n").expect("a file");
        std::fs::read(&path).expect("a file");
    }
    each(us(began), count)
}
