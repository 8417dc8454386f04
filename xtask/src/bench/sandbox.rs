//! What environments cost: runs the sandbox's example `measure`, part by part, and writes the page.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Common;
use super::report::Page;
use crate::shell::{root, say};

/// What to measure, and how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Only these parts: start, alive, forks, opens, builds, churn [default: all]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    parts: Vec<String>,
    /// Environments made and destroyed in the part `churn`
    #[arg(long, default_value_t = 50_000)]
    cycles: usize,
}

const PARTS: [&str; 6] = ["start", "alive", "forks", "opens", "builds", "churn"];

/// One line of `measure`.
#[derive(Debug, serde::Deserialize)]
struct Figure {
    what: String,
    value: f64,
    unit: String,
}

/// A promise: figures whose name has all these words are at most this.
struct Promise {
    words: &'static [&'static str],
    most: f64,
}

const PROMISES: &[Promise] = &[
    Promise {
        words: &["300 environments", "created"],
        most: 3.0,
    },
    Promise {
        words: &["300 environments", "destroyed"],
        most: 2.0,
    },
    Promise {
        words: &["memory of each"],
        most: 1.5,
    },
    Promise {
        words: &["files left"],
        most: 0.0,
    },
    Promise {
        words: &["resume", "median"],
        most: 50.0,
    },
    Promise {
        words: &["fork", "1 GB", "median"],
        most: 50.0,
    },
    Promise {
        words: &["cargo build, no gate: inside"],
        most: 1.05,
    },
    Promise {
        words: &["cargo build, deny-list: inside"],
        most: 1.05,
    },
    Promise {
        words: &["cargo build, allow-list: inside"],
        most: 1.10,
    },
    Promise {
        words: &["npm ci, no gate: inside"],
        most: 1.20,
    },
    Promise {
        words: &["npm ci, deny-list: inside"],
        most: 1.20,
    },
    Promise {
        words: &["npm ci, allow-list: inside"],
        most: 1.30,
    },
    Promise {
        words: &["grew by"],
        most: 8.0,
    },
];

/// Measures all parts; whether every target was reached.
pub(super) fn execute(options: &Options) -> Result<bool> {
    let mut page = Page::new(
        "sandbox",
        "Environments",
        "Making an environment (all namespaces, own root, copy-on-write workspace, limits, filter, self-test), \
         running steps in it and ending it, beside bubblewrap, crun and runc in rotation in one run. \
         \"No gate\" judges no program; the modes judge every program by its content. bubblewrap has no \
         overlay, no filter and no self-test here, and still is the bar.",
    );
    let mut figures = Vec::new();
    let all: Vec<String> = PARTS.iter().map(|part| (*part).to_owned()).collect();
    let parts = if options.parts.is_empty() {
        &all
    } else {
        &options.parts
    };
    for part in parts {
        say(format!("measuring: {part}"));
        let rounds = (part == "churn").then_some(options.cycles);
        figures.extend(run(part, rounds, false)?);
        if part == "start" && nix::unistd::geteuid().is_root() {
            figures.extend(run(part, rounds, true)?);
        }
    }
    for figure in &figures {
        write(&mut page, figure);
    }
    compare(&mut page, &figures);
    page.write(&options.common, "sandbox")
}

/// Runs one part of the example, as an ordinary user when asked.
fn run(part: &str, rounds: Option<usize>, ordinary: bool) -> Result<Vec<Figure>> {
    let build = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--quiet",
            "-p",
            "sandbox",
            "--example",
            "measure",
        ])
        .current_dir(root())
        .status()
        .context("run cargo")?;
    if !build.success() {
        bail!("the example `measure` does not build");
    }
    let program = root().join("target/release/examples/measure");
    let mut command = if ordinary {
        // Where an ordinary user can read it.
        let copy = std::env::temp_dir().join(format!("nightcrew-measure-{}", std::process::id()));
        std::fs::copy(&program, &copy).context("copy the example")?;
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(copy);
        command
    } else {
        Command::new(program)
    };
    command
        .arg(part)
        .args(rounds.map(|rounds| rounds.to_string()));
    let output = command
        .current_dir(std::env::temp_dir())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run the part `{part}`"))?;
    if !output.status.success() {
        bail!("the part `{part}` failed: {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    for remark in text.lines().filter(|line| line.starts_with('#')) {
        say(remark);
    }
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).with_context(|| format!("read `{line}`")))
        .collect()
}

fn write(page: &mut Page, figure: &Figure) {
    let promise = PROMISES
        .iter()
        .find(|promise| promise.words.iter().all(|word| figure.what.contains(word)));
    match promise {
        Some(promise) => page.at_most(&figure.what, figure.value, promise.most, &figure.unit),
        None => page.number(&figure.what, figure.value, &figure.unit),
    }
}

/// Promises that are about two figures of the same run.
fn compare(page: &mut Page, figures: &[Figure]) {
    let find = |what: &str| {
        figures
            .iter()
            .find(|figure| figure.what == what)
            .map(|f| f.value)
    };
    for who in ["root", "user"] {
        let peer = find(&format!("{who}, bubblewrap: `true` has run, median"));
        for words in ["no gate", "deny-list"] {
            let of = |size: &str| find(&format!("{who}, {words}, {size}: `true` has run, median"));
            if let (Some(own), Some(peer)) = (of("50,000 files"), peer) {
                page.at_most(
                    &format!("{who}, {words}, ÷ bubblewrap"),
                    own / peer,
                    1.0,
                    " ×",
                );
            }
            if let (Some(large), Some(small)) = (of("50,000 files"), of("1,000 files")) {
                let what = format!("{who}, {words}, 50,000 files ÷ 1,000 files");
                page.at_most(&what, large / small, 1.15, " ×");
            }
        }
    }
    for (what, most) in [
        ("first open of a file of the workspace's base", 25.0),
        ("repeated open of a file of the system", 1.0),
    ] {
        let own = find(&format!("{what}: deny-list"));
        if let (Some(own), Some(off)) = (own, find(&format!("{what}: no gate"))) {
            page.at_most(&format!("{what}: the gate adds"), own - off, most, " µs");
        }
    }
}
