//! The project's own tasks: `cargo xtask test`, `chaos`, `bench`, `fleet`, `dist`.

mod chaos;
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
    /// Build a fleet of bare repositories
    Fleet(fleet::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::execute(&options),
        Task::Chaos(options) => chaos::execute(&options),
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
