//! The ledger: its size, its newest entries, and whether all of it holds.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use store::{LedgerEntry, Store, StoreError};

use super::page::draft;
use super::parts::{empty, glyph, time, token};
use super::{Shown, words};
use crate::http::{AppState, Form, Params, Session};

/// Rows of one page.
const SHOWN: u32 = 50;
/// Entries looked through from the time of a fact on.
const WINDOW: u32 = 4000;
/// Facts of one commit may be sequenced after others that were decided later.
const SKEW_US: u64 = 5_000_000;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    from: Option<u64>,
    subject: String,
    seq: u64,
    at: u64,
}

/// `GET /ledger`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (store, now) = (state.service.store(), state.service.now());
    let ledger = store.ledger_state().await?;
    let sought = match wanted.subject.is_empty() {
        true => None,
        false => Some(find(store.as_ref(), ledger.size, &wanted).await?),
    };
    let index = sought
        .as_ref()
        .and_then(|found| found.as_ref().map(|entry| entry.index));
    let from = index
        .map(|index| index.saturating_sub(5))
        .or(wanted.from)
        .unwrap_or(ledger.size.saturating_sub(u64::from(SHOWN)));
    let mut entries = store.ledger_entries(from, SHOWN).await?;
    entries.reverse();
    let main = html! {
        div.head { h1 { "Ledger" } span.soft { (words::count(ledger.size, "entry", "entries")) @if ledger.pending > 0 { ", " (ledger.pending) " not yet sequenced" } } }
        p.lead { "Every event, decision and effect, in one append-only signed log. What is changed, removed or cut off later is found." }
        div.columns {
            section.panel.span2 aria-labelledby="h-verify" {
                h2 #h-verify { "Verify" }
                form.stack method="post" action="/ledger/verify" {
                    (token(&session))
                    label for="checkpoint" { "A checkpoint that you kept elsewhere (without one, what was cut off the end is not noticed)" }
                    textarea #checkpoint name="text" rows="4" spellcheck="false" placeholder="paste it here, or leave it empty" {}
                    div.actions { button.primary { "Verify all of it" } }
                }
            }
            section.panel aria-labelledby="h-newest" {
                h2 #h-newest { "Newest checkpoint" }
                @match &ledger.checkpoint {
                    Some(text) => {
                        pre.checkpoint tabindex="0" { (text) }
                        p.small { "Keep this text where nobody can write who can write here: in a mail to yourself, on another machine. From then on nothing before it can change unnoticed." }
                        pre.command { "nightcrew ledger checkpoint > checkpoint.txt" }
                    },
                    None => (empty("None yet", &html! { "The first entries make the first checkpoint." })),
                }
                p.small.soft { "Key " code.id { (state.service.ledger_key()) } }
            }
        }
        section.panel aria-labelledby="h-entries" {
            div.head { h2 #h-entries { "Entries" } @if from > 0 || !wanted.subject.is_empty() { a href="/ledger" { "newest" } } }
            @if let Some(None) = &sought { p { "The entry sought is not sequenced yet, or lies elsewhere; look again in a moment." } }
            @if entries.is_empty() { (empty("Nothing yet", &html! { "The first event makes the first entry." })) }
            @else { (table(&entries, index, now)) }
            nav.pager aria-label="Pages" {
                @if from + u64::from(SHOWN) < ledger.size { a href={ "/ledger?from=" (from + u64::from(SHOWN)) } { "← newer" } }
                @if from > 0 { a href={ "/ledger?from=" (from.saturating_sub(u64::from(SHOWN))) } { "older →" } }
            }
        }
    };
    let page = draft("/ledger", "Ledger", main);
    let page = if wanted.from.is_none() && wanted.subject.is_empty() {
        page.live("", "ledger")
    } else {
        page
    };
    page.show(&state, &session).await
}

fn table(entries: &[LedgerEntry], sought: Option<u64>, now: jiff::Timestamp) -> Markup {
    html! {
        table.cards {
            thead { tr { th { "Index" } th { "Kind" } th { "Subject" } th { "Who" } th { "When" } th.wide { "Leaf hash" } } }
            tbody { @for entry in entries { @let leaf = ledger::Leaf::parse(&entry.leaf).ok(); tr.sought[sought == Some(entry.index)] id={ "entry-" (entry.index) } data-item {
                td data-label="index" { a.item href={ "/api/v1/ledger/entries?from=" (entry.index) "&limit=1" } { (entry.index) } }
                @match leaf.as_ref().map(ledger::Leaf::heading) {
                    Some(heading) => {
                        td { code { (words::safe(&heading.kind)) } }
                        td { (subject(&heading.subject)) " " span.soft { @if heading.kind.ends_with(".batch") { "batch " (heading.seq & 0xf_ffff) } @else { "fact " (heading.seq) } } }
                        td { (words::safe(&heading.actor)) }
                        td.when { @if let Ok(at) = jiff::Timestamp::from_microsecond(i64::try_from(heading.at).unwrap_or(i64::MAX)) { (time(at, now)) } }
                    },
                    None => td colspan="4" { span.bad-text { "not a leaf: verify the ledger" } },
                }
                td.wide { code.soft { (hex::encode(&entry.hash[..10])) "…" } }
            } } }
        }
    }
}

/// A link to what a leaf is about.
fn subject(text: &str) -> Markup {
    let place = match text.split_once('_').map(|(prefix, _)| prefix) {
        Some("tsk") => "/tasks/",
        Some("cmp") => "/campaigns/",
        Some("run") => "/runs/",
        Some("evt") => "/events/",
        _ => "",
    };
    let short = text.get(..12).filter(|_| !place.is_empty()).unwrap_or(text);
    html! {
        @if place.is_empty() { (words::safe(text)) }
        @else { a href={ (place) (text) } { (words::safe(short)) } }
    }
}

/// The entry of a fact: entries lie nearly in order of time, so halving finds the place.
async fn find(
    store: &dyn Store,
    size: u64,
    wanted: &Wanted,
) -> Result<Option<LedgerEntry>, StoreError> {
    let heading = |entry: &LedgerEntry| {
        ledger::Leaf::parse(&entry.leaf)
            .ok()
            .map(|leaf| leaf.heading().clone())
    };
    let begin = wanted.at.saturating_sub(SKEW_US);
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = store.ledger_entries(middle, 1).await?;
        match entry.first().and_then(heading) {
            Some(found) if found.at < begin => low = middle + 1,
            _ => high = middle,
        }
    }
    let window = store.ledger_entries(low, WINDOW).await?;
    Ok(window.into_iter().find(|entry| {
        heading(entry)
            .is_some_and(|found| found.subject == wanted.subject && found.seq == wanted.seq)
    }))
}

#[derive(Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    text: String,
}

/// `POST /ledger/verify`.
pub(super) async fn verify(
    State(state): State<AppState>,
    Form(session, kept): Form<Kept>,
) -> Shown {
    state.service.sequence_all().await?;
    // Browsers send line ends as CR LF; a checkpoint is signed over LF.
    let text = kept.text.replace("\r\n", "\n");
    let text = text.trim();
    let earlier = if text.is_empty() {
        Vec::new()
    } else {
        vec![format!("{text}\n")]
    };
    let report = state.service.verify_ledger(&earlier).await?;
    let main = html! {
        div.narrow {
            @match &report.finding {
                None => {
                    h1 { (glyph("merged")) " All of it holds" }
                    p.lead { (words::count(report.entries, "entry", "entries")) ", " (words::count(report.payloads, "fact", "facts"))
                        " and " (words::count(report.checkpoints, "checkpoint", "checkpoints")) " agree"
                        @if earlier.is_empty() { ". No checkpoint from elsewhere was given, so a cut-off end would not be noticed." } @else { ", the one you kept among them." } }
                    p { "Root " code.id { (report.root) } }
                },
                Some(finding) => {
                    h1.bad-text { (glyph("failed")) " It does not hold" }
                    p.lead { (words::sentence(finding)) }
                    p { "Stop using this store, keep a copy of it, and compare with your backups: somebody or something wrote to it from outside." }
                },
            }
            p { a href="/ledger" { "Back to the ledger" } }
        }
    };
    draft("/ledger", "Verified", main)
        .show(&state, &session)
        .await
}
