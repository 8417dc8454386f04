//! Which addresses are the public internet, and which are somebody's inside.

use std::net::IpAddr;

/// Whether an address is one of the public internet: not private, local, shared, reserved,
/// multicast, a cloud's metadata service, nor a form of IPv6 that stands for such an IPv4 address.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    // The whole table follows with its sources; until then nothing is.
    let _ = address;
    false
}
