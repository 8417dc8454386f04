//! The frame around every page.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use store::TaskFilter;

use super::assets;
use super::parts::token;
use crate::error::ServiceError;
use crate::http::{AppState, Problem, Session};

/// Places in the navigation, with the key that follows `g`.
const PLACES: &[(&str, &str, &str)] = &[
    ("/", "Overview", "o"),
    ("/inbox", "Inbox", "i"),
    ("/campaigns", "Campaigns", "c"),
    ("/tasks", "Tasks", "t"),
    ("/automations", "Automations", "a"),
    ("/budgets", "Budgets", "b"),
    ("/events", "Events", "e"),
    ("/repositories", "Repositories", "r"),
    ("/ledger", "Ledger", "l"),
];

/// An answer to a browser.
pub(crate) struct Page(Response);

/// What a page says about itself before it is framed.
pub(super) struct Draft {
    title: String,
    place: &'static str,
    /// Query of the stream of updates, and the kinds that make the page look again.
    live: Option<(String, &'static str)>,
    main: Markup,
}

/// A page for the place in the navigation that has this address.
pub(super) fn draft(place: &'static str, title: impl Into<String>, main: Markup) -> Draft {
    Draft {
        title: title.into(),
        place,
        live: None,
        main,
    }
}

impl Draft {
    /// Looks again when something of these kinds changes (space between them).
    pub(super) fn live(mut self, query: impl Into<String>, kinds: &'static str) -> Self {
        self.live = Some((query.into(), kinds));
        self
    }

    /// The finished page, or only its inside where that was asked for.
    pub(super) async fn show(self, state: &AppState, session: &Session) -> Result<Page, Page> {
        let filter = TaskFilter {
            inbox: true,
            ..TaskFilter::default()
        };
        let credentials = state.service.credential_troubles().await?.len() as u64;
        let inbox = state.service.store().count_tasks(filter).await? + credentials;
        let title = format!("{} · Nightcrew", self.title);
        let (stream, kinds) = self.live.clone().unwrap_or_default();
        let main = html! {
            main #main tabindex="-1" data-title=(title) data-inbox=(inbox)
                data-stream=[self.live.is_some().then_some(stream)] data-kinds=[self.live.is_some().then_some(kinds)] {
                (self.main)
            }
        };
        if session.fragment {
            return Ok(Page(Html(main.into_string()).into_response()));
        }
        Ok(Page(
            Html(frame(&title, self.place, Some((session, inbox)), &main).into_string())
                .into_response(),
        ))
    }
}

fn frame(title: &str, place: &str, signed_in: Option<(&Session, u64)>, main: &Markup) -> Markup {
    let theme = signed_in.and_then(|(session, _)| session.theme);
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href=(assets::css());
                link rel="icon" href=(assets::icon()) type="image/svg+xml";
                script type="module" src=(assets::script()) {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (PreEscaped(include_str!("assets/glyphs.svg")))
                header.top {
                    a.brand href="/" { svg.moon aria-hidden="true" { use href="#g-moon" {} } span { "Nightcrew" } }
                    nav aria-label="Places" {
                        @for (address, name, key) in PLACES {
                            a href=(address) aria-current=[(*address == place).then_some("page")] data-key=(key) {
                                (name)
                                @if *address == "/inbox" { @if let Some((_, inbox)) = signed_in {
                                    span.count #inbox-count data-n=(inbox) { (inbox) }
                                } }
                            }
                        }
                    }
                    @if let Some((session, _)) = signed_in { (tools(session)) }
                }
                (main)
                footer.foot {
                    span #live role="status" data-state="off" { "not live" }
                    span.hide-small {
                        kbd { "/" } " search  " kbd { "g" } " " kbd { "i" } " inbox  " kbd { "j" } " " kbd { "k" }
                        " move  " kbd { "a" } " approve  " kbd { "?" } " keys"
                    }
                }
            }
        }
    }
}

fn tools(session: &Session) -> Markup {
    let (next, word) = match session.theme {
        None => ("dark", "Theme: as the system"),
        Some("dark") => ("light", "Theme: dark"),
        Some(_) => ("auto", "Theme: light"),
    };
    html! {
        form.search role="search" method="get" action="/tasks" {
            input #search type="search" name="q" placeholder="Find a repository" aria-label="Find a repository"
                autocomplete="off" spellcheck="false";
        }
        form method="post" action="/theme" {
            (token(session))
            button.quiet name="theme" value=(next) title=(word) aria-label=(word) {
                svg.glyph aria-hidden="true" { use href="#g-theme" {} }
            }
        }
    }
}

impl Page {
    /// Goes to another page after a form.
    pub(crate) fn go(to: &str) -> Self {
        Self(Redirect::to(to).into_response())
    }

    pub(super) fn response(response: Response) -> Self {
        Self(response)
    }

    /// For browsers without a session.
    pub(crate) fn signed_out() -> Self {
        let main = html! {
            main #main .narrow {
                h1 { "Not signed in" }
                p { "This console opens with a link that works once. Get one where Nightcrew runs:" }
                pre.command { "nightcrew open" }
                p { "Sessions end when the server stops, and then a new link is needed." }
                p { "If you have just opened such a link from another page, " a href="/" { "continue here" } "." }
            }
        };
        Self::bare(401, "Not signed in", &main)
    }

    /// For forms that no page of ours has sent.
    pub(crate) fn forged(_: &Session) -> Self {
        let detail =
            "the form was not sent by a page of this console, or it is older than your session";
        Self::from(
            Problem::new(403, "forbidden", detail).hint("go back, reload the page and try again"),
        )
    }

    fn bare(status: u16, title: &str, main: &Markup) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = frame(&format!("{title} · Nightcrew"), "", None, main);
        Self(
            (
                status,
                [(header::CACHE_CONTROL, "no-store")],
                Html(page.into_string()),
            )
                .into_response(),
        )
    }
}

/// No page has this address.
pub(super) async fn nowhere(_: Session) -> Page {
    Page::from(Problem::not_found("there is no page at this address"))
}

impl From<Problem> for Page {
    fn from(problem: Problem) -> Self {
        let title = super::words::sentence_case(problem.title());
        let main = html! {
            main #main .narrow {
                h1 { (title) }
                p.lead { (super::words::sentence(&problem.detail)) }
                @if let Some(hint) = &problem.hint { p { (super::words::sentence(hint)) } }
                p { a href="/" { "To the overview" } }
            }
        };
        Self::bare(problem.status, &title, &main)
    }
}

impl From<ServiceError> for Page {
    fn from(error: ServiceError) -> Self {
        Problem::from(error).into()
    }
}

impl From<store::StoreError> for Page {
    fn from(error: store::StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        self.0
    }
}
