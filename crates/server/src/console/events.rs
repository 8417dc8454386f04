//! Events: what happened, and what it started.

use std::fmt::Write;

use axum::extract::State;
use maud::html;
use model::event::Event;
use model::ids::EventId;
use serde::Deserialize;
use store::{EventFilter, Page as Cut};

use super::page::draft;
use super::parts::{badge, button, empty, time};
use super::{Page, Shown, words};
use crate::http::{AppState, Params, PathText, Problem, Session};

/// Rows of one page.
const SHOWN: u32 = 60;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    #[serde(rename = "type")]
    event_type: String,
    repository: String,
    before: Option<EventId>,
}

/// What an event says, in a few words.
pub(super) fn headline(event: &Event) -> String {
    let subject = &event.subject;
    let action = event
        .data
        .get("action")
        .and_then(serde_json::Value::as_str)
        .map(|text| text.replace('_', " "));
    let mut text = action.map_or_else(
        || event.event_type.clone(),
        |action| format!("{} {action}", event.event_type),
    );
    if let Some(number) = subject.change {
        let _ = write!(text, " (number {number})");
    }
    if let Some(repository) = &subject.repository {
        let _ = write!(text, " on {repository}");
    }
    if let Some(automation) = &subject.automation {
        let _ = write!(text, " of {automation}");
    }
    if let Some(branch) = &subject.branch {
        let _ = write!(text, ", branch {branch}");
    }
    words::safe(&text)
}

/// `GET /events`.
pub(super) async fn list(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let now = state.service.now();
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let filter = EventFilter {
        event_type: given(&wanted.event_type),
        repository: given(&wanted.repository),
        before: wanted.before,
    };
    let mut events = state
        .service
        .store()
        .events(filter, Cut::first(SHOWN + 1))
        .await?;
    let more = events.len() > SHOWN as usize;
    events.truncate(SHOWN as usize);
    let filtered = !wanted.event_type.is_empty() || !wanted.repository.is_empty();
    let main = html! {
        div.head { h1 { "Events" } }
        form.filters method="get" action="/events" {
            label { "Type " select name="type" {
                option value="" { "any" }
                @for name in ["push", "change", "comment", "schedule", "manual"] { option value=(name) selected[wanted.event_type == name] { (name) } }
            } }
            label { "Repository " input type="search" name="repository" value=(wanted.repository) autocomplete="off"; }
            button { "Show" }
            @if filtered || wanted.before.is_some() { a href="/events" { "Newest, all" } }
        }
        @if events.is_empty() {
            (empty(if filtered { "No such event" } else { "No events yet" }, &html! {
                "Pushes, comments and what happens to changes come from the forge, times from schedules, and you can send one yourself:"
                pre.command { "nightcrew event send event.json" } }))
        } @else {
            table.cards {
                thead { tr { th { "What" } th { "Who" } th { "Source" } th { "When" } } }
                tbody { @for event in &events { tr id={ "e-" (event.id) } data-item {
                    td { a.item href={ "/events/" (event.id) } { (headline(event)) } }
                    td { (words::safe(&event.actor)) }
                    td.soft { (words::safe(&event.source)) }
                    td.when { (time(event.received_at, now)) }
                } } }
            }
        }
        @if more { @if let Some(last) = events.last() { nav.pager aria-label="Pages" {
            a rel="next" href={ "/events?type=" (wanted.event_type) "&repository=" (wanted.repository) "&before=" (last.id) } { "older →" }
        } } }
    };
    draft("/events", "Events", main)
        .live("", "event")
        .show(&state, &session)
        .await
}

/// `GET /events/{id}`.
pub(super) async fn one(
    State(state): State<AppState>,
    session: Session,
    PathText(id): PathText<String>,
) -> Shown {
    let now = state.service.now();
    let missing = || Page::from(Problem::not_found(format!("there is no event `{id}`")));
    let id: EventId = id.parse().map_err(|_| missing())?;
    let event = state.service.store().event(id).await?.ok_or_else(missing)?;
    let runs = state.service.runs_of_event(id).await?;
    let data = serde_json::to_string_pretty(&event.data).unwrap_or_default();
    let replay_of = event
        .data
        .get("replay_of")
        .and_then(serde_json::Value::as_str);
    let main = html! {
        div.head {
            div { p.crumbs { a href="/events" { "Events" } } h1 { (headline(&event)) } }
            div.actions { (button(&session, &format!("/events/{id}/replay"), "", "Replay")) }
        }
        p.lead { @match runs.len() {
            0 => "It started nothing: no automation that is switched on has a trigger for it.",
            1 => "It started one run.",
            n => { "It started " (n) " runs." },
        } }
        @if !runs.is_empty() { section.panel { h2 { "Runs it started" } ul.rows.tight { @for run in &runs { li data-item { div.row {
            a.item href={ "/runs/" (run.id) } { (run.automation) } (badge(words::run(run.status)))
            a href={ "/tasks?run=" (run.id) } { (words::count(run.tasks.into(), "task", "tasks")) }
            @if let Some(campaign) = run.campaign { a.soft href={ "/campaigns/" (campaign) } { "campaign " (campaign.short()) } }
            @if let Some(note) = &run.note { span.soft { (words::sentence(note)) } }
        } } } } } }
        section.panel { h2 { "Envelope" } dl.facts {
            dt { "Type" } dd { a href={ "/events?type=" (words::safe(&event.event_type)) } { (words::safe(&event.event_type)) } }
            dt { "Source" } dd { (words::safe(&event.source)) }
            dt { "Who" } dd { (words::safe(&event.actor)) }
            @if let Some(repository) = &event.subject.repository { dt { "Repository" } dd { a href={ "/repositories/" (repository) } { (words::safe(repository)) } } }
            dt { "Happened" } dd { (words::moment(event.time)) }
            dt { "Admitted" } dd { (time(event.received_at, now)) }
            dt { "Dedupe key" } dd { code.id { (words::safe(&event.dedupe_key)) } }
            @if let Some(original) = replay_of { dt { "Replay of" } dd { a href={ "/events/" (words::safe(original)) } { code.id { (words::safe(original)) } } } }
            dt { "Id" } dd { code.id { (event.id) } }
        } }
        section.panel { h2 { "Data" } pre.source tabindex="0" { code { (words::safe(&data)) } }
            p.soft.small { "Data is never taken for instructions. A replay is another event with the same data: automations fire again." } }
    };
    draft("/events", headline(&event), main)
        .live("", "run event")
        .show(&state, &session)
        .await
}
