//! Headers on their way: those that belong to one connection stay behind, and each side learns what
//! stands between.

use std::fmt::Write as _;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
};

use super::exchange::{Carried, Connection};
use crate::{
    decisions::Open,
    syncml::{media_type, version::Forms},
    upstream::Incoming,
};

/// Carries the decision's id on every response and every request sent to a server.
pub(super) static DECISION: HeaderName = HeaderName::from_static("protover-decision");

/// Whether a header is of one connection (RFC 9110, section 7.6.1), besides those that `Connection` names.
/// Trailers are not passed on, and so neither is what announces them.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What `Connection` cannot take away, nor what is in [`OURS`]: what a body is, where it goes, and what
/// protects it. A client that named what a proxy in front says of it could otherwise make it unsaid.
const KEPT: [&str; 7] =
    ["content-encoding", "content-length", "content-type", "host", "mdm-signature", "ms-signature", "x-syncml-hmac"];

/// What clients may not say of themselves.
static OURS: [HeaderName; 6] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
];

/// Packing, parts and digests of a body; wrong once it has been edited.
fn is_of_the_old_body(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept-ranges" | "content-digest" | "content-encoding" | "content-md5" | "digest" | "etag" | "repr-digest"
    )
}

/// Removes what belongs to one connection, and what else is not to go on.
fn remove_hop_by_hop(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // What nearly all say, and a header that goes anyway.
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !KEPT.contains(&name.as_str()) && !OURS.contains(name))
        .collect();
    remove(headers, |name| is_hop_by_hop(name) || named.contains(name) || also(name));
}

/// Removes headers. To look at each that is there costs less than to look for each that there may be.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// What servers are told of a client that asks for a host.
#[derive(Clone, Debug)]
pub struct Said {
    host: Box<str>,
    address: HeaderValue,
    /// As RFC 7239, section 4, has it.
    forwarded: HeaderValue,
    forwarded_host: Option<HeaderValue>,
}

impl Said {
    pub(super) fn new(connection: &Connection, host: &str) -> Self {
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"));
        let address = connection.peer.ip().to_string();
        // As RFC 7239, section 6, writes it.
        let brackets = if connection.peer.is_ipv6() { ["\"[", "]\""] } else { ["", ""] };
        let named = if is_quotable(host) { format!(";host=\"{host}\"") } else { String::new() };
        let forwarded = format!("for={}{address}{}{named};proto={}", brackets[0], brackets[1], connection.scheme());
        let forwarded_host = HeaderValue::from_str(host).ok().filter(|_| !host.is_empty());
        Self { host: host.into(), address: value(&address), forwarded: value(&forwarded), forwarded_host }
    }

    /// Whether it is about a client that asks for this host.
    pub(super) fn is_of(&self, host: &str) -> bool {
        *self.host == *host
    }
}

/// Gets a request's headers ready for a server.
pub(super) fn towards_server(headers: &mut HeaderMap, version: Version, host: &str, carried: &Carried) {
    let connection = &carried.connection;
    // `Client_Cert` is `Client-Cert` to a server that speaks CGI.
    let ours = |name: &HeaderName| (!connection.forwards && OURS.contains(name)) || is_like_ours(name);
    remove_hop_by_hop(headers, |name| *name == header::VIA || *name == header::EXPECT || ours(name));

    let said = connection.said(host);
    append(headers, &OURS[0], &said.forwarded);
    append(headers, &OURS[1], &said.address);
    // What is still there was said by a proxy that is trusted, and knows better.
    headers.entry(&OURS[2]).or_insert(HeaderValue::from_static(connection.scheme()));
    if let Some(host) = &said.forwarded_host {
        headers.entry(&OURS[3]).or_insert(host.clone());
    }
    // The certificate of the connection is then the proxy's.
    if let Some(certificate) = connection.certificate.as_ref().filter(|_| !connection.forwards) {
        headers.insert(&OURS[4], certificate.header.clone());
    }
    via(headers, version);
    decision(headers, &carried.open);
}

fn decision(headers: &mut HeaderMap, open: &Open) {
    if let Ok(id) = HeaderValue::from_str(open.id()) {
        headers.insert(&DECISION, id);
    }
}

/// What is needed of a request's head when the answer cannot cross the bridge.
#[derive(Debug)]
pub(super) struct AskedWith {
    /// The device's own, which is told in it.
    pub(super) content_type: Option<HeaderValue>,
    /// The rest as the server got it, which is told too.
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    via: Option<HeaderValue>,
}

impl AskedWith {
    pub(super) fn of(headers: &HeaderMap) -> Box<Self> {
        let value = |name| headers.get(name).cloned();
        let (host, user_agent) = (value(header::HOST), value(header::USER_AGENT));
        Box::new(Self { content_type: value(header::CONTENT_TYPE), host, user_agent, via: value(header::VIA) })
    }

    /// Says to the server once more who asks.
    pub(super) fn again(&self, headers: &mut HeaderMap, open: &Open) {
        for (name, value) in [(header::HOST, &self.host), (header::USER_AGENT, &self.user_agent), (header::VIA, &self.via)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        decision(headers, open);
    }
}

/// Whether a name is one of ours with an underscore in the place of a hyphen.
fn is_like_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.contains('_') && OURS.iter().any(|ours| text.replace('_', "-") == ours.as_str())
}

/// Gets a server's headers ready for a device.
pub(super) fn towards_device(headers: &mut HeaderMap, version: Version) {
    remove_hop_by_hop(headers, |_| false);
    via(headers, version);
}

/// Makes the headers fit a body that protover made or edited: its length, no packing, and no digest
/// of the old one.
pub(super) fn describe_new_body(headers: &mut HeaderMap, len: usize) {
    remove(headers, is_of_the_old_body);
    headers.insert(header::CONTENT_LENGTH, len.into());
}

/// Drops a Content-Length that is not that of the body: the server gave another one too, or chunks.
pub(super) fn agree(headers: &mut HeaderMap, body: &Incoming) {
    use hyper::body::Body as _;
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // An answer to HEAD has a length and no body.
    if said.is_some() && !body.is_end_stream() && body.size_hint().exact() != said {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// Makes the parameters of Content-Type say what the body says.
pub(super) fn name_versions(headers: &mut HeaderMap, forms: &Forms) {
    let theirs = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // Most have none.
    let Some(theirs) = theirs.filter(|theirs| theirs.contains(';')) else { return };
    let ours = media_type::rewrite(theirs, &forms.version.text(), &forms.dtd);
    if ours != theirs
        && let Ok(value) = HeaderValue::try_from(ours)
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
}

fn via(headers: &mut HeaderMap, version: Version) {
    let protocol = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    match headers.entry(header::VIA) {
        Entry::Occupied(mut entry) => {
            // One list, in the order of the way.
            let mut list: String = entry.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ");
            let _ = write!(list, ", {protocol} protover");
            if let Ok(value) = list.try_into() {
                entry.insert(value);
            }
        }
        Entry::Vacant(entry) => {
            let value = match protocol {
                "1.0" => "1.0 protover",
                "2" => "2 protover",
                _ => "1.1 protover",
            };
            entry.insert(HeaderValue::from_static(value));
        }
    }
}

/// Adds to the end of a list: one line, in the order of the way.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let before: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let list = match (&before[..], value.to_str()) {
        ([_, ..], Ok(text)) => HeaderValue::try_from([&before[..], &[text]].concat().join(", ")).ok(),
        _ => None,
    };
    headers.insert(name, list.unwrap_or_else(|| value.clone()));
}

fn is_quotable(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_connection_stays_behind() {
        let mut headers: HeaderMap = [
            ("connection", "close, X-Hop, Host"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("host", "dm.example"),
            ("x-end", "2"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        remove_hop_by_hop(&mut headers, |_| false);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-end"]);
    }

    #[test]
    fn via_is_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.0 fred"));
        headers.append(header::VIA, HeaderValue::from_static("1.1 p.example"));
        via(&mut headers, Version::HTTP_11);
        assert_eq!(headers.get_all(header::VIA).iter().collect::<Vec<_>>(), ["1.0 fred, 1.1 p.example, 1.1 protover"]);
    }

    #[test]
    fn a_new_body_has_no_old_digest() {
        let mut headers = HeaderMap::new();
        for name in ["content-md5", "digest", "etag", "content-digest", "repr-digest", "content-encoding", "accept-ranges"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        describe_new_body(&mut headers, 7);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[header::CONTENT_LENGTH], "7");
    }
}
