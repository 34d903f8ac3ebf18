//! The connections to an address, kept for the requests to come.
//!
//! A connection has no task of its own: the request that uses it drives it. So a request is on its way as soon
//! as it is ready, and not behind all others that wait for their turn, and no task has to wake another. Nobody
//! drives a connection that is not in use; whether it has closed is looked up when it is to be used, and now and
//! then. What is streamed to a server goes on only as far as its answer is taken, when that comes before the end.
//!
//! One list behind one lock, although every worker has a runtime of its own, which a connection is bound to
//! where it was made. A request takes a connection of its own worker if it can, so that as a rule no
//! worker wakes another; and else any, since that is cheaper than a new one: with a list for each worker
//! a server that is asked rarely would see a new connection for nearly every request.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
    time::Duration,
};

use futures_util::future::{Either, select};
use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::ClientConfig;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at},
};
use tower::ServiceExt;

use crate::{policy::site, proxy::body::Sent};

/// How many connections are made at a time of which nobody waits for any more.
const SPARE: usize = 32;

/// How often connections that are not in use are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a server may take for the rest of a request that it has answered already.
const REST: Duration = Duration::from_secs(600);

/// The connections to an address.
#[derive(Debug)]
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    url: Uri,
    limits: site::Pool,
    kept: Mutex<Kept>,
    spare: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What is not in use, and since when: the one used last is the last.
    idle: Vec<(Instant, Connection)>,
    /// Requests that make a connection, and take one that comes free before that.
    waiting: VecDeque<oneshot::Sender<Connection>>,
    /// Whether somebody closes what is not used.
    reaped: bool,
}

/// A connection. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Sent>,
    driver: Driver,
    /// The worker whose runtime it is bound to.
    worker: ThreadId,
    timer: Timer,
}

/// What reads and writes for a connection, until it is over.
struct Driver(Option<Box<http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Sent>>>);

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Driver").field(&self.0.is_some()).finish()
    }
}

impl Driver {
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.0 else { return };
        if let Poll::Ready(ended) = Pin::new(connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(error = &error as &dyn StdError, "connection to a server");
            }
            self.0 = None;
        }
    }
}

/// For the deadlines of a connection's requests: to move a timer costs less than to set one up for each.
#[derive(Debug)]
struct Timer {
    /// Whose it is: one of a worker that has ended cannot be used.
    worker: ThreadId,
    sleep: Pin<Box<Sleep>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no connection: nothing was sent.
    #[error("no connection could be made")]
    Connect(#[source] Box<dyn StdError + Send + Sync>),
    /// It broke off.
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
    /// There was none by the deadline.
    #[error("the deadline is over")]
    Late,
}

impl Connection {
    /// Whether it could take a request now: the answer to the last one is over.
    pub(super) fn is_ready(&self) -> bool {
        self.driver.0.is_some() && self.sender.is_ready()
    }

    /// Reads and writes what can be read and written. The task is woken when there is more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.driver.drive(cx);
    }

    /// Whether it could take a request, after a look at what has come: that should be nothing, and is the end if
    /// the server has closed it. Nobody is woken for it after that.
    fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_ready()
    }

    /// Waits until it can take a request. `false` when it never will.
    async fn comes_free(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            if !self.is_ready() {
                // When the last of a request has been written, hyper takes another look for the next one only then.
                self.drive(cx);
            }
            match self.driver.0 {
                None => Poll::Ready(false),
                Some(_) if self.is_ready() => Poll::Ready(true),
                Some(_) => Poll::Pending,
            }
        })
        .await
    }

    /// Closes it with all that belongs to it: TLS says so.
    fn close(self) {
        let Self { sender, mut driver, .. } = self;
        drop(sender);
        driver.drive(&mut Context::from_waker(Waker::noop()));
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (_, connection) in self.idle.drain(..) {
            connection.close();
        }
    }
}

impl Timer {
    fn new() -> Self {
        Self { worker: thread::current().id(), sleep: Box::pin(sleep(Duration::ZERO)) }
    }

    fn until(&mut self, deadline: Instant) -> Pin<&mut Sleep> {
        if self.worker != thread::current().id() {
            *self = Self::new();
        }
        self.sleep.as_mut().reset(deadline);
        self.sleep.as_mut()
    }
}

impl Pool {
    pub(super) fn new(url: Uri, limits: site::Pool, tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(limits.connect_timeout));
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self { connector, url, limits, kept: Mutex::default(), spare: Arc::new(Semaphore::new(SPARE)) }
    }

    /// Sends a request and waits for the head of the answer. It is sent again only when a kept connection
    /// turned out to be dead before anything of the request was written to it.
    ///
    /// # Errors
    /// When there is no answer by the deadline.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Box<Request<Sent>>,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Connection), Error> {
        loop {
            let taken = Self::take(&mut self.lock());
            let (mut connection, was_kept) = match taken {
                Some(connection) => (connection, true),
                None => Box::pin(timeout_at(deadline, self.wait())).await.unwrap_or(Err(Error::Late))?,
            };
            if was_kept && !connection.is_alive() {
                continue;
            }
            let answer = {
                let Connection { sender, driver, timer, .. } = &mut connection;
                let mut answer = pin!(unconstrained(sender.try_send_request(*request)));
                let mut late = timer.until(deadline);
                poll_fn(|cx| {
                    driver.drive(cx);
                    // It comes by driving and in no other way, so nobody has to be woken for it.
                    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(answer) => Poll::Ready(Some(answer)),
                        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
                    }
                })
                .await
            };
            match answer {
                Some(Ok(response)) => return Ok((response, connection)),
                Some(Err(mut error)) => match error.take_message() {
                    Some(unsent) if was_kept => request = unsent.into(),
                    // A new one that closes at once is as good as none.
                    Some(_) => return Err(Error::Connect(error.into_error().into())),
                    None => return Err(Error::Exchange(error.into_error())),
                },
                None => return Err(Error::Late),
            }
        }
    }

    /// Keeps a connection as soon as it can take a request: not while there is more of the last one to send,
    /// and never when it is to be closed.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Connection) {
        if connection.is_ready() {
            self.keep(connection);
        } else if connection.driver.0.is_some() {
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                let is_free = timeout(REST, connection.comes_free()).await == Ok(true);
                match pool.upgrade() {
                    Some(pool) if is_free => pool.keep(connection),
                    _ => connection.close(),
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, of this worker if there is one. It may have closed.
    fn take(kept: &mut Kept) -> Option<Connection> {
        let worker = thread::current().id();
        let own = kept.idle.iter().rposition(|(_, connection)| connection.worker == worker);
        let (_, connection) = match own {
            Some(place) => kept.idle.remove(place),
            None => kept.idle.pop()?,
        };
        Some(connection)
    }

    fn keep(self: &Arc<Self>, mut connection: Connection) {
        let mut kept = self.lock();
        while let Some(waiting) = kept.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        kept.idle.push((Instant::now(), connection));
        if !std::mem::replace(&mut kept.reaped, true) {
            // With a budget it could not look at more than a hundred at a time.
            tokio::spawn(unconstrained(Self::reap(Arc::downgrade(self))));
        }
    }

    /// Closes what has not been used for too long, and what the server has closed, until there is nothing left.
    async fn reap(pool: Weak<Self>) {
        loop {
            let next = {
                let Some(pool) = pool.upgrade() else { return };
                let (mut kept, now) = (pool.lock(), Instant::now());
                let limit = pool.limits.idle_timeout;
                let done = |(since, connection): &mut (Instant, Connection)| *since + limit <= now || !connection.is_alive();
                let over: Vec<_> = kept.idle.extract_if(.., done).collect();
                let next = kept.idle.first().map(|(since, _)| (*since + limit).min(now + LOOK));
                kept.reaped = next.is_some();
                drop(kept);
                for (_, connection) in over {
                    connection.close();
                }
                next
            };
            let Some(next) = next else { return };
            sleep_until(next).await;
        }
    }

    /// A new connection, or one that comes free before that is made; and whether it is one that was kept.
    async fn wait(self: &Arc<Self>) -> Result<(Connection, bool), Error> {
        let (sender, mut freed) = oneshot::channel();
        {
            let mut kept = self.lock();
            // One may have come free since it was looked for.
            if let Some(connection) = Self::take(&mut kept) {
                return Ok((connection, true));
            }
            kept.waiting.retain(|waiting| !waiting.is_closed());
            kept.waiting.push_back(sender);
        }
        match select(&mut freed, Box::pin(connect(self.connector.clone(), self.url.clone()))).await {
            Either::Left((Ok(connection), connecting)) => {
                self.finish(connecting);
                Ok((connection, true))
            }
            Either::Left((Err(_), connecting)) => Ok((connecting.await?, false)),
            Either::Right((made, _)) => {
                freed.close();
                let Ok(freed) = freed.try_recv() else { return Ok((made?, false)) };
                // Both at the same moment.
                if let Ok(made) = made {
                    self.give_back(made);
                }
                Ok((freed, true))
            }
        }
    }

    /// Makes a connection for whoever comes next. A server that accepts none would gather them, so there
    /// is a bound to their number.
    fn finish(self: &Arc<Self>, connecting: impl Future<Output = Result<Connection, Error>> + Send + 'static) {
        let Ok(spare) = Arc::clone(&self.spare).try_acquire_owned() else { return };
        let (pool, limit) = (Arc::downgrade(self), self.limits.connect_timeout);
        tokio::spawn(async move {
            if let Ok(Ok(connection)) = timeout(limit, connecting).await
                && let Some(pool) = pool.upgrade()
            {
                pool.give_back(connection);
            }
            drop(spare);
        });
    }
}

async fn connect(connector: HttpsConnector<HttpConnector>, url: Uri) -> Result<Connection, Error> {
    let stream = connector.oneshot(url).await.map_err(Error::Connect)?;
    let handshake = http1::Builder::new().preserve_header_case(true).handshake(stream).await;
    let (sender, connection) = handshake.map_err(Error::Exchange)?;
    let driver = Driver(Some(Box::new(connection)));
    Ok(Connection { sender, driver, worker: thread::current().id(), timer: Timer::new() })
}
