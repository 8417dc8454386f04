//! All campaigns.

use axum::extract::State;
use maud::html;
use serde::Deserialize;
use store::Page as Cut;

use super::page::draft;
use super::parts::{badge, bar, empty, legend, time};
use super::{Shown, words};
use crate::http::{AppState, Params, Session};

/// Campaigns of one page.
const SHOWN: u32 = 30;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    offset: u32,
}

/// `GET /campaigns`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (store, now) = (state.service.store(), state.service.now());
    let mut rows = store
        .campaigns(
            None,
            false,
            Cut {
                offset: wanted.offset,
                limit: SHOWN + 1,
            },
        )
        .await?;
    let more = rows.len() > SHOWN as usize;
    rows.truncate(SHOWN as usize);
    let mut counted = Vec::new();
    for row in rows {
        let counts = store.status_counts(Some(row.id)).await?;
        counted.push((row, counts));
    }
    let main = html! {
        div.head { h1 { "Campaigns" } }
        p.soft { "A campaign is the long life of one intention over many repositories: canary first, then wave after wave." }
        @if counted.is_empty() {
            (empty("No campaign yet", &html! { "One begins when an automation starts: by an event, by its schedule, or by hand from its "
                a href="/automations" { "page" } "." }))
        }
        ul.rows.panel {
            @for (row, counts) in &counted {
                @let base = format!("/tasks?campaign={}&", row.id);
                li #{ "c-" (row.id) } data-item {
                    div.row {
                        a.item href={ "/campaigns/" (row.id) } { (row.automation) }
                        (badge(words::campaign(row.status)))
                        a.soft href={ "/tasks?campaign=" (row.id) } { (words::count(row.targets.into(), "target", "targets")) }
                        span.soft { "opened " (time(row.created_at, now)) }
                        code.soft { (row.id.short()) }
                    }
                    (bar(counts, &base)) (legend(counts, &base))
                }
            }
        }
        nav.pager aria-label="Pages" {
            @if wanted.offset > 0 { a href={ "/campaigns?offset=" (wanted.offset.saturating_sub(SHOWN)) } { "← newer" } }
            @if more { a href={ "/campaigns?offset=" (wanted.offset + SHOWN) } { "older →" } }
        }
    };
    draft("/campaigns", "Campaigns", main)
        .live("", "campaign task")
        .show(&state, &session)
        .await
}
