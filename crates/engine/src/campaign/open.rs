//! A campaign begins with the first run of an automation that has none open.

use model::automation::CampaignRules;
use model::fact::CampaignFact;

/// The first fact of a campaign.
#[must_use]
pub fn open(automation: &str, version: u32, rules: CampaignRules) -> CampaignFact {
    CampaignFact::Opened {
        automation: automation.to_owned(),
        version,
        rules,
    }
}
