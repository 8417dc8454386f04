//! Which automations fire for an event.

use model::automation::{Definition, Trigger};
use model::event::{Event, types};

use crate::condition::{ConditionError, evaluate};

/// Whether some trigger of the automation matches the event.
///
/// `default_branch` is that of the event's repository, where it is known: a push trigger without
/// a branch means this one.
///
/// # Errors
/// A condition that cannot be evaluated: the caller records it, and the automation does not fire.
pub fn matches(
    definition: &Definition,
    event: &Event,
    default_branch: Option<&str>,
) -> Result<bool, ConditionError> {
    for trigger in &definition.triggers {
        if trigger_matches(trigger, definition, event, default_branch)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn trigger_matches(
    trigger: &Trigger,
    definition: &Definition,
    event: &Event,
    default_branch: Option<&str>,
) -> Result<bool, ConditionError> {
    let subject = &event.subject;
    let (fits, when) = match trigger {
        // A manual start names the automation, whatever its triggers are.
        Trigger::Manual => (is_about(event, types::MANUAL, &definition.name), None),
        Trigger::Schedule(_) => (is_about(event, types::SCHEDULE, &definition.name), None),
        Trigger::Push(push) => {
            let repository = push.repository.is_none() || push.repository == subject.repository;
            let branch = push.branch.as_deref().or(default_branch);
            let branch = branch.is_none() || branch == subject.branch.as_deref();
            (
                event.event_type == types::PUSH && repository && branch,
                push.when.as_deref(),
            )
        }
        Trigger::Comment(comment) => {
            let text = event
                .data
                .get("text")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            let contains = comment
                .contains
                .as_ref()
                .is_none_or(|part| text.contains(part.as_str()));
            (
                event.event_type == types::COMMENT && contains,
                comment.when.as_deref(),
            )
        }
        Trigger::Change(change) => {
            let action = event
                .data
                .get("action")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            let wanted =
                change.actions.is_empty() || change.actions.iter().any(|wanted| wanted == action);
            (
                event.event_type == types::CHANGE && wanted,
                change.when.as_deref(),
            )
        }
        Trigger::Event(wanted) => (
            event.event_type == wanted.event_type,
            wanted.when.as_deref(),
        ),
    };
    if !fits {
        return Ok(false);
    }
    let Some(when) = when else { return Ok(true) };
    let value = serde_json::json!({
        "type": event.event_type,
        "source": event.source,
        "actor": event.actor,
        "subject": subject,
        "data": event.data,
    });
    evaluate(when, &[("event", &value)])
}

fn is_about(event: &Event, event_type: &str, automation: &str) -> bool {
    event.event_type == event_type && event.subject.automation.as_deref() == Some(automation)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::event::{NewEvent, Subject};
    use serde_json::json;

    use super::*;
    use crate::definition;

    fn event(event_type: &str, subject: Subject, data: serde_json::Value) -> Event {
        NewEvent {
            source: "test".into(),
            event_type: event_type.into(),
            subject,
            dedupe_key: "1".into(),
            time: None,
            actor: "somebody".into(),
            data,
        }
        .admitted(Timestamp::UNIX_EPOCH)
    }

    fn automation(triggers: &str) -> Definition {
        let text = format!("name: a\ntriggers: {triggers}\nsteps: [{{command: 'true'}}]\n");
        definition::read(&text, "a.yaml").unwrap()
    }

    fn push(repository: &str, branch: &str) -> Event {
        let subject = Subject {
            repository: Some(repository.into()),
            branch: Some(branch.into()),
            ..Subject::default()
        };
        event("push", subject, json!({"commits": 2}))
    }

    #[test]
    fn a_push_fires_for_its_repository_and_branch_only() {
        let automation = automation("[{push: {repository: x}}]");
        assert_eq!(
            matches(&automation, &push("x", "main"), Some("main")),
            Ok(true)
        );
        assert_eq!(
            matches(&automation, &push("y", "main"), Some("main")),
            Ok(false)
        );
        assert_eq!(
            matches(&automation, &push("x", "feature"), Some("main")),
            Ok(false)
        );
    }

    #[test]
    fn a_condition_narrows_a_trigger() {
        let automation = automation("[{push: {when: 'event.data.commits > 2'}}]");
        assert_eq!(matches(&automation, &push("x", "main"), None), Ok(false));
    }

    #[test]
    fn a_manual_start_is_for_the_automation_it_names() {
        let automation = automation("[manual]");
        let about = |name: &str| Subject {
            automation: Some(name.into()),
            ..Subject::default()
        };
        assert_eq!(
            matches(&automation, &event("manual", about("a"), json!(null)), None),
            Ok(true)
        );
        assert_eq!(
            matches(&automation, &event("manual", about("b"), json!(null)), None),
            Ok(false)
        );
    }

    #[test]
    fn a_comment_must_contain_the_text() {
        let automation = automation("[{comment: {contains: '/nightcrew retry'}}]");
        let comment = |text: &str| event("comment", Subject::default(), json!({"text": text}));
        assert_eq!(
            matches(&automation, &comment("please /nightcrew retry now"), None),
            Ok(true)
        );
        assert_eq!(matches(&automation, &comment("no"), None), Ok(false));
    }
}
