//! Carrying a call out: one try after another, at one upstream after another, for as long as the
//! tries before cannot have cost anything. Only one try runs at a time, and the reservation is for
//! one: a try that may have been billed is the last.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use model::egress::EgressRefusal;
use tokio::time::Instant;

use super::call::{Call, End, Flowing, Tried};
use super::config::Kind;
use super::connect::{Failed, Used};
use super::endpoint::Endpoint;
use super::headers;
use super::job::{Asker, Job, gone};
use super::refuse::{Answered, Refusal, whole};
use super::tape::{self, Recording};
use super::target::{Aim, Prepared};
use crate::Body;
use crate::meter::{Dialect, Reader};

/// Most tries of one call.
const MOST_TRIES: u32 = 8;

/// The first wait between rounds over all upstreams, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Longest wait that an upstream may ask for and that is kept.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Longest time until an answer begins.
const FIRST_BYTE: Duration = Duration::from_secs(600);

/// Most bytes of an upstream's error that are passed on.
const LARGEST_ERROR: usize = 64 * 1024;

/// Longest time until an upstream's error is there.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// How one try ended.
enum Outcome {
    /// With an answer, or an error that another try would get too.
    Answer(Response<Body>),
    /// It cost nothing, and another may do better.
    Again(Refusal, Option<Duration>),
    /// It may have been billed.
    Lost(Refusal),
}

fn unreachable(kind: Answered, more: &str) -> Refusal {
    Refusal::new(EgressRefusal::Unreachable, kind, more)
}

fn stopped() -> Refusal {
    Refusal::new(EgressRefusal::Stopped, Answered::Forbidden, "")
}

/// Carries a call out.
pub(super) async fn carry_out(
    job: &Job,
    call: &Arc<Call>,
    asker: &Asker,
) -> Result<Response<Body>, Refusal> {
    if call.is_stopped() {
        call.close(End::Free);
        return Err(stopped());
    }
    if let Some(folder) = &job.config.settings.replay {
        return replay(job, call, folder).await;
    }
    let until = Instant::now() + job.config.retry_for;
    let (mut wait, mut tries) = (FIRST_WAIT, 0);
    let mut last = unreachable(Answered::Upstream, "no upstream is set up");
    loop {
        let mut asked: Option<Duration> = None;
        for aim in in_order(job) {
            if asker.is_closed() {
                call.close(End::Free);
                return Err(gone());
            }
            if call.is_stopped() {
                call.close(End::Free);
                return Err(stopped());
            }
            tries += 1;
            match one(job, call, aim).await {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::Lost(refusal) => {
                    call.close(End::Worst);
                    return Err(refusal);
                }
                Outcome::Again(refusal, after) => {
                    rest(job, aim, after.unwrap_or(wait));
                    last = refusal;
                    asked = asked.max(after);
                }
            }
            if tries >= MOST_TRIES {
                call.close(End::Free);
                return Err(last);
            }
        }
        // Nobody waits for a key that is missing.
        let hopeless = last.code == EgressRefusal::CredentialMissing || job.aims.is_empty();
        let pause = asked.unwrap_or(wait);
        if hopeless || Instant::now() + pause > until {
            call.close(End::Free);
            return Err(last);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = call.stopped() => {
                call.close(End::Free);
                return Err(stopped());
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The places to try, those that rest last.
fn in_order(job: &Job) -> Vec<&Aim> {
    let now = Instant::now();
    let resting = job.shared.resting.lock();
    let resting = resting.unwrap_or_else(PoisonError::into_inner);
    let mut aims: Vec<&Aim> = job.aims.iter().collect();
    aims.sort_by_key(|aim| resting.get(&aim.name).is_some_and(|until| *until > now));
    aims
}

fn rest(job: &Job, aim: &Aim, time: Duration) {
    let resting = job.shared.resting.lock();
    resting
        .unwrap_or_else(PoisonError::into_inner)
        .insert(aim.name.clone(), Instant::now() + time);
}

async fn one(job: &Job, call: &Arc<Call>, aim: &Aim) -> Outcome {
    let prepared = match aim.prepare(&job.shared, &job.config, &job.wanted).await {
        Ok(prepared) => prepared,
        Err(error) => {
            let refusal = Refusal::new(
                EgressRefusal::CredentialMissing,
                Answered::Forbidden,
                &error.to_string(),
            );
            return Outcome::Again(refusal, None);
        }
    };
    let Prepared {
        origin,
        request,
        key,
    } = prepared;
    let Ok(most) = job.wanted.facts.most(&aim.price, aim.upstream.time()) else {
        return Outcome::Again(
            unreachable(Answered::Upstream, "its cost has no bound"),
            None,
        );
    };
    let started = Instant::now();
    call.tries(Tried {
        upstream: aim.name.clone(),
        host: origin.host().to_owned(),
        port: origin.port(),
        price: aim.price,
        most,
        local: aim.upstream.kind == Kind::Local,
        started,
        until: started + aim.upstream.time(),
    });
    let patience = FIRST_BYTE.min(aim.upstream.time());
    let sent = tokio::select! {
        sent = job.shared.pool.send(&origin, request, patience) => sent,
        () = call.stopped() => return Outcome::Lost(stopped()),
    };
    let free = job.wanted.endpoint == Endpoint::Count;
    match sent {
        Ok((answer, used)) => judge(job, call, aim, answer, used, key.as_deref()).await,
        Err(Failed::Unsent(error)) => {
            tracing::warn!(upstream = aim.name, %error, "cannot connect");
            let refusal = unreachable(Answered::Upstream, &format!("upstream `{}`", aim.name));
            Outcome::Again(refusal, None)
        }
        Err(error) => {
            tracing::warn!(upstream = aim.name, %error, "a call was lost");
            let refusal = unreachable(
                Answered::Upstream,
                &format!("upstream `{}` broke off before it answered", aim.name),
            );
            if free {
                Outcome::Again(refusal, None)
            } else {
                Outcome::Lost(refusal)
            }
        }
    }
}

async fn judge(
    job: &Job,
    call: &Arc<Call>,
    aim: &Aim,
    answer: Response<Incoming>,
    used: Used,
    key: Option<&String>,
) -> Outcome {
    let status = answer.status();
    let after = retry_after(answer.headers());
    let name = &aim.name;
    match status.as_u16() {
        200..=299 => Outcome::Answer(flowing(job, call, aim, answer, used)),
        401 | 403 => Outcome::Again(
            Refusal::new(
                EgressRefusal::CredentialMissing,
                Answered::Forbidden,
                &format!("upstream `{name}` refuses the key that the gateway has for it"),
            ),
            None,
        ),
        429 => {
            let seconds = after.map_or(10, |after| after.as_secs().max(1));
            let more = format!("upstream `{name}` takes no more calls for now");
            Outcome::Again(
                Refusal::new(
                    EgressRefusal::VolumeExhausted,
                    Answered::Later(seconds),
                    &more,
                ),
                after,
            )
        }
        // Whoever stands before a server gave up, while the server may have gone on.
        408 | 504 | 524 if job.wanted.endpoint != Endpoint::Count => Outcome::Lost(unreachable(
            Answered::Upstream,
            &format!("upstream `{name}` said {status}"),
        )),
        500..=599 => Outcome::Again(
            unreachable(
                Answered::Upstream,
                &format!("upstream `{name}` said {status}"),
            ),
            after,
        ),
        _ => Outcome::Answer(error(job, call, aim, answer, used, key).await),
    }
}

/// Seconds that an upstream asks to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = Duration::from_secs(seconds.trim().parse().ok()?);
    Some(seconds.min(LONGEST_ASKED))
}

fn reader(dialect: Dialect, headers: &HeaderMap, framed: bool) -> Reader {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if framed || kind.starts_with("text/event-stream") {
        Reader::events(dialect)
    } else {
        Reader::whole(dialect)
    }
}

fn flowing(
    job: &Job,
    call: &Arc<Call>,
    aim: &Aim,
    answer: Response<Incoming>,
    used: Used,
) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let framed = aim.is_framed(&job.wanted);
    let mut passed = headers::of_answer(&head.headers);
    if framed {
        let events = header::HeaderValue::from_static("text/event-stream; charset=utf-8");
        passed.insert(header::CONTENT_TYPE, events);
    }
    let settings = &job.config.settings;
    let recording = settings.record.as_ref().map(|folder| {
        let mut recording = Recording::new(
            folder,
            job.path(),
            &job.wanted.facts.model,
            &job.wanted.body,
            settings.keep_prompts,
        );
        recording.head(head.status, &passed);
        recording
    });
    let body = call.flow(Flowing {
        body: body.map_err(Into::into).boxed_unsync(),
        used: Some(used),
        reader: reader(job.wanted.dialect, &passed, framed),
        framed,
        recording,
    });
    let mut answer = Response::new(body);
    *answer.status_mut() = head.status;
    *answer.headers_mut() = passed;
    answer
}

/// What an upstream says about a request that it does not carry out, without the key, should it
/// say that.
async fn error(
    job: &Job,
    call: &Arc<Call>,
    aim: &Aim,
    answer: Response<Incoming>,
    used: Used,
    key: Option<&String>,
) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LARGEST_ERROR).collect();
    let body = tokio::time::timeout(ERROR_TIME, body).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
    if body.is_some() {
        job.shared.pool.put(used);
    }
    call.close(End::Free);
    let told = body.filter(|body| !key.is_some_and(|key| contains(body, key)));
    let failed = told.is_none() || head.status.is_redirection();
    let told = told.unwrap_or_default();
    if failed {
        let more = format!("upstream `{}` said {}", aim.name, head.status);
        return unreachable(Answered::Invalid, &more).answer(job.wanted.dialect);
    }
    let mut answer = Response::new(whole(told));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers::of_answer(&head.headers);
    answer
}

fn contains(body: &Bytes, key: &str) -> bool {
    // A key is told by any long part of it, as vendors cut what they show.
    let part = key.as_bytes().get(..key.len().min(12)).unwrap_or_default();
    part.len() >= 8 && body.windows(part.len()).any(|window| window == part)
}

async fn replay(
    job: &Job,
    call: &Arc<Call>,
    folder: &std::path::Path,
) -> Result<Response<Body>, Refusal> {
    let timing = job.config.settings.replay_timing;
    let kept = tape::replay(folder, job.path(), &job.wanted.body, timing).await;
    let aim = job.aims.first();
    let (Some(kept), Some(aim)) = (kept, aim) else {
        call.close(End::Free);
        return Err(unreachable(
            Answered::Invalid,
            "the folder that is replayed has no answer to this request",
        ));
    };
    if let Ok(most) = job.wanted.facts.most(&aim.price, aim.upstream.time()) {
        let started = Instant::now();
        call.tries(Tried {
            upstream: "replay".to_owned(),
            host: String::new(),
            port: 0,
            price: aim.price,
            most,
            local: false,
            started,
            until: started + aim.upstream.time(),
        });
    }
    let reader = reader(job.wanted.dialect, &kept.headers, false);
    let body = call.flow(Flowing {
        body: kept.body,
        used: None,
        reader,
        framed: false,
        recording: None,
    });
    let mut answer = Response::new(body);
    *answer.status_mut() = match kept.status {
        status if status.is_success() => status,
        _ => StatusCode::OK,
    };
    *answer.headers_mut() = kept.headers;
    Ok(answer)
}

impl Job {
    /// The path that was asked for.
    fn path(&self) -> &'static str {
        match (self.wanted.endpoint, self.wanted.dialect) {
            (Endpoint::Count, _) => "/v1/messages/count_tokens",
            (_, Dialect::Messages) => "/v1/messages",
            (_, Dialect::Responses) => "/v1/responses",
            (_, Dialect::Chat) => "/v1/chat/completions",
        }
    }
}
