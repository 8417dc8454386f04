//! A person says no.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::approve::waits_for_approval;
use super::command::{ended, is_person, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, by: &str, text: &str) -> Result<Vec<TaskFact>, Rejection> {
    waits_for_approval(task).ok_or_else(|| wrong(task, "deny"))?;
    if !is_person(by) {
        return Err(Rejection::NotAllowed(
            "only a person can say no to this".to_owned(),
        ));
    }
    let text = if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    };
    Ok(vec![ended(
        TaskStatus::Rejected,
        ReasonCode::ApprovalDenied,
        format!("{by} said no{text}"),
    )])
}
