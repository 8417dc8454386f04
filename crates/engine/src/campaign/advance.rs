//! Lets the next wave in when the last one is settled and its gate is reached; holds when it
//! cannot be reached any more.

use model::campaign::{Campaign, CampaignStatus, WaveProgress};
use model::fact::CampaignFact;

pub(super) fn decide(campaign: &Campaign, progress: &[WaveProgress]) -> Vec<CampaignFact> {
    if campaign.status != CampaignStatus::Active {
        return Vec::new();
    }
    let mut facts = Vec::new();
    let mut admitted = campaign.admitted_wave;
    let last = u32::try_from(campaign.waves.len().saturating_sub(1)).unwrap_or(0);
    while admitted < last {
        match gate(campaign, progress, admitted) {
            Gate::Open => {
                admitted += 1;
                facts.push(CampaignFact::WaveAdmitted { wave: admitted });
            }
            Gate::NotYet => break,
            Gate::Shut(note) => {
                facts.push(CampaignFact::Held { note });
                break;
            }
        }
    }
    facts
}

enum Gate {
    Open,
    NotYet,
    Shut(String),
}

fn gate(campaign: &Campaign, progress: &[WaveProgress], wave: u32) -> Gate {
    let planned = campaign.waves.get(wave as usize).copied().unwrap_or(0);
    let so_far = &progress[..progress.len().min(wave as usize + 1)];
    let of_wave = progress.get(wave as usize).copied().unwrap_or_default();
    // Every wave up to this one must be settled: a straggler of the canary counts too.
    if of_wave.total < planned || so_far.iter().any(|wave| wave.settled < wave.total) {
        return Gate::NotYet;
    }
    if campaign
        .gate_overridden
        .is_some_and(|overridden| overridden >= wave)
    {
        return Gate::Open;
    }
    let Some(rules) = &campaign.rules.gate else {
        return Gate::Open;
    };
    if let Some(wanted) = rules.verified {
        let reached = share(of_wave.settled.saturating_sub(of_wave.bad), of_wave.total);
        if reached < wanted {
            return Gate::Shut(format!(
                "wave {wave}: {} of {} tasks ended badly, {:.0} % are good and the gate wants {:.0} %; look at them, \
                 retry them or resume the campaign",
                of_wave.bad,
                of_wave.total,
                reached * 100.0,
                wanted * 100.0
            ));
        }
    }
    if let Some(wanted) = rules.merged
        && share(of_wave.merged, of_wave.proposed) < wanted
    {
        // What ended badly will not be merged any more.
        let may_still = of_wave
            .total
            .saturating_sub(of_wave.bad)
            .min(of_wave.proposed);
        if share(may_still, of_wave.proposed) < wanted {
            return Gate::Shut(format!(
                "wave {wave}: at most {may_still} of {} changes can still be merged and the gate wants {:.0} %; look \
                 at them, retry them or resume the campaign",
                of_wave.proposed,
                wanted * 100.0
            ));
        }
        return Gate::NotYet;
    }
    Gate::Open
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        1.0
    } else {
        f64::from(part) / f64::from(whole)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::automation::{CampaignRules, Gate as Rules, Wave};
    use model::ids::CampaignId;

    use super::*;

    fn campaign(gate: Option<Rules>) -> Campaign {
        let rules = CampaignRules {
            canary: Some(2),
            waves: vec![Wave::Count(2), Wave::Rest],
            gate,
            ..CampaignRules::default()
        };
        let opened = super::super::open("a", 1, rules);
        let id = CampaignId::derived(&["c"]);
        let mut campaign = super::super::initial(id, &opened, Timestamp::UNIX_EPOCH).unwrap();
        campaign.waves = vec![2, 2, 4];
        campaign
    }

    fn wave(total: u32, settled: u32, bad: u32) -> WaveProgress {
        WaveProgress {
            total,
            settled,
            bad,
            proposed: settled - bad,
            merged: 0,
        }
    }

    #[test]
    fn a_wave_is_let_in_when_the_one_before_is_settled() {
        let campaign = campaign(None);
        assert_eq!(decide(&campaign, &[wave(2, 1, 0), wave(2, 0, 0)]), []);
        assert_eq!(
            decide(&campaign, &[wave(2, 2, 0), wave(2, 0, 0)]),
            [CampaignFact::WaveAdmitted { wave: 1 }]
        );
    }

    #[test]
    fn a_gate_that_cannot_be_reached_holds_the_campaign() {
        let campaign = campaign(Some(Rules {
            verified: Some(0.9),
            merged: None,
        }));
        let facts = decide(&campaign, &[wave(2, 2, 1), wave(2, 0, 0)]);
        assert!(
            matches!(facts.as_slice(), [CampaignFact::Held { .. }]),
            "{facts:?}"
        );
        let overridden = Campaign {
            gate_overridden: Some(0),
            ..campaign
        };
        assert_eq!(
            decide(&overridden, &[wave(2, 2, 1), wave(2, 0, 0)]),
            [CampaignFact::WaveAdmitted { wave: 1 }]
        );
    }

    #[test]
    fn a_merge_gate_waits_for_the_reviewers() {
        let mut campaign = campaign(Some(Rules {
            verified: None,
            merged: Some(0.5),
        }));
        let mut first = wave(2, 2, 0);
        assert_eq!(decide(&campaign, &[first, wave(2, 0, 0)]), []);
        first.merged = 1;
        assert_eq!(
            decide(&campaign, &[first, wave(2, 0, 0)]),
            [CampaignFact::WaveAdmitted { wave: 1 }]
        );
        campaign.status = CampaignStatus::Paused;
        assert_eq!(decide(&campaign, &[first, wave(2, 0, 0)]), []);
    }
}
