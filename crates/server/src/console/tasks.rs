//! Lists of tasks: where every number of the console leads.

use axum::extract::State;
use maud::html;
use model::task::TaskStatus;
use serde::Deserialize;
use store::{Page as Cut, TaskFilter, TaskOrder};

use super::page::draft;
use super::parts::{empty, pager, task_table};
use super::{Page, Shown, words};
use crate::http::{AppState, Params, Problem, Session};

/// Rows of one page.
const SHOWN: u32 = 100;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    campaign: String,
    run: String,
    status: String,
    wave: String,
    class: String,
    automation: String,
    repository: String,
    q: String,
    offset: u32,
}

/// `GET /tasks`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (store, now) = (state.service.store(), state.service.now());
    let filter = filter(&state, &wanted).await?;
    let total = store.count_tasks(filter.clone()).await?;
    let order = if wanted.campaign.is_empty() {
        TaskOrder::Newest
    } else {
        TaskOrder::Target
    };
    let rows = store
        .tasks(
            filter,
            order,
            Cut {
                offset: wanted.offset,
                limit: SHOWN,
            },
        )
        .await?;
    let chips = chips(&wanted);
    let address = session
        .here
        .split("offset=")
        .next()
        .unwrap_or_default()
        .trim_end_matches(['&', '?'])
        .to_owned();
    let main = html! {
        div.head { h1 { "Tasks" } span.soft { (total) } }
        form.filters method="get" action="/tasks" role="search" {
            label { "Repository contains " input type="search" name="q" value=(wanted.q) autocomplete="off"; }
            label { "State "
                select name="status" {
                    option value="" selected[wanted.status.is_empty()] { "any" }
                    @for status in TaskStatus::ALL {
                        option value=(status.as_str()) selected[wanted.status == status.as_str()] { (words::task(*status, None).word) }
                    }
                    @if wanted.status.contains(',') { option value=(wanted.status) selected { (wanted.status.replace(',', " or ").replace('_', " ")) } }
                }
            }
            @for (name, value) in &chips { input type="hidden" name=(name) value=(value); }
            button { "Show" }
            @for (name, value) in &chips { span.chip { (name) ": " (words::safe(value)) } }
            @if session.here.contains('?') { a href="/tasks" { "Clear" } }
        }
        @if rows.is_empty() {
            @if session.here.contains('?') { (empty("No task is like this", &html! { a href="/tasks" { "Show all tasks" } })) }
            @else { (empty("No tasks yet", &html! { "A task is the work of an automation on one repository. "
                a href="/automations" { "Start an automation" } " to get some." })) }
        } @else { (task_table(&rows, now, wanted.automation.is_empty() && wanted.campaign.is_empty())) }
        (pager(&address, wanted.offset, SHOWN, total))
    };
    let query = if wanted.campaign.is_empty() {
        String::new()
    } else {
        format!("campaign={}", wanted.campaign)
    };
    draft("/tasks", "Tasks", main)
        .live(query, "task")
        .show(&state, &session)
        .await
}

/// What is filtered by besides text and state.
fn chips(wanted: &Wanted) -> Vec<(&'static str, &str)> {
    let all = [
        ("campaign", &wanted.campaign),
        ("run", &wanted.run),
        ("wave", &wanted.wave),
        ("class", &wanted.class),
        ("automation", &wanted.automation),
        ("repository", &wanted.repository),
    ];
    all.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.as_str()))
        .collect()
}

async fn filter(state: &AppState, wanted: &Wanted) -> Result<TaskFilter, Page> {
    let invalid = |text: String| Page::from(Problem::new(422, "invalid", text));
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut statuses = Vec::new();
    for word in wanted.status.split(',').filter(|word| !word.is_empty()) {
        statuses.push(word.parse().map_err(invalid)?);
    }
    let campaign = match given(&wanted.campaign) {
        Some(text) => Some(state.service.find_campaign(&text).await?),
        None => None,
    };
    let run = match given(&wanted.run) {
        Some(text) => Some(
            text.parse()
                .map_err(|_| invalid(format!("`{text}` is no run")))?,
        ),
        None => None,
    };
    let wave = match given(&wanted.wave) {
        Some(text) => Some(
            text.parse()
                .map_err(|_| invalid(format!("`{text}` is no wave")))?,
        ),
        None => None,
    };
    Ok(TaskFilter {
        campaign,
        run,
        automation: given(&wanted.automation),
        repository: given(&wanted.repository),
        statuses,
        wave,
        diff_class: given(&wanted.class),
        text: given(&wanted.q),
        ..TaskFilter::default()
    })
}
