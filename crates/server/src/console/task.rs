//! One task: what happens next, what it did, what it proposes, what speaks for it.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{Html, IntoResponse};
use forge::{Change, ChangeState, Mergeable};
use maud::{Markup, html};
use model::fact::{Recorded, TaskFact};
use model::task::{Task, TaskStatus, WaitKind};
use serde::Deserialize;

use super::page::draft;
use super::parts::{badge, button, glyph, time};
use super::task_parts::{approval_box, comments, evidence, review_box, steps};
use super::{Page, Shown, words};
use crate::http::{AppState, Params, PathText, Session};

/// Lines of the diff on the page of a task.
const DIFF_LINES: usize = 2500;

/// `GET /tasks/{id}`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    PathText(id): PathText<String>,
) -> Shown {
    let (service, now) = (&state.service, state.service.now());
    let id = service.find_task(&id).await?;
    let task = service.task(id).await?;
    let facts = service.task_facts(id).await?;
    let admitted = service
        .store()
        .campaign(task.campaign)
        .await?
        .map(|row| row.admitted_wave);
    let at_forge = match task.change {
        // A forge that does not answer takes nothing else from the page.
        Some(_) => service.change_at_forge(&task).await.ok(),
        None => None,
    };
    let patch = match task.proposal {
        Some(_) => service.patch(&task).await.ok(),
        None => None,
    };
    let total = service.exec_total(id).await?;
    let refused = service
        .newest_exec_batches(id, super::fence::BATCHES)
        .await?;
    let network = service.egress_total(id).await?;
    let reached = service
        .newest_egress_batches(id, super::network::BATCHES)
        .await?;
    let wait = task.wait.as_ref().map(|wait| wait.kind);
    let name = words::safe(&task.target.to_string());
    let body = match &task.proposal {
        Some(proposal) => service
            .blob(&proposal.body)
            .await
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        None => None,
    };
    let main = html! {
        div.head {
            div {
                p.crumbs { a href={ "/campaigns/" (task.campaign) } { (task.automation) } " / wave " (task.wave) }
                h1 { (name) " " (badge(words::task(task.status, wait))) @if task.paused && !task.status.is_final() { " " span.badge.you { (glyph("waiting")) "paused" } } }
            }
            div.actions { (controls(&task, &session)) }
        }
        p.lead { (words::next(&task, admitted)) }
        @if wait == Some(WaitKind::Approval) { (approval_box(&task, &session)) }
        @if let Some((change, mergeable)) = &at_forge {
            @if change.state == ChangeState::Open { (review_box(&task, change, mergeable.as_ref(), &session)) }
        }
        div.columns.task {
            div.span2 {
                (steps(service, &task).await?)
                @if let Some(proposal) = &task.proposal {
                    section.panel aria-labelledby="h-diff" {
                        div.head { h2 #h-diff { "Diff" } span.soft {
                            (words::count(proposal.diff.files.into(), "file", "files")) " "
                            span.plus { "+" (proposal.diff.insertions) } " " span.minus { "−" (proposal.diff.deletions) }
                            " · class " a href={ "/campaigns/" (task.campaign) "/classes/" (proposal.diff_class) } { code { (words::safe(&proposal.diff_class)) } }
                        } }
                        p { strong { (words::safe(&proposal.title)) } }
                        @if let Some(body) = &body { @if !body.trim().is_empty() {
                            details.prose { summary { "Description" } pre.wrap { (words::safe(body)) } }
                        } }
                        (super::diff::show(patch.as_deref().unwrap_or_default(), DIFF_LINES, &format!("/api/v1/tasks/{id}/diff")))
                    }
                }
                (super::fence::events(&task, &total, &refused, now))
                (super::network::events(&task, &network, &reached, now))
                (evidence(&task))
                @if let Some((change, _)) = &at_forge { (comments(change, now)) }
            }
            div {
                (about(&task, at_forge.as_ref().map(|(change, mergeable)| (change, mergeable.as_ref())), now))
                @if let Some(isolation) = &task.isolation { (super::fence::isolation(isolation)) }
                (timeline(&task, &facts, now))
            }
        }
    };
    draft("/tasks", name, main)
        .live(format!("task={id}"), "task exec network")
        .show(&state, &session)
        .await
}

/// Only what is needed to decide about a change, for the keyboard's `a`.
pub(super) async fn review_only(state: &AppState, session: &Session, task: &Task) -> Shown {
    let (change, mergeable) = state.service.change_at_forge(task).await?;
    let patch = state.service.patch(task).await.unwrap_or_default();
    let name = words::safe(&task.target.to_string());
    let mut session = session.clone();
    session.here = format!("/tasks/{}", task.id);
    let main = html! {
        div.head { h1 { "Review " a href={ "/tasks/" (task.id) } { (name) } } }
        (review_box(task, &change, mergeable.as_ref(), &session))
        section.panel { h2 { "Diff" } (super::diff::show(&patch, DIFF_LINES, &format!("/api/v1/tasks/{}/diff", task.id))) }
        (evidence(task))
    };
    draft("/inbox", format!("Review {name}"), main)
        .show(state, &session)
        .await
}

fn controls(task: &Task, session: &Session) -> Markup {
    let act = |act: &str| format!("/tasks/{}/act/{act}", task.id);
    let retryable = matches!(
        task.status,
        TaskStatus::Failed | TaskStatus::Unverified | TaskStatus::Rejected
    ) || task
        .wait
        .as_ref()
        .is_some_and(|wait| wait.kind == WaitKind::Person);
    html! {
        @if retryable { (button(session, &act("retry"), "primary", "Retry")) }
        @if !task.status.is_final() {
            @if task.paused { (button(session, &act("resume"), "primary", "Resume")) }
            @else { (button(session, &act("pause"), "", "Pause")) }
            a.button.danger href={ "/tasks/" (task.id) "/confirm/cancel" } { "Cancel…" }
        }
    }
}

fn about(
    task: &Task,
    at_forge: Option<(&Change, Option<&Mergeable>)>,
    now: jiff::Timestamp,
) -> Markup {
    html! {
        section.panel aria-labelledby="h-about" {
            h2 #h-about { "About" }
            dl.facts {
                dt { "Automation" } dd { a href={ "/automations/" (task.automation) } { (task.automation) } " v" (task.version) }
                dt { "Repository" } dd { a href={ "/repositories/" (task.target.repository) } { (words::safe(&task.target.repository)) } }
                dt { "Campaign" } dd { a href={ "/campaigns/" (task.campaign) } { (task.campaign.short()) } ", " a href={ "/tasks?campaign=" (task.campaign) "&wave=" (task.wave) } { "wave " (task.wave) } }
                dt { "Run" } dd { a href={ "/runs/" (task.run) } { (task.run.short()) } }
                @if let Some((change, mergeable)) = at_forge {
                    dt { "Change" } dd { "number " (change.number) ", " (change.state)
                        @if matches!(mergeable, Some(Mergeable::Conflicts { .. })) { ", " span.bad-text { "conflicts" } } }
                    dt { "Branch" } dd { code { (words::safe(&change.branch)) } }
                }
                @if let Some(base) = &task.base {
                    dt { "Base" } dd { code { (base.commit.get(..10).unwrap_or(&base.commit)) } " of " (words::safe(&base.branch)) }
                }
                dt { "Round" } dd { (task.round) @if task.interruptions > 0 { ", interrupted " (task.interruptions) "×" } }
                dt { "Work" } dd { (words::length(task.spent_ms)) }
                @if let Some(runner) = &task.runner { dt { "Runner" } dd { (words::safe(runner)) } }
                dt { "Made" } dd { (time(task.created_at, now)) }
                dt { "Id" } dd { code.id { (task.id) } }
            }
        }
    }
}

fn timeline(task: &Task, facts: &[Recorded<TaskFact>], now: jiff::Timestamp) -> Markup {
    let name = |index: u32| {
        let named = facts.iter().find_map(|recorded| match &recorded.fact {
            TaskFact::StepStarted {
                index: found, id, ..
            } if *found == index => Some(id.clone()),
            _ => None,
        });
        named.unwrap_or_else(|| (index + 1).to_string())
    };
    html! {
        section.panel aria-labelledby="h-time" {
            div.head { h2 #h-time { "Timeline" } span.soft { (facts.len()) } }
            ol.timeline {
                @for (seq, recorded) in (1_usize..).zip(facts) { @if !super::facts::is_told_later(&recorded.fact, &facts[seq..]) {
                    @let (shape, tone) = super::facts::mark(&recorded.fact);
                    li id={ "fact-" (seq) } class=(tone) {
                        (glyph(shape))
                        div {
                            (super::facts::task(&recorded.fact, name))
                            div.soft.small {
                                (time(recorded.at, now)) " · " (words::safe(&recorded.actor)) " · "
                                a href={ "/ledger?subject=" (task.id) "&seq=" (seq) "&at=" (recorded.at.as_microsecond()) } { "ledger" }
                            }
                        }
                    }
                } }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Tail {
    step: u32,
    #[serde(default)]
    from: u64,
}

/// `GET /tasks/{id}/lines`: what a running step printed since, and where to ask from next.
pub(super) async fn lines(
    State(state): State<AppState>,
    _: Session,
    PathText(id): PathText<String>,
    Params(tail): Params<Tail>,
) -> Shown {
    let id = state.service.find_task(&id).await?;
    let (mut lines, next) = state.service.logs().since(id, tail.from);
    lines.retain(|line| line.step == tail.step);
    let mut response = Html(super::terminal_html::lines(&lines).into_string()).into_response();
    response
        .headers_mut()
        .insert("x-next", HeaderValue::from(next));
    Ok(Page::response(response))
}
