//! The git command line, safely and fast; blocking, without an async runtime.
//!
//! [`Git`] runs git in a scrubbed environment: nothing of the host's configuration, hooks, templates, identity,
//! credentials or locale has an effect, and only the protocols file, http(s), ssh and git are allowed.
//! Names are bytes throughout: a file name that is not UTF-8 survives.

mod base;
mod commit;
mod diff;
mod environment;
mod error;
mod import;
mod log;
mod merge;
mod object;
mod oid;
mod pack;
mod ref_update;
mod refs;
mod remote;
mod run;
mod staged;
mod stale_locks;
mod stat;

pub use base::{BaseRequest, BaseTree, Start, clone_base, load_base};
pub use commit::{CommitDraft, CommitObject, Signature, read_commit, write_commit};
pub use diff::{Diff, DiffEntry, DiffStatus, Patch, diff, patch};
pub use error::GitError;
pub use import::{ImportLimits, import_commit};
pub use log::{LogEntry, is_ancestor, log, merge_base};
pub use merge::{MergeCheck, merge_check, rebase_commits};
pub use object::{ObjectKind, hash_object, read_object, write_object};
pub use oid::{BytePath, InvalidOid, Oid};
pub use ref_update::{Expect, RefUpdate, update_refs};
pub use refs::{default_branch, head_of, list_refs, read_ref, resolve, valid_branch_name};
pub use run::{Git, Invocation};

pub(crate) use import::{grows_out_of, stage_import};
pub(crate) use object::{fsync_dir, stage_object, unique as unique_name};
pub(crate) use ref_update::update_refs_with;
pub(crate) use remote::{git_dir_of, is_elsewhere, remote_default};
pub(crate) use staged::Staged;
pub(crate) use stale_locks::remove_stale_locks;
