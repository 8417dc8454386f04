//! Bodies on their way: counted, bounded, and their reason of ending kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use model::egress::EgressRefusal;

use crate::broker::environment::Environment;
use crate::broker::io::is_exhausted;
use crate::broker::tunnel::Tally;
use crate::credential::Finder;
use crate::mask::{Mask, Masker, STARS};
use crate::{Body, BodyError};

/// A body ended since it may not go on.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.sentence())]
pub(crate) struct Refused(pub(crate) EgressRefusal);

/// The body of a request, on its way out.
pub(crate) struct Upload {
    pub(crate) inner: Body,
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

impl HttpBody for Upload {
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
            Err(error) => return Poll::Ready(Some(Err(error))),
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
    pub(crate) inner: Body,
    pub(crate) tally: Arc<Tally>,
    /// Takes secrets out; none where there are none.
    pub(crate) masker: Option<Masker>,
    pub(crate) mask: Arc<Mask>,
    /// They wait for what was held back, which comes before them.
    pub(crate) trailers: Option<Frame<Bytes>>,
}

impl Download {
    fn passed(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(masker) = &mut self.masker else {
            return frame;
        };
        match frame.into_data() {
            Ok(data) => Frame::data(masker.chunk(&data)),
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                mask_headers(&self.mask, &mut trailers);
                let trailers = Frame::trailers(trailers);
                match self.last() {
                    Some(rest) => {
                        self.trailers = Some(trailers);
                        rest
                    }
                    None => trailers,
                }
            }
        }
    }

    /// What was held back until nothing more could come of it.
    fn last(&mut self) -> Option<Frame<Bytes>> {
        let mut masker = self.masker.take()?;
        let mut rest = Vec::new();
        masker.finish(&mut rest);
        (!rest.is_empty()).then(|| Frame::data(rest.into()))
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
            return Poll::Ready(match frame {
                Some(Ok(frame)) => {
                    self.tally.received(frame.data_ref().map_or(0, Bytes::len));
                    let frame = self.passed(frame);
                    if frame.data_ref().is_some_and(Bytes::is_empty) {
                        continue;
                    }
                    Some(Ok(frame))
                }
                Some(Err(error)) => {
                    if is_exhausted(&*error) {
                        self.tally.ended_by(EgressRefusal::VolumeExhausted);
                    }
                    Some(Err(error))
                }
                None => self.last().map(Ok),
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.masker.is_none() && self.trailers.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.masker.is_some() {
            return SizeHint::default();
        }
        self.inner.size_hint()
    }
}

/// Takes secrets out of headers, in names as in values.
pub(crate) fn mask_headers(mask: &Mask, headers: &mut HeaderMap) {
    if mask.is_empty() {
        return;
    }
    let names: Vec<_> = headers.keys().cloned().collect();
    for name in names
        .into_iter()
        .filter(|name| mask.finds(name.as_str().as_bytes()))
    {
        headers.remove(name);
    }
    for value in headers
        .values_mut()
        .filter(|value| mask.finds(value.as_bytes()))
    {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let masked = mask.text(&text);
        *value = HeaderValue::from_str(&masked).unwrap_or(HeaderValue::from_static(STARS));
    }
}
