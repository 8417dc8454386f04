//! `nightcrew secret …`: what can be asked. Values never stand on a command line: other programs
//! of this host could read them there, and shells keep them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::duration::Length;

/// Secrets: kept sealed, elsewhere, or made for a task. Values are never shown.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a secret, or give one another value; the value comes from standard input
    #[command(
        after_help = "Examples:\n  nightcrew secret set github --scope automation:bump --expires 90d < token\n  pass show ci | nightcrew secret set ci\n  nightcrew secret set ci --reference vault:secret/team/ci#token"
    )]
    Set(SetArguments),
    /// Give a secret another value; running environments get it without a restart
    Rotate(SetArguments),
    /// List secrets: names, scopes, kinds, never values
    List,
    /// Show one with its uses
    Show(Named),
    /// Remove one
    Rm(Named),
    /// Look whether every secret could be used now
    Check,
    /// Seal all values with a new key
    Rekey {
        /// Go on without values that cannot be opened any more; their names stay
        #[arg(long)]
        forget_values: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    pub(crate) name: String,
    /// Who may use it: organisation, automation:NAME or repository:NAME
    #[arg(long, default_value = "organisation")]
    pub(crate) scope: String,
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Refused: a value on the command line is seen by others
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) value: Vec<String>,
    /// Read the value from a file in place of standard input
    #[arg(long, value_name = "FILE", conflicts_with = "reference")]
    pub(crate) from_file: Option<PathBuf>,
    /// Where the value is, in place of a value: env:, file:, command:, vault:, aws-sm:, gcp-sm:,
    /// azure-kv:, github-app: or oidc:
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,
    /// When its time is over: a length such as 90d, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<Expiry>,
    /// Who is asked when something is wrong with it [default: as before]
    #[arg(long, value_name = "PERSON")]
    pub(crate) owner: Option<String>,
}

/// When the time of a secret is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expiry {
    /// So much from now.
    In(Length),
    /// Then.
    At(jiff::Timestamp),
}

impl std::str::FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let length = text.parse().map(Self::In);
        length.map_err(|_| {
            "write a length such as 90d, or a time such as 2027-01-31T00:00:00Z".to_owned()
        })
    }
}
