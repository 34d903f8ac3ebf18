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

impl Site {
    /// Whether a host is one of the site's. A site for any host claims none.
    #[must_use]
    pub fn is_at(&self, host: &str) -> bool {
        let host = bare(host);
        !host.is_empty() && self.hosts.iter().any(|pattern| rank(pattern, host).is_some_and(|rank| rank > 0))
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
    let address = |text: &str| text.contains(':').then(|| text.parse::<core::net::Ipv6Addr>().ok()).flatten();
    address(pattern).is_some_and(|pattern| address(host) == Some(pattern))
}

/// Whether a path is a prefix, or what follows it begins a new segment.
fn is_prefix(prefix: &str, path: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use crate::policy::{Source, compile};

    #[test]
    fn the_host_is_found_first_and_then_the_longest_path() {
        let site = |name: &str, host: &str, path: &str| Source {
            name: format!("{name}.toml"),
            text: format!(
                "[site]\nname = \"{name}\"\nhosts = [\"{host}\"]\npath = \"{path}\"\n[[server]]\nname = \"s\"\nurl = \"http://a\"\nspeaks = [\"1.2\"]\n"
            ),
        };
        let process = "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned();
        let policies = compile(&[
            Source { name: "proxy.toml".into(), text: process },
            site("any", "*", "/"),
            site("exact", "dm.a.example", "/"),
            site("exact-dm", "dm.a.example", "/dm"),
            site("exact-dm-x", "dm.a.example", "/dm/x/"),
            site("below", "*.example", "/"),
            site("below-a", "*.a.example", "/only"),
            site("six", "[2001:db8::1]", "/"),
            site("four", "192.0.2.1", "/"),
        ]);
        let policies = policies.policies.expect("valid");
        for (host, path, expected) in [
            ("dm.a.example", "/", "exact"),
            ("DM.A.Example.:8080", "/", "exact"),
            ("dm.a.example", "/dm", "exact-dm"),
            ("dm.a.example", "/dm/", "exact-dm"),
            ("dm.a.example", "/dmx", "exact"),
            ("dm.a.example", "/dm/x", "exact-dm-x"),
            ("dm.a.example", "/dm/x/y", "exact-dm-x"),
            ("dm.a.example", "/dm/xy", "exact-dm"),
            ("dm.a.example", "*", "exact"),
            ("x.example", "/", "below"),
            ("x.y.example", "/", "below"),
            ("example", "/", "any"),
            (".example", "/", "any"),
            ("x.a.example", "/only/this", "below-a"),
            // Its host names that site best, and that site does not have the path.
            ("x.a.example", "/", "-"),
            ("other", "/", "any"),
            ("", "/", "any"),
            ("[2001:DB8:0::1]:443", "/", "six"),
            ("2001:db8::1", "/", "six"),
            ("[2001:db8::2]", "/", "any"),
            ("192.0.2.1:80", "/", "four"),
        ] {
            let found = policies.site(host, path).map_or("-", |site| &site.name);
            assert_eq!(found, expected, "{host} {path}");
        }
    }
}
