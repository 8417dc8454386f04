//! Which addresses are the public internet, and which are somebody's inside.
//!
//! The tables are those of the IANA registries of special-purpose addresses
//! (iana-ipv4-special-registry, iana-ipv6-special-registry; RFC 6890), with multicast (RFC 5771,
//! RFC 4291), and with the addresses at which clouds hand out credentials. A form of IPv6 that
//! stands for an IPv4 address is judged as that address, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses with the class it belongs to.
struct Block<A> {
    first: A,
    bits: u32,
    class: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32, class: &'static str) -> Block<u32> {
    Block {
        first: u32::from_be_bytes([a, b, c, d]),
        bits,
        class,
    }
}

const fn v6(parts: [u16; 8], bits: u32, class: &'static str) -> Block<u128> {
    Block {
        first: Ipv6Addr::new(
            parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], parts[7],
        )
        .to_bits(),
        bits,
        class,
    }
}

const METADATA: &str = "a cloud's metadata service";
const UNSPECIFIED: &str = "no address";
const LOOPBACK: &str = "loopback";
const LINK_LOCAL: &str = "link-local";
const MULTICAST: &str = "multicast";
const BROADCAST: &str = "broadcast";
const RESERVED: &str = "reserved";
const PRIVATE: &str = "private";
const SHARED: &str = "shared by a provider's customers";
const DOCUMENTATION: &str = "for documentation";
const BENCHMARK: &str = "for benchmarks, and for names inside environments";
const PROTOCOLS: &str = "for protocols";
const RELAY: &str = "a relay to IPv6";
const TRANSLATED: &str = "translated to IPv4 nearby";
const TUNNELLED: &str = "tunnelled over IPv4";
const SITE_LOCAL: &str = "site-local";
const DISCARDED: &str = "discarded";
const OUTSIDE: &str = "not given out for the public internet";

/// Narrow blocks first: the first that holds the address names its class.
const V4: &[Block<u32>] = &[
    v4(169, 254, 169, 254, 32, METADATA),
    // Credentials of tasks and pods at one cloud; time and names stand beside them.
    v4(169, 254, 170, 0, 24, METADATA),
    v4(100, 100, 100, 200, 32, METADATA),
    v4(192, 0, 0, 192, 32, METADATA),
    // Public by its number, but answered by the machine's own hypervisor.
    v4(168, 63, 129, 16, 32, METADATA),
    v4(255, 255, 255, 255, 32, BROADCAST),
    v4(0, 0, 0, 0, 8, UNSPECIFIED),
    v4(10, 0, 0, 0, 8, PRIVATE),
    v4(100, 64, 0, 0, 10, SHARED),
    v4(127, 0, 0, 0, 8, LOOPBACK),
    v4(169, 254, 0, 0, 16, LINK_LOCAL),
    v4(172, 16, 0, 0, 12, PRIVATE),
    v4(192, 0, 0, 0, 24, PROTOCOLS),
    v4(192, 0, 2, 0, 24, DOCUMENTATION),
    v4(192, 31, 196, 0, 24, PROTOCOLS),
    v4(192, 52, 193, 0, 24, PROTOCOLS),
    v4(192, 88, 99, 0, 24, RELAY),
    v4(192, 168, 0, 0, 16, PRIVATE),
    v4(192, 175, 48, 0, 24, PROTOCOLS),
    v4(198, 18, 0, 0, 15, BENCHMARK),
    v4(198, 51, 100, 0, 24, DOCUMENTATION),
    v4(203, 0, 113, 0, 24, DOCUMENTATION),
    v4(224, 0, 0, 0, 4, MULTICAST),
    v4(240, 0, 0, 0, 4, RESERVED),
];

const V6: &[Block<u128>] = &[
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, METADATA),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, UNSPECIFIED),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, LOOPBACK),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, TRANSLATED),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, TRANSLATED),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, TRANSLATED),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, TRANSLATED),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, TRANSLATED),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, DISCARDED),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, DISCARDED),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, TUNNELLED),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, PROTOCOLS),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, DOCUMENTATION),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, TUNNELLED),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, PROTOCOLS),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, DOCUMENTATION),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, PROTOCOLS),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, PRIVATE),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LINK_LOCAL),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, SITE_LOCAL),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, MULTICAST),
];

/// Whether an address is one of the public internet: not private, local, shared, reserved,
/// multicast, a cloud's metadata service, nor a form of IPv6 that stands for such an IPv4 address.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    forbidden(address).is_none()
}

/// The class of an address that is not public.
#[must_use]
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

/// The class of an address that no name may lead to, not even where a rule permits private
/// addresses: a cloud's credentials, the machine of the broker itself, and what is not one machine. A rule has to name such an address
/// itself.
#[must_use]
pub fn never_by_name(address: IpAddr) -> Option<&'static str> {
    forbidden(address).filter(|class| {
        [
            METADATA,
            LOOPBACK,
            UNSPECIFIED,
            LINK_LOCAL,
            MULTICAST,
            BROADCAST,
            BENCHMARK,
            RESERVED,
        ]
        .contains(class)
    })
}

/// Whether an address is the machine that uses it.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    forbidden(address) == Some(LOOPBACK)
}

fn class_v4(address: Ipv4Addr) -> Option<&'static str> {
    let number = address.to_bits();
    V4.iter()
        .find(|block| (number ^ block.first) >> (32 - block.bits) == 0)
        .map(|block| block.class)
}

/// What an IPv6 address stands for comes first: `64:ff9b::7f00:1` is loopback rather than translated.
fn class_v6(address: Ipv6Addr) -> Option<&'static str> {
    let number = address.to_bits();
    let own = V6
        .iter()
        .find(|block| (number ^ block.first) >> (128 - block.bits) == 0)
        .map(|block| block.class);
    if own == Some(LOOPBACK) || own == Some(UNSPECIFIED) {
        return own;
    }
    // Outside 2000::/3 nothing is given out (RFC 4291, 2.4): what is not listed is not public either.
    let outside = (address.segments()[0] >> 13 != 1).then_some(OUTSIDE);
    embedded(address).and_then(class_v4).or(own).or(outside)
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible and translated (RFC 4291,
/// RFC 2765, RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(join(high, low))
        }
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
