//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) mod budget;
pub(crate) mod env;
pub(crate) mod secret;

/// Self-hosted background agents: an event becomes reviewed changes across a fleet.
#[derive(Debug, Parser)]
#[command(name = "nightcrew", version, about, long_about = None, max_term_width = 100)]
#[command(
    after_help = "First steps:\n  nightcrew demo                         a fleet, a campaign, reviews: in a minute\n  nightcrew try REPO -- make fmt         what a command would change, pushed nowhere\n  nightcrew up                           the control plane with its console"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where state is kept [default: nightcrew under the user's data folder]
    #[arg(long, global = true, env = "NIGHTCREW_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file [default: nightcrew/config.toml under the user's configuration folder]
    #[arg(long, global = true, env = "NIGHTCREW_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Database: sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(
        long,
        global = true,
        env = "NIGHTCREW_STORE",
        value_name = "ADDRESS",
        hide_short_help = true
    )]
    pub(crate) store: Option<String>,
    /// Answer in JSON, for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say less
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Go on where the host refuses a layer of isolation
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) accept_weaker: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane with its console and an embedded runner
    Up(UpArguments),
    /// A fleet, a campaign and its reviews, to look at and play with
    Demo(DemoArguments),
    /// Run a command or an automation once on any repository: pushes nothing, shows diff and evidence
    Try(TryArguments),
    /// What this host can enforce, and what is missing
    Doctor,
    /// Environments of your own: create, exec, shell, list, snapshot, fork, rm
    #[command(subcommand)]
    Env(env::EnvCommand),
    /// Automations: apply, list, start
    #[command(subcommand)]
    Automation(AutomationCommand),
    /// Campaigns: preview, apply, status, pause, resume, retry, close
    #[command(subcommand)]
    Campaign(CampaignCommand),
    /// Tasks: list, show, logs, diff, evidence, retry, cancel
    #[command(subcommand)]
    Task(TaskCommand),
    /// Changes: list, show, approve, request-changes, merge, close, comment
    #[command(subcommand)]
    Change(ChangeCommand),
    /// Budgets: list, show, raise, spend
    #[command(subcommand)]
    Budget(budget::BudgetCommand),
    /// The kill switch: stop a task, a campaign, a model, or everything
    Stop(budget::StopArguments),
    /// What waits for a person
    Inbox,
    /// Consent to what a task asks
    Approve {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Say no to what a task asks
    Deny {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// Why
        #[arg(long, short, default_value = "")]
        message: String,
    },
    /// Events: send, list, test, replay
    #[command(subcommand)]
    Event(EventCommand),
    /// Repositories: import, list, show
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Secrets: set, list, show, rotate, rm, check, rekey
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// The ledger: show, checkpoint, verify, export
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// The store: backup, restore, verify
    #[command(subcommand)]
    Store(StoreCommand),
    /// Reported values of a campaign, as a table or CSV
    Report {
        /// Campaign: id, or automation name
        campaign: String,
        /// Comma-separated values
        #[arg(long)]
        csv: bool,
    },
    /// CI migration: convert a configuration
    #[command(subcommand)]
    Ci(CiCommand),
    /// A fresh link that opens the running console
    Open,
    /// The JSON Schema of automation files, for editors
    Schema,
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Address of console and API, on loopback [default: a free port]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Run until every task is settled, then end
    #[arg(long)]
    pub(crate) headless: bool,
    /// Address of the console, on loopback [default: a free port]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// The control plane itself, as the demo starts and kills it
    #[arg(long, hide = true)]
    pub(crate) child: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TryArguments {
    /// Repository: a folder with a working tree or a bare repository, or a git URL
    pub(crate) repository: String,
    /// Automation file to run
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "line")]
    pub(crate) file: Option<PathBuf>,
    /// Check to run before and after, beside the built-in ones
    #[arg(long, value_name = "COMMAND")]
    pub(crate) check: Vec<String>,
    /// Write the automation that was run into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Command to run instead of an automation file
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) line: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AutomationCommand {
    /// Apply an automation file, with the files beside it
    Apply {
        /// The file
        file: PathBuf,
    },
    /// Check an automation file without applying it
    Check {
        /// The file
        file: PathBuf,
    },
    /// List automations
    List,
    /// Show one
    Show {
        /// Its name
        name: String,
    },
    /// Start one by hand
    Start {
        /// Its name
        name: String,
        /// Repository the start is about
        #[arg(long)]
        repository: Option<String>,
        /// Makes a repeated start the same start [default: a new one]
        #[arg(long)]
        key: Option<String>,
    },
    /// Let an automation fire again
    Enable {
        /// Its name
        name: String,
    },
    /// Keep an automation from firing
    Disable {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CampaignCommand {
    /// Show what an automation would work on; writes nothing
    Preview {
        /// The automation file
        file: PathBuf,
    },
    /// Apply an automation file and start its campaign
    Apply {
        /// The automation file
        file: PathBuf,
        /// Stay until every task is settled
        #[arg(long)]
        wait: bool,
    },
    /// List campaigns
    List {
        /// Closed ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one, with its waves and diff classes
    Status {
        /// Campaign: id, or automation name
        campaign: String,
    },
    /// Start nothing new for now
    Pause {
        /// Campaign: id, or automation name
        campaign: String,
    },
    /// Go on, past a gate that held it
    Resume {
        /// Campaign: id, or automation name
        campaign: String,
    },
    /// Another round for the failed part only
    Retry {
        /// Campaign: id, or automation name
        campaign: String,
        /// Stay until every task is settled
        #[arg(long)]
        wait: bool,
    },
    /// End it: cancel tasks, close open changes, delete their branches
    Close {
        /// Campaign: id, or automation name
        campaign: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List tasks
    List {
        /// Of this campaign (id or automation name)
        #[arg(long)]
        campaign: Option<String>,
        /// In this status
        #[arg(long)]
        status: Option<String>,
        /// Rows, at most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one, with its steps and validators
    Show {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Show what a step printed
    Logs {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// Step by number, from 1 [default: all]
        #[arg(long)]
        step: Option<u32>,
        /// Stay while it runs
        #[arg(long, short)]
        follow: bool,
    },
    /// Show the diff
    Diff {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Show the evidence
    Evidence {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Show what left its environments, or was kept from leaving
    Network {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// Batches, at most; the oldest first
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show what happened, fact by fact
    Facts {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Another round
    Retry {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Stop for good
    Cancel {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Hold: no step starts
    Pause {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Let it go on
    Resume {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
}

/// How a change goes into its base branch.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Method {
    /// A merge commit
    Merge,
    /// One commit with everything
    Squash,
    /// The commits, replayed
    Rebase,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// List changes in review
    List {
        /// Of this campaign (id or automation name)
        #[arg(long)]
        campaign: Option<String>,
    },
    /// Show one, with its description, diff and reviews
    Show {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Approve
    Approve {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
    /// Ask for changes
    RequestChanges {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// What should be different
        #[arg(long, short)]
        message: String,
    },
    /// Comment
    Comment {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// The comment
        #[arg(long, short)]
        message: String,
    },
    /// Merge
    Merge {
        /// Task: id, beginning of an id, or repository
        task: String,
        /// How
        #[arg(long, value_enum, default_value_t = Method::Merge)]
        method: Method,
    },
    /// Close without merging
    Close {
        /// Task: id, beginning of an id, or repository
        task: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Send an event, as JSON from a file or standard input
    Send {
        /// File; standard input when absent
        file: Option<PathBuf>,
    },
    /// List events
    List {
        /// Rows, at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Say which automations an event would fire; writes nothing
    Test {
        /// File; standard input when absent
        file: Option<PathBuf>,
    },
    /// Admit an event again as a new one
    Replay {
        /// Its id
        event: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InventoryCommand {
    /// Import repositories: a folder of them, a git URL, or a manifest file with one per line
    Import {
        /// Folder, URL or manifest
        source: String,
    },
    /// List repositories
    List,
    /// Show one with its facts
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Show size, key and newest checkpoint
    Show,
    /// Print the newest signed checkpoint, to be kept elsewhere
    Checkpoint,
    /// Verify everything, against checkpoints kept elsewhere if given
    Verify {
        /// File with an earlier checkpoint; may be given several times
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// The key to trust, in signed-note form [default: this data directory's]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Print all entries, one JSON object a line
    Export,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Write everything into one portable file
    Backup {
        /// The file
        file: PathBuf,
    },
    /// Fill an empty store from such a file
    Restore {
        /// The file
        file: PathBuf,
    },
    /// Let the database check itself
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CiCommand {
    /// Convert `.travis.yml` to a GitHub Actions workflow
    Convert {
        /// Repository
        #[arg(default_value = ".")]
        repository: PathBuf,
        /// Write the workflow into the repository
        #[arg(long)]
        write: bool,
        /// Remove the old configuration
        #[arg(long, requires = "write")]
        remove_source: bool,
    },
}
