//! A person ends a campaign; what is open is cleaned up by the effect of the fact.

use model::campaign::{Campaign, CampaignStatus};
use model::fact::CampaignFact;

use super::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(campaign: &Campaign, note: &str) -> Result<Vec<CampaignFact>, Rejection> {
    if campaign.status == CampaignStatus::Closed {
        return Err(wrong(campaign, "close"));
    }
    Ok(vec![CampaignFact::Closed {
        note: note.to_owned(),
    }])
}
