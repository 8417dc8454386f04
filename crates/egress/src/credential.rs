//! Credentials of one environment: what it sees, what stands behind it, and where it may go.

mod form;

use model::network::CredentialUse;
use zeroize::Zeroizing;

pub use form::check;

/// What every placeholder begins with.
pub const PREFIX: &str = "nc-placeholder-";

/// A secret as an environment may use it.
#[derive(Clone)]
pub struct Bound {
    /// What the environment sees in its place.
    pub placeholder: String,
    /// Where it is put.
    pub used: CredentialUse,
    /// The value. Never shown, never logged.
    pub value: Zeroizing<String>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("placeholder", &self.placeholder)
            .field("secret", &self.used.secret)
            .finish_non_exhaustive()
    }
}
