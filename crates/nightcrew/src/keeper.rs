//! Keepers: one small process per environment that outlives the commands which use it.
//!
//! `nightcrew env create` starts a keeper (this program under another name, detached). It holds a
//! supervisor and one environment, listens on a socket that only the same user can reach, and ends
//! with its environment. Nothing else knows about the environment: when a keeper dies, its
//! supervisor and everything inside die with it, and what was written stays in the layer.
//!
//! | file | idea |
//! |---|---|
//! | `bases` | copies of workspaces that environments stand on |
//! | `home` | folders and names of environments on disk |
//! | `snapshot` | names of what was kept at one moment |
//! | `spec` | what an environment was asked to be, kept as JSON |
//! | `channel` | messages with descriptors over a local socket |
//! | `message` | what commands and keepers say to each other |
//! | `process` | the keeper itself |
//! | `commands` | what its recipe runs before anybody uses it |
//! | `reach` | its network, with a broker of its own |
//! | `serve` | answering one command |

mod bases;
pub(crate) mod channel;
mod commands;
pub(crate) mod home;
pub(crate) mod message;
pub(crate) mod process;
mod reach;
mod serve;
pub(crate) mod snapshot;
pub(crate) mod spec;
