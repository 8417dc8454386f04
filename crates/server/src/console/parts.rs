//! What pages share.

use jiff::Timestamp;
use maud::{Markup, html};
use model::rows::TaskRow;
use store::StatusCount;

use super::words::{self, Look};
use crate::http::Session;

/// The hidden fields of every form: the session's token, and where to come back to.
pub(super) fn token(session: &Session) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(session.csrf);
        input type="hidden" name="back" value=(session.here);
    }
}

/// A form that is one button.
pub(super) fn button(session: &Session, action: &str, class: &str, label: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) { (token(session)) button class=(class) { (label) } }
    }
}

/// A state: shape and word.
pub(super) fn badge(look: Look) -> Markup {
    html! { span class={ "badge " (look.tone) } { (glyph(look.glyph)) (look.word) } }
}

/// A shape alone; something beside it says the same in words.
pub(super) fn glyph(name: &str) -> Markup {
    html! { svg class={ "glyph g-" (name) } aria-hidden="true" { use href={ "#g-" (name) } {} } }
}

/// The state of a task row, with a mark when it is paused.
pub(super) fn row_badge(row: &TaskRow) -> Markup {
    html! {
        (badge(words::task(row.status, row.wait)))
        @if row.paused && !row.status.is_final() { " " span.badge.you { (glyph("waiting")) "paused" } }
    }
}

/// A time: how long ago, exactly on hover.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(words::moment(at)) { (words::ago(at, now)) } }
}

/// Shown where there is nothing yet: what would be here, and how to get it.
pub(super) fn empty(title: &str, text: &Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } div { (text) } } }
}

/// A link to tasks with a number of them.
pub(super) fn number(n: u64, address: &str, label: &str) -> Markup {
    html! { a.number href=(address) { strong { (n) } span { (label) } } }
}

/// The end of an address that asks for a status.
pub(super) fn status_query(count: &StatusCount) -> String {
    format!("status={}", count.status)
}

/// All counts as one bar, each part a link to what it counts. Drawn with attributes, because
/// inline styles are not allowed here.
pub(super) fn bar(counts: &[StatusCount], base: &str) -> Markup {
    let total: u64 = counts.iter().map(|count| count.count).sum();
    if total == 0 {
        return html! {};
    }
    // Whole thousandths that add up to all of it.
    let mut x = 0;
    let mut sum = 0;
    let parts: Vec<_> = counts
        .iter()
        .map(|count| {
            sum += count.count;
            let end = sum * 1000 / total;
            let part = (x, end - x, count);
            x = end;
            part
        })
        .collect();
    html! {
        svg.bar viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="tasks by state" {
            @for (x, width, count) in parts {
                @let look = words::task(count.status, count.wait);
                a href={ (base) (status_query(count)) } {
                    rect class=(look.tone) x=(x) y="0" width=(width) height="12" { title { (count.count) " " (look.word) } }
                }
            }
        }
    }
}

/// The same counts in words.
pub(super) fn legend(counts: &[StatusCount], base: &str) -> Markup {
    html! {
        ul.legend {
            @for count in counts {
                @let look = words::task(count.status, count.wait);
                li { a href={ (base) (status_query(count)) } class=(look.tone) {
                    (glyph(look.glyph)) strong { (count.count) } " " (look.word)
                } }
            }
        }
    }
}

/// Links to the pages before and after.
pub(super) fn pager(address: &str, offset: u32, limit: u32, total: u64) -> Markup {
    let joined = if address.contains('?') {
        format!("{address}&")
    } else {
        format!("{address}?")
    };
    let last = u64::from(offset) + u64::from(limit);
    html! {
        @if total > u64::from(limit) || offset > 0 {
            nav.pager aria-label="Pages" {
                @if offset > 0 {
                    a rel="prev" href={ (joined) "offset=" (offset.saturating_sub(limit)) } { "← earlier" }
                }
                span { (u64::from(offset) + 1) "–" (last.min(total)) " of " (total) }
                @if last < total { a rel="next" href={ (joined) "offset=" (last) } { "later →" } }
            }
        }
    }
}

/// Tasks as a table; on narrow screens each row becomes a card.
pub(super) fn task_table(rows: &[TaskRow], now: Timestamp, with_automation: bool) -> Markup {
    html! {
        table.cards {
            thead { tr {
                th { "Target" } th { "State" } th.wide { "Why" }
                @if with_automation { th { "Automation" } }
                th { "Changed" }
            } }
            tbody {
                @for row in rows {
                    tr id={ "row-" (row.id) } data-item {
                        td { a.item href={ "/tasks/" (row.id) } { (words::safe(&row.target.to_string())) } }
                        td { (row_badge(row)) }
                        td.wide { (words::row(row)) }
                        @if with_automation { td { a.soft href={ "/automations/" (row.automation) } { (row.automation) } } }
                        td.when { (time(row.updated_at, now)) }
                    }
                }
            }
        }
    }
}
