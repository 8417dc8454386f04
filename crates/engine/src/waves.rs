//! How targets spread over waves.

use model::automation::{CampaignRules, Wave};

/// Sizes of the waves that `rules` make of `targets` targets; wave 0 is the canary if there is
/// one. Always at least one wave; the sizes add up to `targets`.
#[must_use]
pub fn sizes(rules: &CampaignRules, targets: u32) -> Vec<u32> {
    let mut sizes = Vec::new();
    let mut left = targets;
    let mut take = |wanted: u32, left: &mut u32| {
        let size = wanted.min(*left);
        if size > 0 {
            sizes.push(size);
            *left -= size;
        }
    };
    if let Some(canary) = rules.canary {
        take(canary, &mut left);
    }
    for wave in &rules.waves {
        match wave {
            Wave::Count(count) => take(*count, &mut left),
            Wave::Rest => {
                let rest = left;
                take(rest, &mut left);
            }
        }
    }
    let rest = left;
    take(rest, &mut left);
    if sizes.is_empty() {
        sizes.push(0);
    }
    sizes
}

/// Sizes of the waves when targets are added to those of `planned`, up to `targets` in all.
///
/// Targets planned before keep their wave, so only the last one grows and new ones follow. Where
/// `rules` have changed so that this cannot be, the new targets form a wave of their own.
#[must_use]
pub fn extended(planned: &[u32], rules: &CampaignRules, targets: u32) -> Vec<u32> {
    let wanted = sizes(rules, targets);
    let Some((last, full)) = planned.split_last() else {
        return wanted;
    };
    let keeps = wanted.starts_with(full) && wanted.get(full.len()).is_some_and(|size| size >= last);
    if keeps {
        return wanted;
    }
    let before = planned
        .iter()
        .fold(0u32, |sum, size| sum.saturating_add(*size));
    let mut sizes = planned.to_vec();
    sizes.extend(Some(targets.saturating_sub(before)).filter(|new| *new > 0));
    sizes
}

/// The wave of the target at `position` (from 0).
#[must_use]
pub fn wave_of(sizes: &[u32], position: u32) -> u32 {
    let mut end = 0u32;
    for (wave, size) in (0u32..).zip(sizes) {
        end = end.saturating_add(*size);
        if position < end {
            return wave;
        }
    }
    u32::try_from(sizes.len().saturating_sub(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(canary: Option<u32>, waves: Vec<Wave>) -> CampaignRules {
        CampaignRules {
            canary,
            waves,
            ..CampaignRules::default()
        }
    }

    #[test]
    fn every_target_is_in_exactly_one_wave() {
        let rules = rules(Some(3), vec![Wave::Count(8), Wave::Rest]);
        for targets in 0..40 {
            let sizes = sizes(&rules, targets);
            assert_eq!(sizes.iter().sum::<u32>(), targets);
            let mut counted = vec![0; sizes.len()];
            for position in 0..targets {
                counted[wave_of(&sizes, position) as usize] += 1;
            }
            assert_eq!(counted, sizes);
        }
    }

    #[test]
    fn what_the_rules_leave_over_forms_a_last_wave() {
        assert_eq!(sizes(&rules(Some(5), vec![]), 12), [5, 7]);
        assert_eq!(sizes(&rules(None, vec![]), 12), [12]);
        assert_eq!(
            sizes(&rules(Some(5), vec![Wave::Count(25), Wave::Rest]), 4),
            [4]
        );
    }
}
