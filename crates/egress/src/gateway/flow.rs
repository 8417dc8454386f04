//! One call from its first byte to its answer.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use model::egress::{EgressKind, EgressRefusal};
use tokio::sync::oneshot;

use super::config::GatewayConfig;
use super::endpoint::{Endpoint, Unknown};
use super::job::{Busy, Job};
use super::refuse::{Answered, Refusal, whole};
use super::target::{Aim, Wanted};
use super::{Happened, ModelPolicy, Shared, headers, matches};
use crate::budget::Spender;
use crate::meter::{Dialect, Facts, Unfit};
use crate::{Body, BodyError};

/// Largest request that is read: what vendors take at most.
pub(super) const LARGEST_REQUEST: usize = 32 * 1024 * 1024;

/// Longest time until a request is there.
const REQUEST_TIME: Duration = Duration::from_secs(120);

/// Carries out one call, and records what it refuses.
pub(super) async fn handle(
    shared: &Arc<Shared>,
    spender: &Spender,
    models: &ModelPolicy,
    request: Request<Body>,
) -> Response<Body> {
    let dialect = Endpoint::dialect(request.uri().path());
    let path = request.uri().path().to_owned();
    let mut about = format!("{} {path}", request.method());
    let answer = judge(shared, spender, models, request, &mut about).await;
    match answer {
        Ok(answer) => answer,
        Err(refusal) => {
            about.push_str(": ");
            about.push_str(&refusal.sentence);
            shared.record(
                &spender.environment,
                &Happened {
                    kind: EgressKind::Model,
                    refused: Some(refusal.code),
                    host: "",
                    port: 0,
                    detail: &about,
                    sent: 0,
                    received: 0,
                },
            );
            refusal.answer(dialect)
        }
    }
}

async fn judge(
    shared: &Arc<Shared>,
    spender: &Spender,
    models: &ModelPolicy,
    request: Request<Body>,
    about: &mut String,
) -> Result<Response<Body>, Refusal> {
    let config = shared.config();
    let endpoint =
        Endpoint::of(request.method(), request.uri()).map_err(|unknown| match unknown {
            Unknown::Path => Refusal::new(
                EgressRefusal::PathNotNamed,
                Answered::NoPath,
                "the model gateway knows /v1/messages, /v1/messages/count_tokens, /v1/responses, \
             /v1/chat/completions and /v1/models",
            ),
            Unknown::Method => Refusal::new(EgressRefusal::MethodNotNamed, Answered::Invalid, ""),
        })?;
    let dialect = match endpoint {
        Endpoint::Here => return Ok(here()),
        Endpoint::Models => {
            let anthropic = request.headers().contains_key("anthropic-version");
            return Ok(list(&config, models, anthropic));
        }
        Endpoint::Answer(dialect) => dialect,
        Endpoint::Count => Dialect::Messages,
    };
    let busy = Busy::enter(shared, spender, &config)?;
    let wanted = read(shared, &config, endpoint, dialect, request).await?;
    about.push(' ');
    about.push_str(&wanted.facts.model);
    let aims = aims(shared, &config, models, &wanted)?;
    let (sender, answer) = oneshot::channel();
    let job = Job {
        shared: Arc::clone(shared),
        config,
        spender: spender.clone(),
        wanted,
        aims,
    };
    // Its own task: whoever asked may go away, and what was begun is settled all the same.
    tokio::spawn(async move {
        let done = job.run(busy, &sender).await;
        let _ = sender.send(done);
    });
    answer.await.unwrap_or_else(|_| {
        Err(Refusal::new(
            EgressRefusal::Unreachable,
            Answered::Upstream,
            "the gateway could not carry this call out",
        ))
    })
}

/// The answer to whoever looks whether anybody is there.
fn here() -> Response<Body> {
    Response::new(whole("This is nightcrew's model gateway.\n"))
}

/// The models that may be called here, as far as they have names.
fn list(config: &GatewayConfig, models: &ModelPolicy, anthropic: bool) -> Response<Body> {
    let routed = |name: &str| {
        let mut routes = config.settings.routes.iter();
        routes.any(|route| matches(&route.model, name))
    };
    let plain = models.models.iter().map(String::as_str);
    let plain = plain.filter(|name| !name.ends_with('*'));
    let priced = config.prices.names().filter(|name| models.permits(name));
    let mut names: Vec<&str> = plain.chain(priced).filter(|name| routed(name)).collect();
    names.sort_unstable();
    names.dedup();
    let list: Vec<_> = names
        .iter()
        .map(|name| {
            if anthropic {
                serde_json::json!({ "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z" })
            } else {
                serde_json::json!({ "object": "model", "id": name, "created": 0, "owned_by": "nightcrew" })
            }
        })
        .collect();
    let value = if anthropic {
        serde_json::json!({ "data": list, "has_more": false, "first_id": names.first(), "last_id": names.last() })
    } else {
        serde_json::json!({ "object": "list", "data": list })
    };
    let mut answer = Response::new(whole(value.to_string()));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

/// Reads the request and what it is about.
async fn read(
    shared: &Shared,
    config: &GatewayConfig,
    endpoint: Endpoint,
    dialect: Dialect,
    request: Request<Body>,
) -> Result<Wanted, Refusal> {
    let invalid =
        |more: &str| Refusal::new(EgressRefusal::ProtocolInvalid, Answered::Invalid, more);
    let (head, body) = request.into_parts();
    if !headers::is_json(&head.headers) {
        return Err(invalid(
            "the body has to be application/json in UTF-8, without content-encoding",
        ));
    }
    let too_large = || {
        Refusal::new(
            EgressRefusal::VolumeExhausted,
            Answered::TooLarge,
            "a request has at most 32 MiB",
        )
    };
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST_REQUEST as u64) {
        return Err(too_large());
    }
    let size = length.map_or(LARGEST_REQUEST, |length| {
        usize::try_from(length).unwrap_or(0)
    });
    let reading = async {
        // Requests wait for memory rather than for its end.
        let room = shared.request_room(size).await;
        collect(body)
            .await
            .map(|body| body.map(|body| (body, room)))
    };
    let (body, room) = match tokio::time::timeout(REQUEST_TIME, reading).await {
        Ok(Ok(Some(read))) => read,
        Ok(Ok(None)) => return Err(too_large()),
        Ok(Err(_)) => return Err(invalid("the request ended early")),
        Err(_) => return Err(invalid("the request took too long")),
    };
    let facts = Facts::read(dialect, &body, &config.settings.fields).map_err(|unfit| {
        let code = match unfit {
            Unfit::Feature { .. } | Unfit::Field(_) => EgressRefusal::ModelNotNamed,
            _ => EgressRefusal::ProtocolInvalid,
        };
        Refusal::new(code, Answered::Invalid, &unfit.to_string())
    })?;
    if dialect == Dialect::Messages && endpoint != Endpoint::Count && facts.max_output.is_none() {
        return Err(invalid(&Unfit::Missing("max_tokens").to_string()));
    }
    Ok(Wanted {
        endpoint,
        dialect,
        betas: headers::betas(&head.headers, &config.settings.betas),
        beta_query: head.uri.query().is_some(),
        headers: headers::of_request(&head.headers),
        facts,
        body,
        _room: room,
    })
}

/// The whole body, unless it is larger than [`LARGEST_REQUEST`].
async fn collect(mut body: Body) -> Result<Option<Bytes>, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + bytes.len() > LARGEST_REQUEST {
            return Ok(None);
        }
        // Most requests are one piece, which is not copied.
        if first.is_empty() && rest.is_empty() {
            first = bytes;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&bytes);
        }
    }
    Ok(Some(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    }))
}

/// Where the model that is asked for can be called, by what names and prices.
fn aims(
    shared: &Shared,
    config: &GatewayConfig,
    models: &ModelPolicy,
    wanted: &Wanted,
) -> Result<Vec<Aim>, Refusal> {
    let name = wanted.facts.model.as_str();
    let refused = |code, more: &str| Err(Refusal::new(code, Answered::Forbidden, more));
    let stopped = ModelPolicy {
        models: shared
            .stopped_models
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
    };
    if stopped.permits(name) {
        return refused(EgressRefusal::Stopped, "this model is stopped");
    }
    if !models.permits(name) {
        return refused(
            EgressRefusal::ModelNotNamed,
            "the models of this environment do not name it; ask whoever owns the automation",
        );
    }
    let mut routes = config.settings.routes.iter();
    // An exact name goes before a beginning.
    let exact = routes.clone().find(|route| route.model == name);
    let Some(route) = exact.or_else(|| routes.find(|route| matches(&route.model, name))) else {
        return refused(
            EgressRefusal::ModelNotNamed,
            "no route of the gateway's configuration leads to this model",
        );
    };
    let (mut aims, mut unpriced) = (Vec::new(), false);
    for target in &route.to {
        let Some(upstream) = config.settings.upstreams.get(&target.upstream) else {
            continue;
        };
        let model = target.model.as_deref().unwrap_or(name);
        let prices = &config.prices;
        let Some(price) = prices.price(model).or_else(|| prices.price(name)) else {
            unpriced = true;
            continue;
        };
        let aim = Aim {
            name: target.upstream.clone(),
            price: price.scaled(upstream.price_percent),
            upstream: upstream.clone(),
            model: model.to_owned(),
        };
        let counts = wanted.endpoint != Endpoint::Count || aim.counts();
        if counts && upstream.speaks(wanted.dialect) {
            aims.push(aim);
        }
    }
    if !aims.is_empty() {
        return Ok(aims);
    }
    refused(
        EgressRefusal::ModelNotNamed,
        if unpriced {
            "it has no price: an operator gives it one, or says `free = true`, in the table of prices"
        } else {
            "no upstream of its route can be spoken to in this way"
        },
    )
}
