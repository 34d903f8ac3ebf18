//! A connection to Redis, over TCP or TLS.

use std::{fs, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::Shared};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisConnectionInfo, RedisError,
    aio::{AsyncStream, MultiplexedConnection},
};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, task::AbortHandle, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{policy::site, server::tls, upstream};

/// For a connection to be made. Longer than a call may take: names, TCP and TLS take several round trips,
/// and calls do not wait for all of them.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that dies without a word, behind a firewall that forgot it, is found dead after this.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Errors that say that this Redis serves nobody, or is not the one to ask any more: it starts, lost its
/// primary, or became a replica, for which a new connection by name finds the new primary.
const UNFIT: [&str; 6] = ["LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "NOAUTH", "NOREPLICAS"];

/// A connection that is there, or being made; it is made once for all who wait for it.
pub(super) type Link = Shared<Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>>;

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For the log: without keys and values, which Redis repeats in some of its errors.
    pub(super) why: Arc<str>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connection had ended; Redis itself may be well.
    Lost,
    /// Nobody answers there.
    Down,
    /// The answer was an error, of this call alone.
    Refused,
}

impl Failure {
    fn down(error: &io::Error) -> Self {
        Self { why: error.to_string().into(), kind: Kind::Down }
    }

    pub(super) fn late() -> Self {
        Self { why: "no answer in time".into(), kind: Kind::Down }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let kind = match error.code() {
            Some(code) if UNFIT.contains(&code) => Kind::Down,
            Some(_) => Kind::Refused,
            None => Kind::Lost,
        };
        let why = match error.code() {
            Some(code) => code.into(),
            None if error.is_io_error() => error.to_string().into(),
            None => error.category().into(),
        };
        Self { why, kind }
    }
}

/// Where Redis is, and how to introduce oneself.
pub(super) struct Target {
    host: Box<str>,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: RedisConnectionInfo,
}

impl Target {
    /// Reads the files that the settings name.
    pub(super) fn new(settings: &site::Redis) -> io::Result<Self> {
        let tls = if settings.tls { Some(tls_of(settings)?) } else { None };
        // One round trip less, and nothing that an ACL has to allow.
        let mut login = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            login = login.set_username(user);
        }
        if let Some(path) = &settings.password_file {
            login = login.set_password(password(path)?);
        }
        Ok(Self { host: settings.host.clone(), port: settings.port, tls, login })
    }

    /// Begins to connect. It goes on when all who wait have given up, so that a connection which takes
    /// longer than a call is there for the next one.
    pub(super) fn link(self: &Arc<Self>) -> Link {
        let target = Arc::clone(self);
        let connecting = async move { timeout(CONNECT, target.connect()).await.unwrap_or_else(|_| Err(Failure::late())) };
        let link = connecting.boxed().shared();
        tokio::spawn(link.clone());
        link
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.tcp().await.map_err(|error| Failure::down(&error))?;
        match &self.tls {
            None => self.log_in(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.log_in(stream.map_err(|error| Failure::down(&error))?).await
            }
        }
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))?;
        Ok(stream)
    }

    async fn log_in(&self, stream: impl AsyncStream + Send + 'static) -> Result<Connection, Failure> {
        // Time is kept by those who call.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let made = MultiplexedConnection::new_with_config(&self.login, Box::pin(stream), config).await;
        let (redis, driver) = made.map_err(|error| Failure { kind: Kind::Down, ..error.into() })?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Connection { redis, _driver: Arc::new(Driver(driver)) })
    }
}

/// A connection. Calls of all who hold it are written one after the other without waiting for answers.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    _driver: Arc<Driver>,
}

impl Connection {
    pub(super) async fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        Ok(command.query_async(&mut self.redis).await?)
    }
}

/// The task that reads and writes. It would wait for answers that were asked for, even when nobody
/// listens any more; so it ends with the connection.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tls_of(settings: &site::Redis) -> io::Result<(TlsConnector, ServerName<'static>)> {
    let roots = match &settings.ca {
        Some(path) => tls::roots(path)?,
        None => upstream::system_roots(),
    };
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(settings.host.to_string());
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", settings.host)))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn password(path: &Path) -> io::Result<String> {
    let named = |kind, what: &dyn std::fmt::Display| io::Error::new(kind, format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| named(error.kind(), &error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(named(io::ErrorKind::InvalidInput, &"holds no password"));
    }
    Ok(password.to_owned())
}
