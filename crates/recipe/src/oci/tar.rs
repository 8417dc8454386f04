//! A strict reader of tar archives, as far as layers need it.
//!
//! Archivers differ in what they make of odd archives; an archive that two programs read differently is a
//! way to hide something. So whatever is odd is refused: negative or overlong numbers, sizes on links,
//! repeated or contradicting extension headers, sparse files, data behind the end.
//! Forms: POSIX ustar and pax (IEEE Std 1003.1-2017, `pax`), GNU long names, and headers of Version 7.

mod header;
mod pax;
mod reader;

pub(crate) use header::Kind;
pub(crate) use reader::{Entry, Failure, TarReader};
