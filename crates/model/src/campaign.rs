//! Campaigns: the long life of one intention over many targets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::automation::CampaignRules;
use crate::ids::CampaignId;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignStatus {
    /// Lets waves in.
    Active,
    /// A person stopped it for now: nothing new starts.
    Paused,
    /// A gate was not reached: nothing new starts until a person resumes it.
    Held,
    /// Ended; what was open was cleaned up.
    Closed,
}

impl CampaignStatus {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Closed => "closed",
        }
    }
}

/// A campaign, folded from its facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Automation by name: one open campaign each.
    pub automation: String,
    /// Version of the automation whose rules it follows.
    pub version: u32,
    /// Its rules.
    pub rules: CampaignRules,
    /// Where it stands.
    pub status: CampaignStatus,
    /// Targets planned so far.
    pub targets: u32,
    /// Sizes of the waves, in order; wave 0 is the canary.
    pub waves: Vec<u32>,
    /// Highest wave that was let in.
    pub admitted_wave: u32,
    /// Wave whose gate a person overrode, if any.
    pub gate_overridden: Option<u32>,
    /// Why it is held, paused or closed.
    pub note: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Number of tasks of one wave by what matters to its gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveProgress {
    /// All of them.
    pub total: u32,
    /// Settled (final, waiting for a person, in review).
    pub settled: u32,
    /// Failed, unverified or rejected.
    pub bad: u32,
    /// With a change that is or was at the forge.
    pub proposed: u32,
    /// Merged.
    pub merged: u32,
}
