//! Where changes are proposed: the [`Forge`] trait, and the [`local`] forge over a folder of bare git repositories.
//!
//! * [`git`]: the git command line behind one wrapper that no configuration, hook, template or identity of the host
//!   can reach, plus the few things done without a process because they lie on hot paths (reading refs, moving refs,
//!   writing one object).
//! * [`Forge`]: what every forge can do, paged, rate-aware, looking up before it creates.
//! * [`local`]: the forge of one machine. The state of a change lives in refs of the bare repository itself.
//! * [`http`]: git smart HTTP over the same repositories, so that `git clone` and `git push` work against them.

mod branch;
mod change;
mod error;
mod event;
pub mod git;
pub mod http;
pub mod local;
mod name;
mod repository;
mod request;
mod traits;

pub use branch::branch_name;
pub use change::*;
pub use error::ForgeError;
pub use event::*;
pub use name::RepoName;
pub use repository::*;
pub use request::*;
pub use traits::Forge;
