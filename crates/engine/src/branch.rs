//! The name of a change's branch: the same for the same (campaign, target), always.

use model::ids::{CampaignId, ChangeId};
use model::run::Target;

/// `PREFIX/AUTOMATION/CAMPAIGN-TARGET`: readable, valid by `git check-ref-format`, and unique by
/// the short ids at its end.
#[must_use]
pub fn name(
    prefix: Option<&str>,
    automation: &str,
    campaign: CampaignId,
    target: &Target,
) -> String {
    let change = ChangeId::of(campaign, target);
    format!(
        "{}/{}/{}-{}",
        clean(prefix.unwrap_or("nightcrew"), "nightcrew"),
        clean(automation, "automation"),
        campaign.short(),
        change.short()
    )
}

/// Keeps what is valid in a path component of a ref name.
fn clean(text: &str, otherwise: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '-'
            }
        })
        .take(60)
        .collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() {
        otherwise.to_owned()
    } else {
        kept.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_become_valid_branches() {
        let campaign = CampaignId::derived(&["c"]);
        let target = Target::repository("a/b");
        let branch = name(
            Some("..we/ird.lock~^"),
            "näme with spaces",
            campaign,
            &target,
        );
        assert!(
            branch
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/')),
            "{branch}"
        );
        assert_eq!(
            branch,
            name(
                Some("..we/ird.lock~^"),
                "näme with spaces",
                campaign,
                &target
            )
        );
        assert_ne!(
            branch,
            name(None, "x", campaign, &Target::repository("a/c"))
        );
    }
}
