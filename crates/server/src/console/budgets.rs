//! Budgets: caps and what was spent of them, raised here; and what is stopped.

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};
use model::budget::{Caps, Dimension, MicroUsd, Tokens, Usd};
use model::duration::Length;
use model::task::WaitKind;
use serde::Deserialize;

use super::page::draft;
use super::parts::{empty, number, time, token};
use super::sign_in::local;
use super::{Page, Shown, words};
use crate::http::{AppState, Form, Params, Problem, Session};
use crate::service::{Shown as Account, SpendBy, SpendRow, Stopped};

/// Rows of each table of what was spent.
const ROWS: usize = 12;

#[derive(Deserialize)]
pub(super) struct Wanted {
    by: Option<SpendBy>,
    /// A scope that the form for stops is filled with.
    #[serde(default)]
    stop: String,
}

/// `GET /budgets`.
pub(super) async fn show(
    State(state): State<AppState>,
    session: Session,
    Params(wanted): Params<Wanted>,
) -> Shown {
    let (service, now) = (&state.service, state.service.now());
    let accounts = service.budget_list().await?;
    let stops = service.stops().await?;
    let waiting = service.waiting_for(WaitKind::Budget).await?.len() as u64;
    let stopped = service.waiting_for(WaitKind::Stop).await?.len() as u64;
    let callers = service.waiting_for_budget();
    let by = wanted.by.unwrap_or(SpendBy::Automation);
    let spend = service.spend(by).await?;
    let main = html! {
        div.head { h1 { "Budgets" } }
        p.soft { "What a call may cost at worst is held before it is made, under every cap above it, and settled after. A task that meets a cap stops with its work kept." }
        div.numbers {
            (number(waiting, "/tasks?status=waiting", "wait for a budget"))
            (number(stopped, "/tasks?status=waiting", "are stopped"))
            span.number { strong { (callers) } span { "calls wait for others to settle" } }
        }
        section aria-labelledby="h-caps" {
            h2 #h-caps { "Caps" }
            (caps_table(&accounts))
            @if accounts.iter().any(|account| !account.effective.is_none()) { (raise_form(&accounts, &session)) }
            @else {
                (empty("Nothing is capped", &html! { "Write " code { "budget: {usd: 20}" } " into an automation, or "
                    code { "[budget]" } " into the configuration." }))
            }
        }
        section aria-labelledby="h-spend" {
            div.head { h2 #h-spend { "Spent" } div.switch role="group" aria-label="By" {
                @for (kind, key, label) in KINDS {
                    a href={ "/budgets?by=" (key) } aria-current=[(*kind == by).then_some("true")] { (label) }
                }
            } }
            (spend_table(&spend))
            p { a href={ "/api/v1/budgets/spend?format=csv&by=" (key_of(by)) } { "CSV" } }
        }
        section aria-labelledby="h-stops" {
            h2 #h-stops { "Kill switch" }
            (stops_list(stops.0.values(), &session, now))
            (stop_form(&wanted.stop, &session))
        }
    };
    draft("/budgets", "Budgets", main)
        .live("", "budget stops task")
        .show(&state, &session)
        .await
}

const KINDS: &[(SpendBy, &str, &str)] = &[
    (SpendBy::Team, "team", "Team"),
    (SpendBy::Automation, "automation", "Automation"),
    (SpendBy::Model, "model", "Model"),
    (SpendBy::Task, "task", "Task"),
    (SpendBy::MergedChange, "merged-change", "Merged change"),
];

fn key_of(by: SpendBy) -> &'static str {
    let found = KINDS.iter().find(|(kind, _, _)| *kind == by);
    found.map_or("campaign", |(_, key, _)| key)
}

/// Where a scope is looked at more closely.
fn address(scope: &str) -> Option<String> {
    let (kind, name) = scope.split_once(':')?;
    match kind {
        "campaign" => Some(format!("/campaigns/{name}")),
        "task" => Some(format!("/tasks/{name}")),
        "run" => Some(format!("/runs/{name}")),
        "automation" => Some(format!("/automations/{name}")),
        _ => None,
    }
}

fn linked(scope: &str, label: &str) -> Markup {
    html! {
        @match address(scope) {
            Some(address) => a.item href=(address) { (words::safe(label)) },
            None => span.item { (words::safe(label)) },
        }
    }
}

fn caps_table(accounts: &[Account]) -> Markup {
    html! {
        table.cards {
            thead { tr { th { "Account" } th { "Of" } th { "Spent" } th { "Held" } th { "Cap" } th { "Used" } } }
            tbody {
                @for account in accounts {
                    @for dimension in shown(account) {
                        @let cap = account.effective.get(dimension);
                        @let spent = account.account.spent.get(dimension);
                        @let held = account.account.held.get(dimension);
                        tr id={ "b-" (account.account.scope) "-" (dimension.key()) } data-item {
                            td { (linked(&account.account.scope, &account.account.title)) }
                            td { (dimension.key()) }
                            td { (dimension.show(spent)) }
                            td { @if held > 0 { (dimension.show(held)) } }
                            td { @match cap { Some(cap) => (dimension.show(cap)), None => span.soft { "no cap" } } }
                            td { @if let Some(cap) = cap { (meter(spent, held, cap)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What is capped, used or held.
fn shown(account: &Account) -> Vec<Dimension> {
    let own = &account.account;
    Dimension::ALL
        .into_iter()
        .filter(|dimension| {
            *dimension == Dimension::Money
                || account.effective.get(*dimension).is_some()
                || own.spent.get(*dimension) > 0
                || own.held.get(*dimension) > 0
        })
        .collect()
}

/// How much of a cap is used, as a bar with a word beside it.
fn meter(spent: u64, held: u64, cap: u64) -> Markup {
    let share = |part: u64| {
        let share = u128::from(part) * 1000 / u128::from(cap.max(1));
        u64::try_from(share.min(1000)).unwrap_or(1000)
    };
    let (first, both) = (share(spent), share(spent.saturating_add(held)));
    let full = spent.saturating_add(held) >= cap;
    html! {
        svg.bar viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label={ (both / 10) " % used" } {
            rect class="busy" x="0" y="0" width=(first) height="12" { title { "spent" } }
            rect class="wait" x=(first) y="0" width=(both.saturating_sub(first)) height="12" { title { "held" } }
        }
        span.soft { (both / 10) " %" @if full { ", full" } }
    }
}

fn raise_form(accounts: &[Account], session: &Session) -> Markup {
    let capped = accounts
        .iter()
        .filter(|account| !account.effective.is_none());
    html! {
        form.panel method="post" action="/budgets/raise" {
            (token(session))
            h3 { "Raise a cap" }
            div.row {
                label { "Account " select name="scope" {
                    @for account in capped {
                        option value=(account.account.scope) { (words::safe(&account.account.title)) }
                    }
                } }
                label { "Of " select name="of" {
                    @for dimension in Dimension::ALL { option value=(dimension.key()) { (dimension.key()) } }
                } }
                label { "To " input name="to" required maxlength="40" placeholder="300" autocomplete="off"; }
                label { "Because " input name="because" maxlength="500" autocomplete="off"; }
                button.primary { "Raise" }
            }
            p.soft { "The new cap, not the difference. It is an entry of the ledger, and what waits for it goes on." }
        }
    }
}

fn spend_table(rows: &[SpendRow]) -> Markup {
    let total = rows.iter().fold(model::budget::Spending::ZERO, |sum, row| {
        sum.plus(row.spent)
    });
    html! {
        @if rows.is_empty() { (empty("Nothing was spent yet", &html! { "Calls of models are charged here when they are settled." })) }
        @else {
            table.cards {
                thead { tr { th { "Of" } th { "Money" } th { "Tokens" } th { "Held" } } }
                tbody {
                    @for row in rows.iter().take(ROWS) {
                        tr data-item {
                            td { (linked(&row.scope, &row.name)) @if let Some(change) = row.change { " #" (change) } }
                            td { (MicroUsd(row.spent.money)) }
                            td { (row.spent.tokens) }
                            td { @if row.held.money > 0 { (MicroUsd(row.held.money)) } }
                        }
                    }
                }
            }
            p.soft { (words::count(rows.len() as u64, "row", "rows")) ", " (MicroUsd(total.money)) " and "
                (total.tokens) " tokens in all"
                @if rows.len() > ROWS { "; the CSV has every one" } }
        }
    }
}

fn stops_list<'a>(
    stops: impl Iterator<Item = &'a Stopped>,
    session: &Session,
    now: Timestamp,
) -> Markup {
    let stops: Vec<&Stopped> = stops.collect();
    html! {
        @if stops.is_empty() { p.soft { "Nothing is stopped." } }
        ul.rows.panel {
            @for stopped in stops {
                li data-item { div.row {
                    (linked(&stopped.scope, &stopped.scope))
                    span { "stopped by " (words::safe(&stopped.by)) " " (time(stopped.at, now)) }
                    @if !stopped.because.is_empty() { span.soft { (words::safe(&stopped.because)) } }
                    form.inline method="post" action="/budgets/lift" {
                        (token(session))
                        input type="hidden" name="scope" value=(stopped.scope);
                        button { "Lift" }
                    }
                } }
            }
        }
    }
}

fn stop_form(scope: &str, session: &Session) -> Markup {
    html! {
        form.panel method="post" action="/budgets/stop" {
            (token(session))
            div.row {
                label { "Stop " input name="scope" value=(words::safe(scope)) required maxlength="200" autocomplete="off"
                    placeholder="automation:NAME"; }
                label { "Because " input name="because" maxlength="500" autocomplete="off"; }
                button.danger { "Stop now" }
            }
            p.soft { "organisation, team:NAME, automation:NAME, campaign:NAME, task:ID, model:NAME or host:NAME. What runs is halted within a second, with its work kept." }
        }
    }
}

/// The fields of the forms of this page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    back: String,
    scope: String,
    of: String,
    to: String,
    because: String,
}

impl Fields {
    fn back(&self) -> Page {
        Page::go(local(Some(&self.back)))
    }

    /// The one cap that is raised.
    fn caps(&self) -> Result<Caps, String> {
        let text = self.to.trim();
        let count = || {
            text.parse::<u64>()
                .map_err(|_| format!("`{}` is no number", words::safe(text)))
        };
        let mut caps = Caps::default();
        let dimension = Dimension::ALL
            .into_iter()
            .find(|dimension| dimension.key() == self.of)
            .ok_or_else(|| "there is no such cap".to_owned())?;
        let value = match dimension {
            Dimension::Money => text.parse::<Usd>().map_err(|e| e.to_string())?.0.0,
            Dimension::Tokens => text.parse::<Tokens>().map_err(|e| e.to_string())?.0,
            Dimension::Wall => {
                let length = text.parse::<Length>().map_err(|e| e.to_string())?;
                u64::try_from(length.0.as_millis()).unwrap_or(u64::MAX)
            }
            Dimension::ForgeWrites | Dimension::OpenChanges | Dimension::Environments => count()?,
        };
        *caps.at(dimension) = Some(value);
        Ok(caps)
    }
}

/// `POST /budgets/raise`.
pub(super) async fn raise(State(state): State<AppState>, Form(_, fields): Form<Fields>) -> Shown {
    let caps = fields
        .caps()
        .map_err(|problem| Page::from(Problem::new(422, "invalid", problem)))?;
    state
        .service
        .raise_budget(&fields.scope, caps, &fields.because, &state.person())
        .await?;
    Ok(fields.back())
}

/// `POST /budgets/stop`.
pub(super) async fn stop(State(state): State<AppState>, Form(_, fields): Form<Fields>) -> Shown {
    state
        .service
        .stop(&fields.scope, &fields.because, &state.person())
        .await?;
    Ok(Page::go("/budgets"))
}

/// `POST /budgets/lift`.
pub(super) async fn lift(State(state): State<AppState>, Form(_, fields): Form<Fields>) -> Shown {
    state.service.lift(&fields.scope, &state.person()).await?;
    Ok(fields.back())
}
