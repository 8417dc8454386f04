//! The inbox: everything that waits for a person, decided right here.

use std::collections::BTreeMap;

use axum::extract::State;
use maud::{Markup, html};
use model::rows::TaskRow;
use model::task::{TaskStatus, WaitKind};
use serde::Deserialize;
use store::{Page as Cut, TaskFilter, TaskOrder};

use super::page::draft;
use super::parts::{empty, glyph, pager, row_badge, time, token};
use super::task_parts::method_select;
use super::{Shown, words};
use crate::http::{AppState, Params, Session};
use crate::service::CredentialTrouble;

/// Rows of one page.
const SHOWN: u32 = 150;
/// Lines of a class's sample.
const LINES: usize = 120;
/// Classes whose sample is shown.
const SAMPLES: usize = 12;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    offset: u32,
}

/// Changes of one campaign whose diffs have one shape.
struct Class<'a> {
    rows: Vec<&'a TaskRow>,
    title: String,
    patch: Option<String>,
}

/// `GET /inbox`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (service, store, now) = (&state.service, state.service.store(), state.service.now());
    let filter = TaskFilter {
        inbox: true,
        ..TaskFilter::default()
    };
    let total = store.count_tasks(filter.clone()).await?;
    let credentials = service.credential_troubles().await?;
    let waiting = total + credentials.len() as u64;
    let rows = store
        .tasks(
            filter,
            TaskOrder::Newest,
            Cut {
                offset: wanted.offset,
                limit: SHOWN,
            },
        )
        .await?;
    let asks: Vec<&TaskRow> = rows
        .iter()
        .filter(|row| row.wait == Some(WaitKind::Approval))
        .collect();
    let stuck: Vec<&TaskRow> = rows
        .iter()
        .filter(|row| row.status == TaskStatus::Waiting && row.wait != Some(WaitKind::Approval))
        .collect();
    let mut groups: BTreeMap<(&str, &str), Vec<&TaskRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.status == TaskStatus::InReview) {
        groups
            .entry((
                &row.automation,
                row.diff_class.as_deref().unwrap_or_default(),
            ))
            .or_default()
            .push(row);
    }
    let mut classes = Vec::new();
    for rows in groups.into_values() {
        let mut class = Class {
            rows,
            title: String::new(),
            patch: None,
        };
        if classes.len() < SAMPLES
            && let Some(first) = class.rows.first()
        {
            let task = service.task(first.id).await?;
            class.title = task
                .proposal
                .as_ref()
                .map(|proposal| words::safe(&proposal.title))
                .unwrap_or_default();
            class.patch = service.patch(&task).await.ok();
        }
        classes.push(class);
    }
    classes.sort_by_key(|class| std::cmp::Reverse(class.rows.len()));
    let main = html! {
        div.head { h1 { "Inbox" } span.soft { (words::count(waiting, "thing waits", "things wait")) " for a person" } }
        @if waiting == 0 {
            (empty("Nobody waits for you", &html! {
                "Changes to review, questions to answer and work that cannot go on without you appear here. Meanwhile, "
                a href="/campaigns" { "campaigns" } " show what is going on." }))
        }
        @if !credentials.is_empty() {
            section aria-labelledby="h-credentials" { h2 #h-credentials { "Credentials to mend " span.soft { (credentials.len()) } }
                @for credential in &credentials { (broken(credential, now)) }
            }
        }
        @if !asks.is_empty() {
            section aria-labelledby="h-asks" { h2 #h-asks { "Asks for consent " span.soft { (asks.len()) } }
                @for row in &asks { (asking(row, &session, now)) }
            }
        }
        @if !classes.is_empty() {
            section aria-labelledby="h-reviews" { h2 #h-reviews { "To review " span.soft { (classes.iter().map(|class| class.rows.len()).sum::<usize>()) } }
                @for class in &classes { (reviewing(class, &session, now)) }
            }
        }
        @if !stuck.is_empty() {
            section aria-labelledby="h-stuck" { h2 #h-stuck { "Cannot go on alone " span.soft { (stuck.len()) } }
                @for row in &stuck { (blocked(row, &session, now)) }
            }
        }
        (pager("/inbox", wanted.offset, SHOWN, total))
    };
    draft("/inbox", "Inbox", main)
        .live("", "task")
        .show(&state, &session)
        .await
}

fn heading(row: &TaskRow, now: jiff::Timestamp) -> Markup {
    html! {
        div.row {
            a.item href={ "/tasks/" (row.id) } { (words::safe(&row.target.to_string())) }
            (row_badge(row))
            a.soft href={ "/campaigns/" (row.campaign) } { (row.automation) }
            (time(row.updated_at, now))
        }
    }
}

/// A credential; what mends it is done on the command line, because values never pass through here.
fn broken(credential: &CredentialTrouble, now: jiff::Timestamp) -> Markup {
    html! {
        article.panel data-item {
            div.row {
                strong { (words::safe(&credential.name)) }
                span.soft { (words::safe(&credential.scope)) }
                @if let Some(owner) = &credential.owner { span.soft { "for " (words::safe(owner)) } }
                (time(credential.since, now))
            }
            p { (words::safe(&credential.sentence)) }
            @if let Some(cure) = &credential.cure { p.soft { (words::safe(cure)) } }
        }
    }
}

fn asking(row: &TaskRow, session: &Session, now: jiff::Timestamp) -> Markup {
    html! {
        article.panel id={ "ask-" (row.id) } data-item data-task=(row.id) {
            (heading(row, now))
            p.ask { (words::row(row)) }
            // Two forms: the return key in the box for a no must never say yes.
            div.answer {
                form method="post" action={ "/tasks/" (row.id) "/act/approve" } { (token(session)) button.primary { "Approve" } }
                form.answer.grow method="post" action={ "/tasks/" (row.id) "/act/deny" } {
                    (token(session))
                    input #{ "why-" (row.id) } name="text" placeholder="Why not (for a no)" aria-label="Why not";
                    button.danger { "Deny" }
                }
            }
        }
    }
}

fn reviewing(class: &Class<'_>, session: &Session, now: jiff::Timestamp) -> Markup {
    let Some(first) = class.rows.first() else {
        return html! {};
    };
    let name = first.diff_class.as_deref().unwrap_or_default();
    let all = format!("/campaigns/{}/classes/{name}", first.campaign);
    let several = class.rows.len() > 1;
    html! {
        article.panel id={ "class-" (first.campaign.short()) "-" (words::safe(name)) } {
            div.row {
                strong { @if class.title.is_empty() { "Class " code { (words::safe(name)) } } @else { (class.title) } }
                a.soft href={ "/campaigns/" (first.campaign) } { (first.automation) }
                @if several { a.button.small.push href=(all) { "Review " (class.rows.len()) " as one" } }
            }
            @if let Some(patch) = &class.patch {
                details.sample id={ "sample-" (words::safe(name)) } {
                    summary { (glyph("review")) " " @if several { "Read the sample (" (words::safe(&first.target.to_string())) "); all " (class.rows.len()) " have its shape" } @else { "Read the diff" } }
                    (super::diff::show(patch, LINES, &format!("/api/v1/tasks/{}/diff", first.id)))
                }
            }
            form method="post" action=(all) {
                (token(session))
                input type="hidden" name="verdict" value="approved";
                ul.rows.tight {
                    @for row in &class.rows {
                        @let act = format!("/tasks/{}/act", row.id);
                        li id={ "rev-" (row.id) } data-item data-task=(row.id) {
                            div.row {
                                a.item href={ "/tasks/" (row.id) } { (words::safe(&row.target.to_string())) }
                                @if let Some(number) = row.change { span.soft { "change " (number) } }
                                (time(row.updated_at, now))
                                span.answer.push {
                                    button.small formaction={ (act) "/review" } { "Approve" }
                                    button.small.primary formaction={ (act) "/merge" } { "Merge" }
                                }
                            }
                        }
                    }
                    li { div.row { span.push { span.soft.small { "“Merge” merges " } (method_select()) } } }
                }
            }
        }
    }
}

fn blocked(row: &TaskRow, session: &Session, now: jiff::Timestamp) -> Markup {
    html! {
        article.panel id={ "stuck-" (row.id) } data-item data-task=(row.id) {
            (heading(row, now))
            p { (words::row(row)) }
            form.answer method="post" action={ "/tasks/" (row.id) "/act/retry" } {
                (token(session))
                button.primary { "Retry" }
                a.button.danger href={ "/tasks/" (row.id) "/confirm/cancel" } { "Cancel…" }
            }
        }
    }
}
