//! The body of an answer. Until it is over its request is under way, and how it ends is what is known of
//! the address: a server that sends a head and no more has not answered.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{Failure, address::Address, pool::Connection};
use crate::wake::quietly;

/// A request under way.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) address: Arc<Address>,
    /// Whether it is one of as many as may be.
    pub(super) has_turn: bool,
    /// The connection, until it can be kept for another request: one that is dropped closes.
    pub(super) connection: Option<Connection>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.address.state.pending.fetch_sub(1, Ordering::Relaxed);
        if self.has_turn {
            self.address.turns.add_permits(1);
        }
    }
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub struct Incoming {
    body: hyper::body::Incoming,
    ticket: Option<Ticket>,
    deadline: Instant,
    /// Whether the server owes the next part.
    waits: bool,
}

impl Incoming {
    pub(super) fn new(body: hyper::body::Incoming, mut ticket: Ticket, deadline: Instant) -> Self {
        // A small answer is here with its head.
        if let Some(connection) = ticket.connection.take_if(|connection| connection.is_ready()) {
            ticket.address.pool.give_back(connection);
        }
        let mut incoming = Self { body, ticket: Some(ticket), deadline, waits: false };
        incoming.look_for_the_end();
        incoming
    }

    fn look_for_the_end(&mut self) {
        if self.body.is_end_stream() {
            self.over(None);
        }
    }

    fn over(&mut self, failure: Option<Failure>) {
        let Some(mut ticket) = self.ticket.take() else { return };
        ticket.address.went(failure);
        if let Some(connection) = ticket.connection.take_if(|_| failure.is_none()) {
            ticket.address.pool.give_back(connection);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Whoever gave it up did so for the server's sake only when that kept silent till the end.
        if let Some(ticket) = self.ticket.take()
            && self.waits
            && Instant::now() >= self.deadline
        {
            ticket.address.went(Some(Failure::TooSlow));
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(connection) = this.ticket.as_mut().and_then(|ticket| ticket.connection.as_mut()) {
            connection.drive(cx);
        }
        // What there is to come comes by driving, so nobody has to be woken for it. Nor is the connection when
        // there is room for more: it is driven when more is wanted.
        let mut nobody = Context::from_waker(Waker::noop());
        let (frame, _) = quietly(|| Pin::new(&mut this.body).poll_frame(&mut nobody));
        this.waits = frame.is_pending();
        match &frame {
            Poll::Ready(Some(Ok(_))) => this.look_for_the_end(),
            Poll::Ready(Some(Err(_))) => this.over(Some(Failure::Broke)),
            Poll::Ready(None) => this.over(None),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
