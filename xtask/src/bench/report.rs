//! A page of `docs/benchmarks/`: numbers with targets, machine, and the command to repeat.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::Common;
use crate::shell::{output, root, say};

/// A page in the making.
pub(super) struct Page {
    name: &'static str,
    text: String,
    reached: bool,
}

impl Page {
    pub(super) fn new(name: &'static str, title: &str, words: &str) -> Self {
        let text = format!(
            "# {title}\n\n{words}\n\n| what | measured | target | reached |\n|---|---|---|---|\n"
        );
        Self {
            name,
            text,
            reached: true,
        }
    }

    /// A number that must not be above `most`.
    pub(super) fn at_most(&mut self, what: &str, value: f64, most: f64, unit: &str) {
        self.row(what, value, &format!("≤ {most}{unit}"), unit, value <= most);
    }

    /// A number that must not be below `least`.
    pub(super) fn at_least(&mut self, what: &str, value: f64, least: f64, unit: &str) {
        self.row(
            what,
            value,
            &format!("≥ {least}{unit}"),
            unit,
            value >= least,
        );
    }

    /// A number without a target.
    pub(super) fn number(&mut self, what: &str, value: f64, unit: &str) {
        self.line(&format!("| {what} | {value:.2}{unit} | | |"));
    }

    fn row(&mut self, what: &str, value: f64, target: &str, unit: &str, reached: bool) {
        self.reached &= reached;
        let verdict = if reached { "yes" } else { "**no**" };
        self.line(&format!(
            "| {what} | {value:.2}{unit} | {target} | {verdict} |"
        ));
    }

    /// A line as it is, shown as well.
    pub(super) fn line(&mut self, line: &str) {
        say(line);
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes the page; whether all targets were reached.
    pub(super) fn write(mut self, common: &Common, arguments: &str) -> Result<bool> {
        let commit = output(
            Command::new("git")
                .args(["rev-parse", "--short", "HEAD"])
                .current_dir(root()),
        );
        let commit = commit.unwrap_or_else(|_| "unknown".to_owned());
        self.line(&format!(
            "\nDate: {}. Commit: {commit}. {}\n",
            common.date,
            machine()
        ));
        self.line(&format!("Repeat with `cargo xtask bench {arguments}`."));
        let folder = root().join("docs/benchmarks");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.md", self.name));
        std::fs::write(&path, &self.text).with_context(|| format!("write {}", path.display()))?;
        say(format!("written to docs/benchmarks/{}.md", self.name));
        Ok(self.reached)
    }
}

/// The machine, and how busy it was.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, key: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default();
        line.split_once(':')
            .map_or("unknown", |(_, value)| value.trim())
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "Machine: {cores} cores of {}, {} of memory, Linux {}; load at the end {}.",
        field(&cpu, "model name"),
        field(&memory, "MemTotal"),
        kernel.trim(),
        load.join(" ")
    )
}
