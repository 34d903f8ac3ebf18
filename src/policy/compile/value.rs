//! Values with a notation of their own: versions, sizes, durations, addresses, URLs, shares, hosts.

use core::net::{IpAddr, SocketAddr};
use std::{ops::Range, time::Duration};

use bytesize::ByteSize;
use http::Uri;
use ipnet::IpNet;

use crate::{
    policy::{diagnostic::Code, document::Value},
    syncml::version::{Version, VersionTable},
};

/// A version of the table.
pub(super) fn version(value: &Value<'_>, table: &VersionTable) -> Option<Version> {
    let text = value.text()?;
    let version = Version::from_spec(text).filter(|version| table.get(*version).is_some());
    if version.is_none() {
        unknown_version(value, text, table);
    }
    version
}

fn unknown_version(value: &Value<'_>, text: &str, table: &VersionTable) {
    let known: Vec<String> = table.versions().iter().map(Version::to_string).collect();
    let help = format!("known are {}; `[[version]]` in proxy.toml adds others", known.join(", "));
    value.report(Code::UnknownVersion, format!("unknown version \"{text}\""), "not known", &help);
}

/// Versions, each once, in the order they are written, with their places.
pub(super) fn versions(values: &[Value<'_>], table: &VersionTable) -> Vec<(Version, Range<usize>)> {
    let mut out: Vec<(Version, Range<usize>)> = Vec::new();
    for value in values {
        let Some(version) = version(value, table) else { continue };
        if out.iter().all(|(known, _)| *known != version) {
            out.push((version, value.span()));
        }
    }
    out
}

/// The versions that a comparison such as `>=DM/1.2` means, within its family; one without an
/// operator means itself.
pub(super) fn compared(value: &Value<'_>, table: &VersionTable) -> Option<Vec<Version>> {
    type Holds = fn(&Version, &Version) -> bool;
    const OPERATORS: [(&str, Holds); 5] =
        [(">=", |a, b| a >= b), ("<=", |a, b| a <= b), (">", |a, b| a > b), ("<", |a, b| a < b), ("=", |a, b| a == b)];
    let text = value.text()?;
    let Some((operator, holds)) = OPERATORS.iter().find(|(operator, _)| text.starts_with(operator)) else {
        return version(value, table).map(|version| vec![version]);
    };
    let bound = text.get(operator.len()..).unwrap_or_default().trim();
    // The bound need not be in the table: `<DM/2.0` is every DM/1 version.
    let Some(bound) = Version::from_spec(bound) else {
        unknown_version(value, text, table);
        return None;
    };
    Some(table.versions().into_iter().filter(|version| holds(version, &bound)).collect())
}

/// A size in bytes, from 1 byte to 1 GiB.
pub(super) fn size(value: &Value<'_>) -> Option<usize> {
    const HELP: &str = "such as \"1MiB\", \"512KiB\" or 65536, up to \"1GiB\"";
    let bytes = match (value.as_integer(), value.as_str()) {
        (Some(number), _) => u64::try_from(number).ok(),
        (None, Some(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
        (None, None) => {
            value.wrong_type("a size", HELP);
            return None;
        }
    };
    let size = bytes.filter(|bytes| (1..=1 << 30).contains(bytes)).and_then(|bytes| usize::try_from(bytes).ok());
    if size.is_none() {
        value.report(Code::BadSize, "this is not a size that can be used", "not a size", HELP);
    }
    size
}

/// A duration, from 1 ms to a day.
pub(super) fn duration(value: &Value<'_>) -> Option<Duration> {
    const HELP: &str = "such as \"10s\", \"500ms\" or \"1m 30s\", up to \"1day\"";
    const USABLE: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
    let Some(text) = value.as_str() else {
        value.wrong_type("a duration with its unit", HELP);
        return None;
    };
    let duration = humantime::parse_duration(text).ok().filter(|duration| USABLE.contains(duration));
    if duration.is_none() {
        value.report(Code::BadDuration, "this is not a duration that can be used", "not a duration", HELP);
    }
    duration
}

/// An address with a port.
pub(super) fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        let help = "an IP address and a port, such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"";
        value.report(Code::BadAddress, format!("\"{text}\" is not an address to listen on"), "not an address", help);
    }
    address
}

/// The URL of a server.
pub(super) fn url(value: &Value<'_>) -> Option<Uri> {
    const HELP: &str = "such as \"http://127.0.0.1:9013\" or \"https://dm.example.com/dm\"";
    let text = value.text()?;
    if text.contains('@') {
        value.report_hidden(
            Code::UrlCredentials,
            "a URL may not hold a user name or a password",
            "credentials before the `@`",
            "policies are shown and logged; let the server trust protover's certificate instead (`client_certificate`, `client_key`)",
        );
        return None;
    }
    let Ok(url) = text.parse::<Uri>() else {
        value.report(Code::BadUrl, "this is not a URL", "cannot be read", HELP);
        return None;
    };
    let wrong = match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.host().is_empty() => "no host",
        (Some("http" | "https"), Some(authority))
            if authority.port().is_some() && authority.port_u16().is_none_or(|port| port == 0) =>
        {
            "not a port"
        }
        (Some("http" | "https"), Some(_)) if url.query().is_some() => "a query; that of the request is kept",
        (Some("http" | "https"), Some(_)) => return Some(url),
        (Some(_), _) => "neither http nor https",
        (None, _) => "no http:// or https:// in front",
    };
    value.report(Code::BadUrl, "this is not the URL of a server", wrong, HELP);
    None
}

/// A percentage in hundredths: `12.5%` is 1250.
pub(super) fn share(value: &Value<'_>) -> Option<u16> {
    const HELP: &str = "such as \"10%\" or \"0.25%\", with at most two decimals";
    let text = value.text()?;
    let share = text.strip_suffix('%').map(str::trim).and_then(hundredths).filter(|share| *share <= 10_000);
    if share.is_none() {
        value.report(Code::BadShare, format!("\"{text}\" is not a share"), "not a percentage", HELP);
    }
    share
}

/// `12.5` is 1250.
fn hundredths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let tens = if part.len() == 1 { 10 } else { 1 };
    whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part.parse::<u16>().ok()? * tens)
}

/// A host as [`crate::policy::site::Policies::site`] compares it: lower case, without the brackets of IPv6.
pub(super) fn host(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let wrong = |label: &str| {
        let help = "a name such as \"dm.example.com\", \"*.example.com\" for all below, \"*\" for any, or an IP address";
        value.report(Code::BadHost, format!("\"{text}\" is not a host"), label, help);
        None
    };
    if text.contains("://") || text.contains('/') {
        return wrong("a URL; only the host belongs here");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_string().into());
    }
    if text.contains(':') {
        return wrong("a port; the port is never compared");
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = if name == "*" { "" } else { name.strip_prefix("*.").unwrap_or(name) };
    if labels.contains('*') {
        return wrong("`*` stands alone, or for the first part of a name");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name != "*" && (labels.split('.').any(str::is_empty) || !labels.bytes().all(allowed)) {
        return wrong("not the name of a host (write international names in their xn-- form)");
    }
    Some(name.to_ascii_lowercase().into())
}

/// Addresses of one network: `10.0.0.0/8`, or one address.
pub(super) fn network(value: &Value<'_>) -> Option<IpNet> {
    let text = value.text()?;
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if network.is_none() {
        let help = "an address or a network, such as \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";
        value.report(Code::BadNetwork, format!("\"{text}\" is not a network"), "not a network", help);
    }
    network.map(|network| network.trunc())
}

/// The SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it or without colons.
pub(super) fn fingerprint(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let digits: String = text.chars().filter(|digit| *digit != ':').map(|digit| digit.to_ascii_lowercase()).collect();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(digits.into());
    }
    let help = "64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in client.pem` prints them";
    value.report(Code::BadFingerprint, "this is not the SHA-256 of a certificate", "not a fingerprint", help);
    None
}

/// A prefix of paths, without a slash at its end.
pub(super) fn path(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let wrong = match text {
        _ if !text.starts_with('/') => "it begins with `/`",
        _ if text.contains(['?', '#', '*']) => "a prefix; no query, no `*`",
        _ if text.contains(char::is_whitespace) => "no spaces",
        _ => {
            let trimmed = text.trim_end_matches('/');
            return Some(if trimmed.is_empty() { "/" } else { trimmed }.into());
        }
    };
    value.report(Code::BadPath, format!("\"{text}\" is not a path"), wrong, "such as \"/\" or \"/dm\"");
    None
}
