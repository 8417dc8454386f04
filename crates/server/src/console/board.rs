//! One campaign: targets × states by wave, gates, classes of diffs.

use std::fmt::Write;

use axum::extract::State;
use maud::{Markup, html};
use model::campaign::{Campaign, CampaignStatus, WaveProgress};
use model::fact::CampaignFact;
use model::rows::TaskRow;
use serde::Deserialize;
use store::{DiffClassRow, Page as Cut, StatusCount, TaskFilter, TaskOrder};

use super::page::draft;
use super::parts::{badge, bar, button, empty, glyph, legend, number, pager, time};
use super::{Shown, words};
use crate::http::{AppState, Params, PathText, Session};

/// Cells of one page.
const CELLS: u32 = 480;
/// Up to so many targets cells carry names by themselves.
const NAMED: u32 = 160;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    offset: u32,
    view: Option<String>,
}

/// `GET /campaigns/{id}`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    PathText(id): PathText<String>,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (service, store, now) = (&state.service, state.service.store(), state.service.now());
    let id = service.find_campaign(&id).await?;
    let campaign = service.campaign(id).await?;
    let counts = store.status_counts(Some(id)).await?;
    let waves = store.wave_progress(id).await?;
    let classes = store.diff_classes(id).await?;
    let (wall_ms, changes) = store.campaign_spend(id).await?;
    let forecast = service.forecast_campaign(id).await?;
    let of_it = TaskFilter {
        campaign: Some(id),
        ..TaskFilter::default()
    };
    let cells = store
        .tasks(
            of_it,
            TaskOrder::Target,
            Cut {
                offset: wanted.offset,
                limit: CELLS,
            },
        )
        .await?;
    let total: u64 = counts.iter().map(|count| count.count).sum();
    let named = match wanted.view.as_deref() {
        Some("names") => true,
        Some("cells") => false,
        _ => campaign.targets <= NAMED,
    };
    let base = format!("/tasks?campaign={id}&");
    let main = html! {
        div.head {
            div { p.crumbs { a href="/campaigns" { "Campaigns" } } h1 { (campaign.automation) " " (badge(words::campaign(campaign.status))) } }
            div.actions { (controls(&campaign, &counts, &session)) }
        }
        p.lead { (next(&campaign, &counts)) }
        section.panel aria-labelledby="h-progress" {
            div.head { h2 #h-progress { "Progress" } span.soft {
                a href={ "/automations/" (campaign.automation) } { (campaign.automation) " v" (campaign.version) }
                ", opened " (time(campaign.created_at, now)) } }
            (bar(&counts, &base))
            (legend(&counts, &base))
            @if forecast.tasks > 0 { p.soft { "Still to come: " (forecast.sentence) } }
            div.numbers {
                (number(total, &format!("/tasks?campaign={id}"), "targets"))
                (number(changes, &format!("/tasks?campaign={id}&status=submitted,in_review,merged"), "changes submitted"))
                span.number { strong { (words::length(wall_ms)) } span { "of work" } }
                a.number href={ "/api/v1/report?campaign=" (id) "&format=csv" } { strong { "CSV" } span { "report" } }
            }
        }
        @if !classes.is_empty() { (class_list(&campaign, &classes)) }
        section aria-labelledby="h-board" {
            div.head { h2 #h-board { "Board" } div.switch role="group" aria-label="View" {
                a href={ "/campaigns/" (id) "?view=names" } aria-current=[named.then_some("true")] { "Names" }
                a href={ "/campaigns/" (id) "?view=cells" } aria-current=[(!named).then_some("true")] { "Cells" }
            } }
            @if cells.is_empty() {
                (empty("No targets yet", &html! { "They appear when the run is planned; that takes a moment." }))
            }
            @for (wave, rows) in by_wave(&cells) { (wave_panel(&campaign, wave, waves.get(wave as usize), rows, named)) }
            (pager(&format!("/campaigns/{id}"), wanted.offset, CELLS, total))
        }
        (history(&service.campaign_facts(id).await?, now))
    };
    let title = format!("{} campaign", campaign.automation);
    draft("/campaigns", title, main)
        .live(format!("campaign={id}"), "task campaign")
        .show(&state, &session)
        .await
}

fn controls(campaign: &Campaign, counts: &[StatusCount], session: &Session) -> Markup {
    let act = |act: &str| format!("/campaigns/{}/act/{act}", campaign.id);
    let bad = counts
        .iter()
        .any(|count| words::task(count.status, count.wait).tone == "bad");
    html! {
        @match campaign.status {
            CampaignStatus::Active => (button(session, &act("pause"), "", "Pause")),
            CampaignStatus::Paused => (button(session, &act("resume"), "primary", "Resume")),
            CampaignStatus::Held => (button(session, &act("resume"), "primary", "Go on past the gate")),
            CampaignStatus::Closed => {},
        }
        @if campaign.status != CampaignStatus::Closed {
            @if bad { a.button href={ "/campaigns/" (campaign.id) "/confirm/retry" } { "Retry the failed part…" } }
            a.button href={ "/budgets?stop=campaign:" (campaign.id) "#h-stops" } { "Stop now…" }
            a.button.danger href={ "/campaigns/" (campaign.id) "/confirm/close" } { "Close…" }
        }
    }
}

/// What happens next, and who is waited for.
fn next(campaign: &Campaign, counts: &[StatusCount]) -> String {
    let sum = |tones: &[&str]| -> u64 {
        counts
            .iter()
            .filter(|count| tones.contains(&words::task(count.status, count.wait).tone))
            .map(|count| count.count)
            .sum()
    };
    let (work, you) = (sum(&["idle", "busy", "wait"]), sum(&["you"]));
    let note = campaign
        .note
        .as_deref()
        .map(words::sentence)
        .unwrap_or_default();
    match campaign.status {
        CampaignStatus::Paused => format!("Paused by a person: nothing new starts. {note}"),
        CampaignStatus::Held => {
            format!("{note} Nothing new starts until a person looks and lets it go on.")
        }
        CampaignStatus::Closed => format!("Closed. {note}"),
        CampaignStatus::Active if campaign.targets == 0 => {
            "Its targets are being found.".to_owned()
        }
        CampaignStatus::Active => {
            let waves = u32::try_from(campaign.waves.len()).unwrap_or(u32::MAX);
            let mut text = match work {
                0 => "Nothing is at work.".to_owned(),
                n => format!(
                    "{} at work or queued.",
                    words::count(n, "task is", "tasks are")
                ),
            };
            if campaign.admitted_wave + 1 < waves {
                let _ = write!(
                    text,
                    " Wave {} is let in when wave {} is settled and its gate is reached.",
                    campaign.admitted_wave + 1,
                    campaign.admitted_wave
                );
            }
            match you {
                0 if work == 0 => {
                    text.push_str(" Everything is decided: close the campaign to clean up.");
                }
                0 => text.push_str(" Nobody is waited for."),
                n => {
                    let _ = write!(
                        text,
                        " {} for a person.",
                        words::count(n, "task waits", "tasks wait")
                    );
                }
            }
            text
        }
    }
}

fn class_list(campaign: &Campaign, classes: &[DiffClassRow]) -> Markup {
    html! {
        section.panel aria-labelledby="h-classes" {
            div.head { h2 #h-classes { "Classes of diffs" } span.soft { "same shape of diff, one review for all" } }
            table.cards {
                thead { tr { th { "Class" } th { "Changes" } th { "In review" } th.wide { "Sample" } th { "" } } }
                tbody { @for row in classes.iter().take(50) {
                    @let page = format!("/campaigns/{}/classes/{}", campaign.id, row.class);
                    tr id={ "class-" (row.class) } data-item {
                        td { a.item href=(page) { code { (words::safe(&row.class)) } } }
                        td { a href={ "/tasks?campaign=" (campaign.id) "&class=" (row.class) } { (row.count) } }
                        td { a href={ "/tasks?campaign=" (campaign.id) "&class=" (row.class) "&status=submitted,in_review" } { (row.open) } }
                        td.wide { a.soft href={ "/tasks/" (row.sample.id) } { (words::safe(&row.sample.target.to_string())) } }
                        td { @if row.open > 0 { a.button.small href=(page) { "Review " (row.open) " as one" } } }
                    }
                } }
            }
            @if classes.len() > 50 { p.soft { "and " (classes.len() - 50) " smaller classes" } }
        }
    }
}

fn by_wave(rows: &[TaskRow]) -> Vec<(u32, &[TaskRow])> {
    rows.chunk_by(|a, b| a.wave == b.wave)
        .map(|chunk| (chunk.first().map_or(0, |row| row.wave), chunk))
        .collect()
}

fn wave_panel(
    campaign: &Campaign,
    wave: u32,
    progress: Option<&WaveProgress>,
    rows: &[TaskRow],
    named: bool,
) -> Markup {
    let name = if wave == 0 && campaign.rules.canary.is_some() {
        "Canary".to_owned()
    } else {
        format!("Wave {wave}")
    };
    html! {
        div.wave id={ "wave-" (wave) } {
            div.wave-head {
                h3 { (name) }
                @if let Some(progress) = progress {
                    a.soft href={ "/tasks?campaign=" (campaign.id) "&wave=" (wave) } { (words::count(progress.total.into(), "target", "targets")) }
                    span.soft { (gate(campaign, wave, progress)) }
                }
            }
            ul.cells.names[named] {
                @for row in rows {
                    @let look = words::task(row.status, row.wait);
                    @let name = words::safe(&row.target.to_string());
                    li id={ "cell-" (row.id) } data-item {
                        a.cell.(look.tone).paused[row.paused] href={ "/tasks/" (row.id) }
                            title={ (name) ": " (look.word) " " (words::row(row)) } {
                            (glyph(look.glyph))
                            @if named { span.name { (name) } span.state { (look.word) } }
                            @else { span.sr { (name) ": " (look.word) } }
                        }
                    }
                }
            }
        }
    }
}

/// Where a wave stands before its gate.
fn gate(campaign: &Campaign, wave: u32, progress: &WaveProgress) -> String {
    if wave > campaign.admitted_wave {
        return "not let in yet".to_owned();
    }
    let mut text = format!("{} of {} settled", progress.settled, progress.total);
    if progress.bad > 0 {
        let _ = write!(text, ", {} failed", progress.bad);
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let Some(rules) = &campaign.rules.gate else {
        return text;
    };
    if campaign.gate_overridden == Some(wave) {
        return format!("{text}; a person let it pass its gate");
    }
    if let Some(verified) = rules.verified {
        let good = progress.settled.saturating_sub(progress.bad);
        let now = if progress.settled == 0 {
            "–".to_owned()
        } else {
            percent(f64::from(good) / f64::from(progress.settled))
        };
        let _ = write!(
            text,
            "; gate: {} without failure, now {now}",
            percent(verified)
        );
    }
    if let Some(merged) = rules.merged {
        let now = if progress.proposed == 0 {
            "–".to_owned()
        } else {
            percent(f64::from(progress.merged) / f64::from(progress.proposed))
        };
        let _ = write!(
            text,
            "; gate: {} of changes merged, now {now}",
            percent(merged)
        );
    }
    text
}

fn history(facts: &[model::fact::Recorded<CampaignFact>], now: jiff::Timestamp) -> Markup {
    html! {
        section.panel aria-labelledby="h-history" {
            h2 #h-history { "History" }
            ol.timeline {
                @for recorded in facts {
                    li { (time(recorded.at, now)) " " span { (super::facts::campaign(&recorded.fact)) } " " span.soft { (words::safe(&recorded.actor)) } }
                }
            }
        }
    }
}
