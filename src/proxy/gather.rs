//! Bodies to bytes: limited in size, and in time.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::Instant;

/// Why a body is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It is larger than the limit.
    #[error("the body is over the limit")]
    TooLarge,
    /// It did not come in time.
    #[error("the body is too slow")]
    TooSlow,
    /// It was not sent to its end.
    #[error("the body breaks off")]
    Cut,
    /// It is not HTTP.
    #[error("the body is no HTTP")]
    Broken,
}

impl Gone {
    /// What an error in the middle of a body means.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_body_write_aborted() || is_cut(error) { Self::Cut } else { Self::Broken }
    }
}

/// Reads a body of at most `limit` bytes until `deadline`.
pub(super) async fn gather(
    body: impl Body<Data = Bytes, Error = hyper::Error> + Unpin,
    limit: usize,
    deadline: Instant,
) -> Result<Bytes, Gone> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Gone::TooLarge);
    }
    // Most bodies are there already: the timer is only touched when one is not.
    tokio::time::timeout_at(deadline, read(body, limit)).await.unwrap_or(Err(Gone::TooSlow))
}

async fn read(mut body: impl Body<Data = Bytes, Error = hyper::Error> + Unpin, limit: usize) -> Result<Bytes, Gone> {
    let mut first: Option<Bytes> = None;
    let mut more = BytesMut::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(|error| Gone::of(&error))?.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len).saturating_add(more.len()).saturating_add(data.len()) > limit {
            return Err(Gone::TooLarge);
        }
        // A body in one piece, as nearly all are, is not copied.
        match &first {
            None => first = Some(data),
            Some(head) => {
                if more.is_empty() {
                    more.reserve(head.len() + data.len());
                    more.extend_from_slice(head);
                    first = Some(Bytes::new());
                }
                more.extend_from_slice(&data);
            }
        }
    }
    Ok(if more.is_empty() { first.unwrap_or_default() } else { more.freeze() })
}

fn is_cut(error: &hyper::Error) -> bool {
    use std::{error::Error, io};
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return true;
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            );
        }
        source = error.source();
    }
    false
}
