//! What must not pass: requests that two readers could read in two ways. hyper takes them; nginx
//! does not, and neither does protover.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header, uri::Authority};

/// Why a request is refused, as a status and words for the client.
pub(super) type Refusal = (StatusCode, &'static str);

const fn bad(why: &'static str) -> Refusal {
    (StatusCode::BAD_REQUEST, why)
}

/// How many bytes the headers of a request may have: as much as nginx takes.
pub const HEAD: usize = 32 * 1024;

/// Headers that say where a request begins, ends and goes, as a careless server may read them too.
static FRAMING: [HeaderName; 2] = [HeaderName::from_static("transfer_encoding"), HeaderName::from_static("content_length")];

/// Headers that may be there once. To look at each that is there once costs less than to look these up.
static ONCE: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST, header::CONTENT_TYPE, header::EXPECT];

/// What was found of a header that may be there once.
#[derive(Clone, Copy, Default)]
struct Once<'a> {
    value: Option<&'a HeaderValue>,
    twice: bool,
}

impl<'a> Once<'a> {
    fn found(&mut self, value: &'a HeaderValue) {
        self.twice = self.value.replace(value).is_some();
    }

    /// Its text.
    fn text(self) -> Result<Option<&'a str>, ()> {
        match self.value {
            _ if self.twice => Err(()),
            Some(value) => value.to_str().map(|text| Some(text.trim())).map_err(|_| ()),
            None => Ok(None),
        }
    }
}

/// Checks the head of a request. `ambiguous` says that it had both Content-Length and Transfer-Encoding, or
/// one of them twice, which hyper does not show.
///
/// # Errors
/// When it is ambiguous, or asks for something that protover is not.
pub(super) fn check<B>(request: &Request<B>, ambiguous: bool) -> Result<(), Refusal> {
    let headers = request.headers();
    if ambiguous {
        return Err(bad("more than one length"));
    }
    let (mut size, mut underscored) = (0, false);
    let mut found = [Once::default(); ONCE.len()];
    for (name, value) in headers {
        if let Some((_, once)) = ONCE.iter().zip(&mut found).find(|(known, _)| *known == name) {
            once.found(value);
        }
        let name = name.as_str();
        size += name.len() + value.len() + 4;
        underscored |= FRAMING.iter().any(|framing| framing.as_str() == name);
    }
    // hyper's own limit is one of memory, and lets more through when it came at once.
    if size > HEAD {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header too large"));
    }
    // `Transfer_Encoding` is `Transfer-Encoding` to a server that speaks CGI.
    if underscored {
        return Err(bad("underscore in the name of a framing header"));
    }
    let [length, coding, host, media_type, expect] = found;
    has_one_length(request.version(), length, coding)?;
    has_one_host(request, host)?;
    if climbs(request.uri().path()) {
        return Err(bad("dot segments in the path"));
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
    }
    if media_type.twice {
        return Err(bad("more than one Content-Type"));
    }
    match expect.text().map_err(|()| bad("more than one Expect"))? {
        Some(expect) if !expect.eq_ignore_ascii_case("100-continue") => {
            Err((StatusCode::EXPECTATION_FAILED, "unknown expectation"))
        }
        _ => Ok(()),
    }
}

/// Whether a path has `..` or `.` in it, escaped or not. Sites are found by what their paths begin with, and a
/// server behind would read such a path as another one.
fn climbs(path: &str) -> bool {
    if !path.contains('.') && !path.contains("%2") {
        return false;
    }
    // As the most careless server reads it: escapes resolved, either slash, and without parameters.
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// One way to tell where the body ends (RFC 9112, section 6.1 and 6.3).
fn has_one_length(version: Version, length: Once<'_>, coding: Once<'_>) -> Result<(), Refusal> {
    if length.twice {
        return Err(bad("more than one Content-Length"));
    }
    let Some(coding) = coding.text().map_err(|()| bad("more than one Transfer-Encoding"))? else { return Ok(()) };
    if version <= Version::HTTP_10 {
        return Err(bad("Transfer-Encoding in HTTP/1.0"));
    }
    if coding.eq_ignore_ascii_case("chunked") { Ok(()) } else { Err(bad("unknown Transfer-Encoding")) }
}

/// One host (RFC 9112, section 3.2). An absolute target that contradicts `Host` is refused rather
/// than resolved: the server behind might resolve it the other way.
fn has_one_host<B>(request: &Request<B>, host: Once<'_>) -> Result<(), Refusal> {
    let host = host.text().map_err(|()| bad("more than one Host"))?;
    let named = match host {
        Some(text) => Some(text.parse::<Authority>().ok().filter(plain).ok_or(bad("invalid Host"))?),
        None => None,
    };
    let target = request.uri().authority();
    if target.is_some_and(|authority| !plain(authority)) {
        return Err(bad("invalid request target"));
    }
    if matches!(request.uri().scheme_str(), Some(scheme) if scheme != "http" && scheme != "https") {
        return Err(bad("unknown scheme"));
    }
    match (target, &named) {
        // Handsets send Host without the port, so only the names are compared.
        (Some(target), Some(named)) if !target.host().eq_ignore_ascii_case(named.host()) => {
            Err(bad("request target contradicts Host"))
        }
        (None, None) if request.version() >= Version::HTTP_11 => Err(bad("no Host")),
        _ => Ok(()),
    }
}

fn plain(authority: &Authority) -> bool {
    !authority.host().is_empty() && !authority.as_str().contains('@')
}

/// The host that a request addresses: that of an absolute target, else `Host`; empty without.
#[must_use]
pub(super) fn addressed<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default().trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method("POST").uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), false).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        let host = ("Host", "a");
        for (expected, target, headers) in [
            (200, "/", &[host][..]),
            (200, "/", &[("Host", "a:8080")]),
            (200, "/", &[("Host", "[::1]:8080")]),
            (200, "/", &[host, ("Transfer-Encoding", "chunked")]),
            (200, "/", &[host, ("Expect", "100-Continue")]),
            (200, "http://a:80/x", &[host]),
            (200, "/a/..b/.c/d..?x=/../y", &[host]),
            (400, "/a/../b", &[host]),
            (400, "/a/%2e%2E", &[host]),
            (400, "/./a", &[host]),
            (400, "/x/..%2fadmin", &[host]),
            (400, "/x/..;a/admin", &[host]),
            (400, "/x/..%5Cadmin", &[host]),
            (200, "/x/a.b;c/d%20e", &[host]),
            (400, "http://b/x", &[host]),
            (400, "ftp://a/x", &[host]),
            (400, "/", &[]),
            (400, "/", &[host, host]),
            (400, "/", &[("Host", "a b")]),
            (400, "/", &[("Host", "")]),
            (400, "/", &[("Host", "user@a")]),
            (400, "/", &[host, ("Content-Length", "1"), ("Content-Length", "1")]),
            (400, "/", &[host, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]),
            (400, "/", &[host, ("Transfer-Encoding", "identity, chunked")]),
            (400, "/", &[host, ("Transfer-Encoding", "gzip, chunked")]),
            (400, "/", &[host, ("Transfer_Encoding", "chunked")]),
            (417, "/", &[host, ("Expect", "a miracle")]),
            (400, "/", &[host, ("Content-Type", "text/plain"), ("Content-Type", "application/vnd.syncml.dm+xml")]),
        ] {
            assert_eq!(status(Version::HTTP_11, target, headers), expected, "{target} {headers:?}");
        }
        assert_eq!(status(Version::HTTP_10, "/", &[]), 200, "HTTP/1.0 needs no Host");
        assert_eq!(status(Version::HTTP_10, "/", &[host, ("Transfer-Encoding", "chunked")]), 400);
    }
}
