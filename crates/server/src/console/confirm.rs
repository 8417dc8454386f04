//! The question before an act that reaches further than one click should.

use axum::extract::State;
use maud::{Markup, html};

use super::page::draft;
use super::parts::token;
use super::{Page, Shown, words};
use crate::http::{AppState, PathText, Problem, Session};

fn ask(
    session: &Session,
    question: &str,
    consequence: &Markup,
    action: &str,
    yes: &str,
    back: &str,
) -> Markup {
    html! {
        div.narrow {
            h1 { (question) }
            div.lead { (consequence) }
            form.actions method="post" action=(action) {
                input type="hidden" name="csrf" value=(session.csrf);
                input type="hidden" name="back" value=(back);
                button.primary autofocus { (yes) }
                a.button href=(back) { "No, back" }
            }
        }
    }
}

/// Before acts on a task.
pub(super) async fn task(
    State(state): State<AppState>,
    session: Session,
    PathText((id, act)): PathText<(String, String)>,
) -> Shown {
    let id = state.service.find_task(&id).await?;
    let task = state.service.task(id).await?;
    let target = words::safe(&task.target.to_string());
    let back = format!("/tasks/{id}");
    let waits = task
        .wait
        .as_ref()
        .map(|wait| words::sentence(&wait.reason.sentence));
    let in_review = task.status.is_open();
    let (question, consequence, to, yes) = match act.as_str() {
        "approve" if in_review => {
            return super::task::review_only(&state, &session, &task).await;
        }
        "approve" => (
            format!("Consent to what {target} asks?"),
            html! { p { (waits.unwrap_or_else(|| "Nothing is asked at the moment.".to_owned())) } p { "It goes on at once." } },
            "approve",
            "Yes, I consent",
        ),
        "merge" => (
            format!("Merge the change on {target}?"),
            html! { p { "It goes into the base branch, and its own branch is deleted." } },
            "merge",
            "Yes, merge",
        ),
        "cancel" => (
            format!("Cancel the work on {target}?"),
            html! { p { "Steps stop, an open change is closed, its branch is deleted. Nothing already merged is undone." } },
            "cancel",
            "Yes, cancel it",
        ),
        "close" => (
            format!("Close the change on {target} without merging?"),
            html! { p { "The change is closed at the forge and its branch is deleted; the task ends as rejected. It can be retried." } },
            "close",
            "Yes, close it",
        ),
        _ => return Err(Page::from(Problem::not_found("there is no such act"))),
    };
    let main = ask(
        &session,
        &question,
        &consequence,
        &format!("/tasks/{id}/act/{to}"),
        yes,
        &back,
    );
    draft("/tasks", question, main).show(&state, &session).await
}

/// Before acts on a campaign.
pub(super) async fn campaign(
    State(state): State<AppState>,
    session: Session,
    PathText((id, act)): PathText<(String, String)>,
) -> Shown {
    let id = state.service.find_campaign(&id).await?;
    let campaign = state.service.campaign(id).await?;
    let name = &campaign.automation;
    let counts = state.service.counts(Some(id)).await?;
    let of = |status: &str| counts.get(status).copied().unwrap_or(0);
    let (question, consequence, yes) = match act.as_str() {
        "close" => (
            format!("Close the campaign {name}?"),
            html! {
                p { "Work that has not ended is cancelled, "
                    (words::count(of("in_review") + of("submitted"), "open change is", "open changes are"))
                    " closed and their branches deleted. What is merged stays merged." }
                p { "A closed campaign cannot be opened again; the automation can be started anew." }
            },
            "Yes, close it and clean up",
        ),
        "retry" => (
            format!("Retry the failed part of {name}?"),
            html! { p { "A new round begins for "
            (words::count(of("failed") + of("unverified") + of("rejected"), "task", "tasks"))
            " that failed, ended unverified or were rejected. Everything else is left alone." } },
            "Yes, retry them",
        ),
        _ => return Err(Page::from(Problem::not_found("there is no such act"))),
    };
    let back = format!("/campaigns/{id}");
    let main = ask(
        &session,
        &question,
        &consequence,
        &format!("/campaigns/{id}/act/{act}"),
        yes,
        &back,
    );
    draft("/campaigns", question, main)
        .show(&state, &session)
        .await
}

/// Before an automation starts.
pub(super) async fn automation(
    State(state): State<AppState>,
    session: Session,
    PathText(name): PathText<String>,
) -> Shown {
    let missing = || {
        Page::from(Problem::not_found(format!(
            "there is no automation `{name}`"
        )))
    };
    let automation = state.service.automation(&name).await?.ok_or_else(missing)?;
    let preview = state
        .service
        .preview(&automation.source, "automation.yaml")
        .await?;
    // The key makes this very page start it once, however often the button is pressed.
    let key = format!("console-{}", state.service.now().as_millisecond());
    let back = format!("/automations/{name}");
    let title = format!("Start {name}?");
    let main = html! {
        div.narrow {
            h1 { (title) }
            p.lead { "It would work on " strong { (words::count(preview.targets.len() as u64, "target", "targets")) }
                " of " (words::count(preview.looked_at as u64, "repository", "repositories")) ", in "
                (words::count(preview.waves.len() as u64, "wave", "waves")) "." }
            @if !preview.missing.is_empty() { p { "Not found: " (words::safe(&preview.missing.join(", "))) } }
            form method="post" action={ "/automations/" (name) "/act/start" } {
                (token(&session))
                input type="hidden" name="key" value=(key);
                div.actions { button.primary autofocus { "Yes, start it" } a.button href=(back) { "No, back" } }
            }
            @if !preview.targets.is_empty() {
                h2 { "Targets" }
                ul.plain {
                    @for (target, wave) in preview.targets.iter().take(50) {
                        li { (words::safe(&target.to_string())) span.soft { " wave " (wave) } }
                    }
                    @if preview.targets.len() > 50 { li.soft { "and " (preview.targets.len() - 50) " more" } }
                }
            }
        }
    };
    draft("/automations", title, main)
        .show(&state, &session)
        .await
}
