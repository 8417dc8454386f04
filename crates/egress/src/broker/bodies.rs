//! Bodies on their way: counted, bounded, and their reason of ending kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use model::egress::EgressRefusal;

use crate::BodyError;
use crate::broker::environment::Environment;
use crate::broker::io::is_exhausted;
use crate::broker::tunnel::Tally;
use crate::credential::Finder;

/// A body ended since it may not go on.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.sentence())]
pub(crate) struct Refused(pub(crate) EgressRefusal);

/// The body of a request, on its way out.
pub(crate) struct Upload {
    pub(crate) inner: Incoming,
    pub(crate) environment: Arc<Environment>,
    pub(crate) tally: Arc<Tally>,
    /// The rule with the bytes that may be sent under it.
    pub(crate) bound: Option<(String, u64)>,
    /// Looks for placeholders, which no body is the place for.
    pub(crate) finder: Finder,
}

impl Upload {
    fn look(&mut self, data: &Bytes) -> Result<(), EgressRefusal> {
        if let Some((rule, bound)) = &self.bound {
            self.environment
                .volume
                .send_under(rule, *bound, data.len())
                .map_err(|_| EgressRefusal::VolumeExhausted)?;
        }
        if self.finder.feed(data) {
            return Err(EgressRefusal::CredentialMisplaced);
        }
        self.tally.sent(data.len());
        Ok(())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        // Trailers end here: nobody who is meant needs them, and they name what heads may not.
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_)) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        if let Err(refusal) = self.look(&data) {
            self.tally.ended_by(refusal);
            return Poll::Ready(Some(Err(Refused(refusal).into())));
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, on its way in.
pub(crate) struct Download {
    pub(crate) inner: Incoming,
    pub(crate) tally: Arc<Tally>,
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.tally.received(frame.data_ref().map_or(0, Bytes::len));
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                if is_exhausted(&error) {
                    self.tally.ended_by(EgressRefusal::VolumeExhausted);
                }
                Some(Err(error.into()))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
