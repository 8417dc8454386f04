//! Bytes carried both ways, unread but counted.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use model::egress::EgressRefusal;

use crate::broker::environment::{Environment, Happened};
use crate::broker::io::{Activity, Stream, is_exhausted};
use crate::policy::Permit;

/// Bytes that wait in one direction.
const BUFFER: usize = 64 * 1024;

/// Counts what one carried thing moved, and records it once when it is over.
pub(crate) struct Tally {
    environment: Arc<Environment>,
    happened: Happened,
    sent: std::sync::atomic::AtomicU64,
    received: std::sync::atomic::AtomicU64,
    ended: std::sync::Mutex<Option<EgressRefusal>>,
}

impl Tally {
    pub(crate) fn new(environment: &Arc<Environment>, happened: Happened) -> Arc<Self> {
        Arc::new(Self {
            environment: Arc::clone(environment),
            happened,
            sent: 0.into(),
            received: 0.into(),
            ended: std::sync::Mutex::default(),
        })
    }

    pub(crate) fn sent(&self, count: usize) {
        self.sent
            .fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn received(&self, count: usize) {
        self.received
            .fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
    }

    /// Says why it did not come to its end. The first reason stays.
    pub(crate) fn ended_by(&self, refusal: EgressRefusal) {
        let mut ended = self
            .ended
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ended.get_or_insert(refusal);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let ended = *self
            .ended
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let moved = (*self.sent.get_mut(), *self.received.get_mut());
        self.environment.record(&self.happened, ended, moved);
    }
}

/// Carries until both sides ended, either is silent for too long, or a bound is reached.
pub(crate) async fn carry<I: Stream, O: Stream>(
    inside: I,
    outside: O,
    permit: &Permit,
    tally: &Arc<Tally>,
) {
    let idle = tally.environment.volume.limits().idle();
    let activity = Activity::now();
    let (inside_read, inside_write) = tokio::io::split(inside);
    let (outside_read, outside_write) = tokio::io::split(outside);
    let bound = permit.send.map(|bound| (permit.rule.as_str(), bound));
    let both = async {
        tokio::join!(
            one_way(inside_read, outside_write, &activity, |count| {
                if let Some((rule, bound)) = bound {
                    tally.environment.volume.send_under(rule, bound, count)?;
                }
                tally.sent(count);
                Ok(())
            }),
            one_way(outside_read, inside_write, &activity, |count| {
                tally.received(count);
                Ok(())
            })
        )
    };
    tokio::select! {
        (up, down) = both => {
            let ended = [up, down].into_iter().filter_map(Result::err);
            if ended.into_iter().any(|error| is_exhausted(&error)) {
                tally.ended_by(EgressRefusal::VolumeExhausted);
            }
        }
        () = activity.silence(idle) => {}
    }
}

async fn one_way<R: Stream, W: Stream>(
    mut from: ReadHalf<R>,
    mut to: WriteHalf<W>,
    activity: &Activity,
    count: impl Fn(usize) -> Result<(), crate::broker::volume::Exhausted>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let result = loop {
        match from.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(read) => {
                activity.note();
                if let Err(error) = count(read) {
                    break Err(std::io::Error::other(error));
                }
                if let Err(error) = to.write_all(&buffer[..read]).await {
                    break Err(error);
                }
                activity.note();
            }
            Err(error) => break Err(error),
        }
    };
    // Half of a connection may end before the other.
    let _ = to.shutdown().await;
    result
}
