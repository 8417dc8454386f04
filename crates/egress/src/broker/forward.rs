//! One permitted request, carried out; and everything that is asked before it is.

use std::sync::Arc;

use http::uri::{PathAndQuery, Scheme as UriScheme, Uri};
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::{Request, Response};
use model::egress::{EgressKind, EgressRefusal};
use model::network::NetworkProtocol;

use crate::Body;
use crate::broker::bodies::{Download, Upload, mask_headers};
use crate::broker::connection::Place;
use crate::broker::environment::{Environment, Happened};
use crate::broker::headers;
use crate::broker::inflate::Inflate;
use crate::broker::io::is_exhausted;
use crate::broker::judge::{Scheme, within_bounds};
use crate::broker::pool::{self, Key};
use crate::broker::push::{self, Judged};
use crate::broker::refusal::Refusal;
use crate::broker::tunnel::Tally;
use crate::budget::Spender;
use crate::credential::{Finder, Placed};
use crate::mask::{Mask, Masker};
use crate::name::Authority;
use crate::policy::{Permit, RequestFacts};

/// Judges a request and carries it out.
pub(crate) async fn request(
    environment: &Arc<Environment>,
    place: &Place,
    scheme: Scheme,
    request: Request<Incoming>,
    happened: &mut Happened,
) -> Result<Response<Body>, Refusal> {
    let connection = environment.permit(&place.host, place.port)?;
    if !environment.volume.request() {
        return Err(Refusal::by(
            EgressRefusal::VolumeExhausted,
            &connection.rule,
        ));
    }
    if environment.is_gateway(&place.host) {
        return Ok(model(environment, request).await);
    }
    let permit = permit(environment, place, scheme, &request)?;
    happened.rule.clone_from(&permit.rule);
    if headers::wants_upgrade(request.headers()) {
        return Err(Refusal::by(EgressRefusal::ProtocolInvalid, &permit.rule));
    }
    let body = |body| Body::new(http_body_util::BodyExt::map_err(body, Into::into));
    let request: Request<Body> = request.map(body);
    if permit.push {
        return match push::judge(environment, place, request, happened).await? {
            Judged::Permitted(permitted) => {
                let (permit, request) = *permitted;
                send(environment, place, scheme, request, &permit, happened).await
            }
            Judged::Refused(answer) => Ok(answer),
        };
    }
    send(environment, place, scheme, request, &permit, happened).await
}

fn permit<B>(
    environment: &Environment,
    place: &Place,
    scheme: Scheme,
    request: &Request<B>,
) -> Result<Permit, Refusal> {
    let facts = RequestFacts {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        // Which program connects cannot be told from here.
        program: None,
    };
    let policy = environment.policy.load();
    let permit = policy.request(&place.host, place.port, &facts)?;
    let spoken = match scheme {
        Scheme::Https => NetworkProtocol::Https,
        Scheme::Http => NetworkProtocol::Http,
    };
    // Through the explicit proxy, HTTP could be asked of a port on which a rule wants TLS.
    if permit.protocol != spoken {
        return Err(Refusal::by(EgressRefusal::ProtocolInvalid, &permit.rule));
    }
    Ok(permit)
}

async fn model(environment: &Arc<Environment>, request: Request<Incoming>) -> Response<Body> {
    let Some((models, account)) = &environment.model else {
        return Refusal::from(EgressRefusal::HostNotNamed).answer();
    };
    let spender = Spender {
        environment: environment.id.clone(),
        account: account.clone(),
    };
    let (mut parts, body) = request.into_parts();
    headers::clean_request(&mut parts.headers);
    let body = Body::new(http_body_util::BodyExt::map_err(body, Into::into));
    let request = Request::from_parts(parts, body);
    environment
        .shared
        .gateway
        .handle(&spender, models, request)
        .await
}

/// Who is asked, and under which path: the host itself, or the operator's mirror of it.
fn meant(
    place: &Place,
    scheme: Scheme,
    permit: &Permit,
    target: PathAndQuery,
) -> Result<(Key, PathAndQuery), EgressRefusal> {
    let meant = (place.host.clone(), place.port);
    let Some(mirror) = &permit.mirror else {
        let key = Key {
            host: meant.0.clone(),
            port: meant.1,
            meant,
            secure: scheme == Scheme::Https,
            private: permit.private,
        };
        return Ok((key, target));
    };
    let key = Key {
        meant,
        host: mirror.host.clone(),
        port: mirror.port,
        secure: mirror.protocol == NetworkProtocol::Https,
        // An operator named it.
        private: true,
    };
    let target = mirror.path(target.as_str()).parse();
    Ok((key, target.map_err(|_| EgressRefusal::ProtocolInvalid)?))
}

async fn send(
    environment: &Arc<Environment>,
    place: &Place,
    scheme: Scheme,
    request: Request<Body>,
    permit: &Permit,
    happened: &mut Happened,
) -> Result<Response<Body>, Refusal> {
    let (mut parts, body) = request.into_parts();
    headers::clean_request(&mut parts.headers);
    let refuse = |code| Refusal::by(code, &permit.rule);
    let target = parts.uri.path_and_query().cloned();
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (path, query) = (target.path(), target.query().unwrap_or_default());
    // A mirror is not the host that the credential is bound to.
    let used = permit
        .credential
        .as_ref()
        .filter(|_| permit.mirror.is_none());
    let placed = environment
        .credentials
        .place(used, path, query, &mut parts.headers)
        .map_err(refuse)?;
    let mask = environment.mask.load_full();
    if !mask.is_empty() {
        // What is compressed, or asked for in pieces, could not be looked through.
        let plain = HeaderValue::from_static("identity");
        parts.headers.insert(header::ACCEPT_ENCODING, plain);
    }
    if placed.is_some() {
        parts.headers.remove(header::RANGE);
        parts.headers.remove(header::IF_RANGE);
    }
    if let Some(placed) = &placed {
        used_credential(environment, placed, happened);
    }
    let (key, target) = meant(place, scheme, permit, target).map_err(refuse)?;

    let mut connection = match environment.pool.take(&key) {
        Some(connection) => connection,
        None => pool::connect(environment, &key).await.map_err(refuse)?,
    };
    happened.address = connection.address;
    let tally = Tally::new(environment, happened.clone());
    let upload = Upload {
        inner: body,
        environment: Arc::clone(environment),
        tally: Arc::clone(&tally),
        bound: permit.send.map(|bound| (permit.rule.clone(), bound)),
        finder: Finder::default(),
    };
    let mut request = Request::from_parts(parts, Body::new(upload));
    let answer = loop {
        let used = connection.used;
        address(&mut request, &key, &target, connection.is_second()).map_err(refuse)?;
        match connection.send(environment, &key, request).await {
            Ok(answer) => break answer,
            Err(unsent) => {
                // A connection that waited may have ended meanwhile; nothing of the request left.
                if let Some(unsent) = unsent.request
                    && used
                {
                    request = unsent;
                    connection = pool::connect(environment, &key).await.map_err(refuse)?;
                    continue;
                }
                let code = if is_exhausted(&unsent.error) {
                    EgressRefusal::VolumeExhausted
                } else {
                    reason(&unsent.error)
                };
                tally.ended_by(code);
                return Ok(refuse(code).answer());
            }
        }
    };
    Ok(received(answer, environment, mask, &tally, &refuse))
}

/// Every use of a credential is recorded by itself.
fn used_credential(environment: &Environment, placed: &Placed, happened: &Happened) {
    let happened = Happened {
        kind: EgressKind::Credential,
        detail: placed.secret.clone(),
        address: None,
        ..happened.clone()
    };
    environment.record(&happened, None, (0, 0));
}

/// Why the outside did not answer; a body that was refused on its way says so itself.
fn reason(error: &(dyn std::error::Error + 'static)) -> EgressRefusal {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(refused) = error.downcast_ref::<crate::broker::bodies::Refused>() {
            return refused.0;
        }
        current = error.source();
    }
    EgressRefusal::Unreachable
}

/// Writes into the request whom it goes to, in the way of its version.
fn address(
    request: &mut Request<Body>,
    key: &Key,
    target: &PathAndQuery,
    second: bool,
) -> Result<(), EgressRefusal> {
    let scheme = if key.secure {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let authority = Authority {
        host: key.host.clone(),
        port: (key.port != scheme.port()).then_some(key.port),
    };
    let text = authority.to_string();
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target.clone());
    if second {
        parts.scheme = Some(if key.secure {
            UriScheme::HTTPS
        } else {
            UriScheme::HTTP
        });
        parts.authority = Some(text.parse().map_err(|_| EgressRefusal::NameInvalid)?);
        request.headers_mut().remove(header::HOST);
        *request.version_mut() = Version::HTTP_2;
    } else {
        let host = HeaderValue::from_str(&text).map_err(|_| EgressRefusal::NameInvalid)?;
        request.headers_mut().insert(header::HOST, host);
        *request.version_mut() = Version::HTTP_11;
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| EgressRefusal::ProtocolInvalid)?;
    Ok(())
}

fn received(
    answer: Response<Incoming>,
    environment: &Arc<Environment>,
    mask: Arc<Mask>,
    tally: &Arc<Tally>,
    refuse: &impl Fn(EgressRefusal) -> Refusal,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // Nothing asked to leave HTTP, so nothing may.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS || !within_bounds(&parts.headers) {
        tally.ended_by(EgressRefusal::ProtocolInvalid);
        return refuse(EgressRefusal::Unreachable).answer();
    }
    headers::clean_answer(&mut parts.headers);
    parts.version = Version::HTTP_11;
    // The reason of a status is among them; the broker writes its own.
    parts.extensions.clear();
    let mut inner = Body::new(http_body_util::BodyExt::map_err(body, Into::into));
    if !mask.is_empty() {
        mask_headers(&mask, &mut parts.headers);
        let codings = parts
            .headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .count();
        match parts.headers.remove(header::CONTENT_ENCODING) {
            None => {}
            // Of several, one alone would be undone.
            Some(_) if codings > 1 => {
                tally.ended_by(EgressRefusal::ProtocolInvalid);
                return refuse(EgressRefusal::Unreachable).answer();
            }
            Some(coding) if coding == "identity" => {}
            Some(coding) if coding == "gzip" || coding == "x-gzip" => {
                inner = Body::new(Inflate::new(inner, Arc::clone(environment)));
            }
            // Whatever is in it, it cannot be looked through, and nobody asked for it.
            Some(_) => {
                tally.ended_by(EgressRefusal::ProtocolInvalid);
                return refuse(EgressRefusal::Unreachable).answer();
            }
        }
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let download = Download {
        inner,
        tally: Arc::clone(tally),
        masker: (!mask.is_empty()).then(|| Masker::new(&mask)),
        mask,
        trailers: None,
    };
    Response::from_parts(parts, Body::new(download))
}
