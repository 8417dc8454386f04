//! Fair shares: how many tasks each campaign may have of the slots asked for.

use crate::columns::Columns;
use crate::error::StoreError;
use crate::types::Limits;

/// A campaign that has work, with its limits and what it uses of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contender {
    /// Campaign.
    pub(crate) id: String,
    /// Highest wave let in.
    pub(crate) admitted_wave: u32,
    /// Leased tasks, at most.
    pub(crate) max_running: Option<u32>,
    /// Leased and open tasks, at most.
    pub(crate) max_open: Option<u32>,
    /// Leased tasks.
    pub(crate) leased: u32,
    /// Tasks ready, submitted or in review that nobody leases.
    pub(crate) open: u32,
}

impl Contender {
    /// Reads (id, admitted_wave, max_running, max_open, leased, open).
    pub(crate) fn read(row: &impl Columns) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text(0)?,
            admitted_wave: row.count(1)?,
            max_running: row.count_or_null(2)?,
            max_open: row.count_or_null(3)?,
            leased: row.count(4)?,
            open: row.count(5)?,
        })
    }

    /// How many more it may lease.
    fn room(&self, limits: &Limits) -> u32 {
        let running = self.max_running.or(limits.running_per_campaign);
        let by_running = running.map_or(u32::MAX, |most| most.saturating_sub(self.leased));
        let used = self.leased.saturating_add(self.open);
        let by_open = self
            .max_open
            .map_or(u32::MAX, |most| most.saturating_sub(used));
        by_running.min(by_open)
    }
}

/// Slots left of what was asked for, after the limit over all campaigns.
pub(crate) fn slots(wanted: u32, leased: u64, limits: &Limits) -> u32 {
    let left = limits
        .running
        .map_or(u64::MAX, |most| u64::from(most).saturating_sub(leased));
    wanted.min(u32::try_from(left).unwrap_or(u32::MAX))
}

/// Hands slots out one by one, each to the contender with the fewest leased tasks.
///
/// `fetch` gives the candidates of a contender (at most as many as asked for, in order) and is
/// called for those only that are reached. Returns candidates with the one reached first first.
pub(crate) struct Shares<C> {
    contenders: Vec<Contender>,
    candidates: Vec<Option<std::vec::IntoIter<C>>>,
    room: Vec<u32>,
    slots: u32,
}

/// What [`Shares::next`] wants done.
pub(crate) enum Turn<C> {
    /// Fetch candidates of the contender, at most so many, and hand them to [`Shares::fetched`].
    Fetch(usize, u32),
    /// Lease this one.
    Take(C),
    /// All handed out.
    Done,
}

impl<C> Shares<C> {
    /// Begins with slots that [`slots`] left.
    pub(crate) fn new(contenders: Vec<Contender>, limits: &Limits, slots: u32) -> Self {
        let room = contenders
            .iter()
            .map(|contender| contender.room(limits))
            .collect();
        let candidates = contenders.iter().map(|_| None).collect();
        Self {
            contenders,
            candidates,
            room,
            slots,
        }
    }

    /// A contender.
    pub(crate) fn contender(&self, at: usize) -> &Contender {
        &self.contenders[at]
    }

    /// Candidates of a contender arrived.
    pub(crate) fn fetched(&mut self, at: usize, candidates: Vec<C>) {
        self.candidates[at] = Some(candidates.into_iter());
    }

    /// The next turn.
    pub(crate) fn next(&mut self) -> Turn<C> {
        while self.slots > 0 {
            let open = (0..self.contenders.len()).filter(|at| self.room[*at] > 0);
            // The list is ordered by age, so that among equals the oldest goes first.
            let Some(at) = open.min_by_key(|at| self.contenders[*at].leased) else {
                break;
            };
            let most = self.room[at].min(self.slots);
            let Some(candidates) = &mut self.candidates[at] else {
                return Turn::Fetch(at, most);
            };
            let Some(candidate) = candidates.next() else {
                self.room[at] = 0;
                continue;
            };
            self.contenders[at].leased += 1;
            self.room[at] -= 1;
            self.slots -= 1;
            return Turn::Take(candidate);
        }
        Turn::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(id: &str, leased: u32) -> Contender {
        Contender {
            id: id.to_owned(),
            admitted_wave: 0,
            max_running: None,
            max_open: None,
            leased,
            open: 0,
        }
    }

    fn hand_out(contenders: Vec<Contender>, limits: &Limits, slots: u32, each: u32) -> Vec<String> {
        let mut shares = Shares::new(contenders, limits, slots);
        let mut taken = Vec::new();
        loop {
            match shares.next() {
                Turn::Fetch(at, most) => {
                    let id = shares.contender(at).id.clone();
                    shares.fetched(at, (0..most.min(each)).map(|_| id.clone()).collect());
                }
                Turn::Take(id) => taken.push(id),
                Turn::Done => return taken,
            }
        }
    }

    #[test]
    fn the_one_with_the_fewest_catches_up_first() {
        let taken = hand_out(
            vec![contender("a", 3), contender("b", 0)],
            &Limits::default(),
            5,
            100,
        );
        assert_eq!(taken.join(""), "bbbab");
    }

    #[test]
    fn a_share_that_is_not_used_goes_to_the_others() {
        let taken = hand_out(
            vec![contender("a", 0), contender("b", 0)],
            &Limits::default(),
            8,
            2,
        );
        assert_eq!(taken.join(""), "abab");
        let mut limited = contender("a", 0);
        limited.max_open = Some(4);
        limited.open = 3;
        let taken = hand_out(vec![limited, contender("b", 0)], &Limits::default(), 4, 10);
        assert_eq!(taken.join(""), "abbb");
    }

    #[test]
    fn a_limit_of_a_campaign_goes_before_the_general_one() {
        let limits = Limits {
            running: None,
            running_per_campaign: Some(1),
        };
        let mut own = contender("a", 0);
        own.max_running = Some(3);
        assert_eq!(
            hand_out(vec![own, contender("b", 0)], &limits, 9, 9).join(""),
            "abaa"
        );
        assert_eq!(
            slots(
                9,
                7,
                &Limits {
                    running: Some(8),
                    running_per_campaign: None
                }
            ),
            1
        );
    }
}
