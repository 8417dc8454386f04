//! One class of diffs: read one, review all.

use axum::extract::State;
use maud::{Markup, html};
use model::change::ReviewVerdict;

use super::actions::Fields;
use super::page::draft;
use super::parts::{badge, empty, token};
use super::task_parts::method_select;
use super::{Page, Shown, words};
use crate::api::class_members;
use crate::http::{AppState, Form, PathText, Problem, Session};

/// Lines of the sample's diff.
const LINES: usize = 1500;

/// `GET /campaigns/{id}/classes/{class}`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    PathText((id, class)): PathText<(String, String)>,
) -> Shown {
    let (service, store) = (&state.service, state.service.store());
    let id = service.find_campaign(&id).await?;
    let campaign = service.campaign(id).await?;
    let found = store
        .diff_classes(id)
        .await?
        .into_iter()
        .find(|row| row.class == class);
    let row = found.ok_or_else(|| {
        Page::from(Problem::not_found(format!(
            "there is no class `{class}` in this campaign"
        )))
    })?;
    let members = class_members(service, id, &class).await?;
    let sample = service.task(row.sample.id).await?;
    let patch = service.patch(&sample).await.unwrap_or_default();
    let title = sample
        .proposal
        .as_ref()
        .map(|proposal| words::safe(&proposal.title))
        .unwrap_or_default();
    let address = format!("/campaigns/{id}/classes/{class}");
    let open = members.len() as u64;
    let main = html! {
        div.head { div {
            p.crumbs { a href="/campaigns" { "Campaigns" } " / " a href={ "/campaigns/" (id) } { (campaign.automation) } }
            h1 { "Class " code { (words::safe(&class)) } }
        } }
        p.lead { (words::count(row.count, "change has", "changes have")) " this shape, "
            a href={ "/tasks?campaign=" (id) "&class=" (class) "&status=submitted,in_review" } { (open) " of them in review" }
            ". Names, numbers and quoted texts may differ; everything else is the same." }
        @if open == 0 { (empty("Nothing of this class is in review", &html! { "It is decided, or not yet submitted." })) }
        @else {
            section.panel.decide {
                h2 { "One review for all " (open) }
                p { "Read the sample below. What you decide here is done to each of the " (open) " changes, one after another; each says for itself how it went." }
                form.actions method="post" action=(address) {
                    (token(&session))
                    button.primary name="act" value="approve" { "Approve all " (open) }
                    button name="act" value="merge" { "Merge all " (open) }
                    (method_select())
                }
            }
        }
        section.panel {
            div.head { h2 { "Sample: " a href={ "/tasks/" (sample.id) } { (words::safe(&sample.target.to_string())) } }
                (badge(words::task(sample.status, sample.wait.as_ref().map(|wait| wait.kind)))) }
            p { strong { (title) } }
            (super::diff::show(&patch, LINES, &format!("/api/v1/tasks/{}/diff", sample.id)))
        }
        @if open > 0 {
            section.panel { h2 { "All in review" } ul.plain.tiles {
                @for (task, name) in &members { li { a href={ "/tasks/" (task) } { (words::safe(name)) } } }
            } }
        }
    };
    draft("/campaigns", format!("Class {class}"), main)
        .live(format!("campaign={id}"), "task")
        .show(&state, &session)
        .await
}

/// `POST /campaigns/{id}/classes/{class}`: each change says how it went.
pub(super) async fn act(
    State(state): State<AppState>,
    PathText((id, class)): PathText<(String, String)>,
    Form(session, fields): Form<Fields>,
) -> Shown {
    let (service, person) = (&state.service, state.person());
    let id = service.find_campaign(&id).await?;
    let merge = fields.act == "merge";
    let mut outcomes = Vec::new();
    for (task, name) in class_members(service, id, &class).await? {
        let result = if merge {
            service.merge(task, fields.method(), &person).await
        } else {
            service
                .review(task, ReviewVerdict::Approved, &fields.text, &person)
                .await
        };
        outcomes.push((
            task,
            name,
            result
                .err()
                .map(|error| words::sentence(&error.to_string())),
        ));
    }
    let bad = outcomes
        .iter()
        .filter(|(_, _, problem)| problem.is_some())
        .count() as u64;
    let good = outcomes.len() as u64 - bad;
    let word = if merge { "merged" } else { "approved" };
    let main = html! {
        div.head { h1 { (good) " " (word) @if bad > 0 { ", " (bad) " not" } } }
        p { a href={ "/campaigns/" (id) } { "Back to the campaign" } " · " a href={ "/campaigns/" (id) "/classes/" (class) } { "Back to the class" } }
        (table(&outcomes, word))
    };
    draft("/campaigns", "Done", main)
        .show(&state, &session)
        .await
}

fn table(outcomes: &[(model::TaskId, String, Option<String>)], word: &str) -> Markup {
    html! {
        table.cards {
            thead { tr { th { "Target" } th { "Outcome" } } }
            tbody { @for (task, name, problem) in outcomes { tr {
                td { a href={ "/tasks/" (task) } { (words::safe(name)) } }
                td { @match problem {
                    None => span.badge.good { (super::parts::glyph("merged")) (word) },
                    Some(problem) => { span.badge.bad { (super::parts::glyph("failed")) "not " (word) } " " (problem) },
                } }
            } } }
        }
    }
}
