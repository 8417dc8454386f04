//! What forms do. Every form comes back to the page it was sent from.

use axum::extract::State;
use forge::MergeMethod;
use model::change::ReviewVerdict;
use model::ids::EventId;
use serde::Deserialize;

use super::sign_in::local;
use super::{Page, Shown};
use crate::http::{AppState, Form, PathText, Problem};

/// The fields of all forms; each uses its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    back: String,
    pub(super) text: String,
    verdict: String,
    pub(super) method: String,
    key: String,
    repository: String,
    source: String,
    pub(super) act: String,
}

impl Fields {
    fn back(&self) -> Page {
        Page::go(local(Some(&self.back)))
    }

    pub(super) fn method(&self) -> MergeMethod {
        match self.method.as_str() {
            "squash" => MergeMethod::Squash,
            "rebase" => MergeMethod::Rebase,
            _ => MergeMethod::Merge,
        }
    }
}

fn unknown() -> Page {
    Page::from(Problem::not_found("there is no such act"))
}

/// Acts on a task.
pub(super) async fn task(
    State(state): State<AppState>,
    PathText((id, act)): PathText<(String, String)>,
    Form(_, fields): Form<Fields>,
) -> Shown {
    let (service, person) = (&state.service, state.person());
    let id = service.find_task(&id).await?;
    match act.as_str() {
        "approve" => service.approve_step(id, &person).await?,
        "deny" => service.deny_step(id, &person, &fields.text).await?,
        "review" => {
            let verdict = match fields.verdict.as_str() {
                "approved" => ReviewVerdict::Approved,
                "changes_requested" => ReviewVerdict::ChangesRequested,
                _ => return comment(&state, id, &fields).await,
            };
            if verdict == ReviewVerdict::ChangesRequested && fields.text.trim().is_empty() {
                let detail = "asking for changes needs a text that says which";
                return Err(Problem::new(422, "invalid", detail)
                    .hint("go back and write it in the box")
                    .into());
            }
            service.review(id, verdict, &fields.text, &person).await?
        }
        "merge" => service.merge(id, fields.method(), &person).await?,
        "close" => service.close_change(id, &person).await?,
        "retry" => service.retry_task(id, &person).await?,
        "cancel" => service.cancel_task(id, &person).await?,
        "pause" => service.pause_task(id, &person).await?,
        "resume" => service.resume_task(id, &person).await?,
        _ => return Err(unknown()),
    };
    Ok(fields.back())
}

async fn comment(state: &AppState, id: model::TaskId, fields: &Fields) -> Shown {
    if fields.text.trim().is_empty() {
        return Err(Problem::new(422, "invalid", "a comment has a text").into());
    }
    state
        .service
        .comment(id, &fields.text, &state.person())
        .await?;
    Ok(fields.back())
}

/// Acts on a campaign.
pub(super) async fn campaign(
    State(state): State<AppState>,
    PathText((id, act)): PathText<(String, String)>,
    _: Form<Fields>,
) -> Shown {
    let (service, person) = (&state.service, state.person());
    let id = service.find_campaign(&id).await?;
    match act.as_str() {
        "pause" => drop(service.pause_campaign(id, &person).await?),
        "resume" => drop(service.resume_campaign(id, &person).await?),
        "close" => drop(service.close_campaign(id, &person).await?),
        "retry" => drop(service.retry_campaign(id, &person).await?),
        _ => return Err(unknown()),
    }
    Ok(Page::go(&format!("/campaigns/{id}")))
}

/// Acts on an automation.
pub(super) async fn automation(
    State(state): State<AppState>,
    PathText((name, act)): PathText<(String, String)>,
    Form(_, fields): Form<Fields>,
) -> Shown {
    let (service, person) = (&state.service, state.person());
    match act.as_str() {
        "enable" | "disable" => {
            service
                .enable_automation(&name, act == "enable", &person)
                .await?;
            Ok(Page::go(&format!("/automations/{name}")))
        }
        "start" => {
            let repository =
                Some(fields.repository.trim().to_owned()).filter(|text| !text.is_empty());
            let admitted = service
                .start_automation(&name, &fields.key, repository, &person)
                .await?;
            Ok(Page::go(&format!("/events/{}", admitted.event)))
        }
        _ => Err(unknown()),
    }
}

/// Sends an event once more.
pub(super) async fn replay(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    _: Form<Fields>,
) -> Shown {
    let missing = || Page::from(Problem::not_found(format!("there is no event `{id}`")));
    let id: EventId = id.parse().map_err(|_| missing())?;
    let event = state.service.store().event(id).await?.ok_or_else(missing)?;
    let admitted = crate::api::again(&state.service, &event, &state.person()).await?;
    Ok(Page::go(&format!("/events/{}", admitted.event)))
}

/// Imports repositories.
pub(super) async fn import(
    State(state): State<AppState>,
    Form(session, fields): Form<Fields>,
) -> Shown {
    let imported = state.service.import(fields.source.trim()).await?;
    super::repositories::imported(&state, &session, &imported).await
}
