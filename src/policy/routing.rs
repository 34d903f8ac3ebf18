//! Host and path to a site.

use std::sync::Arc;

use super::site::{Policies, Site};

impl Policies {
    /// The site for a host, as it was sent (with a port, brackets, a dot at the end, in any case), and a
    /// path without its query.
    ///
    /// The host is looked up first, as itself, then by the longest `*.suffix`, then as `*`; among the
    /// sites of that host the longest prefix of the path decides. When none of them has the path, no
    /// other host is tried: a request never reaches a site that its host does not name best.
    #[must_use]
    pub fn site(&self, host: &str, path: &str) -> Option<&Arc<Site>> {
        let host = bare(host);
        let best = self.sites.iter().flat_map(|site| &site.hosts).filter_map(|pattern| rank(pattern, host)).max()?;
        let of_host = self.sites.iter().filter(|site| site.hosts.iter().any(|pattern| rank(pattern, host) == Some(best)));
        of_host.filter(|site| is_prefix(&site.path, path)).max_by_key(|site| site.path.len())
    }
}

/// A host without port, brackets and the dot at its end.
fn bare(host: &str) -> &str {
    let host = host.trim();
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    let name = match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// How well a pattern names a host: exactly best, then the longer suffix, then `*`.
fn rank(pattern: &str, host: &str) -> Option<usize> {
    if pattern == "*" {
        return Some(0);
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        // Something stands before the dot.
        let start = host.len().checked_sub(suffix.len()).filter(|start| *start > 0)?;
        return host.get(start..).filter(|end| end.eq_ignore_ascii_case(suffix)).map(|_| suffix.len());
    }
    let same = pattern.eq_ignore_ascii_case(host) || is_same_address(pattern, host);
    same.then_some(usize::MAX)
}

/// IPv6 addresses can be written in many ways.
fn is_same_address(pattern: &str, host: &str) -> bool {
    let address = |text: &str| text.contains(':').then(|| text.parse::<std::net::Ipv6Addr>().ok()).flatten();
    address(pattern).is_some_and(|pattern| address(host) == Some(pattern))
}

/// Whether a path is a prefix, or what follows it begins a new segment.
fn is_prefix(prefix: &str, path: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
