//! A call that holds a place in the budget, from the reservation to its settlement.
//!
//! Whatever happens to whoever asked, each call is settled once: with what the answer says it
//! used, with nothing where nothing can have been billed, otherwise with the most that it can have
//! cost.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body as http_body;
use model::budget::{Amount, Usage};
use model::egress::{EgressKind, EgressRefusal};
use tokio::time::Instant;

use super::Shared;
use super::connect::Used;
use super::eventstream::EventStream;
use super::job::Busy;
use super::limits::About;
use super::tape::Recording;
use crate::budget::{Reservation, Spender};
use crate::meter::price::{Most, Price};
use crate::meter::{Reader, Reading};
use crate::{Body, BodyError};

/// Longest time that the rest of an answer is read after its caller went away.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(300);

/// Longest time in which nothing of an answer moves, as its caller does not read or its server does
/// not write.
pub(super) const QUIET_TIME: Duration = Duration::from_secs(600);

/// What was tried last.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) upstream: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) price: Price,
    pub(super) most: Most,
    /// A server of one's own: what it does not say is counted from bytes.
    pub(super) local: bool,
    pub(super) started: Instant,
    pub(super) until: Instant,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing can have been billed.
    Free,
    /// It may have been billed, and nobody says how much.
    Worst,
    /// As its answer says; whether that came to its end.
    Read(bool),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) spender: Spender,
    pub(super) model: String,
    pub(super) worst: Amount,
    pub(super) sent: u64,
    /// Its place in the budget; none for what costs nothing, and while it waits.
    reservation: OnceLock<Reservation>,
    /// Tokens that the limits of the minute were asked for.
    estimate: AtomicU64,
    shared: Arc<Shared>,
    stopping: tokio::sync::Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    closed: bool,
    stopped: bool,
    tried: Option<Tried>,
    inner: Option<Body>,
    used: Option<Used>,
    reader: Option<Reader>,
    framed: Option<EventStream>,
    recording: Option<Recording>,
    received: u64,
    moved: Instant,
    waker: Option<Waker>,
    busy: Option<Busy>,
}

/// An answer on its way, as a call takes it.
pub(super) struct Flowing {
    pub(super) body: Body,
    pub(super) used: Option<Used>,
    pub(super) reader: Reader,
    pub(super) framed: bool,
    pub(super) recording: Option<Recording>,
}

/// What is known when a call begins.
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) spender: Spender,
    pub(super) model: String,
    pub(super) worst: Amount,
    pub(super) sent: u64,
    pub(super) busy: Busy,
}

impl Call {
    pub(super) fn open(shared: &Arc<Shared>, opened: Opened) -> Arc<Self> {
        let call = Arc::new(Self {
            number: opened.number,
            spender: opened.spender,
            model: opened.model,
            worst: opened.worst,
            sent: opened.sent,
            reservation: OnceLock::new(),
            estimate: AtomicU64::new(0),
            shared: Arc::clone(shared),
            stopping: tokio::sync::Notify::new(),
            state: Mutex::new(State {
                closed: false,
                stopped: false,
                tried: None,
                inner: None,
                used: None,
                reader: None,
                framed: None,
                recording: None,
                received: 0,
                moved: Instant::now(),
                waker: None,
                busy: Some(opened.busy),
            }),
        });
        shared.calls().insert(call.number, Arc::clone(&call));
        call
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It had its turn within the minute, with so many tokens.
    pub(super) fn had_turn(&self, estimate: u64) {
        self.estimate.store(estimate, Ordering::Relaxed);
    }

    /// It holds this place in the budget.
    pub(super) fn holds(&self, reservation: Reservation) {
        let _ = self.reservation.set(reservation);
    }

    /// A try begins.
    pub(super) fn tries(&self, tried: Tried) {
        let mut state = self.state();
        state.moved = Instant::now();
        state.tried = Some(tried);
    }

    /// Whether somebody stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Ready as soon as somebody stops it.
    pub(super) async fn stopped(&self) {
        let stopping = self.stopping.notified();
        if !self.is_stopped() {
            stopping.await;
        }
    }

    /// The answer begins to flow.
    pub(super) fn flow(self: &Arc<Self>, flowing: Flowing) -> Body {
        let mut state = self.state();
        if !state.stopped {
            state.inner = Some(flowing.body);
            state.used = flowing.used;
        }
        state.reader = Some(flowing.reader);
        state.framed = flowing.framed.then(EventStream::default);
        state.recording = flowing.recording;
        state.moved = Instant::now();
        drop(state);
        Answer(Arc::clone(self)).boxed_unsync()
    }

    /// Ends it, once.
    pub(super) fn close(&self, end: End) {
        let mut state = self.state();
        self.close_with(&mut state, end);
    }

    /// Cuts it off: nothing more is read from its server.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let flowing = state.inner.take().is_some();
        state.used = None;
        let waker = state.waker.take();
        if flowing {
            self.close_with(&mut state, End::Read(false));
        }
        drop(state);
        self.stopping.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Cuts it off when it lasts too long or nothing moves.
    pub(super) fn sweep(&self, now: Instant) {
        let late = {
            let state = self.state();
            let until = state.tried.as_ref().map(|tried| tried.until);
            state.inner.is_some()
                && (until.is_some_and(|until| now >= until) || now >= state.moved + QUIET_TIME)
        };
        if late {
            self.stop();
        }
    }

    fn close_with(&self, state: &mut State, end: End) {
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.inner = None;
        state.busy = None;
        self.shared.calls().remove(&self.number);
        let (spent, note) = self.spent(state, end);
        if let Some(recording) = state.recording.take()
            && end == End::Read(true)
        {
            recording.keep();
        }
        self.record(state, end, spent, note);
        self.correct(spent.tokens);
        self.settle(spent);
    }

    /// Tells the limits of the minute how many tokens it were.
    fn correct(&self, tokens: u64) {
        let config = self.shared.config();
        let limits = &config.settings.limits;
        let of_model = limits.models.get(&self.model).copied().unwrap_or_default();
        let environment = About::Environment(&self.spender.environment);
        let estimate = self.estimate.load(Ordering::Relaxed);
        for (about, rate) in [
            (environment, limits.environment),
            (About::Model(&self.model), of_model),
        ] {
            self.shared.gates.correct(about, rate, estimate, tokens);
        }
    }

    fn settle(&self, spent: Amount) {
        let Some(&reservation) = self.reservation.get() else {
            return;
        };
        // Without a runtime nobody can be told; what is reserved stays, which is the safe side.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (shared, spender) = (Arc::clone(&self.shared), self.spender.clone());
        runtime.spawn(async move {
            shared.budget.settle(&spender, reservation, spent).await;
        });
    }

    /// What it did cost, and a remark on how that is known.
    fn spent(&self, state: &State, end: End) -> (Amount, &'static str) {
        let Some(tried) = &state.tried else {
            return (Amount::default(), "");
        };
        if self.reservation.get().is_none() {
            return (Amount::default(), "");
        }
        let time = tried.started.elapsed();
        let (clean, reader) = match (end, &state.reader) {
            (End::Free, _) => return (Amount::default(), ""),
            (End::Worst, _) | (_, None) => return (self.worst, ", charged in full"),
            (End::Read(clean), Some(reader)) => (clean, reader),
        };
        let reading = reader.reading(clean);
        if reading.complete() {
            return (tried.price.cost(&reading, time), "");
        }
        if !reading.began && !reading.faulty {
            return (Amount::default(), "");
        }
        if tried.local {
            let counted = Reading {
                usage: Usage {
                    input: self.sent.div_ceil(4),
                    output: reader.bytes().div_ceil(4),
                    ..Usage::default()
                },
                ..Reading::default()
            };
            return (tried.price.cost(&counted, time), ", counted from bytes");
        }
        if reading.input_known && !reading.faulty {
            let usage = Usage {
                output: tried.most.output,
                ..reading.usage
            };
            let most = Reading { usage, ..reading };
            return (tried.price.cost(&most, time), ", output charged in full");
        }
        (self.worst, ", charged in full")
    }

    fn record(&self, state: &State, end: End, spent: Amount, note: &str) {
        let clean = matches!(end, End::Read(true));
        let usage = state
            .reader
            .as_ref()
            .map(|reader| reader.reading(clean).usage)
            .unwrap_or_default();
        let (upstream, host, port) = match &state.tried {
            Some(tried) => (tried.upstream.as_str(), tried.host.as_str(), tried.port),
            None => ("", "", 0),
        };
        let detail = format!(
            "{} at {upstream}: {} tokens read, {} from and {} to a cache, {} written, {}{note}",
            self.model, usage.input, usage.cache_read, usage.cache_write, usage.output, spent.money
        );
        let refused = match (end, state.stopped) {
            (_, true) => Some(EgressRefusal::Stopped),
            (End::Read(_), _) => None,
            (End::Free | End::Worst, _) => Some(EgressRefusal::Unreachable),
        };
        // What failed was told by whoever made it fail.
        if end == End::Free {
            return;
        }
        self.shared.record(
            &self.spender.environment,
            &super::Happened {
                kind: EgressKind::Model,
                refused,
                host,
                port,
                detail: &detail,
                sent: self.sent,
                received: state.received,
            },
        );
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.state();
        loop {
            let Some(inner) = &mut state.inner else {
                let stopped = state.stopped;
                return Poll::Ready(stopped.then(|| Err("this call was stopped".into())));
            };
            let frame = match Pin::new(inner).poll_frame(cx) {
                Poll::Pending => {
                    if !state
                        .waker
                        .as_ref()
                        .is_some_and(|waker| waker.will_wake(cx.waker()))
                    {
                        state.waker = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                Poll::Ready(frame) => frame,
            };
            match frame {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    match state.take(bytes) {
                        Ok(bytes) if bytes.is_empty() => {}
                        Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                        Err(error) => {
                            state.used = None;
                            self.close_with(&mut state, End::Read(false));
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                Some(Err(error)) => {
                    state.used = None;
                    self.close_with(&mut state, End::Read(false));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    if let Some(used) = state.used.take() {
                        self.shared.pool.put(used);
                    }
                    let whole = state.framed.as_ref().is_none_or(EventStream::is_whole);
                    self.close_with(&mut state, End::Read(whole));
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl State {
    /// Looks at bytes that go by.
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        self.moved = Instant::now();
        let bytes = match &mut self.framed {
            Some(framed) => framed.feed(&bytes)?,
            None => bytes,
        };
        if let Some(reader) = &mut self.reader {
            reader.feed(&bytes);
        }
        if let Some(recording) = &mut self.recording {
            recording.push(&bytes);
        }
        Ok(bytes)
    }
}

/// The body that the caller gets. Chunks pass as they come.
struct Answer(Arc<Call>);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.state();
        match (&state.inner, &state.framed) {
            (Some(inner), None) => http_body::Body::size_hint(inner),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Answer {
    /// Goes on reading without the caller, for the usage at the end.
    fn drop(&mut self) {
        let call = Arc::clone(&self.0);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(bytes) = call.poll(&mut cx) {
            if !matches!(bytes, Some(Ok(_))) {
                return;
            }
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            call.close(End::Read(false));
            return;
        };
        runtime.spawn(async move {
            let rest = std::future::poll_fn(|cx| {
                while let Poll::Ready(bytes) = call.poll(cx) {
                    if !matches!(bytes, Some(Ok(_))) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            });
            if tokio::time::timeout(DRAIN_TIME, rest).await.is_err() {
                call.stop();
            }
        });
    }
}

/// Settles a call in full when whoever carries it out is gone before it was settled otherwise.
pub(super) struct Sure(pub(super) Arc<Call>);

impl Drop for Sure {
    fn drop(&mut self) {
        let flowing = self.0.state().inner.is_some();
        if !flowing {
            self.0.close(End::Worst);
        }
    }
}
