//! Parts of the page of a task, some of which the inbox shows as well.

use forge::{Change, Mergeable, Verdict as Said};
use maud::{Markup, html};
use model::evidence::{ValidatorResult, Verdict};
use model::protocol::LogLine;
use model::step::{StepOutcome, StepRecord};
use model::task::Task;

use super::facts::{outcome, person};
use super::parts::{badge, empty, glyph, time, token};
use super::words::{self, Look, safe, sentence};
use crate::error::ServiceError;
use crate::http::Session;
use crate::service::Service;
use crate::terminal::{kept_log, step_log};

/// Lines of a log on the page.
const SHOWN: usize = 400;

/// Steps with their logs; what runs or failed is open.
pub(super) async fn steps(service: &Service, task: &Task) -> Result<Markup, ServiceError> {
    let mut shown = Vec::new();
    for step in &task.steps {
        // A log that is gone is no reason to show nothing at all.
        let log = step_log(service, task, step).await.unwrap_or_default();
        let mut checks = Vec::new();
        if step.kind == "validate" {
            for result in &task.validators {
                let lines = match &result.log {
                    Some(digest) => kept_log(service, digest, step.index)
                        .await
                        .unwrap_or_default(),
                    None => Vec::new(),
                };
                checks.push((result, lines));
            }
        }
        shown.push((step, log, checks));
    }
    Ok(html! {
        section.panel aria-labelledby="h-steps" {
            div.head { h2 #h-steps { "Steps" } @if task.round > 1 { span.soft { "round " (task.round) } } }
            @if shown.is_empty() {
                (empty("No step has begun", &html! { "Steps run in an environment of their own; what they print appears here while they run." }))
            }
            @for (step, log, checks) in &shown { (one(task, step, log, checks)) }
        }
    })
}

fn one(
    task: &Task,
    step: &StepRecord,
    log: &[LogLine],
    checks: &[(&ValidatorResult, Vec<LogLine>)],
) -> Markup {
    let running = step.outcome.is_none() && task.status.is_leased();
    let failed = matches!(
        step.outcome,
        Some(StepOutcome::Failed { .. } | StepOutcome::TimedOut)
    );
    let id = format!("step-{}-{}-{}", task.round, step.index, step.attempt);
    html! {
        details.step #(id) open[running || failed] {
            summary {
                (badge(look(step.outcome.as_ref(), running)))
                " " strong { (safe(&step.id)) } " " span.soft { (step.kind) @if step.attempt > 1 { ", attempt " (step.attempt) } }
                span.push.soft { @if step.wall_ms > 0 { (words::length(step.wall_ms)) } }
            }
            @if let Some(ended) = &step.outcome { @if failed { p { "It " (outcome(ended)) "." } } }
            (terminal(task, step.index, log, running, &format!("log-{id}")))
            @for (result, lines) in checks { @if !lines.is_empty() {
                details.sub id={ (id) "-" (safe(&result.name)) } open[result.verdict != Verdict::Passed] {
                    summary { (badge(verdict(result.verdict))) " " code { (safe(&result.name)) } }
                    (terminal(task, step.index, lines, false, &format!("log-{id}-{}", safe(&result.name))))
                }
            } }
            @if !step.outputs.is_empty() {
                dl.facts.outputs { @for (name, value) in &step.outputs {
                    dt { code { (safe(name)) } } dd { code { (safe(&value.to_string())) } }
                } }
            }
        }
    }
}

fn look(ended: Option<&StepOutcome>, running: bool) -> Look {
    let (glyph, tone, word) = match ended {
        Some(StepOutcome::Succeeded) => ("merged", "good", "done"),
        Some(StepOutcome::Skipped) => ("superseded", "off", "skipped"),
        Some(StepOutcome::Failed { .. }) => ("failed", "bad", "failed"),
        Some(StepOutcome::TimedOut) => ("failed", "bad", "timed out"),
        None if running => ("running", "busy", "running"),
        None => ("waiting", "wait", "open"),
    };
    Look { glyph, tone, word }
}

fn terminal(task: &Task, step: u32, log: &[LogLine], running: bool, id: &str) -> Markup {
    let skipped = log.len().saturating_sub(SHOWN);
    // The tail of a running step is counted over all steps of the task; asking from 0 again and
    // replacing what is here is right in every case.
    html! {
        @if running {
            div.term #(id) tabindex="0" role="log" aria-label="Output" data-keep="live"
                data-tail={ "/tasks/" (task.id) "/lines?step=" (step) } {}
        } @else if !log.is_empty() {
            div.term #(id) tabindex="0" role="region" aria-label="Output" {
                @if skipped > 0 { a.l.note href={ "/api/v1/tasks/" (task.id) "/log?step=" (step) } { (skipped) " earlier lines: the whole log" } }
                (super::terminal_html::lines(&log[skipped..]))
            }
        } @else { p.soft.small { "It printed nothing." } }
    }
}

const fn verdict(verdict: Verdict) -> Look {
    match verdict {
        Verdict::Passed => Look {
            glyph: "merged",
            tone: "good",
            word: "passed",
        },
        Verdict::Failed => Look {
            glyph: "failed",
            tone: "bad",
            word: "failed",
        },
        Verdict::Missing => Look {
            glyph: "unverified",
            tone: "wait",
            word: "could not run",
        },
    }
}

/// Validators: what failed before, what fails now, what is new.
pub(super) fn evidence(task: &Task) -> Markup {
    let names = |list: &[String]| -> Markup {
        html! {
            @match list {
                [] => span.soft { "none" },
                _ => details id=[list.first().map(|first| format!("list-{}-{}", list.len(), safe(first)))] {
                    summary { (list.len()) } ul.plain.small { @for name in list { li { code { (safe(name)) } } } }
                },
            }
        }
    };
    html! {
        section.panel aria-labelledby="h-evidence" {
            div.head { h2 #h-evidence { "Evidence" } span.soft { "compared with the base: what failed before is not blamed on the change" } }
            @if task.validators.is_empty() {
                (empty("No validator has run", &html! { "Without evidence a task ends as unverified, never as a success." }))
            } @else {
                table.cards {
                    thead { tr { th { "Validator" } th { "Verdict" } th { "Fails before" } th { "Fails after" } th { "New" } th.wide { "Detail" } } }
                    tbody { @for result in &task.validators { tr {
                        td { code { (safe(&result.name)) } }
                        td { (badge(verdict(result.verdict))) }
                        td data-label="before" { (names(&result.before)) }
                        td data-label="after" { (names(&result.after)) }
                        td data-label="new" { @if result.new.is_empty() { span.soft { "none" } } @else { span.bad-text { (names(&result.new)) } } }
                        td.wide { (safe(&result.detail)) @if result.wall_ms > 0 { " " span.soft { (words::length(result.wall_ms)) } } }
                    } } }
                }
            }
        }
    }
}

/// The question that a task asks, with its answers.
pub(super) fn approval_box(task: &Task, session: &Session) -> Markup {
    let ask = task
        .wait
        .as_ref()
        .map(|wait| sentence(&wait.reason.sentence))
        .unwrap_or_default();
    html! {
        section.panel.decide aria-labelledby="h-ask" {
            h2 #h-ask { "It asks for consent" }
            p.ask { (ask) }
            form.stack method="post" action={ "/tasks/" (task.id) "/act/approve" } {
                (token(session))
                label for={ "deny-" (task.id) } { "If not, say why" }
                textarea #{ "deny-" (task.id) } name="text" rows="2" placeholder="Only needed for a no" {}
                div.actions {
                    button.primary data-approve { "Approve" }
                    button.danger formaction={ "/tasks/" (task.id) "/act/deny" } { "Deny" }
                }
            }
        }
    }
}

/// How to merge.
pub(super) fn method_select() -> Markup {
    html! {
        label.inline { "by " select name="method" aria-label="How to merge" {
            option value="merge" { "a merge commit" }
            option value="squash" { "one squashed commit" }
            option value="rebase" { "rebasing" }
        } }
    }
}

/// Review of an open change: read, say, merge.
pub(super) fn review_box(
    task: &Task,
    change: &Change,
    mergeable: Option<&Mergeable>,
    session: &Session,
) -> Markup {
    let act = |act: &str| format!("/tasks/{}/act/{act}", task.id);
    html! {
        section.panel.decide aria-labelledby="h-review" {
            div.head { h2 #h-review { "Review" } span.soft { "change " (change.number) " by " (safe(&change.author.name)) } }
            @match change.verdict() {
                Some(Said::Approved) => p { span.badge.good { (glyph("merged")) "approved" } " It can be merged." },
                Some(Said::ChangesRequested) => p { span.badge.bad { (glyph("rejected")) "changes requested" } " It waits for another round." },
                None => {},
            }
            @if change.has_foreign_commits() { p.bad-text { "Somebody else committed to its branch; these commits are never overwritten." } }
            @if let Some(Mergeable::Conflicts { files }) = mergeable {
                p.bad-text { "It conflicts with the base in "
                    @for (n, file) in files.iter().take(5).enumerate() { @if n > 0 { ", " } code { (safe(&file.to_string())) } }
                    ". Ask for changes or retry the task: it begins again on the newest base." }
            }
            form.stack method="post" action=(act("review")) {
                (token(session))
                label for={ "say-" (task.id) } { "What you want to say" }
                textarea #{ "say-" (task.id) } name="text" rows="3" placeholder="Needed for a comment and for asking for changes" {}
                div.actions {
                    button.primary name="verdict" value="approved" data-approve { "Approve" }
                    button name="verdict" value="changes_requested" { "Request changes" }
                    button name="verdict" value="comment" { "Comment only" }
                }
            }
            form.actions.merge method="post" action=(act("merge")) {
                (token(session))
                button.primary disabled[matches!(mergeable, Some(Mergeable::Conflicts { .. }))] { "Merge" }
                (method_select())
                a.button.danger.push href={ "/tasks/" (task.id) "/confirm/close" } { "Close without merging…" }
            }
        }
    }
}

/// What people said at the forge.
pub(super) fn comments(change: &Change, now: jiff::Timestamp) -> Markup {
    let mut said: Vec<(jiff::Timestamp, &str, Option<Said>, &str)> = Vec::new();
    said.extend(
        change
            .comments
            .iter()
            .map(|c| (c.at, c.actor.name.as_str(), None, c.text.as_str())),
    );
    said.extend(change.reviews.iter().map(|r| {
        (
            r.at,
            r.actor.name.as_str(),
            Some(r.verdict),
            r.text.as_str(),
        )
    }));
    said.sort_by_key(|(at, ..)| *at);
    html! {
        section.panel aria-labelledby="h-said" {
            h2 #h-said { "Comments and reviews" }
            @if said.is_empty() { (empty("Nobody has said anything yet", &html! { "Comments and reviews from the forge appear here." })) }
            ol.said { @for (at, who, verdict, text) in said {
                li {
                    div.row { strong { (person(who)) }
                        @match verdict {
                            Some(Said::Approved) => span.badge.good { (glyph("merged")) "approved" },
                            Some(Said::ChangesRequested) => span.badge.bad { (glyph("rejected")) "wants changes" },
                            None => {},
                        }
                        (time(at, now)) }
                    @if !text.is_empty() { p.wrap { (safe(text)) } }
                }
            } }
            @if let Some(merged) = &change.merged {
                p { "Merged by " (person(&merged.actor.name)) " as " code { (merged.commit.to_string().get(..10).unwrap_or_default()) } " " (time(merged.at, now)) }
            }
        }
    }
}
