//! A run adds targets. What was planned before stays in its wave; what is new joins the last ones.

use model::automation::CampaignRules;
use model::campaign::{Campaign, CampaignStatus};
use model::fact::CampaignFact;
use model::ids::RunId;

use super::wrong;
use crate::rejection::Rejection;
use crate::waves;

pub(super) fn decide(
    campaign: &Campaign,
    run: RunId,
    count: u32,
    rules: &CampaignRules,
) -> Result<Vec<CampaignFact>, Rejection> {
    if campaign.status == CampaignStatus::Closed {
        return Err(wrong(campaign, "plan"));
    }
    let total = campaign.targets.saturating_add(count);
    Ok(vec![CampaignFact::TargetsPlanned {
        run,
        count,
        waves: waves::extended(&campaign.waves, rules, total),
    }])
}
