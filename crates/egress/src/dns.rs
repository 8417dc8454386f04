//! Names inside an environment: answers are made up, nothing is ever asked outside.
//!
//! [`answer`] decides and [`Pins`] remembers; `message` reads and writes what RFC 1035 and RFC 6891
//! describe, as little of it as programs need. Nothing of a question but its name comes back.

mod answer;
mod frame;
mod message;
mod pins;

pub use answer::answer;
pub use frame::{FrameError, frame, next_frame};
pub use message::LONGEST_QUERY;
pub use pins::{MOST_PINS, Pins, is_pin};

/// Where names are asked for.
pub const PORT: u16 = 53;

#[cfg(test)]
mod tests;
