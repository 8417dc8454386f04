//! Names inside an environment: answers are made up, nothing is ever asked outside.

mod pins;

pub use pins::{MOST_PINS, Pins, is_pin};

/// Where names are asked for.
pub const PORT: u16 = 53;
