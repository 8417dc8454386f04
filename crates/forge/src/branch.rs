//! The deterministic name of the branch of a change.

use sha1::{Digest, Sha1};

/// Longest readable part, in bytes.
const READABLE: usize = 40;

/// The branch of the change of a campaign on a target: always the same for the same two texts, different for others,
/// and always a name git accepts: `nightcrew/<campaign>/<target>-<hash>`.
///
/// The readable parts are shortened and cleaned; the hash (48 bits) over both full texts keeps names apart.
#[must_use]
pub fn branch_name(campaign: &str, target: &str) -> String {
    let mut hasher = Sha1::new();
    hasher.update((campaign.len() as u64).to_be_bytes());
    hasher.update(campaign);
    hasher.update(target);
    let digest = hasher.finalize();
    format!(
        "nightcrew/{}/{}-{}",
        readable(campaign),
        readable(target),
        hex::encode(&digest[..6])
    )
}

/// Lower-case letters, digits and single dashes only: no rule of git-check-ref-format(1) can be broken with them.
fn readable(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        if kept.len() >= READABLE {
            break;
        }
        if c.is_ascii_alphanumeric() {
            kept.push(c.to_ascii_lowercase());
        } else if !kept.ends_with('-') && !kept.is_empty() {
            kept.push('-');
        }
    }
    let kept = kept.trim_end_matches('-');
    if kept.is_empty() {
        "x".to_owned()
    } else {
        kept.to_owned()
    }
}
