//! Carries out a decision.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;

use super::{
    exchange::{Carried, Judged, Ruled},
    forward::{self, Outcome},
    refuse,
    remembered::ends,
};
use crate::{
    decisions::Log,
    policy::{reason::Verdict, site::Mode},
};

/// The innermost layer.
#[derive(Clone, Copy, Debug)]
pub struct Carry;

impl Service<Judged> for Carry {
    type Response = Box<Ruled>;
    type Error = Infallible;
    type Future = Finishing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, judged: Judged) -> Finishing {
        let log = judged.exchange.collected.carried.log.clone();
        let rest = match (judged.decision.verdict(), judged.exchange.collected.site.site.mode) {
            (Verdict::Refuse, Mode::Enforce) => refuse(judged),
            _ => forward::forward(judged),
        };
        Finishing { rest: Some(rest), begun: false, log }
    }
}

fn refuse(Judged { exchange, decision, remembered }: Judged) -> Outcome {
    Box::pin(async move {
        ends(remembered).await;
        refuse::refuse(exchange, &decision)
    })
}

/// An exchange that finishes by itself when nobody waits for it any more: a message that is on its
/// way to a server has been sent, whether or not the device still wants the answer.
pub struct Finishing {
    rest: Option<Outcome>,
    begun: bool,
    log: Log,
}

impl std::fmt::Debug for Finishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finishing").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Future for Finishing {
    type Output = Result<Box<Ruled>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begun = true;
        // Out of our hands while it is polled: what has panicked must not be polled again.
        let Some(mut rest) = self.rest.take() else { return Poll::Pending };
        let ruled = rest.as_mut().poll(cx);
        if ruled.is_pending() {
            self.rest = Some(rest);
        }
        ruled.map(Ok)
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        // When everything is being cut off, so is this.
        let rest = self.rest.take().filter(|_| self.begun && !self.log.is_draining());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            // The answer goes nowhere; its record says that the client is gone, or why it was sent away.
            runtime.spawn(async move {
                let Carried { open, under_way, .. } = rest.await.carried;
                under_way.pulse().not_answered(open);
            });
        }
    }
}
