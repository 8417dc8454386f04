//! TLS as the broker has it: what a client asks for first, the environment's own authority, and
//! whom the broker believes outside.

pub mod authority;
pub mod hello;
pub mod outside;

/// Descriptions of fatal alerts (RFC 8446, 6).
pub mod alert {
    /// The other side said nothing in time, or the broker ends what it no longer permits.
    pub const ACCESS_DENIED: u8 = 49;
    /// Bytes that are no TLS, or not the TLS that is permitted.
    pub const DECODE_ERROR: u8 = 50;
    /// The name is not one that is served here.
    pub const UNRECOGNIZED_NAME: u8 = 112;

    /// The record that carries a fatal alert before any key was agreed on.
    #[must_use]
    pub const fn record(description: u8) -> [u8; 7] {
        [0x15, 3, 3, 0, 2, 2, description]
    }
}
