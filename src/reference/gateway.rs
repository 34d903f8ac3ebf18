//! The push gateway: takes submissions, and hands over what was pushed to whom.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::{net::TcpListener, task::JoinHandle};

use super::client::Http;

/// A submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Its Content-Type.
    pub content_type: String,
    /// Its body.
    pub body: Bytes,
}

/// A running gateway. It ends when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Submission>>>,
    task: JoinHandle<()>,
}

impl Gateway {
    /// Starts a gateway at an address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let got = Arc::<Mutex<Vec<Submission>>>::default();
        let shared = Arc::clone(&got);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let got = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let got = Arc::clone(&got);
                        async move { Ok::<_, Infallible>(take(request, &got).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, got, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last submission.
    #[must_use]
    pub fn last(&self) -> Option<Submission> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(request: Request<Incoming>, got: &Mutex<Vec<Submission>>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let content_type =
        head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut response = Response::new(Full::default());
    match body.collect().await {
        Ok(body) => {
            got.lock().unwrap_or_else(PoisonError::into_inner).push(Submission { content_type, body: body.to_bytes() });
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Submits a notification to a gateway, or to what stands in front of it. The HTTP status of the answer.
///
/// # Errors
/// When there is none.
pub async fn submit(url: &Uri, submission: &Submission) -> Result<u16, String> {
    Http::new(RootCertStore::empty()).submit(url, submission).await
}

/// The submission of a notification for an address (PAP, in `multipart/related`).
#[must_use]
pub fn submission(address: &str, notification: &[u8]) -> Submission {
    const BOUNDARY: &str = "asdlfkjiurwghasdfgh";
    let control = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE pap PUBLIC \"-//WAPFORUM//DTD PAP 2.0//EN\" \"http://www.wapforum.org/DTD/pap_2.0.dtd\">\
         <pap><push-message push-id=\"1@dm.it.example\"><address address-value=\"{address}\"/></push-message></pap>"
    );
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: application/xml\r\n\r\n{control}\r\n--{BOUNDARY}\r\n\
         Content-Type: application/vnd.syncml.notification\r\nX-Wap-Application-Id: x-wap-application:syncml.dm\r\n\r\n"
    );
    let body = [head.as_bytes(), notification, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    let content_type = format!("multipart/related; type=\"application/xml\"; boundary=\"{BOUNDARY}\"");
    Submission { content_type, body: body.into() }
}
