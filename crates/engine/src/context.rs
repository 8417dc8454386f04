//! What a decision may look at besides the state.

use jiff::Timestamp;
use model::automation::Definition;

use crate::ports::{Budget, Caps, PermitAll, Policy, Spend};

/// Handed to every decision; holds no power to act.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// The automation in the task's version.
    pub definition: &'a Definition,
    /// Policy.
    pub policy: &'a dyn Policy,
    /// Budget.
    pub budget: &'a dyn Budget,
    /// What the campaign has used up.
    pub spend: Spend,
}

impl<'a> Context<'a> {
    /// A context in which everything is permitted and only the automation's caps hold.
    #[must_use]
    pub fn permissive(now: Timestamp, definition: &'a Definition) -> Self {
        Self {
            now,
            definition,
            policy: &PermitAll,
            budget: &Caps,
            spend: Spend::default(),
        }
    }
}
