//! How fast a campaign writes to the forge: each submission gets a time of its own, so that a
//! fleet's changes do not arrive all at once.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use model::automation::CampaignRules;
use model::ids::{CampaignId, TaskId};

/// Times given to submissions. Lost with the process: after a restart they are given anew.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    newest: HashMap<CampaignId, Timestamp>,
    given: HashMap<TaskId, Timestamp>,
}

impl Pace {
    /// When this task's change may be submitted: `None` for now, and then its time is used up.
    pub(crate) fn wait(
        &mut self,
        campaign: CampaignId,
        task: TaskId,
        rules: &CampaignRules,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let rate = rules
            .pace
            .as_ref()
            .and_then(|pace| pace.writes_per_minute)?;
        let interval = Duration::from_secs(60) / rate.max(1);
        let newest = &mut self.newest;
        let time = *self.given.entry(task).or_insert_with(|| {
            let next = newest
                .get(&campaign)
                .and_then(|last| last.checked_add(interval).ok());
            let time = next.map_or(now, |next| next.max(now));
            newest.insert(campaign, time);
            time
        });
        if time > now {
            return Some(time);
        }
        self.given.remove(&task);
        None
    }
}

#[cfg(test)]
mod tests {
    use model::automation;

    use super::*;

    #[test]
    fn submissions_are_spread_over_time_and_keep_their_turn() {
        let pace = Some(automation::Pace {
            writes_per_minute: Some(60),
        });
        let rules = CampaignRules {
            pace,
            ..CampaignRules::default()
        };
        let campaign = CampaignId::derived(&["c"]);
        let task = |name: &str| TaskId::derived(&[name]);
        let start = Timestamp::UNIX_EPOCH;
        let later = |seconds: u64| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut pace = Pace::default();
        assert_eq!(pace.wait(campaign, task("a"), &rules, start), None);
        assert_eq!(
            pace.wait(campaign, task("b"), &rules, start),
            Some(later(1))
        );
        assert_eq!(
            pace.wait(campaign, task("c"), &rules, start),
            Some(later(2))
        );
        assert_eq!(pace.wait(campaign, task("b"), &rules, later(1)), None);
        assert_eq!(
            pace.wait(campaign, task("c"), &rules, later(1)),
            Some(later(2))
        );
        assert_eq!(
            pace.wait(campaign, task("x"), &CampaignRules::default(), start),
            None
        );
    }
}
