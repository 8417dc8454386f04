//! Why something ended or waits: a stable code and a sentence a person can act on.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        /// Stable codes of reasons; the text form never changes once published.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ReasonCode {
            $($(#[$doc])* $variant),+
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

codes! {
    /// A step said there is nothing to do.
    NothingToDo => "nothing_to_do",
    /// The steps ran and left the tree as it was.
    EmptyDiff => "empty_diff",
    /// The automation has no change step and its report was accepted.
    ReportAccepted => "report_accepted",
    /// The report's acceptance rule said no.
    ReportRefused => "report_refused",
    /// No validator ran, so nothing is known about the change.
    NotValidated => "not_validated",
    /// A validator could not run here.
    ValidatorMissing => "validator_missing",
    /// A command ended with a failure.
    StepFailed => "step_failed",
    /// A command ran out of time.
    StepTimedOut => "step_timed_out",
    /// A validator found something that the base does not have.
    ValidationFailed => "validation_failed",
    /// The environment could not be made.
    EnvironmentFailed => "environment_failed",
    /// The host cannot fence environments as strongly as is asked.
    IsolationTooWeak => "isolation_too_weak",
    /// What the environment is made of (image, set-up, service) could not be had.
    RecipeFailed => "recipe_failed",
    /// The repository is not there, or cannot be read.
    RepositoryUnavailable => "repository_unavailable",
    /// The repository has no commit.
    RepositoryEmpty => "repository_empty",
    /// The task was interrupted too often.
    Interrupted => "interrupted",
    /// Policy forbids it.
    PolicyDenied => "policy_denied",
    /// A cap of the budget is reached.
    BudgetExhausted => "budget_exhausted",
    /// The change held a secret, or what looks like one, and was kept from leaving.
    SecretInChange => "secret_in_change",
    /// A credential that the task needs has expired, or cannot be had.
    CredentialExpired => "credential_expired",
    /// A person stopped it, or what it belongs to, for now.
    Stopped => "stopped",
    /// A person denied an approval.
    ApprovalDenied => "approval_denied",
    /// Nobody answered in time.
    ApprovalExpired => "approval_expired",
    /// A person closed the change without merging it.
    ChangeClosed => "change_closed",
    /// The branch holds commits that are not ours.
    BranchMoved => "branch_moved",
    /// The forge refused the change.
    ForgeRefused => "forge_refused",
    /// The change conflicts with its base.
    Conflict => "conflict",
    /// A newer task works on the same target.
    NewerTask => "newer_task",
    /// A person cancelled it.
    CancelledByPerson => "cancelled_by_person",
    /// Its campaign was closed.
    CampaignClosed => "campaign_closed",
    /// The change was merged.
    Merged => "merged",
    /// Reviewers asked for changes.
    ChangesRequested => "changes_requested",
    /// The automation's definition cannot be carried out.
    InvalidDefinition => "invalid_definition",
    /// Waits before it tries again.
    RetryBackoff => "retry_backoff",
    /// Waits for a person's consent.
    ApprovalNeeded => "approval_needed",
    /// A bug of ours.
    InternalError => "internal_error",
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why, in both forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For machines.
    pub code: ReasonCode,
    /// For people: a sentence that says what happened and what to do.
    pub sentence: String,
}

impl Reason {
    /// Joins the two.
    pub fn new(code: ReasonCode, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;

    #[test]
    fn the_serialised_code_is_its_text() {
        for code in ReasonCode::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
        }
    }
}
