//! The catalogue of attacks, and the program that performs one of them.

mod audit;
mod context;
mod elf;
mod exec_cache;
mod exec_content;
mod exec_gate;
mod exec_interpreters;
mod exec_ldso;
mod exec_listed;
mod exec_loaders;
mod exec_names;
mod exec_paths;
mod exec_places;
mod exec_scripts;
mod files;
mod files_proc;
mod helper;
mod kernel;
mod kit;
mod launcher;
mod limits;
mod limits_memory;
mod network;
mod outcome;
mod processes;
mod quota;
mod signals;
mod view;

use std::ffi::OsString;
use std::path::Path;

use context::Context;
use outcome::{Attack, Outcome, Stop};

/// Every attack, in the order of the catalogue's families.
fn catalogue() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = [
        exec_paths::ATTACKS,
        exec_names::ATTACKS,
        exec_ldso::ATTACKS,
        exec_loaders::ATTACKS,
        exec_content::ATTACKS,
        exec_interpreters::ATTACKS,
        exec_scripts::ATTACKS,
        exec_listed::ATTACKS,
        exec_cache::ATTACKS,
        exec_places::ATTACKS,
        exec_gate::ATTACKS,
        files::ATTACKS,
        view::ATTACKS,
        files_proc::ATTACKS,
        quota::ATTACKS,
        signals::ATTACKS,
        processes::ATTACKS,
        launcher::ATTACKS,
        limits::ATTACKS,
        limits_memory::ATTACKS,
        kernel::ATTACKS,
        audit::ATTACKS,
    ]
    .concat();
    // Whoever cannot read the tool brings its bytes along: the same attack again, from a carrier.
    let twins: Vec<Attack> = attacks
        .iter()
        .filter(|attack| attack.carried)
        .map(Attack::twin)
        .collect();
    attacks.extend(twins);
    attacks
}

/// Does what the arguments say; the exit code.
pub(crate) fn main(arguments: &[OsString]) -> i32 {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["--list"] => {
            for attack in catalogue() {
                println!("{}", attack.line());
            }
            0
        }
        ["--craft", kind, file] => match elf::craft(kind, Path::new(file)) {
            Ok(()) => 0,
            Err(error) => say(&format!("cannot craft {kind}: {error}"), 70),
        },
        ["--helper", rest @ ..] => helper::main(rest),
        ["--network", rest @ ..] => network::main(rest),
        ["--control", name] => perform(name, true),
        [name] => perform(name, false),
        _ => say(
            "usage: sandbox-attacker NAME | --control NAME | --list | --craft KIND FILE",
            70,
        ),
    }
}

fn perform(name: &str, control: bool) -> i32 {
    let catalogue = catalogue();
    let Some(attack) = catalogue.iter().find(|attack| attack.name == name) else {
        return say(&format!("there is no attack `{name}`"), 70);
    };
    let context = Context::new(attack.smuggled, control);
    let attempt = (attack.run)(&context);
    context.clean();
    match attempt {
        Ok(Outcome::Bypass(seen)) => say(&format!("SUCCEEDED {name}: {seen}"), 0),
        Ok(Outcome::Blocked(seen)) | Err(Stop::Blocked(seen)) => {
            say(&format!("BLOCKED {name}: {seen}"), 10)
        }
        Ok(Outcome::NotApplicable(seen)) | Err(Stop::NotApplicable(seen)) => {
            say(&format!("NOT APPLICABLE {name}: {seen}"), 20)
        }
        Ok(Outcome::HostJudges(seen)) => say(&format!("DONE {name}: {seen}"), 30),
        Err(Stop::Fault(seen)) => say(&format!("FAULT {name}: {seen}"), 70),
    }
}

fn say(line: &str, code: i32) -> i32 {
    println!("{}", line.escape_debug());
    code
}
