//! How a task's environment was fenced, and what exec control refused or saw in it.

use jiff::Timestamp;
use maud::{Markup, html};
use model::exec::{ExecEvent, KeptExecBatch};
use model::isolation::{Isolation, RootEvidence, RootKind};
use model::task::Task;

use super::parts::{badge, empty, glyph, time};
use super::words::{self, Look, safe};
use crate::service::ExecTotal;

/// Batches on the page of a task.
pub(super) const BATCHES: u32 = 20;
/// Events on the page of a task.
const EVENTS: usize = 200;

/// The evidence about the fence.
pub(super) fn isolation(isolation: &Isolation) -> Markup {
    html! {
        section.panel aria-labelledby="h-isolation" {
            div.head { h2 #h-isolation { "Isolation" }
                span.soft { "proven inside before the first step" } }
            dl.facts {
                dt { "Level" } dd { strong { (isolation.level) } " " span.soft { (means(isolation)) } }
                dt { "Self-test" } dd { (words::count(isolation.probes.into(), "probe", "probes")) " held" }
                dt { "Layers" } dd {
                    @if isolation.layers.is_empty() { span.soft { "none named" } }
                    @else { (safe(&isolation.layers.join(", "))) }
                }
                dt { "Programs" } dd {
                    @match &isolation.exec {
                        Some(exec) => {
                            strong { (exec.mode) } ", " (words::count(exec.rules.into(), "rule", "rules"))
                            " " code.id title={ "policy sha256:" (safe(&exec.policy)) } { (short(&exec.policy)) }
                        },
                        None => span.soft { "not judged" },
                    }
                }
                @if let Some(root) = &isolation.root { dt { "Root" } dd { (self::root(root)) } }
            }
            @if let Some(root) = isolation.root.as_ref().filter(|root| !root.toolchains.is_empty()) {
                p.bad-text { (glyph("unverified")) " Other versions than the repository asks for:" }
                ul.plain.small { @for sentence in &root.toolchains { li { (words::sentence(sentence)) } } }
            }
            @if !isolation.weaker.is_empty() {
                p.bad-text { (glyph("unverified")) " Weaker than it could be:" }
                ul.plain.small { @for sentence in &isolation.weaker { li { (words::sentence(sentence)) } } }
            }
        }
    }
}

const fn means(isolation: &Isolation) -> &'static str {
    use model::isolation::IsolationLevel::{L0, L1, L2, L3};
    match isolation.level {
        L0 => "namespaces, limits, system call filter",
        L1 => "and programs judged by their bytes",
        L2 => "and programs judged in the kernel",
        L3 => "a virtual machine",
    }
}

fn root(root: &RootEvidence) -> Markup {
    let kind = match root.kind {
        RootKind::Host => "the host's programs, read-only",
        RootKind::Image => "an image",
        RootKind::Folder => "a folder",
    };
    html! {
        (kind)
        @if let Some(digest) = &root.digest { " " code.id title=(safe(digest)) { (short(digest)) } }
        @if let Some(recipe) = &root.recipe { ", recipe " code.id title=(safe(recipe)) { (short(recipe)) } }
        @if root.reproducible { span.soft { ", reproducible" } } @else { span.soft { ", not reproducible" } }
    }
}

/// The beginning of a digest.
pub(super) fn short(digest: &str) -> String {
    let bare = digest.strip_prefix("sha256:").unwrap_or(digest);
    safe(&bare.chars().take(12).collect::<String>())
}

/// What exec control refused or saw, newest first.
pub(super) fn events(
    task: &Task,
    total: &ExecTotal,
    newest: &[KeptExecBatch],
    now: Timestamp,
) -> Markup {
    let judged = task
        .isolation
        .as_ref()
        .is_some_and(|isolation| isolation.exec.is_some());
    if !judged && total.batches == 0 {
        return html! {};
    }
    let all = newest.iter().flat_map(|batch| {
        let events = batch.batch.events.iter();
        events.map(move |event| (batch, event))
    });
    let shown: Vec<_> = all.take(EVENTS).collect();
    let more: u64 = newest
        .iter()
        .map(|batch| {
            batch
                .batch
                .more_denied
                .saturating_add(batch.batch.more_unknown)
        })
        .fold(0, u64::saturating_add);
    html! {
        section.panel aria-labelledby="h-exec" {
            div.head { h2 #h-exec { "Programs refused or unknown" }
                span.soft { (total.denied) " refused, " (total.unknown) " reported, "
                    (entries(task, total, newest)) } }
            @if shown.is_empty() {
                (empty("Nothing was refused", &html! { "What exec control refuses appears here at once, with the bytes' digest and the processes behind it." }))
            } @else {
                table.cards {
                    thead { tr { th { "What" } th.wide { "Program" } th { "Times" } th.wide { "Rule" } th { "Processes" } th { "When" } } }
                    tbody { @for (batch, event) in &shown { (row(batch, event, now)) } }
                }
            }
            @if more > 0 { p.soft { (more) " more are counted and not listed: it was a flood." } }
            @if total.batches > u64::from(BATCHES) || shown.len() == EVENTS {
                p.small { a href={ "/api/v1/tasks/" (task.id) "/exec" } { "All of it as JSON" } }
            }
        }
    }
}

/// Number of ledger entries, with a link to the newest.
fn entries(task: &Task, total: &ExecTotal, newest: &[KeptExecBatch]) -> Markup {
    let text = words::count(total.batches, "ledger entry", "ledger entries");
    html! {
        @match newest.first() {
            Some(batch) => a href={
                "/ledger?subject=" (task.id) "&seq=" (batch.batch.place().leaf_seq()) "&at=" (batch.at.as_microsecond())
            } { (text) },
            None => (text),
        }
    }
}

fn row(batch: &KeptExecBatch, event: &ExecEvent, now: Timestamp) -> Markup {
    let name = event.path.rsplit('/').next().unwrap_or_default();
    html! {
        tr {
            td { (badge(verdict(event.denied))) }
            td.wide data-label="program" {
                strong { (line(name)) } " "
                div.soft.small { code { (line(&event.path)) } }
                @match &event.digest {
                    Some(digest) => code.id.small title={ "sha256:" (safe(digest)) } { (short(digest)) },
                    None => span.soft.small { "it could not be read" },
                }
            }
            td data-label="times" { (event.count) }
            td.wide data-label="rule" { (line(&event.rule)) }
            td data-label="processes" {
                @for (n, process) in event.processes.iter().enumerate() {
                    @if n > 0 { span.soft { " ← " } }
                    code { (line(&process.name)) } span.soft.small { " " (process.id) }
                }
            }
            td.when { (time(batch.at, now))
                @if let Some(step) = batch.batch.step { div.soft.small { "step " (step + 1) } } }
        }
    }
}

/// Names from inside on one line: a line end is no line end here.
pub(super) fn line(text: &str) -> String {
    safe(text)
        .replace('\n', "\u{240a}")
        .replace('\t', "\u{2409}")
}

const fn verdict(denied: bool) -> Look {
    if denied {
        Look {
            glyph: "failed",
            tone: "bad",
            word: "refused",
        }
    } else {
        Look {
            glyph: "unverified",
            tone: "wait",
            word: "reported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_inside_stays_on_its_line_and_steers_nothing() {
        assert_eq!(line("a\nb\u{202e}c\u{1b}[2J"), "a␊b\u{fffd}c␛[2J");
    }
}
