//! The one HTTP server: JSON API, console, git. Loopback only.

mod auth;
mod body;
mod git;
mod guard;
mod problem;
mod session;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::inventory::Inventory;
use crate::service::{Actor, Service};

pub use auth::Auth;
pub(crate) use body::{Body, Params, PathText};
pub(crate) use problem::Problem;
pub(crate) use session::{Form, Session, cookie, cookie_name};
pub(crate) use stream::{Wanted, stream};

/// What every request can reach. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The control plane.
    pub service: Arc<Service>,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// Version of this program.
    pub version: &'static str,
    /// When this process began.
    pub started_at: Timestamp,
    /// What the host can enforce, as the preflight saw it.
    pub isolation: Option<serde_json::Value>,
    /// The port listened on; requests for another one are refused.
    pub port: u16,
    /// Cancelled when the server shuts down: streams end, so that nothing holds it up.
    pub stop: CancellationToken,
    /// The inventory for lists.
    pub(crate) inventory: Arc<Inventory>,
}

impl AppState {
    /// The state for a server on `port`, started now.
    #[must_use]
    pub fn new(service: Arc<Service>, auth: Arc<Auth>, version: &'static str, port: u16) -> Self {
        let inventory = Arc::new(Inventory::new(&service));
        let started_at = service.now();
        let stop = CancellationToken::new();
        Self {
            service,
            auth,
            version,
            started_at,
            isolation: None,
            port,
            stop,
            inventory,
        }
    }

    /// The person on whose behalf requests act.
    #[must_use]
    pub fn person(&self) -> Actor {
        self.auth.actor()
    }
}

/// Everything that is served.
pub fn router(state: AppState) -> Router {
    let api =
        crate::api::routes().layer(middleware::from_fn_with_state(state.clone(), guard::bearer));
    Router::new()
        .nest("/api/v1", api)
        .merge(git::routes(&state))
        .merge(crate::console::routes())
        .layer(middleware::from_fn_with_state(state.clone(), guard::every))
        .with_state(state)
}
