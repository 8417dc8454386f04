//! Facts change the state; nothing else does.

use jiff::Timestamp;
use model::campaign::{Campaign, CampaignStatus};
use model::fact::{CampaignFact, Recorded};
use model::ids::CampaignId;

/// A campaign as it stands after its first fact; `None` when the fact is not an opening.
#[must_use]
pub fn initial(id: CampaignId, fact: &CampaignFact, at: Timestamp) -> Option<Campaign> {
    let CampaignFact::Opened {
        automation,
        version,
        rules,
    } = fact
    else {
        return None;
    };
    Some(Campaign {
        id,
        automation: automation.clone(),
        version: *version,
        rules: rules.clone(),
        status: CampaignStatus::Active,
        targets: 0,
        waves: vec![0],
        admitted_wave: 0,
        gate_overridden: None,
        note: None,
        created_at: at,
        updated_at: at,
    })
}

/// Folds one fact into the state.
pub fn apply(campaign: &mut Campaign, fact: &CampaignFact, at: Timestamp) {
    campaign.updated_at = at;
    match fact {
        CampaignFact::Opened { .. } => {}
        CampaignFact::TargetsPlanned { count, waves, .. } => {
            campaign.targets = campaign.targets.saturating_add(*count);
            campaign.waves.clone_from(waves);
        }
        CampaignFact::WaveAdmitted { wave } => campaign.admitted_wave = *wave,
        CampaignFact::Held { note } => {
            campaign.status = CampaignStatus::Held;
            campaign.note = Some(note.clone());
        }
        CampaignFact::Paused => {
            campaign.status = CampaignStatus::Paused;
            campaign.note = None;
        }
        CampaignFact::Resumed { overridden } => {
            campaign.status = CampaignStatus::Active;
            campaign.note = None;
            if overridden.is_some() {
                campaign.gate_overridden = *overridden;
            }
        }
        CampaignFact::Closed { note } => {
            campaign.status = CampaignStatus::Closed;
            campaign.note = Some(note.clone());
        }
    }
}

/// The state after all facts of a stream, or `None` when the first is not an opening.
#[must_use]
pub fn replay(id: CampaignId, facts: &[Recorded<CampaignFact>]) -> Option<Campaign> {
    let (first, rest) = facts.split_first()?;
    let mut campaign = initial(id, &first.fact, first.at)?;
    for fact in rest {
        apply(&mut campaign, &fact.fact, fact.at);
    }
    Some(campaign)
}
