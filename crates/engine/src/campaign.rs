//! The life of a campaign: one command per file.

mod advance;
mod apply;
mod close;
mod open;
mod pause;
mod plan;
mod resume;

use model::automation::CampaignRules;
use model::campaign::{Campaign, WaveProgress};
use model::fact::CampaignFact;
use model::ids::RunId;

pub use apply::{apply, initial, replay};
pub use open::open;

use crate::rejection::Rejection;

/// What may be asked of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub enum CampaignCommand {
    /// A run adds targets.
    Plan {
        /// The run.
        run: RunId,
        /// Number of targets it adds.
        count: u32,
        /// Rules of the automation now.
        rules: CampaignRules,
    },
    /// Something may have changed: let the next wave in, or hold.
    Advance {
        /// Progress of the waves, from 0.
        progress: Vec<WaveProgress>,
    },
    /// Stop for now.
    Pause,
    /// Go on, past a gate if it is held.
    Resume,
    /// End it.
    Close {
        /// Why, in words.
        note: String,
    },
}

/// Decides what follows from a command.
///
/// # Errors
/// [`Rejection`] when the command does not fit the campaign as it stands.
pub fn decide(
    campaign: &Campaign,
    command: &CampaignCommand,
) -> Result<Vec<CampaignFact>, Rejection> {
    match command {
        CampaignCommand::Plan { run, count, rules } => plan::decide(campaign, *run, *count, rules),
        CampaignCommand::Advance { progress } => Ok(advance::decide(campaign, progress)),
        CampaignCommand::Pause => pause::decide(campaign),
        CampaignCommand::Resume => resume::decide(campaign),
        CampaignCommand::Close { note } => close::decide(campaign, note),
    }
}

fn wrong(campaign: &Campaign, command: &str) -> Rejection {
    Rejection::Invalid(format!(
        "`{command}` does not apply to a campaign that is {}",
        campaign.status.as_str()
    ))
}
