//! The only way out of an environment.
//!
//! An environment has a network namespace in which every address is local ([`sandbox`] makes it
//! so) and listening sockets that somebody outside owns: the **broker**. It gives names made-up
//! addresses, parses what a connection wants once, decides by policy, resolves and dials itself,
//! and puts credentials in; the **model gateway** is one of the hosts it knows. Both run in a
//! process without privilege, outside every environment.
//!
//! What is pure and what does I/O are apart: names, addresses, policy, DNS messages, git requests,
//! credentials, masking and metering know no socket.
//!
//! [`sandbox`]: https://docs.rs/sandbox

pub mod address;
pub mod broker;
pub mod budget;
pub mod credential;
pub mod dns;
pub mod gateway;
pub mod git;
pub mod mask;
pub mod meter;
pub mod name;
pub mod policy;
pub mod process;
pub mod record;
pub mod secret;
mod sigv4;
pub mod tls;

/// The body of a request or an answer on its way through.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BodyError>;

/// Why a body ended before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
