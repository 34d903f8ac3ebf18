//! The life of a message, one layer after the other.
//!
//! Each layer takes what the one before it made, and all of them answer with a [`Ruled`]. Order and
//! completeness are therefore checked by the compiler, and no error can get past the log: below
//! `record` the error type is [`Infallible`].

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;

pub mod body;
pub mod exchange;
mod framing;
mod headers;
mod live;
mod media;
mod pace;

mod account;
mod admit;
mod annotate;
mod arrived;
mod bootstrap;
mod carry;
mod collect;
mod decide;
pub(crate) mod decode;
mod earlier;
mod forward;
mod gather;
mod push;
mod record;
mod refuse;
pub(crate) mod remembered;
mod resp_uri;
mod route;
mod seal;
mod session;
mod translate;
mod trial;

pub use earlier::Earlier;
pub use exchange::{Connection, Ruled};
pub use framing::HEAD;
pub use gather::Gone;
pub use live::{Live, LiveSite};
pub use record::Record;

use crate::{
    decisions::Log,
    server::{pulse::Pulse, tls::Expiry},
    store::Store,
};

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    /// The policy in force.
    pub live: ArcSwap<Live>,
    /// The decision log.
    pub log: Log,
    /// The policies that were in force before.
    pub earlier: Earlier,
    /// What is remembered between messages.
    pub store: Arc<dyn Store>,
    /// One permit for each request that is under way.
    pub requests: Arc<tokio::sync::Semaphore>,
    /// Whether protover is shutting down.
    pub draining: std::sync::atomic::AtomicBool,
    /// When the certificates of listeners end.
    pub expiries: ArcSwap<Vec<Expiry>>,
}

/// Every layer, outermost first.
pub type Stack = Record<
    admit::Admit<
        push::Notifications<
            route::Route<collect::Collect<decode::Decode<pace::Pace<decide::Decide<session::Session<carry::Carry>>>>>>,
        >,
    >,
>;

/// The stack for one connection.
#[must_use]
pub fn stack(shared: &Arc<Shared>, connection: Arc<Connection>, pulse: Arc<Pulse>) -> Stack {
    // Carries out what was decided: answers in the server's stead, or goes to the server and sees to
    // its answer. Once it has begun it finishes, even when the device goes away.
    let stack = carry::Carry;
    // Sessions: a decision holds from the first message to the last. Behind the decision, since most of
    // them need no memory; where the store knows more, it is made anew.
    let stack = session::Session { inner: stack, shared: Arc::clone(shared) };
    // Policy: from facts to a decision.
    let stack = decide::Decide(stack);
    // Behind the message, which says which device it is, and in front of all that costs more.
    let stack = pace::Pace(stack);
    // Bytes to facts. Behind the site, since the site says how strictly a message is read.
    let stack = decode::Decode(stack);
    // Reads the message. Behind everything that can be refused without it, so that a device that
    // waits for `100 Continue` is refused before it sends anything.
    let stack = collect::Collect(stack);
    // Host and path to a site; without one the request goes nowhere.
    let stack = route::Route { inner: stack, shared: Arc::clone(shared) };
    // Notifications go to the push gateway, and have a way of their own.
    let stack = push::Notifications(stack);
    // What is not admitted costs nothing: ambiguous framing, the end of a drain, a log that cannot be written.
    let stack = admit::Admit { inner: stack, shared: Arc::clone(shared) };
    // Outermost, so that every request has a line, whatever happens below.
    Record { inner: stack, shared: Arc::clone(shared), connection, pulse }
}

/// The future of a layer that waits for something of its own.
type Boxed = Pin<Box<dyn Future<Output = Result<Box<Ruled>, Infallible>> + Send>>;

/// The future of a layer that answers at once or hands on.
type Passing<F> = futures_util::future::Either<std::future::Ready<Result<Box<Ruled>, Infallible>>, F>;

/// The answer of a layer that does not hand on.
fn here<F>(ruled: Box<Ruled>) -> Passing<F> {
    futures_util::future::Either::Left(std::future::ready(Ok(ruled)))
}

/// No layer keeps anybody waiting before a request: overload is dealt with where connections are
/// accepted.
macro_rules! always_ready {
    () => {
        type Response = Box<Ruled>;
        type Error = std::convert::Infallible;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
    };
}
use always_ready;
