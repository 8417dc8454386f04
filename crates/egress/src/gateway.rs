//! The model gateway: one of the hosts the broker knows.

use std::collections::BTreeSet;

use http::{Request, Response};

use crate::Body;
use crate::budget::Spender;

/// The name under which environments reach the gateway.
pub const GATEWAY_HOST: &str = "model.nightcrew.internal";

/// Which models an environment may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPolicy {
    /// Models by the names that users give them, `*` at the end for all that begin so.
    pub models: BTreeSet<String>,
}

/// Passes calls of models on, with the key put in, within the budget.
#[derive(Debug, Default)]
pub struct Gateway {}

impl Gateway {
    /// Carries out one call.
    pub async fn handle(
        &self,
        spender: &Spender,
        models: &ModelPolicy,
        request: Request<Body>,
    ) -> Response<Body> {
        let _ = (spender, models, request);
        let body: Body = http_body_util::combinators::UnsyncBoxBody::new(
            http_body_util::Empty::new().map_err(|never| match never {}),
        );
        let mut answer = Response::new(body);
        *answer.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        answer
    }
}

use http_body_util::BodyExt as _;
