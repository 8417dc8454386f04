//! Bodies that are compressed, made plain as they come: a little at a time, however much it becomes.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use hyper::body::{Body as HttpBody, Frame};

use crate::broker::environment::Environment;
use crate::{Body, BodyError};

/// Compressed bytes that are looked at together. They become a thousand times as many at most.
const PIECE: usize = 1024;

/// A body without its compression. What it grows by is counted as if it had come.
pub(crate) struct Inflate {
    inner: Body,
    environment: Arc<Environment>,
    waiting: Bytes,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
}

impl Inflate {
    pub(crate) fn new(inner: Body, environment: Arc<Environment>) -> Self {
        Self {
            inner,
            environment,
            waiting: Bytes::new(),
            decoder: Some(MultiGzDecoder::new(Vec::new())),
        }
    }

    /// What the next piece becomes.
    fn piece(&mut self) -> Result<Bytes, BodyError> {
        let piece = self.waiting.split_to(self.waiting.len().min(PIECE));
        let Some(decoder) = &mut self.decoder else {
            return Err("bytes behind the end of what was compressed".into());
        };
        decoder.write_all(&piece)?;
        let plain = std::mem::take(decoder.get_mut());
        let grown = plain.len().saturating_sub(piece.len());
        self.environment.volume.receive(grown)?;
        Ok(plain.into())
    }

    /// What is left once all has come; compressed bytes that are cut off are an error.
    fn end(&mut self) -> Result<Bytes, BodyError> {
        match self.decoder.take() {
            Some(decoder) => Ok(decoder.finish()?.into()),
            None => Ok(Bytes::new()),
        }
    }
}

impl HttpBody for Inflate {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if !self.waiting.is_empty() {
                match self.piece() {
                    Ok(plain) if plain.is_empty() => continue,
                    plain => return Poll::Ready(Some(plain.map(Frame::data))),
                }
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    return Poll::Ready(match self.end() {
                        Ok(plain) if plain.is_empty() => None,
                        plain => Some(plain.map(Frame::data)),
                    });
                }
            }
        }
    }
}
