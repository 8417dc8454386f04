//! `nightcrew env`: environments for a person, without a server.

mod create;
mod exec;
mod list;
mod processes;
mod shell;
mod snapshot;

use crate::cli::Global;
use crate::cli::env::EnvCommand;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::keeper::home::{Home, Homes};
use crate::keeper::process;
use crate::print;

pub(super) async fn execute(global: &Global, command: EnvCommand) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let homes = Homes::open(&DataDir::open(config.data_dir()?)?)?;
    match command {
        EnvCommand::Create(arguments) => create::execute(&config, &homes, &arguments),
        EnvCommand::Exec(arguments) => exec::execute(&homes, arguments),
        EnvCommand::Shell(arguments) => shell::execute(&homes, arguments).await,
        EnvCommand::List => list::execute(&homes),
        EnvCommand::Snapshot { name, called } => {
            snapshot::snapshot(&homes, &name, called.as_deref())
        }
        EnvCommand::Fork { from, count, name } => {
            snapshot::fork(&homes, &from, count, name.as_deref())
        }
        EnvCommand::Export {
            snapshot: name,
            file,
        } => snapshot::export(&homes, &name, &file),
        EnvCommand::Import {
            file,
            called,
            workspace,
        } => snapshot::import(
            &config,
            &homes,
            &file,
            called.as_deref(),
            workspace.as_deref(),
        ),
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
    let wanted: Vec<String> = if all {
        let environments = homes.list()?.into_iter().map(|home| home.name().to_owned());
        let snapshots = homes.snapshots()?.into_iter().map(|(name, _)| name);
        environments.chain(snapshots).collect()
    } else {
        for name in names {
            if homes.snapshot(name)?.is_none() {
                homes.get(name)?;
            }
        }
        names.to_vec()
    };
    let mut removed = Vec::new();
    let mut failed = None;
    for name in &wanted {
        match homes.remove(name) {
            Ok(()) => removed.push(name),
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
