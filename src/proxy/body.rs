//! The bodies that protover sends: to a server, and back to a device.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use tokio::time::Sleep;

use super::gather::Gone;
use crate::{
    decisions::Open,
    policy::reason::Reason,
    server::pulse::{Pulse, UnderWay},
    upstream,
};

/// What goes to a server.
#[derive(Debug)]
pub enum Sent {
    /// A message, whole.
    Whole(Option<Bytes>),
    /// Anything else, as it comes.
    Through(Through),
}

impl Sent {
    /// A whole body.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

/// A device's body that is passed through: counted, limited, and watched by its connection, which
/// ends when nothing comes for too long.
#[derive(Debug)]
pub struct Through {
    body: Incoming,
    left: usize,
    pulse: Arc<Pulse>,
}

impl Through {
    /// Passes on at most `limit` bytes.
    #[must_use]
    pub fn new(body: Incoming, limit: usize, under_way: &UnderWay) -> Self {
        Self { body, left: limit, pulse: under_way.pulse().clone() }
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        self.pulse.awaiting_body(false);
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Gone;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Gone>>> {
        let through = match self.get_mut() {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Through(through) => through,
        };
        let frame = Pin::new(&mut through.body).poll_frame(cx);
        through.pulse.awaiting_body(frame.is_pending());
        frame.map(|frame| {
            // The watchdog ends the connection of one that is too slow: then all that is seen here is the end.
            let gone = |error| if through.pulse.is_too_slow() { Gone::TooSlow } else { Gone::of(&error) };
            let frame = frame?.map_err(gone);
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                match through.left.checked_sub(data.len()) {
                    Some(left) => through.left = left,
                    None => return Some(Err(Gone::TooLarge)),
                }
            }
            Some(frame)
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Through(through) => through.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Through(through) => through.body.size_hint(),
        }
    }
}

/// What goes back to a device. It carries the decision record, which is written when the last byte
/// has been handed over, or when the device goes away before that.
#[derive(Debug)]
pub struct Answer {
    content: Content,
    record: Option<(Open, UnderWay)>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Through {
        body: upstream::Incoming,
        /// How long a server may be silent in the middle of an answer, and the timer while it is.
        stall: Duration,
        silent: Option<Pin<Box<Sleep>>>,
        /// Why it broke off. That is kept back for once, so that what came before can be written.
        error: Option<hyper::Error>,
    },
}

impl Answer {
    /// A whole body, recorded.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole((!bytes.is_empty()).then_some(bytes)), record: None }
    }

    /// A server's body, as it comes, with at most `stall` between its parts.
    #[must_use]
    pub const fn through(body: upstream::Incoming, stall: Duration) -> Self {
        Self { content: Content::Through { body, stall, silent: None, error: None }, record: None }
    }

    /// Gives the record to the body.
    #[must_use]
    pub fn recorded(mut self, record: Open, under_way: UnderWay) -> Self {
        under_way.pulse().owes();
        self.record = Some((record, under_way));
        // Nothing to hand over: hyper may never ask for it.
        if self.is_end_stream() {
            self.finish();
        }
        self
    }

    fn finish(&mut self) {
        if let Some((record, under_way)) = self.record.take() {
            let pulse = Arc::clone(under_way.pulse());
            pulse.owes_no_more();
            pulse.answered(record, under_way);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some((record, under_way)) = self.record.take() else { return };
        under_way.pulse().owes_no_more();
        match self.content {
            Content::Through { error: Some(_), .. } => record.fail(Reason::UpstreamBroke),
            _ => under_way.pulse().not_answered(record),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let (frame, broken) = match &mut this.content {
            Content::Whole(bytes) => (Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))), Reason::UpstreamBroke),
            Content::Through { error, .. } if error.is_some() => {
                (Poll::Ready(error.take().map(|error| Err(io::Error::other(error)))), Reason::UpstreamBroke)
            }
            Content::Through { body, stall, silent, error } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Err(why))) => {
                    *error = Some(why);
                    cx.waker().wake_by_ref();
                    (Poll::Pending, Reason::UpstreamBroke)
                }
                Poll::Pending => {
                    let silent = silent.get_or_insert_with(|| Box::pin(tokio::time::sleep(*stall)));
                    let late = silent.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())));
                    (late, Reason::UpstreamTooSlow)
                }
                frame @ Poll::Ready(_) => {
                    *silent = None;
                    (frame.map_err(io::Error::other), Reason::UpstreamBroke)
                }
            },
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some((record, under_way))) = (frame.data_ref(), &mut this.record) {
                    under_way.pulse().owing(false);
                    record.bytes_out += data.len() as u64;
                }
                if this.is_end_stream() {
                    this.finish();
                }
            }
            Poll::Ready(None) => this.finish(),
            Poll::Ready(Some(Err(_))) => {
                if let Some((record, under_way)) = this.record.take() {
                    under_way.pulse().owes_no_more();
                    record.fail(broken);
                }
            }
            Poll::Pending => {
                if let Some((_, under_way)) = &this.record {
                    under_way.pulse().owing(true);
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Through { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Through { body, .. } => body.size_hint(),
        }
    }
}
