//! Automations and their runs.

use axum::extract::State;
use maud::{Markup, html};
use model::automation::{Automation, Trigger};
use model::ids::RunId;
use store::Page as Cut;

use super::page::draft;
use super::parts::{badge, button, empty, time};
use super::{Page, Shown, words};
use crate::http::{AppState, PathText, Problem, Session};

/// `GET /automations`.
pub(super) async fn list(State(state): State<AppState>, session: Session) -> Shown {
    let now = state.service.now();
    let all = state.service.automations().await?;
    let main = html! {
        div.head { h1 { "Automations" } span.soft { (all.len()) } }
        @if all.is_empty() {
            (empty("No automation yet", &html! {
                p { "An automation says what starts it, what it works on, and what it does. Write one in YAML and apply it:" }
                pre.command { "nightcrew automation check licence.yaml\nnightcrew automation apply licence.yaml" }
            }))
        }
        ul.rows.panel {
            @for automation in &all {
                @let definition = &automation.definition;
                li id={ "a-" (definition.name) } data-item {
                    div.row {
                        a.item href={ "/automations/" (definition.name) } { (definition.name) }
                        (switched(automation))
                        span.soft { "version " (automation.version) ", applied " (time(automation.applied_at, now)) }
                        a.button.small.push href={ "/automations/" (definition.name) "/confirm/start" } { "Start…" }
                    }
                    @if let Some(description) = &definition.description { p { (words::safe(description)) } }
                    p.soft { @for (n, trigger) in definition.triggers.iter().enumerate() { @if n > 0 { " · " } (trigger_words(trigger)) } }
                }
            }
        }
    };
    draft("/automations", "Automations", main)
        .live("", "definitions")
        .show(&state, &session)
        .await
}

fn switched(automation: &Automation) -> Markup {
    let look = if automation.enabled {
        words::Look {
            glyph: "merged",
            tone: "good",
            word: "on",
        }
    } else {
        words::Look {
            glyph: "rejected",
            tone: "off",
            word: "off",
        }
    };
    badge(look)
}

fn trigger_words(trigger: &Trigger) -> String {
    let text = match trigger {
        Trigger::Manual => "started by hand".to_owned(),
        Trigger::Push(push) => format!(
            "a push to {}{}",
            push.branch.as_deref().unwrap_or("the default branch"),
            push.repository
                .as_deref()
                .map(|name| format!(" of {name}"))
                .unwrap_or_default()
        ),
        Trigger::Schedule(schedule) => {
            format!(
                "schedule {} ({})",
                schedule.cron,
                schedule.zone.as_deref().unwrap_or("UTC")
            )
        }
        Trigger::Comment(comment) => match &comment.contains {
            Some(text) => format!("a comment with “{text}”"),
            None => "a comment".to_owned(),
        },
        Trigger::Change(change) if change.actions.is_empty() => {
            "anything about a change".to_owned()
        }
        Trigger::Change(change) => {
            format!("a change {}", change.actions.join(" or ").replace('_', " "))
        }
        Trigger::Event(event) => format!("an event {}", event.event_type),
    };
    words::safe(&text)
}

/// `GET /automations/{name}`.
pub(super) async fn one(
    State(state): State<AppState>,
    session: Session,
    PathText(name): PathText<String>,
) -> Shown {
    let (service, store, now) = (&state.service, state.service.store(), state.service.now());
    let missing = || {
        Page::from(Problem::not_found(format!(
            "there is no automation `{name}`"
        )))
    };
    let automation = service.automation(&name).await?.ok_or_else(missing)?;
    let runs = store.runs(Some(&name), Cut::first(30)).await?;
    let campaigns = store.campaigns(Some(&name), false, Cut::first(10)).await?;
    let act = |act: &str| format!("/automations/{name}/act/{act}");
    let main = html! {
        div.head {
            div { p.crumbs { a href="/automations" { "Automations" } } h1 { (name) " " (switched(&automation)) } }
            div.actions {
                @if automation.enabled {
                    a.button.primary href={ "/automations/" (name) "/confirm/start" } { "Start…" }
                    (button(&session, &act("disable"), "", "Switch off"))
                } @else { (button(&session, &act("enable"), "primary", "Switch on")) }
            }
        }
        @if let Some(description) = &automation.definition.description { p.lead { (words::safe(description)) } }
        @if !automation.enabled { p { "Switched off: it fires for nothing. Runs that began go on to their end." } }
        div.columns {
            div.span2 {
                section.panel aria-labelledby="h-source" {
                    div.head { h2 #h-source { "Definition" } span.soft { "version " (automation.version) " by " (words::safe(&automation.applied_by)) ", " (time(automation.applied_at, now)) } }
                    pre.source tabindex="0" { code { (words::safe(&automation.source)) } }
                    @for (path, text) in &automation.files {
                        details id={ "file-" (words::safe(path)) } { summary { code { (words::safe(path)) } } pre.source tabindex="0" { code { (words::safe(text)) } } }
                    }
                }
            }
            div {
                section.panel aria-labelledby="h-triggers" {
                    h2 #h-triggers { "Fires for" }
                    ul.plain { @for trigger in &automation.definition.triggers { li { (trigger_words(trigger)) } } }
                }
                section.panel aria-labelledby="h-campaigns" {
                    div.head { h2 #h-campaigns { "Campaigns" } a href={ "/tasks?automation=" (name) } { "all tasks" } }
                    @if campaigns.is_empty() { p.soft { "None yet: the first run opens one." } }
                    ul.rows.tight { @for row in &campaigns { li id={ "c-" (row.id) } data-item { div.row {
                        a.item href={ "/campaigns/" (row.id) } { (row.id.short()) } (badge(words::campaign(row.status)))
                        span.soft { (words::count(row.targets.into(), "target", "targets")) } (time(row.created_at, now))
                    } } } }
                }
                section.panel aria-labelledby="h-runs" {
                    h2 #h-runs { "Runs" }
                    @if runs.is_empty() { p.soft { "It has not fired yet." } }
                    ul.rows.tight { @for row in &runs { li id={ "r-" (row.id) } data-item { div.row {
                        a.item href={ "/runs/" (row.id) } { (row.id.short()) } (badge(words::run(row.status)))
                        a.soft href={ "/tasks?run=" (row.id) } { (words::count(row.tasks.into(), "task", "tasks")) } (time(row.created_at, now))
                    } } } }
                }
            }
        }
    };
    draft("/automations", name.clone(), main)
        .live("", "definitions run")
        .show(&state, &session)
        .await
}

/// `GET /runs/{id}`.
pub(super) async fn run(
    State(state): State<AppState>,
    session: Session,
    PathText(id): PathText<String>,
) -> Shown {
    let now = state.service.now();
    let id: RunId = id
        .parse()
        .map_err(|_| Page::from(Problem::not_found(format!("there is no run `{id}`"))))?;
    let run = state.service.run(id).await?;
    let main = html! {
        div.head { div { p.crumbs { a href={ "/automations/" (run.automation) } { (run.automation) } }
            h1 { "Run " (run.id.short()) " " (badge(words::run(run.status))) } } }
        @if let Some(note) = &run.note { p.lead { (words::sentence(note)) } }
        section.panel { dl.facts {
            dt { "Automation" } dd { a href={ "/automations/" (run.automation) } { (run.automation) } " v" (run.version) }
            dt { "Event" } dd { a href={ "/events/" (run.event) } { (run.event.short()) } }
            @if let Some(campaign) = run.campaign { dt { "Campaign" } dd { a href={ "/campaigns/" (campaign) } { (campaign.short()) } } }
            dt { "Tasks" } dd { a href={ "/tasks?run=" (run.id) } { (run.tasks) } }
            dt { "Began" } dd { (time(run.created_at, now)) }
        } }
    };
    draft("/automations", format!("Run {}", run.id.short()), main)
        .live("", "run")
        .show(&state, &session)
        .await
}
