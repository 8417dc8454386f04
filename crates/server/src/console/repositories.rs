//! The inventory.

use axum::extract::State;
use maud::{Markup, html};
use model::repository::Repository;
use serde::Deserialize;
use store::{Page as Cut, TaskFilter, TaskOrder};

use super::page::draft;
use super::parts::{empty, glyph, pager, task_table, time, token};
use super::{Page, Shown, words};
use crate::http::{AppState, Params, PathText, Problem, Session};
use crate::service::Imported;

/// Rows of one page.
const SHOWN: usize = 100;
/// Paths shown of one repository.
const FILES: usize = 200;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    offset: u32,
}

/// `GET /repositories`.
pub(super) async fn list(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let now = state.service.now();
    let all = state.inventory.repositories(&state.service).await?;
    let text = wanted.q.to_lowercase();
    let found: Vec<&Repository> = all
        .iter()
        .filter(|repository| repository.name.to_lowercase().contains(&text))
        .collect();
    let shown = found.iter().skip(wanted.offset as usize).take(SHOWN);
    let main = html! {
        div.head { h1 { "Repositories" } span.soft { (found.len()) @if found.len() != all.len() { " of " (all.len()) } } }
        form.filters method="get" action="/repositories" role="search" {
            label { "Name contains " input type="search" name="q" value=(wanted.q) autocomplete="off"; }
            button { "Show" }
            @if !wanted.q.is_empty() { a href="/repositories" { "All" } }
        }
        @if all.is_empty() {
            (empty("No repositories yet", &html! { "Import a folder that holds repositories, a git URL, or a manifest file with one of these per line. Nothing is ever written to where they came from." }))
        } @else {
            table.cards {
                thead { tr { th { "Name" } th { "Languages" } th { "Files" } th { "Default branch" } th { "Facts taken" } } }
                tbody { @for repository in shown { tr id={ "repo-" (words::safe(&repository.name)) } data-item {
                    td { a.item href={ "/repositories/" (repository.name) } { (words::safe(&repository.name)) } @if repository.archived { " " span.badge.off { (glyph("rejected")) "archived" } } }
                    td.soft { (repository.languages.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ")) }
                    td data-label="files" { (repository.file_count) }
                    td { (words::safe(&repository.default_branch)) " " code.soft { (repository.head.as_deref().and_then(|head| head.get(..8)).unwrap_or("empty")) } }
                    td.when { (time(repository.seen_at, now)) }
                } } }
            }
            (pager(&format!("/repositories?q={}", wanted.q), wanted.offset, u32::try_from(SHOWN).unwrap_or(100), found.len() as u64))
        }
        (import_form(&session))
    };
    draft("/repositories", "Repositories", main)
        .live("", "definitions")
        .show(&state, &session)
        .await
}

fn import_form(session: &Session) -> Markup {
    html! {
        section.panel aria-labelledby="h-import" {
            h2 #h-import { "Import" }
            form.filters method="post" action="/repositories" {
                (token(session))
                label.grow { "Folder, git URL or manifest " input name="source" required placeholder="/home/me/src" autocomplete="off"; }
                button.primary { "Import" }
            }
        }
    }
}

/// What became of an import.
pub(super) async fn imported(state: &AppState, session: &Session, imported: &[Imported]) -> Shown {
    let bad = imported.iter().filter(|one| one.problem.is_some()).count() as u64;
    let main = html! {
        div.head { h1 { (words::count(imported.len() as u64 - bad, "repository", "repositories")) " imported" @if bad > 0 { ", " (bad) " not" } } }
        p { a href="/repositories" { "To the inventory" } }
        table.cards { thead { tr { th { "From" } th { "Outcome" } } } tbody { @for one in imported { tr {
            td { code { (words::safe(&one.from)) } @if one.line > 0 { span.soft { " line " (one.line) } } }
            td { @if let Some(name) = &one.name { a href={ "/repositories/" (name) } { (words::safe(name)) } }
                @if let Some(problem) = &one.problem { span.bad-text { (words::sentence(problem)) } } }
        } } } }
    };
    draft("/repositories", "Import", main)
        .show(state, session)
        .await
}

/// `GET /repositories/{name}`.
pub(super) async fn one(
    State(state): State<AppState>,
    session: Session,
    PathText(name): PathText<String>,
) -> Shown {
    let (service, store, now) = (&state.service, state.service.store(), state.service.now());
    let missing = || {
        Page::from(Problem::not_found(format!(
            "there is no repository `{name}`"
        )))
    };
    let repository = service.repository(&name).await?.ok_or_else(missing)?;
    let filter = TaskFilter {
        repository: Some(name.clone()),
        ..TaskFilter::default()
    };
    let total = store.count_tasks(filter.clone()).await?;
    let tasks = store
        .tasks(filter, TaskOrder::Newest, Cut::first(20))
        .await?;
    let address = format!(
        "http://127.0.0.1:{}/git/{}.git",
        state.port, repository.name
    );
    let main = html! {
        div.head { div { p.crumbs { a href="/repositories" { "Repositories" } } h1 { (words::safe(&repository.name)) } } }
        section.panel {
            div.head { h2 { "Tasks" } a href={ "/tasks?repository=" (repository.name) } { (total) } }
            @if tasks.is_empty() { p.soft { "No automation has worked on it yet." } } @else { (task_table(&tasks, now, true)) }
        }
        section.panel { h2 { "Facts" } dl.facts {
            dt { "Clone" } dd { code.id { "git clone " (address) } }
            dt { "Default branch" } dd { (words::safe(&repository.default_branch)) " at " code { (repository.head.as_deref().unwrap_or("no commit yet")) } }
            dt { "Languages" } dd { (repository.languages.join(", ")) }
            dt { "Files" } dd { (repository.file_count) }
            dt { "Archived" } dd { @if repository.archived { "yes: it takes no changes" } @else { "no" } }
            dt { "Taken" } dd { (time(repository.seen_at, now)) }
            dt { "Events" } dd { a href={ "/events?repository=" (repository.name) } { "about this repository" } }
            @for (fact, value) in &repository.facts { dt { (words::safe(fact)) } dd { code { (words::safe(&value.to_string())) } } }
        } }
        @if !repository.files.is_empty() { details.panel #files { summary { "Paths" }
            ul.plain.small { @for file in repository.files.iter().take(FILES) { li { code { (words::safe(file)) } } } }
            @if repository.file_count > FILES as u64 { p.soft { "and " (repository.file_count - FILES as u64) " more" } }
        } }
    };
    draft("/repositories", repository.name.clone(), main)
        .live("", "definitions")
        .show(&state, &session)
        .await
}
