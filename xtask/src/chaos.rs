//! `cargo xtask chaos`: kills the server at every fault point and at random instants, and compares.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::chaos::{Chaos, Ending, Kill, NEVER_PASSED, Trial};

use crate::fleet;
use crate::shell::{program, say};

/// What to try, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Random instants
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// Only the named points, no random instants
    #[arg(long)]
    points: bool,
    /// Only points whose name contains this
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// Repositories of the campaign
    #[arg(long, default_value_t = 50)]
    repositories: usize,
    /// Seed of the random instants
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program to kill [default: a release build]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Keep the data directories of trials with problems
    #[arg(long)]
    keep: bool,
}

/// Runs all trials; whether none showed a problem.
pub(crate) fn execute(options: &Options) -> Result<bool> {
    let program = program(options.program.as_deref())?;
    say(format!(
        "seed {}, {} repositories",
        options.seed, options.repositories
    ));
    let source = fleet::source(false);
    let mut chaos =
        Chaos::prepare(&program, &source, options.repositories).context("prepare the fleet")?;
    let calm = chaos
        .trial(&Kill::Never, None)
        .context("run without a kill")?;
    say(format!("undisturbed: {:.1} s", calm.took.as_secs_f64()));
    calm.problems
        .iter()
        .for_each(|problem| say(format!("  {problem}")));
    let mut bad = usize::from(!calm.problems.is_empty());
    let kills = kills(options, calm.took);
    let (mut killed, total) = (0, kills.len());
    for (number, (name, kill)) in kills.iter().enumerate() {
        let outcome = disturbed(&mut chaos, kill, &calm.ending);
        let (words, problems) = match outcome {
            Ok(trial) => {
                killed += trial.kills;
                (
                    format!("{} kills, {:.1} s", trial.kills, trial.took.as_secs_f64()),
                    trial.problems,
                )
            }
            Err(error) => ("broken off".to_owned(), vec![error.to_string()]),
        };
        let verdict = if problems.is_empty() { "ok" } else { "BAD" };
        say(format!(
            "{:>4}/{total} {verdict:<4} {name}: {words}",
            number + 1
        ));
        problems
            .iter()
            .take(8)
            .for_each(|problem| say(format!("          {problem}")));
        bad += usize::from(!problems.is_empty());
    }
    if options.keep && bad > 0 {
        say(format!(
            "data directories are kept in {}",
            chaos.keep().display()
        ));
    }
    say(format!(
        "{total} trials, {killed} kills, {bad} with problems (seed {})",
        options.seed
    ));
    Ok(bad == 0)
}

/// A trial in which somebody was killed: one that ended before its instant came is tried again with
/// half the time.
fn disturbed(chaos: &mut Chaos, kill: &Kill, calm: &Ending) -> std::io::Result<Trial> {
    let mut kill = kill.clone();
    loop {
        let trial = chaos.trial(&kill, Some(calm))?;
        match &mut kill {
            Kill::After(instants) if trial.kills == 0 && trial.problems.is_empty() => {
                instants.iter_mut().for_each(|instant| *instant /= 2);
            }
            _ => return Ok(trial),
        }
    }
}

/// All disturbances, by name.
fn kills(options: &Options, calm: Duration) -> Vec<(String, Kill)> {
    let wanted = |point: &&&str| {
        options
            .point
            .as_deref()
            .is_none_or(|text| point.contains(text))
    };
    let mut all = Vec::new();
    for point in testkit::chaos::POINTS.iter().filter(wanted) {
        for pass in [1, 2] {
            let never = NEVER_PASSED
                .iter()
                .find(|(name, number, _)| name == point && *number == pass);
            if let Some((_, _, why)) = never {
                say(format!("left out: pass {pass} of {point}: {why}"));
                continue;
            }
            all.push((format!("pass {pass} of {point}"), Kill::Point(point, pass)));
        }
    }
    if options.points || options.point.is_some() {
        return all;
    }
    let mut random = Random(options.seed);
    for _ in 0..options.count {
        let mut instants = vec![random.below(calm)];
        // The time after a crash deserves a crash, too.
        while random.next().is_multiple_of(4) {
            instants.push(random.below(calm));
        }
        let words: Vec<String> = instants
            .iter()
            .map(|at| format!("{} ms", at.as_millis()))
            .collect();
        all.push((
            format!("after {}", words.join(", then ")),
            Kill::After(instants),
        ));
    }
    all
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }
}
