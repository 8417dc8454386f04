//! The project's own tasks: `cargo xtask test`, `chaos`, `bench`, `fleet`, `dist`.

mod bench;
mod chaos;
mod dist;
mod fleet;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's own tasks"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check format and lints, and run all tests
    Test(test::Options),
    /// Kill the server at every fault point and at random instants, and compare how it ends
    Chaos(chaos::Options),
    /// Measure what the project promises, and write it to docs/benchmarks/
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build a static release program with its checksum
    Dist(dist::Options),
    /// Build a fleet of bare repositories
    Fleet(fleet::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::execute(&options),
        Task::Chaos(options) => chaos::execute(&options),
        Task::Bench(bench) => bench::execute(&bench),
        Task::Dist(options) => dist::execute(&options),
        Task::Fleet(options) => fleet::execute(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            shell::say(format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
