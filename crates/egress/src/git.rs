//! Git's smart HTTP protocol, as far as rules look: which request is what, and which refs a push
//! updates (gitprotocol-http, gitprotocol-pack).

/// One ref that a push wants to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Full name of the ref.
    pub name: String,
    /// Object id it has; all zeros where it does not exist.
    pub old: String,
    /// Object id it shall have; all zeros where it is deleted.
    pub new: String,
}
