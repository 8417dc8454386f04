//! A person stops a campaign for now: nothing new starts, what runs goes on.

use model::campaign::{Campaign, CampaignStatus};
use model::fact::CampaignFact;

use super::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(campaign: &Campaign) -> Result<Vec<CampaignFact>, Rejection> {
    match campaign.status {
        CampaignStatus::Active | CampaignStatus::Held => Ok(vec![CampaignFact::Paused]),
        CampaignStatus::Paused | CampaignStatus::Closed => Err(wrong(campaign, "pause")),
    }
}
