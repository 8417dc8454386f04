//! Nightcrew: self-hosted background agents, one binary.
//!
//! `cli` says what can be asked, `commands` holds one command per file, `node` wires the rooms
//! together into a running control plane with its runner, and `client` talks to one.

mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod data_dir;
mod egress;
mod embedded;
mod failure;
mod keeper;
mod node;
mod print;
mod scratch;
mod secrets;
mod session;
mod table;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The supervisor of environments is this program under another name; it must begin before
    // any runtime or thread does.
    sandbox::supervisor::run_if_requested();
    if let Some(code) = egress::run_if_requested() {
        return code;
    }
    if let Some(code) = keeper::process::run_if_requested() {
        return code;
    }
    let arguments = cli::Arguments::parse();
    print::set_up(&arguments.global);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::execute(arguments));
            // Blocking readers of the terminal must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            outcome
        }
        Err(error) => Err(failure::Failure::new(format!(
            "the runtime could not be started: {error}"
        ))),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}
