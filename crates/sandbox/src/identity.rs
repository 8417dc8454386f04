//! Which user of the host an environment's user 0 is.

use std::sync::OnceLock;

use crate::sys::creds;

/// User and group id that environments have on the host when Nightcrew runs as root.
///
/// Far above what user databases and container managers give out (systemd's `UIDS-GIDS` calls
/// everything from 0x7000_0000 unused).
pub const SANDBOX_UID: u32 = 2_000_000_000;

/// A user and a group of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As the present user namespace numbers it.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether files must be given to it before it can use them.
    pub(crate) foreign: bool,
}

/// User and group for processes that serve environments from outside and are neither root nor an
/// environment's user. Absent where this process cannot become anybody else.
#[must_use]
pub fn outside_identity() -> Option<(u32, u32)> {
    let environments = current();
    let below = |id: u32| id.checked_sub(1).filter(|id| *id > 0);
    environments
        .foreign
        .then(|| Some((below(environments.uid)?, below(environments.gid)?)))?
}

/// The identity of environments made by this process.
///
/// As root: [`SANDBOX_UID`], or where that number does not exist (root of a rootless container) the
/// highest that does. As an ordinary user: that user.
pub(crate) fn current() -> Identity {
    static CURRENT: OnceLock<Identity> = OnceLock::new();
    *CURRENT.get_or_init(|| {
        let (uid, gid) = (creds::effective_uid(), creds::effective_gid());
        if uid != 0 {
            return Identity {
                uid,
                gid,
                foreign: false,
            };
        }
        let uid = best("/proc/self/uid_map");
        let gid = best("/proc/self/gid_map");
        Identity {
            uid,
            gid,
            foreign: uid != 0,
        }
    })
}

fn best(map: &str) -> u32 {
    std::fs::read_to_string(map).map_or(SANDBOX_UID, |map| best_of(&map))
}

/// The wanted id if the map has it, else its highest.
fn best_of(map: &str) -> u32 {
    let ranges: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line
                .split_ascii_whitespace()
                .map(|field| field.parse::<u64>().ok());
            let start = fields.next()??;
            let length = fields.nth(1)??;
            Some((start, start + length))
        })
        .collect();
    let wanted = u64::from(SANDBOX_UID);
    if ranges
        .iter()
        .any(|(start, end)| (*start..*end).contains(&wanted))
    {
        return SANDBOX_UID;
    }
    let highest = ranges
        .iter()
        .map(|(_, end)| end.saturating_sub(1))
        .max()
        .unwrap_or(wanted);
    u32::try_from(highest).unwrap_or(SANDBOX_UID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_id_is_used_where_it_exists_and_the_highest_elsewhere() {
        assert_eq!(best_of("0 0 4294967295\n"), SANDBOX_UID);
        assert_eq!(best_of("0 1000 1\n1 100000 65536\n"), 65536);
        assert_eq!(best_of("0 1000 1\n"), 0);
    }
}
