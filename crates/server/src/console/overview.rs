//! The overview: what needs a person, what is going on, what it stands on.

use axum::extract::State;
use maud::html;
use store::{EventFilter, Page as Cut, TaskFilter, TaskOrder};

use super::page::draft;
use super::parts::{badge, bar, empty, legend, number, task_table, time};
use super::{Shown, words};
use crate::http::{AppState, Session};

/// `GET /`.
pub(super) async fn show(State(state): State<AppState>, session: Session) -> Shown {
    let (service, store, now) = (&state.service, state.service.store(), state.service.now());
    let inbox = TaskFilter {
        inbox: true,
        ..TaskFilter::default()
    };
    let waiting = store.count_tasks(inbox.clone()).await?;
    let first = store.tasks(inbox, TaskOrder::Newest, Cut::first(6)).await?;
    let counts = store.status_counts(None).await?;
    let total: u64 = counts.iter().map(|count| count.count).sum();
    let campaigns = store.campaigns(None, true, Cut::first(8)).await?;
    let mut bars = Vec::new();
    for campaign in &campaigns {
        bars.push(store.status_counts(Some(campaign.id)).await?);
    }
    let events = store.events(EventFilter::default(), Cut::first(6)).await?;
    let ledger = store.ledger_state().await?;
    let repositories = state.inventory.repositories(service).await?.len() as u64;
    let automations = service.automations().await?.len() as u64;
    let main = html! {
        div.head { h1 { "Overview" } }
        @if repositories == 0 || automations == 0 || total == 0 { (begin(repositories, automations)) }
        div.columns {
            section.panel.span2 aria-labelledby="h-you" {
                div.head { h2 #h-you { "Waits for you" } a href="/inbox" { "Inbox (" (waiting) ")" } }
                @if first.is_empty() {
                    (empty("Nobody waits for you", &html! { "Reviews, questions and approvals appear here." }))
                } @else { (task_table(&first, now, true)) }
            }
            section.panel aria-labelledby="h-all" {
                div.head { h2 #h-all { "All tasks" } a href="/tasks" { (total) } }
                @if total == 0 { (empty("No tasks yet", &html! { "A task is the work of an automation on one repository." })) }
                (bar(&counts, "/tasks?"))
                (legend(&counts, "/tasks?"))
            }
        }
        section.panel aria-labelledby="h-campaigns" {
            div.head { h2 #h-campaigns { "Open campaigns" } a href="/campaigns" { "All" } }
            @if campaigns.is_empty() {
                (empty("No open campaign", &html! { "A campaign begins when an automation starts. "
                    a href="/automations" { "Start one" } " by hand, or let an event do it." }))
            }
            ul.rows {
                @for (campaign, counts) in campaigns.iter().zip(&bars) {
                    li #{ "c-" (campaign.id) } data-item {
                        div.row {
                            a.item href={ "/campaigns/" (campaign.id) } { (campaign.automation) }
                            (badge(words::campaign(campaign.status)))
                            span.soft { (words::count(campaign.targets.into(), "target", "targets")) ", opened " (time(campaign.created_at, now)) }
                        }
                        (bar(counts, &format!("/tasks?campaign={}&", campaign.id)))
                        (legend(counts, &format!("/tasks?campaign={}&", campaign.id)))
                    }
                }
            }
        }
        div.columns {
            section.panel.span2 aria-labelledby="h-events" {
                div.head { h2 #h-events { "Latest events" } a href="/events" { "All" } }
                @if events.is_empty() { (empty("No events yet", &html! { "Pushes, schedules and what happens to changes arrive here." })) }
                ul.rows.tight {
                    @for event in &events {
                        li #{ "e-" (event.id) } data-item { div.row {
                            a.item href={ "/events/" (event.id) } { (super::events::headline(event)) }
                            span.soft { (words::safe(&event.actor)) }
                            (time(event.received_at, now))
                        } }
                    }
                }
            }
            section.panel aria-labelledby="h-ground" {
                div.head { h2 #h-ground { "What it stands on" } }
                div.numbers {
                    (number(repositories, "/repositories", "repositories"))
                    (number(automations, "/automations", "automations"))
                    (number(ledger.size, "/ledger", "ledger entries"))
                }
                dl.facts {
                    dt { "Store" } dd { (store.describe()) }
                    dt { "Isolation" } dd { (isolation(state.isolation.as_ref())) }
                    dt { "Version" } dd { (state.version) ", running since " (time(state.started_at, now)) }
                }
            }
        }
    };
    draft("/", "Overview", main)
        .live("", "task campaign event definitions run")
        .show(&state, &session)
        .await
}

fn begin(repositories: u64, automations: u64) -> maud::Markup {
    let step = |done: bool| if done { "done" } else { "todo" };
    html! {
        section.panel.begin aria-labelledby="h-begin" {
            h2 #h-begin { "Three steps to the first change" }
            ol {
                li class=(step(repositories > 0)) { a href="/repositories" { "Import repositories" } ": a folder of them, a git URL, or a manifest."
                    pre.command { "nightcrew inventory import FOLDER" } }
                li class=(step(automations > 0)) { "Apply an automation: what shall be done, in a YAML file."
                    pre.command { "nightcrew automation apply FILE" } }
                li.todo { a href="/automations" { "Start it" } ", or send the event that it waits for. Then read and merge what it proposes in the " a href="/inbox" { "inbox" } "." }
            }
        }
    }
}

/// The level a host reaches, in words.
fn isolation(report: Option<&serde_json::Value>) -> String {
    let level = report
        .and_then(|report| report.get("level"))
        .and_then(serde_json::Value::as_str);
    match level {
        Some("L0") => "L0".to_owned(),
        // Environments reach it whose automation asks for programs to be judged.
        Some(level) => format!("up to {}", words::safe(level)),
        None => "recorded with each task".to_owned(),
    }
}
