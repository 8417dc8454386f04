//! Made-up addresses: each leads to the one name it was given out for, as long as the environment
//! lives.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::name::Name;

/// Most names that get an address in one environment. Names are chosen inside, below a `*.`; this
/// bounds memory, and how much can be told outside by names alone.
pub const MOST_PINS: usize = 4096;

/// First address of 198.18.0.0/15, which no host of the internet has (RFC 2544).
const FIRST: u32 = 0xc612_0000;

/// How many addresses of it are the first or last of a /24, which careless programs avoid: none is
/// given out.
const PER_BLOCK: u32 = 254;

/// Names and their made-up addresses of one environment. An address is never given out for a
/// second name: once all are gone, further names have none.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// In the order in which they were given out; the place is the address.
    names: Vec<Name>,
    places: HashMap<Name, usize>,
}

impl Pins {
    /// Pins that were given out before, in their order: what [`Self::given_out`] told.
    #[must_use]
    pub fn restore(names: impl IntoIterator<Item = Name>) -> Self {
        let mut pins = Self::default();
        for name in names {
            pins.pin(&name);
        }
        pins
    }

    /// The names that have an address, in the order in which they got it.
    #[must_use]
    pub fn given_out(&self) -> &[Name] {
        &self.names
    }

    /// The address of a name, given out now if it has none; `None` when there are no more.
    pub fn pin(&mut self, name: &Name) -> Option<Ipv4Addr> {
        if let Some(place) = self.places.get(name) {
            return Some(address(*place));
        }
        let place = self.names.len();
        if place >= MOST_PINS {
            return None;
        }
        self.names.push(name.clone());
        self.places.insert(name.clone(), place);
        Some(address(place))
    }

    /// The address of a name that has one.
    #[must_use]
    pub fn address(&self, name: &Name) -> Option<Ipv4Addr> {
        self.places.get(name).map(|place| address(*place))
    }

    /// The name that an address was given out for.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<&Name> {
        let IpAddr::V4(address) = address.to_canonical() else {
            return None;
        };
        let number = address.to_bits().checked_sub(FIRST)?;
        let (block, last) = (number / 256, number % 256);
        let place = block * PER_BLOCK + last.checked_sub(1).filter(|place| *place < PER_BLOCK)?;
        self.names.get(usize::try_from(place).ok()?)
    }
}

/// Whether an address is one of those that are made up.
#[must_use]
pub fn is_pin(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(address) if address.to_bits() >> 17 == FIRST >> 17)
}

fn address(place: usize) -> Ipv4Addr {
    // Places are below MOST_PINS.
    let place = u32::try_from(place).unwrap_or_default();
    Ipv4Addr::from_bits(FIRST + place / PER_BLOCK * 256 + place % PER_BLOCK + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        Name::parse(&format!("n{number}.wild.example.test")).unwrap()
    }

    #[test]
    fn an_address_never_means_two_names_and_a_name_keeps_its_address() {
        let mut pins = Pins::default();
        let given: Vec<Ipv4Addr> = (0..MOST_PINS)
            .map(|n| pins.pin(&name(n)).unwrap())
            .collect();
        assert_eq!(pins.pin(&name(MOST_PINS)), None);
        for (number, address) in given.iter().enumerate() {
            assert!(is_pin(IpAddr::V4(*address)), "{address}");
            assert_eq!(pins.name(IpAddr::V4(*address)), Some(&name(number)));
            assert_eq!(
                pins.name(IpAddr::V6(address.to_ipv6_mapped())),
                Some(&name(number))
            );
            assert_eq!(pins.pin(&name(number)), Some(*address));
            assert!(!matches!(address.octets()[3], 0 | 255));
        }
        let again = Pins::restore(pins.given_out().to_vec());
        assert_eq!(again.address(&name(17)), Some(given[17]));
        assert_eq!(pins.address(&name(MOST_PINS)), None);
    }

    #[test]
    fn addresses_that_were_not_given_out_have_no_name() {
        let mut pins = Pins::default();
        pins.pin(&name(0)).unwrap();
        for text in [
            "198.18.0.0",
            "198.18.0.2",
            "198.18.0.255",
            "198.18.1.0",
            "198.19.255.255",
            "198.17.0.1",
            "127.0.0.1",
            "::1",
            "203.0.113.9",
        ] {
            assert_eq!(pins.name(text.parse().unwrap()), None, "{text}");
        }
        assert!(
            is_pin("198.19.255.255".parse().unwrap()) && !is_pin("198.20.0.0".parse().unwrap())
        );
    }
}
