//! A person lets a campaign go on. If a gate held it, the person's word stands for the gate.

use model::campaign::{Campaign, CampaignStatus};
use model::fact::CampaignFact;

use super::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(campaign: &Campaign) -> Result<Vec<CampaignFact>, Rejection> {
    match campaign.status {
        CampaignStatus::Held => Ok(vec![CampaignFact::Resumed {
            overridden: Some(campaign.admitted_wave),
        }]),
        CampaignStatus::Paused => Ok(vec![CampaignFact::Resumed { overridden: None }]),
        CampaignStatus::Active | CampaignStatus::Closed => Err(wrong(campaign, "resume")),
    }
}
