//! Credentials of one environment, as requests and answers meet them.

use std::sync::Arc;

use crate::credential::Bound;

/// Credentials, and values of earlier ones that answers may still hold.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    pub(crate) bound: Vec<Bound>,
}

impl Secrets {
    pub(crate) const fn new(bound: Vec<Bound>) -> Self {
        Self { bound }
    }

    pub(crate) fn following(_old: &Arc<Self>, bound: Vec<Bound>) -> Self {
        Self { bound }
    }
}
