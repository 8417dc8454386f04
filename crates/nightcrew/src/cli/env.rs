//! `nightcrew env …`: what can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::automation::{Cores, ExecRuleDefinition};
use model::duration::Length;
use model::exec::ExecMode;
use model::isolation::IsolationLevel;
use model::size::ByteSize;

/// Environments for a person: made in milliseconds, fenced like those of tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Make an environment and keep it until `env rm`
    Create(Box<CreateArguments>),
    /// Run a program in an environment; its exit code is this command's
    #[command(
        after_help = "Examples:\n  nightcrew env exec web -- make test\n  tar -c src | nightcrew env exec web -- tar -x\n\nCtrl-C kills the program and everything it started; the environment stays. One program runs\nat a time."
    )]
    Exec(ExecArguments),
    /// A terminal in an environment
    #[command(
        after_help = "The terminal is the environment's own; nothing inside can steer yours. `exit` or Ctrl-D leaves, and\nends everything that was started there."
    )]
    Shell(ShellArguments),
    /// List environments and snapshots
    List,
    /// Keep what an environment holds, under a name
    Snapshot {
        /// Environment
        name: String,
        /// What it is called [default: NAME-1, NAME-2, …]
        #[arg(long = "as", value_name = "NAME")]
        called: Option<String>,
    },
    /// Begin environments from what another holds, or from a snapshot
    #[command(
        after_help = "Each has a layer of its own over the same state: many candidates from one beginning, at the\nsame cost however large it is. /tmp is not part of it."
    )]
    Fork {
        /// Environment or snapshot
        from: String,
        /// How many
        #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
        /// Name; with several, the beginning of their names [default: env-1, env-2, …]
        #[arg(long, short)]
        name: Option<String>,
    },
    /// Write a snapshot into one file that another host or user can take up
    Export {
        /// Snapshot
        snapshot: String,
        /// The file
        file: PathBuf,
    },
    /// Take up a snapshot from a file
    Import {
        /// The file
        file: PathBuf,
        /// What it is called [default: imported-1, imported-2, …]
        #[arg(long = "as", value_name = "NAME")]
        called: Option<String>,
        /// The workspace it stands on, where it stands on one
        #[arg(long, short, value_name = "DIR")]
        workspace: Option<PathBuf>,
    },
    /// Make an environment again from what it wrote, after a crash or a restart of the machine
    Resume {
        /// Environment
        name: String,
    },
    /// Destroy environments: processes, files, everything they wrote; and snapshots
    Rm {
        /// Environments and snapshots
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nightcrew env create --workspace . --name web      try things on this folder; it stays as it is\n  nightcrew env create --deny npx --deny curl        these bytes do not execute, under any name\n  nightcrew env create --root /srv/roots/debian      another root than this host's programs\n\nThe folder given with --workspace is never written: what the environment writes goes into a\nlayer of its own. Nothing inside has a network\nbut what --network names."
)]
pub(crate) struct CreateArguments {
    /// Name [default: env-1, env-2, …]
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// Folder that /work begins as; it is never written [default: empty]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Root: a folder that holds a whole system [default: this host's programs, read-only]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["image", "devcontainer"])]
    pub(crate) root: Option<PathBuf>,
    /// Root: an OCI image, as a layout folder, a tarball, or HOST/NAME:TAG
    #[arg(long, value_name = "IMAGE", conflicts_with = "devcontainer")]
    pub(crate) image: Option<String>,
    /// What the image must be: sha256:DIGEST
    #[arg(long, value_name = "DIGEST", requires = "image")]
    pub(crate) digest: Option<String>,
    /// Root: what a devcontainer.json of the workspace says, by its path in it
    #[arg(long, value_name = "FILE", requires = "workspace")]
    pub(crate) devcontainer: Option<String>,
    /// Command that prepares the root, run once and kept; may be repeated
    #[arg(long, value_name = "COMMAND")]
    pub(crate) setup: Vec<String>,
    /// Further folder of this host shown read-only, such as a toolchain; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Vec<PathBuf>,
    /// Variable given to everything that runs in it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// What it may reach: a bundle such as crates or npm, or a host (HTTPS); may be repeated
    /// [default: nothing]
    #[arg(long, value_name = "WHAT")]
    pub(crate) network: Vec<String>,
    #[command(flatten)]
    pub(crate) fence: FenceArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
}

/// How an environment is fenced; the configuration can only be tightened.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fence")]
pub(crate) struct FenceArguments {
    /// How strictly programs are judged: off, observe, deny-list, allow-list, strict [default:
    /// deny-list when something is denied]
    #[arg(long, value_name = "MODE")]
    pub(crate) exec: Option<ExecMode>,
    /// What may not execute: a name, a path, package:NAME or sha256:DIGEST; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = rule)]
    pub(crate) deny: Vec<ExecRuleDefinition>,
    /// What may execute beside the root's programs, with allow-list; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = rule)]
    pub(crate) allow: Vec<ExecRuleDefinition>,
    /// The least isolation level: L0, L1, L2, L3
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub(crate) level: Option<IsolationLevel>,
    /// Layer that must be in force; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Vec<String>,
}

/// What an environment may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Memory of the whole environment, such as 4GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,
    /// Cores of the whole environment, such as 2 or 0.5
    #[arg(long, value_name = "NUMBER", value_parser = cores)]
    pub(crate) cpu: Option<Cores>,
    /// Bytes it may add on disk, such as 10GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<ByteSize>,
    /// Files and folders it may add
    #[arg(long, value_name = "NUMBER")]
    pub(crate) files: Option<u64>,
    /// Processes and threads at once
    #[arg(long, value_name = "NUMBER")]
    pub(crate) processes: Option<u64>,
    /// How long it lives [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub(crate) life: Option<Length>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// Environment
    pub(crate) name: String,
    /// Where it starts [default: /work]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Kill it after this long; the exit code is then 124
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Length>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// Environment
    pub(crate) name: String,
    /// Where it starts [default: /work]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Program in place of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is NAME=VALUE".to_owned()),
    }
}

fn rule(text: &str) -> Result<ExecRuleDefinition, String> {
    let target = text.parse().map_err(|error| format!("{error}"))?;
    Ok(ExecRuleDefinition {
        target,
        reason: None,
    })
}

fn level(text: &str) -> Result<IsolationLevel, String> {
    use IsolationLevel::{L0, L1, L2, L3};
    [L0, L1, L2, L3]
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or_else(|| "a level is L0, L1, L2 or L3".to_owned())
}

fn cores(text: &str) -> Result<Cores, String> {
    let number: serde_json::Number = text
        .parse()
        .map_err(|_| "a number such as 2 or 0.5".to_owned())?;
    serde_json::from_value(serde_json::Value::Number(number)).map_err(|error| error.to_string())
}
