//! Host and path to a site.

use core::net::Ipv6Addr;
use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::site::{Policies, Site};

/// The sites by their hosts, so that a thousand of them cost a request no more than one.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    /// By a whole name or address, and by what follows the `*` of `*.suffix`.
    exact: HashMap<Box<str>, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
    any: Vec<usize>,
    /// The length of the longest suffix: nothing longer is looked up, however many dots a client sends.
    longest: usize,
}

impl Routes {
    pub(super) fn of(sites: &[Arc<Site>]) -> Self {
        let mut routes = Self::default();
        for (at, site) in sites.iter().enumerate() {
            for pattern in &site.hosts {
                let of_host = match pattern.strip_prefix('*') {
                    Some("") => &mut routes.any,
                    Some(suffix) => {
                        routes.longest = routes.longest.max(suffix.len());
                        routes.below.entry(suffix.into()).or_default()
                    }
                    None => routes.exact.entry(pattern.clone()).or_default(),
                };
                of_host.push(at);
            }
        }
        routes
    }

    /// The sites of the pattern that names a host best.
    fn of_host(&self, host: &str) -> &[usize] {
        let host = canonical(host);
        // An address is not below anything.
        let below = || if host.contains(':') { None } else { self.below(&host) };
        self.exact.get(&*host).or_else(below).unwrap_or(&self.any)
    }

    /// Those of the longest suffix. Something stands before its dot.
    fn below(&self, host: &str) -> Option<&Vec<usize>> {
        let first = host.len().saturating_sub(self.longest).max(1);
        let dots = host.bytes().enumerate().skip(first).filter(|(_, byte)| *byte == b'.');
        dots.map(|(at, _)| at).find_map(|at| self.below.get(host.get(at..)?))
    }
}

impl Policies {
    /// The site for a host, as it was sent (with a port, brackets, a dot at the end, in any case), and a
    /// path without its query: its index in `sites`.
    ///
    /// The host is looked up first, as itself, then by the longest `*.suffix`, then as `*`; among the
    /// sites of that host the longest prefix of the path decides. When none of them has the path, no
    /// other host is tried: a request never reaches a site that its host does not name best.
    #[must_use]
    pub fn site(&self, host: &str, path: &str) -> Option<usize> {
        let prefix = |at: &usize| self.sites.get(*at).map(|site| &*site.path);
        let of_host = self.routes.of_host(bare(host)).iter().copied();
        of_host.filter(|at| prefix(at).is_some_and(|prefix| is_prefix(prefix, path))).max_by_key(|at| prefix(at).map(str::len))
    }
}

impl Site {
    /// Whether a host is one of the site's. A site for any host claims none.
    #[must_use]
    pub fn is_at(&self, host: &str) -> bool {
        let host = canonical(bare(host));
        self.hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some("") => false,
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|before| !before.is_empty()),
            None => **pattern == *host,
        })
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

/// A host as policies have it: IPv6 addresses can be written in many ways, and names in any case.
fn canonical(host: &str) -> Cow<'_, str> {
    if host.contains(':')
        && let Ok(address) = host.parse::<Ipv6Addr>()
    {
        return Cow::Owned(address.to_string());
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
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
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::policy::{Source, compile};

    fn policies(sites: &[(String, &str, &str)]) -> Policies {
        let mut sources =
            vec![Source { name: "proxy.toml".into(), text: "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".into() }];
        sources.extend(sites.iter().map(|(name, host, path)| Source {
            name: format!("{name}.toml"),
            text: format!(
                "[site]\nname = \"{name}\"\nhosts = [\"{host}\"]\npath = \"{path}\"\n[[server]]\nname = \"s\"\nurl = \"http://a\"\nspeaks = [\"1.2\"]\n"
            ),
        }));
        compile(&sources).policies.expect("valid")
    }

    #[test]
    fn the_host_is_found_first_and_then_the_longest_path() {
        let site = |name: &str, host: &'static str, path: &'static str| (name.to_owned(), host, path);
        let policies = policies(&[
            site("any", "*", "/"),
            site("exact", "dm.a.example", "/"),
            site("exact-dm", "dm.a.example", "/dm"),
            site("exact-dm-x", "dm.a.example", "/dm/x/"),
            site("below", "*.example", "/"),
            site("below-a", "*.a.example", "/only"),
            site("six", "[2001:db8::1]", "/"),
            site("four", "192.0.2.1", "/"),
        ]);
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
            let found = policies.site(host, path).map_or("-", |at| &policies.sites[at].name);
            assert_eq!(found, expected, "{host} {path}");
        }
    }

    #[test]
    fn a_host_of_many_dots_costs_no_more_than_another() {
        let policies = policies(&[("below".to_owned(), "*.example", "/")]);
        let host = format!("{}example", "a.".repeat(16_000));
        let began = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(policies.site(&host, "/"), Some(0));
            assert_eq!(policies.site(&host[..host.len() - 1], "/"), None);
        }
        // With a look at each of them it would be minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }

    proptest! {
        /// By the words of [`Policies::site`], without an index.
        #[test]
        fn looking_through_all_of_them_finds_the_same(
            sites in vec((select(vec!["a", "b.a", "*.a", "*.b.a", "*"]), select(vec!["/", "/x", "/x/y", "/z"])), 1..9),
            labels in vec(select(vec!["a", "B", "b", "c", ""]), 1..5),
            path in select(vec!["/", "/x", "/x/", "/x/y/w", "/xy", "*"]),
        ) {
            let mut known: Vec<(String, &str, &str)> = Vec::new();
            for (host, path) in sites {
                if !known.iter().any(|(_, others, at)| (host, path) == (*others, *at)) {
                    known.push((format!("s{}", known.len()), host, path));
                }
            }
            let host = labels.join(".");
            let name = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
            let rank = |pattern: &str| match pattern.strip_prefix('*') {
                Some(suffix) => (suffix.is_empty() || name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
                None => (pattern == name).then_some(usize::MAX),
            };
            let best = known.iter().filter_map(|(_, host, _)| rank(host)).max();
            let of_host = known.iter().filter(|(_, host, _)| best.is_some() && rank(host) == best);
            let longest = of_host.filter(|(_, _, prefix)| is_prefix(prefix, path)).max_by_key(|(_, _, prefix)| prefix.len());
            let policies = policies(&known);
            let found = policies.site(&host, path).map(|at| policies.sites[at].name.to_string());
            prop_assert_eq!(found, longest.map(|(name, ..)| name.clone()));
        }
    }
}
