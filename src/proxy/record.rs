//! Opens the decision record of a request, and is the only place where a [`Ruled`] becomes an HTTP
//! response.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, task};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tower::Service;

use super::{
    Shared,
    body::Answer,
    exchange::{Arrival, Carried, Connection, Ruled},
    headers::DECISION,
};
use crate::{
    decisions::{Kind, Open},
    server::pulse::{Pulse, UnderWay},
};

/// The outermost layer, one for each connection.
#[derive(Clone, Debug)]
pub struct Record<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Arc<Connection>,
    pub(super) pulse: Arc<Pulse>,
}

impl<S> Service<Request<Incoming>> for Record<S>
where
    S: Service<Arrival, Response = Box<Ruled>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        let kind = if connection.push { Kind::Notification } else { Kind::Message };
        let open = self.shared.log.open(Arc::clone(&connection.listener), connection.peer, kind);
        #[cfg(feature = "otlp")]
        let open = open.traced(&request, connection.tls);
        let id = HeaderValue::from_str(open.id());
        let log = self.shared.log.clone();
        let store = Arc::clone(&self.shared.store);
        let carried =
            Carried { open, log, connection, store, under_way: self.pulse.request(), live: self.shared.live.load_full() };
        let head = request.method() == Method::HEAD;
        let pulse = Arc::clone(&self.pulse);
        let mut inner = self.inner.clone();
        let ruling = async move { inner.call(Arrival { request, carried }).await };
        Box::pin(AssertUnwindSafe(ruling).catch_unwind().map(move |ruled| {
            let mut response = match ruled {
                Ok(Ok(ruled)) => {
                    let Ruled { response, carried: Carried { mut open, under_way, .. } } = *ruled;
                    open.http_status = Some(response.status().as_u16());
                    if head {
                        // There is no body to come, and hyper asks for none.
                        unsent(response, open, under_way)
                    } else {
                        response.map(|answer| answer.recorded(open, under_way))
                    }
                }
                // The record was written while the panic passed it.
                Err(_) => {
                    let id = id.as_ref().ok().and_then(|id| id.to_str().ok()).unwrap_or_default();
                    let mut response = Response::new(Answer::whole(format!("500 panic (decision {id})\n").into()));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            };
            if pulse.is_leaving() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if let Ok(id) = id {
                response.headers_mut().insert(DECISION.clone(), id);
            }
            Ok(response)
        }))
    }
}

/// An answer to HEAD: its head, with the length that the body would have.
#[cold]
fn unsent(response: Response<Answer>, open: Open, under_way: UnderWay) -> Response<Answer> {
    let (mut head, body) = response.into_parts();
    if let (None, Some(len)) = (head.headers.get(header::CONTENT_LENGTH), body.size_hint().exact()) {
        head.headers.insert(header::CONTENT_LENGTH, len.into());
    }
    Response::from_parts(head, Answer::whole(Bytes::new()).recorded(open, under_way))
}

#[cfg(test)]
mod tests;
