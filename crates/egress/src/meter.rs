//! Metering: what a call asks for at most, what it did use, and what that costs.
//!
//! Pure: bytes in, facts out. Requests are read once and never written anew, answers are read on
//! the side while they stream by, in memory that does not grow with them.

pub mod dialect;
pub mod edit;
pub mod fields;
pub mod json;
pub mod price;
pub mod request;
pub mod stream;
pub mod usage;

pub use dialect::Dialect;
pub use price::{Price, PriceTable};
pub use request::{Facts, Unfit};
pub use stream::Reader;
pub use usage::Reading;
