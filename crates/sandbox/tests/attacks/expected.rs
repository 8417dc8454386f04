//! What is promised, written from the specification and not from what was seen.

use crate::adapter::{Mode, Tier};

/// What an attack must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It is refused.
    Blocked,
    /// It passes, and readers are told why.
    NotPromised(&'static str),
    /// Either, depending on the host or on luck, and readers are told why.
    Depends(&'static str),
}

use Expected::{Blocked, Depends, NotPromised};

/// What is promised for an attack in a tier and mode.
pub(crate) fn expected(_name: &str, _item: u8, _tier: Tier, mode: Mode) -> Expected {
    let _ = (NotPromised(""), Depends(""));
    match mode {
        Mode::Off | Mode::DenyList | Mode::AllowList | Mode::Strict => Blocked,
    }
}
