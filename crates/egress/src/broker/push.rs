//! Pushes, held until all of their refs are known and judged.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{Request, Response};
use model::egress::{EgressKind, EgressRefusal};

use crate::broker::connection::Place;
use crate::broker::environment::{Environment, Happened};
use crate::broker::inflate::Inflate;
use crate::broker::refusal::{REFUSED_HEADER, Refusal, code_name};
use crate::git::{self, GitRequest, Push, PushReader};
use crate::policy::{Permit, RequestPath};
use crate::{Body, BodyError};

const REQUEST_TYPE: &[u8] = b"application/x-git-receive-pack-request";

/// Most of a refused push that is read away, and for how long, so that git reads the answer.
const MOST_READ_AWAY: usize = 8 * 1024 * 1024;
const READ_AWAY_TIME: Duration = Duration::from_secs(5);

/// A push that may go on, or the answer to one that may not.
pub(crate) enum Judged {
    /// It may, with these bytes.
    Permitted(Box<(Permit, Request<Body>)>),
    /// It may not; what is to be told was recorded.
    Refused(Response<Body>),
}

/// Reads the refs of a push and asks whether it may be made.
pub(crate) async fn judge(
    environment: &Arc<Environment>,
    place: &Place,
    request: Request<Body>,
    happened: &Happened,
) -> Result<Judged, Refusal> {
    let malformed = || Refusal::by(EgressRefusal::ProtocolInvalid, &happened.rule);
    let repository = repository(&request).ok_or_else(malformed)?;
    let (mut parts, body) = request.into_parts();
    if parts
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        != Some(REQUEST_TYPE)
    {
        return Err(malformed());
    }
    let mut body = match parts.headers.remove(header::CONTENT_ENCODING) {
        None => body,
        Some(coding) if coding == "gzip" || coding == "x-gzip" => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Body::new(Inflate::new(body, Arc::clone(environment)))
        }
        Some(_) => return Err(malformed()),
    };
    let (push, held) = read(&mut body).await.map_err(|error| {
        let mut happened = happened.clone();
        happened.detail = format!("{repository}: {error}");
        environment.refuse(&with_kind(&happened), &malformed());
        malformed()
    })?;
    let policy = environment.policy.load();
    let judged = policy.push(&place.host, place.port, &repository, &push.updates);
    record(
        environment,
        happened,
        &repository,
        &push,
        judged.as_ref().err().copied(),
    );
    match judged {
        Ok(permit) => {
            let body = Body::new(Held {
                first: Some(held.into()),
                rest: body,
            });
            let request = Request::from_parts(parts, body);
            Ok(Judged::Permitted(Box::new((permit, request))))
        }
        Err(code) => {
            read_away(&mut body).await;
            Ok(Judged::Refused(answer(
                &push,
                &Refusal::by(code, &happened.rule),
            )))
        }
    }
}

fn repository(request: &Request<Body>) -> Option<String> {
    let path = RequestPath::parse(request.uri().path()).ok()?;
    let query = request.uri().query().unwrap_or_default();
    match git::classify(request.method().as_str(), &path, query)? {
        GitRequest::Push { repository } => Some(repository),
        _ => None,
    }
}

/// Reads up to where the refs are known. The reader bounds how much that is.
async fn read(body: &mut Body) -> Result<(Push, Vec<u8>), String> {
    let mut reader = PushReader::default();
    loop {
        let Some(frame) = body.frame().await else {
            return reader.end().map_err(|error| error.to_string());
        };
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else {
            continue;
        };
        let known = reader
            .feed(&data)
            .map_err(|error| error.to_string())?
            .is_some();
        if known {
            return reader
                .known()
                .ok_or_else(|| String::from("its refs are not known"));
        }
    }
}

fn with_kind(happened: &Happened) -> Happened {
    Happened {
        kind: EgressKind::Push,
        ..happened.clone()
    }
}

/// Records each ref by itself: they are what a person looks for.
fn record(
    environment: &Environment,
    happened: &Happened,
    repository: &str,
    push: &Push,
    refused: Option<EgressRefusal>,
) {
    for update in &push.updates {
        let mut happened = with_kind(happened);
        happened.detail = format!("{repository} {}", update.name);
        environment.record(&happened, refused, (0, 0));
    }
}

/// Tells git so that it prints which refs were refused and why.
fn answer(push: &Push, refusal: &Refusal) -> Response<Body> {
    let reason = format!("{} ({})", refusal.code.sentence(), code_name(refusal.code));
    let Some(report) = git::refusal(push, &reason) else {
        return refusal.answer();
    };
    let mut answer = Response::new(Body::new(
        http_body_util::Full::from(report).map_err(|never| match never {}),
    ));
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(git::RESULT_TYPE),
    );
    if let Ok(code) = HeaderValue::from_str(&code_name(refusal.code)) {
        headers.insert(REFUSED_HEADER, code);
    }
    answer
}

async fn read_away(body: &mut Body) {
    let reading = async {
        let mut left = MOST_READ_AWAY;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(READ_AWAY_TIME, reading).await;
}

/// Bytes that were held, and what comes behind them.
struct Held {
    first: Option<Bytes>,
    rest: Body,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}
