//! `nightcrew budget …` and `nightcrew stop`: what can be asked.

use clap::{Args, Subcommand, ValueEnum};
use model::budget::{Tokens, Usd};
use model::duration::Length;

/// Hard caps: what they are, what was spent of them, and how they are raised.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Accounts of the organisation, of teams and of campaigns
    List,
    /// One account with those above and below it
    Show {
        /// organisation, team:NAME, campaign:NAME, run:ID, task:ID or model:NAME
        scope: String,
    },
    /// Raise caps to what is given; what waits for it goes on
    #[command(
        after_help = "A raise gives the new cap, not the difference, and only ever goes up. It is an entry of the\nledger. Example:\n  nightcrew budget raise campaign:travis-to-actions --usd 300 --because 'twelve repositories left'"
    )]
    Raise(RaiseArguments),
    /// What was spent, added up
    Spend {
        /// By what it is added up
        #[arg(long, value_enum, default_value_t = By::Automation)]
        by: By,
        /// Comma-separated values
        #[arg(long)]
        csv: bool,
    },
}

/// By what spending is added up.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum By {
    Team,
    Automation,
    Campaign,
    Model,
    Task,
    MergedChange,
}

impl By {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Automation => "automation",
            Self::Campaign => "campaign",
            Self::Model => "model",
            Self::Task => "task",
            Self::MergedChange => "merged-change",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RaiseArguments {
    /// organisation, team:NAME, campaign:NAME, run:ID or task:ID
    pub(crate) scope: String,
    /// Money in US dollars, such as 300 or 3.50
    #[arg(long)]
    pub(crate) usd: Option<Usd>,
    /// Tokens, such as 500k or 2M
    #[arg(long)]
    pub(crate) tokens: Option<Tokens>,
    /// Wall time, such as 2h
    #[arg(long)]
    pub(crate) wall: Option<Length>,
    /// Writes to forges
    #[arg(long)]
    pub(crate) forge_writes: Option<u64>,
    /// Changes open at once
    #[arg(long)]
    pub(crate) open_changes: Option<u64>,
    /// Environments at once
    #[arg(long)]
    pub(crate) environments: Option<u64>,
    /// Why, for the ledger
    #[arg(long, short, default_value = "")]
    pub(crate) because: String,
}

/// The kill switch.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing of the scope starts, what runs is halted within a second with its work kept, calls of\nmodels and connections are refused. It holds until it is lifted, over restarts as well.\n\nScopes: organisation, team:NAME, automation:NAME, campaign:NAME, task:ID, environment:NAME,\nmodel:NAME, host:NAME. Without one, everything that is stopped is listed."
)]
pub(crate) struct StopArguments {
    /// What to stop
    pub(crate) scope: Option<String>,
    /// Why, for whoever finds it stopped
    #[arg(long, short, default_value = "")]
    pub(crate) because: String,
    /// Let it go on
    #[arg(long, requires = "scope", conflicts_with = "because")]
    pub(crate) lift: bool,
}
