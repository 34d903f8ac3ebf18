//! The socket of a connection, seen through: what is read and written tells how the connection is doing.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    super::{heads::Heads, streams::Streams, turns::Place},
    Pulse,
};

/// A socket whose reads and writes are noticed.
#[derive(Debug)]
pub struct Noticed<T: Socket> {
    inner: T,
    pulse: Arc<Pulse>,
    reads: Reads,
    place: Place,
}

/// What is read is followed, by what it is.
#[derive(Debug)]
pub(super) enum Reads {
    Heads(Heads),
    Streams(Streams),
}

/// A socket that can be looked at, and closed the hard way.
pub trait Socket {
    /// Ready when something has arrived that was not read.
    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// What the client has not taken is thrown away when the socket is closed.
    fn discard(&self);
}

impl Socket for TcpStream {
    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(|_| ())
    }

    fn discard(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Socket for Box<TlsStream<TcpStream>> {
    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_ref().0.poll_arrived(cx)
    }

    fn discard(&self) {
        self.get_ref().0.discard();
    }
}

impl<T: Socket> Drop for Noticed<T> {
    fn drop(&mut self) {
        // The kernel would go on for hours to hand an answer to a client that takes a few bytes at a time.
        if self.pulse.is_too_slow() {
            self.inner.discard();
        }
        // What was not written will not be. The answers hold the pulse, which holds them.
        let answers = std::mem::take(&mut *self.pulse.answers());
        for (record, _under_way) in answers {
            self.pulse.not_answered(record);
        }
    }
}

impl<T: Socket> Noticed<T> {
    /// Wraps a socket.
    #[must_use]
    pub fn new(inner: T, pulse: Arc<Pulse>) -> Self {
        let reads = if pulse.heads_are_bytes { Reads::Heads(Heads::default()) } else { Reads::Streams(Streams::default()) };
        Self { inner, pulse, reads, place: Place::default() }
    }

    fn wrote<R>(&self, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_pending() {
            self.pulse.blocked_since.set_if_never(self.pulse.born);
        } else {
            self.pulse.blocked_since.clear();
        }
        result
    }
}

impl<T: AsyncRead + Socket + Unpin> AsyncRead for Noticed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.pulse.is_between(&self.reads) && self.inner.poll_arrived(cx).is_ready() {
            let this = &mut *self;
            ready!(this.pulse.poll_turn(&mut this.place, cx));
        }
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            let this = &mut *self;
            this.pulse.read(read, &mut this.reads);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Socket + Unpin> AsyncWrite for Noticed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.pulse.written();
        }
        self.wrote(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.wrote(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
