//! Headers on their way: those that belong to one connection stay behind, and each side learns what
//! stands between.

use std::fmt::Write as _;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
};

use super::exchange::Carried;

/// Carries the decision's id on every response and every request sent to a server.
pub(super) static DECISION: HeaderName = HeaderName::from_static("protover-decision");

/// Headers of one connection (RFC 9110, section 7.6.1), besides those that `Connection` names. Trailers are not
/// passed on, and so neither is what announces them.
const HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
];

/// What `Connection` cannot take away, nor what is in [`OURS`]: what a body is, where it goes, and what
/// protects it. A client that named what a proxy in front says of it could otherwise make it unsaid.
const KEPT: [HeaderName; 7] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    HeaderName::from_static("mdm-signature"),
    HeaderName::from_static("ms-signature"),
    HeaderName::from_static("x-syncml-hmac"),
];

/// What clients may not say of themselves.
const OURS: [HeaderName; 6] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
];

/// Digests of a body; wrong once it has been edited.
const DIGESTS: [HeaderName; 5] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    header::ETAG,
];

/// Removes what belongs to one connection.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !KEPT.contains(name) && !OURS.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Gets a request's headers ready for a server.
pub(super) fn towards_server(headers: &mut HeaderMap, version: Version, host: &str, carried: &Carried) {
    remove_hop_by_hop(headers);
    let connection = &carried.connection;
    if !connection.forwards {
        for name in &OURS {
            headers.remove(name);
        }
    }
    // `Client_Cert` is `Client-Cert` to a server that speaks CGI.
    let alike: Vec<HeaderName> = headers.keys().filter(|name| is_like_ours(name)).cloned().collect();
    for name in alike {
        headers.remove(name);
    }
    headers.remove(header::VIA);
    headers.remove(header::EXPECT);

    let scheme = if connection.tls { "https" } else { "http" };
    let ip = connection.ip();
    let address = ip.to_str().unwrap_or_default();
    // As RFC 7239, section 6, writes it.
    let brackets = if connection.peer.is_ipv6() { ["\"[", "]\""] } else { ["", ""] };
    let named = if is_quotable(host) { [";host=\"", host, "\""] } else { [""; 3] };
    let text = [&["for=", brackets[0], address, brackets[1]][..], &named, &[";proto=", scheme]].concat().concat();
    append(headers, &OURS[0], &text);
    if headers.contains_key(&OURS[1]) {
        append(headers, &OURS[1], address);
    } else {
        headers.insert(&OURS[1], ip.clone());
    }
    // What is still there was said by a proxy that is trusted, and knows better.
    headers.entry(&OURS[2]).or_insert(HeaderValue::from_static(scheme));
    if !host.is_empty() && !headers.contains_key(&OURS[3]) {
        insert(headers, &OURS[3], host);
    }
    // The certificate of the connection is then the proxy's.
    if let Some(certificate) = connection.certificate.as_ref().filter(|_| !connection.forwards) {
        headers.insert(&OURS[4], certificate.header.clone());
    }
    via(headers, version);
    insert(headers, &DECISION, carried.open.id());
}

/// Whether a name is one of ours with an underscore in the place of a hyphen.
fn is_like_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.contains('_') && OURS.iter().any(|ours| text.replace('_', "-") == ours.as_str())
}

/// Gets a server's headers ready for a device.
pub(super) fn towards_device(headers: &mut HeaderMap, version: Version) {
    remove_hop_by_hop(headers);
    via(headers, version);
}

/// Makes the headers fit a body that protover made or edited: its length, no packing, and no digest
/// of the old one.
pub(super) fn describe_new_body(headers: &mut HeaderMap, len: usize) {
    for name in &DIGESTS {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::ACCEPT_RANGES);
    headers.insert(header::CONTENT_LENGTH, len.into());
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
fn append(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    if !headers.contains_key(name) {
        return insert(headers, name, text);
    }
    let before: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let list = [&before[..], &[text]].concat().join(", ");
    insert(headers, name, &list);
}

fn insert(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name.clone(), value);
    }
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
        remove_hop_by_hop(&mut headers);
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
