//! Streams with something done on the way: bytes put back, counted, or watched for silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::broker::environment::Environment;
use crate::broker::strict::Scanner;
use crate::broker::volume::Exhausted;

/// Bytes that are looked at together.
const PART: usize = 16 * 1024;

/// What the broker reads and writes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A stream of which some bytes were read already.
pub(crate) struct Prefixed<S> {
    prefix: Vec<u8>,
    read: usize,
    inner: S,
}

impl<S> Prefixed<S> {
    pub(crate) const fn new(prefix: Vec<u8>, inner: S) -> Self {
        Self {
            prefix,
            read: 0,
            inner,
        }
    }
}

impl<S: Stream> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.prefix[self.read..];
        if rest.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.read += count;
        if self.read == self.prefix.len() {
            self.prefix = Vec::new();
            self.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

/// Hands writing on unchanged.
macro_rules! writes_through {
    ($kind:ident) => {
        impl<S: Stream> AsyncWrite for $kind<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
                self.progressed();
                Poll::Ready(written)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                parts: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, parts));
                self.progressed();
                Poll::Ready(written)
            }

            fn is_write_vectored(&self) -> bool {
                self.inner.is_write_vectored()
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_flush(context)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_shutdown(context)
            }
        }
    };
}

impl<S> Prefixed<S> {
    #[expect(
        clippy::unused_self,
        reason = "the macro asks all kinds of streams the same"
    )]
    const fn progressed(&self) {}
}

writes_through!(Prefixed);
writes_through!(Watched);
writes_through!(Exact);

/// When bytes last moved.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Activity {
    pub(crate) fn now() -> Self {
        Self {
            began: Instant::now(),
            last_ms: Arc::default(),
        }
    }

    pub(crate) fn note(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    /// Waits until nothing moved for so long.
    pub(crate) async fn silence(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let end = self.began + last + idle;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// A stream that notes when bytes moved.
pub(crate) struct Watched<S> {
    inner: S,
    activity: Activity,
}

impl<S> Watched<S> {
    pub(crate) const fn new(inner: S, activity: Activity) -> Self {
        Self { inner, activity }
    }

    fn progressed(&self) {
        self.activity.note();
    }
}

impl<S: Stream> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        self.activity.note();
        Poll::Ready(result)
    }
}

/// A stream of the first version of HTTP, of which only exact requests are read.
pub(crate) struct Exact<S> {
    inner: S,
    scanner: Scanner,
    passed: Vec<u8>,
    read: usize,
}

impl<S> Exact<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            scanner: Scanner::default(),
            passed: Vec::new(),
            read: 0,
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "the macro asks all kinds of streams the same"
    )]
    const fn progressed(&self) {}
}

impl<S: Stream> AsyncRead for Exact<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let waiting = &this.passed[this.read..];
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.remaining());
                buffer.put_slice(&waiting[..count]);
                this.read += count;
                return Poll::Ready(Ok(()));
            }
            if this.scanner.is_raw() {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            this.passed.clear();
            this.read = 0;
            let mut space = [std::mem::MaybeUninit::uninit(); PART];
            let mut part = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.scanner
                .feed(part.filled(), &mut this.passed)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

/// A connection to the outside: every byte is counted against the environment's bounds before it
/// leaves, and as it comes.
pub(crate) struct Counted<S> {
    inner: S,
    environment: Arc<Environment>,
}

impl<S> Counted<S> {
    pub(crate) const fn new(inner: S, environment: Arc<Environment>) -> Self {
        Self { inner, environment }
    }
}

impl<S: Stream> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        Poll::Ready(self.environment.volume.receive(count).map_err(exhausted))
    }
}

impl<S: Stream> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self
            .environment
            .volume
            .send(bytes.len())
            .map_err(exhausted)?;
        let written = Pin::new(&mut self.inner).poll_write(context, &bytes[..taken]);
        let left = match &written {
            Poll::Ready(Ok(count)) => taken - count,
            _ => taken,
        };
        self.environment.volume.unsend(left);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

fn exhausted(error: Exhausted) -> io::Error {
    io::Error::other(error)
}

/// Whether an error came from a bound of bytes, somewhere in its chain.
pub(crate) fn is_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if error.is::<Exhausted>() {
            return true;
        }
        // An error of I/O hides what it wraps from its own chain.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        current = inner.or_else(|| error.source());
    }
    false
}
