//! What left a task's environments, or was kept from leaving.

use jiff::Timestamp;
use maud::{Markup, html};
use model::egress::{EgressEvent, EgressKind, KeptEgressBatch};
use model::task::Task;

use super::fence::{line, short};
use super::parts::{badge, empty, time};
use super::words::{self, Look, safe};
use crate::service::EgressTotal;

/// Batches on the page of a task.
pub(super) const BATCHES: u32 = 20;
/// Events on the page of a task.
const EVENTS: usize = 200;

/// Connections and refusals, newest first; nothing where nothing could be reached.
pub(super) fn events(
    task: &Task,
    total: &EgressTotal,
    newest: &[KeptEgressBatch],
    now: Timestamp,
) -> Markup {
    let isolation = task.isolation.as_ref();
    let evidence = isolation.and_then(|isolation| isolation.network.as_ref());
    if evidence.is_none() && total.batches == 0 {
        return html! {};
    }
    let all = newest
        .iter()
        .flat_map(|batch| batch.batch.events.iter().map(move |event| (batch, event)));
    let shown: Vec<_> = all.take(EVENTS).collect();
    let more = newest.iter().map(|batch| {
        let batch = &batch.batch;
        batch.more_refused.saturating_add(batch.more_permitted)
    });
    let more = more.fold(0, u64::saturating_add);
    html! {
        section.panel aria-labelledby="h-network" {
            div.head { h2 #h-network { "Network" }
                span.soft { (total.permitted) " permitted, " (total.refused) " refused, "
                    (words::count(total.batches, "ledger entry", "ledger entries")) } }
            @if let Some(evidence) = evidence {
                p.small { (words::count(evidence.rules.into(), "rule", "rules")) ", policy "
                    code.id title={ "sha256:" (safe(&evidence.policy)) } { (short(&evidence.policy)) } }
                @if !evidence.narrowed.is_empty() {
                    ul.plain.small { @for sentence in &evidence.narrowed { li { "taken away: " (line(sentence)) } } }
                }
            }
            @if shown.is_empty() {
                (empty("Nothing was tried", &html! { "What leaves the environment, and what is kept from leaving, appears here at once." }))
            } @else {
                table.cards {
                    thead { tr { th { "What" } th.wide { "Where" } th { "Times" } th { "Bytes out, in" } th.wide { "Rule" } th { "When" } } }
                    tbody { @for (batch, event) in &shown { (row(batch, event, now)) } }
                }
            }
            @if more > 0 { p.soft { (more) " more are counted and not listed: it was a flood." } }
            @if total.batches > u64::from(BATCHES) || shown.len() == EVENTS {
                p.small { a href={ "/api/v1/tasks/" (task.id) "/network" } { "All of it as JSON" } }
            }
        }
    }
}

fn row(batch: &KeptEgressBatch, event: &EgressEvent, now: Timestamp) -> Markup {
    html! {
        tr {
            td { (badge(verdict(event))) div.soft.small { (kind(event.kind)) } }
            td.wide data-label="where" {
                strong { (line(&event.host)) @if event.port != 0 { ":" (event.port) } }
                @if !event.detail.is_empty() { div.small { code { (line(&event.detail)) } } }
                @if !event.address.is_empty() { div.soft.small { (line(&event.address)) } }
                @if !batch.batch.environment.is_empty() { div.soft.small { (line(&batch.batch.environment)) } }
            }
            td data-label="times" { (event.count) }
            td data-label="bytes" { (event.sent) ", " (event.received) }
            td.wide data-label="rule" {
                @match event.refused {
                    Some(refusal) => (refusal.sentence()),
                    None => (line(&event.rule)),
                }
            }
            td.when { (time(batch.at, now)) }
        }
    }
}

const fn kind(kind: EgressKind) -> &'static str {
    match kind {
        EgressKind::Name => "name",
        EgressKind::Connection => "connection",
        EgressKind::Request => "request",
        EgressKind::Push => "push",
        EgressKind::Credential => "credential",
        EgressKind::Model => "model",
    }
}

const fn verdict(event: &EgressEvent) -> Look {
    if event.refused.is_some() {
        Look {
            glyph: "failed",
            tone: "bad",
            word: "refused",
        }
    } else {
        Look {
            glyph: "succeeded",
            tone: "good",
            word: "permitted",
        }
    }
}
