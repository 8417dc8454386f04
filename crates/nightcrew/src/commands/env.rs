//! `nightcrew env`: environments for a person, without a server.

mod create;
mod exec;
mod list;
mod processes;

use crate::cli::Global;
use crate::cli::env::EnvCommand;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::keeper::home::{Home, Homes};
use crate::keeper::process;
use crate::print;

pub(super) fn execute(global: &Global, command: EnvCommand) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let homes = Homes::open(&DataDir::open(config.data_dir()?)?)?;
    match command {
        EnvCommand::Create(arguments) => create::execute(&config, &homes, *arguments),
        EnvCommand::Exec(arguments) => exec::execute(&homes, arguments),
        EnvCommand::List => list::execute(&homes),
        EnvCommand::Resume { name } => resume(&homes.get(&name)?),
        EnvCommand::Rm { names, all } => remove(&homes, &names, all),
    }
}

/// Makes an environment again from its layer.
fn resume(home: &Home) -> Result<u8, Failure> {
    if home.connect().is_some() {
        return Err(Failure::new(format!(
            "the environment `{}` is running",
            home.name()
        )));
    }
    let status = process::start(home)?;
    create::say(home, &status, "stands again, with what it wrote")?;
    Ok(0)
}

fn remove(homes: &Homes, names: &[String], all: bool) -> Result<u8, Failure> {
    let wanted: Vec<Home> = if all {
        homes.list()?
    } else {
        names
            .iter()
            .map(|name| homes.get(name))
            .collect::<Result<_, _>>()?
    };
    let mut removed = Vec::new();
    let mut failed = None;
    for home in &wanted {
        match home.remove() {
            Ok(()) => removed.push(home.name()),
            // The others are removed all the same.
            Err(failure) => failed = Some(failure),
        }
    }
    if print::is_json() {
        print::json(&serde_json::json!({ "removed": removed }));
    } else {
        for name in &removed {
            print::note(format!("removed {name}"));
        }
        if wanted.is_empty() {
            print::note("there is no environment");
        }
    }
    failed.map_or(Ok(0), Err)
}
