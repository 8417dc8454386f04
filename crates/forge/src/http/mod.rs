//! Git smart HTTP.
