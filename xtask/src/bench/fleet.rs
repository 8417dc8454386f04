//! `bench fleet`: one campaign over a fleet, beside a shell script that does the same with `xargs -P2`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::report::Page;
use super::usage::{PeakMemory, count_orphans, cpu_of_children, cpu_of_machine};
use super::{Common, at, quantile};
use crate::shell::{must, program, root, say};

/// How many, how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Repositories
    #[arg(long, default_value_t = 400)]
    count: usize,
    /// Pairs of runs
    #[arg(long, default_value_t = 3)]
    pairs: usize,
}

/// Wall time and CPU of one run in seconds, peak memory of the server in MiB.
struct Run {
    wall: f64,
    cpu: f64,
    /// CPU of everything on the machine meanwhile.
    machine: f64,
    memory: f64,
}

/// Measures pairs and writes `docs/benchmarks/fleet.md`.
pub(super) fn execute(options: &Options) -> Result<bool> {
    let program = program(options.common.program.as_deref())?;
    count_orphans()?;
    let scratch = options.common.scratch()?;
    let fleet = scratch.path().join("fleet");
    let source = crate::fleet::source(false);
    testkit::fleet::build(&fleet, &source, options.count)?;
    std::fs::write(scratch.path().join("bench.yaml"), automation()?)?;
    let mut pairs = Vec::new();
    for number in 1..=options.pairs {
        let ours = campaign(&program, scratch.path(), &fleet, options.count)?;
        let theirs = script(scratch.path(), &fleet, options.count)?;
        say(format!(
            "pair {number}: nightcrew {:.2} s, {:.2} s CPU, {:.0} MiB; xargs {:.2} s, {:.2} s CPU",
            ours.wall, ours.cpu, ours.memory, theirs.wall, theirs.cpu
        ));
        pairs.push((ours, theirs));
    }
    write(options, &pairs)
}

#[expect(clippy::cast_precision_loss, reason = "a number of repositories")]
fn write(options: &Options, pairs: &[(Run, Run)]) -> Result<bool> {
    let count = options.count as f64;
    let of = |value: fn(&(Run, Run)) -> f64| -> Vec<f64> { pairs.iter().map(value).collect() };
    let (ours, theirs) = (of(|pair| pair.0.wall), of(|pair| pair.1.wall));
    let (our_cpu, their_cpu) = (of(|pair| pair.0.cpu), of(|pair| pair.1.cpu));
    let median = |values: &[f64]| quantile(values, 0.5);
    let mut page = Page::new(
        "fleet",
        "A campaign beside a shell script",
        "One script step, one validator with a baseline and one change for each repository of a fleet with real \
         `.travis.yml` files. Beside it, `bench/fleet/xargs.sh` does the same clones, script, checks, commits and \
         equally durable pushes with `xargs -P2`: without isolation, evidence, or a store. The two take turns.",
    );
    page.at_most(
        "wall time, ratio of medians",
        median(&ours) / median(&theirs),
        1.10,
        "",
    );
    let above = (median(&our_cpu) - median(&their_cpu)) / count * 1000.0;
    page.at_most("CPU per task above the script", above, 15.0, " ms");
    page.at_most(
        "peak memory of the server",
        of(|pair| pair.0.memory).into_iter().fold(0.0, f64::max),
        150.0,
        " MiB",
    );
    page.number(
        "Nightcrew, wall per task",
        median(&ours) / count * 1000.0,
        " ms",
    );
    page.number(
        "script, wall per task",
        median(&theirs) / count * 1000.0,
        " ms",
    );
    page.number(
        "Nightcrew, CPU per task",
        median(&our_cpu) / count * 1000.0,
        " ms",
    );
    page.number(
        "script, CPU per task",
        median(&their_cpu) / count * 1000.0,
        " ms",
    );
    let busy = |values: Vec<f64>| median(&values) / count * 1000.0;
    page.number(
        "whole machine while Nightcrew works, CPU per task",
        busy(of(|pair| pair.0.machine)),
        " ms",
    );
    page.number(
        "whole machine while the script works, CPU per task",
        busy(of(|pair| pair.1.machine)),
        " ms",
    );
    page.line(&format!(
        "\n{} repositories; all pairs, in order:\n",
        options.count
    ));
    page.line("| pair | Nightcrew wall | script wall | ratio | Nightcrew CPU | script CPU |\n|---|---|---|---|---|---|");
    for (number, (ours, theirs)) in pairs.iter().enumerate() {
        page.line(&format!(
            "| {} | {:.2} s | {:.2} s | {:.3} | {:.2} s | {:.2} s |",
            number + 1,
            ours.wall,
            theirs.wall,
            ours.wall / theirs.wall,
            ours.cpu,
            theirs.cpu
        ));
    }
    page.write(
        &options.common,
        &format!("fleet --count {} --pairs {}", options.count, options.pairs),
    )
}

/// The automation with the script's step in it.
fn automation() -> Result<String> {
    let folder = root().join("bench/fleet");
    let step = std::fs::read_to_string(folder.join("step.sh")).context("read step.sh")?;
    let text =
        std::fs::read_to_string(folder.join("automation.yaml")).context("read automation.yaml")?;
    Ok(text.replace("STEP", &step.trim_end().replace('\n', "\n      ")))
}

/// From the start of `campaign apply --wait` until it ends; the import is not counted.
fn campaign(program: &Path, scratch: &Path, fleet: &Path, count: usize) -> Result<Run> {
    let nightcrew = at(program, scratch, "data");
    nightcrew.must(&["inventory", "import", &fleet.to_string_lossy(), "--quiet"])?;
    settle()?;
    let file = scratch.join("bench.yaml");
    let (before, busy, began) = (cpu_of_children()?, cpu_of_machine(), Instant::now());
    let mut command = nightcrew.command(&[
        "campaign",
        "apply",
        "--wait",
        "--json",
        &file.to_string_lossy(),
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start nightcrew")?;
    let memory = PeakMemory::watch(i32::try_from(child.id())?);
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut said)?;
    }
    ensure!(child.wait()?.success(), "the campaign failed: {said}");
    let (wall, machine) = (began.elapsed().as_secs_f64(), cpu_of_machine() - busy);
    let (cpu, memory) = (cpu_of_children()? - before, memory.mebibytes());
    let status: serde_json::Value =
        serde_json::from_str(&said).context("understand the campaign's status")?;
    let in_review = status
        .pointer("/counts/in_review")
        .and_then(serde_json::Value::as_u64);
    ensure!(
        in_review == Some(u64::try_from(count)?),
        "not all changes are in review: {}",
        status["counts"]
    );
    std::fs::remove_dir_all(&nightcrew.data_dir)?;
    Ok(Run {
        wall,
        cpu,
        machine,
        memory,
    })
}

/// The shell script, on a copy of the fleet because it pushes there.
fn script(scratch: &Path, fleet: &Path, count: usize) -> Result<Run> {
    let (copy, work) = (scratch.join("copy"), scratch.join("work"));
    must(Command::new("cp").arg("-a").arg(fleet).arg(&copy))?;
    std::fs::create_dir(&work)?;
    settle()?;
    let (before, busy, began) = (cpu_of_children()?, cpu_of_machine(), Instant::now());
    let mut command = Command::new("sh");
    command
        .arg(root().join("bench/fleet/xargs.sh"))
        .arg(&copy)
        .arg(&work)
        .stdin(Stdio::null());
    must(&mut command)?;
    let (wall, machine) = (began.elapsed().as_secs_f64(), cpu_of_machine() - busy);
    let cpu = cpu_of_children()? - before;
    let pushed = std::fs::read_dir(&copy)?
        .flatten()
        .filter(|entry| entry.path().join("refs/heads/bench/inventory").is_file());
    let pushed = pushed.count();
    ensure!(
        pushed == count,
        "the script pushed {pushed} of {count} branches"
    );
    std::fs::remove_dir_all(&copy)?;
    std::fs::remove_dir_all(&work)?;
    Ok(Run {
        wall,
        cpu,
        machine,
        memory: 0.0,
    })
}

/// Writes of the preparation must not be waited for by what is measured.
fn settle() -> Result<()> {
    must(&mut Command::new("sync"))
}
