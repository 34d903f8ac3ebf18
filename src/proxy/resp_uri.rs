//! RespURI: where a server wants the next message of a session (OMA-TS-SyncML-RepPro-V1_2_2, "RespURI").
//!
//! Devices go where it says, so one with the server's own address would lead them past protover. It is
//! rewritten to the address that the device uses, with the server's name in the path:
//! `https://dm.example.com/~dm11/session?id=1` is `/session?id=1` at the server `dm11`. What follows the name
//! is the server's, byte for byte, so no store is needed to find the way back. Only a path that the policy
//! does not open to devices, one that is not below the paths of the server's URL and of the site, is kept in
//! the store under a token: a device reaches it when the server has named it, and not otherwise. A RespURI
//! that leads back to protover as it is stays as it is.

use std::borrow::Cow;

use fluent_uri::{Uri as Base, UriRef};
use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};
use sha2::{Digest, Sha256};

use super::Live;
use crate::{
    policy::site::{HostHeader, RespUri, Server, Site},
    upstream,
};

/// Before the server's name: it is addressed by the URL of the policy.
const BY_ITS_OWN: &str = "/~";
/// The same for a server that takes the host that the device uses for its own.
const BY_THE_DEVICES: &str = "/~~";
/// Hexadecimal digits of a token.
const TOKEN: usize = 16;

/// What a request's target says of a RespURI that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The server that gave it, as an index.
    pub server: usize,
    /// Whether the server takes the host that the device uses for its own.
    pub by_the_devices: bool,
    /// Where at the server.
    pub place: Place,
}

/// Where at a server a RespURI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind the paths of the server's URL and of the site: the rest of path and query.
    Below(Box<str>),
    /// Elsewhere; the store knows path and query under this token.
    Kept(Box<str>),
    /// Elsewhere: path and query, as the store knew them.
    At(Box<str>),
}

/// Finds a server's name in a request's target.
#[must_use]
pub(super) fn find(site: &Site, target: &PathAndQuery) -> Option<Given> {
    let rest = tilde(target.as_str().strip_prefix(site.path.trim_end_matches('/'))?.strip_prefix('/')?)?;
    let (by_the_devices, rest) = tilde(rest).map_or((false, rest), |rest| (true, rest));
    let (name, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let rewrites = |server: &Server| server.resp_uri == RespUri::Rewrite && segment(server) == name;
    let server = site.servers.iter().position(|server| rewrites(server))?;
    let token = rest.strip_prefix('/').and_then(tilde).filter(|token| token.len() == TOKEN);
    let place = token.map_or_else(|| Place::Below(rest.into()), |token| Place::Kept(token.into()));
    Some(Given { server, by_the_devices, place })
}

/// What follows a tilde, which some clients escape.
fn tilde(text: &str) -> Option<&str> {
    ["~", "%7E", "%7e"].into_iter().find_map(|tilde| text.strip_prefix(tilde))
}

/// A server's name in a path.
fn segment(server: &Server) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if server.name.bytes().all(plain) {
        return Cow::Borrowed(&server.name);
    }
    Cow::Owned(token(&server.name))
}

/// Stands for a text that cannot stand for itself: the beginning of its SHA-256.
fn token(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(TOKEN / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// A request, as both sides know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// How the device reached protover: `http` or `https`.
    pub(super) scheme: &'a str,
    /// The host that it addressed, with the port when it gave one.
    pub(super) host: &'a str,
    /// What it asked for.
    pub(super) target: &'a PathAndQuery,
    /// The policy in force for the request.
    pub(super) live: &'a Live,
    pub(super) site: &'a Site,
    /// The server that answered.
    pub(super) server: usize,
    /// Where the request was sent, and what was asked for there.
    pub(super) address: &'a upstream::Address,
    pub(super) sent: &'a PathAndQuery,
}

/// What a RespURI becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// The address for the device.
    pub(super) uri: String,
    /// What the store has to keep for it: a token, and the path and query it stands for.
    pub(super) keep: Option<(String, String)>,
}

/// An address in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    scheme: String,
    authority: Authority,
    path_and_query: String,
}

impl Address {
    fn is_at(&self, scheme: &str, authority: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme) && same_authority(self.authority.as_str(), authority, scheme)
    }

    /// Whether it means the host of a URL. Servers do not know how they are reached: the scheme says
    /// nothing, and a port only where both have one.
    fn means(&self, url: &Uri) -> bool {
        let ours = &self.authority;
        url.host().is_some_and(|host| host.eq_ignore_ascii_case(ours.host()))
            && ours.port_u16().zip(url.port_u16()).is_none_or(|(ours, theirs)| ours == theirs)
    }
}

/// The same host and port, whether a port that goes without saying is said or not.
fn same_authority(a: &str, b: &str, scheme: &str) -> bool {
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let [a, b] = [a, b].map(|authority| authority.strip_suffix(default).unwrap_or(authority));
    a.eq_ignore_ascii_case(b)
}

/// A reference that was read: nothing in it depends on where it stands, or only a path and a query are there.
enum Reference<'a> {
    /// With a scheme.
    Absolute(Address),
    /// `//` and what follows.
    Network(&'a str),
    Relative(&'a str),
}

impl<'a> Reference<'a> {
    fn read(given: &'a str) -> Option<Self> {
        let given = given.trim().split('#').next().unwrap_or_default();
        // A scheme stands before the first slash; one in a query is none.
        let (head, rest) = given.split_at(given.find(['/', '?']).unwrap_or(given.len()));
        match (head, rest.starts_with("//")) {
            ("", true) => Some(Self::Network(given)),
            (head, true) if head.ends_with(':') => absolute(given).map(Self::Absolute),
            _ => Some(Self::Relative(given)),
        }
    }

    /// Resolves it as RFC 3986, section 5.2, has it, but leaves every byte of a query as it is.
    fn resolve(&self, scheme: &str, authority: &str, base: &PathAndQuery) -> Option<Cow<'_, Address>> {
        let given = match self {
            Self::Absolute(address) => return Some(Cow::Borrowed(address)),
            Self::Network(given) => return absolute(&format!("{scheme}:{given}")).map(Cow::Owned),
            Self::Relative(given) => given,
        };
        let (path, query) = given.split_at(given.find('?').unwrap_or(given.len()));
        let path = if path.is_empty() { base.path().to_owned() } else { without_dots(path, base.path())? };
        let (scheme, authority, path_and_query) = (scheme.to_owned(), authority.parse().ok()?, path + query);
        Some(Cow::Owned(Address { scheme, authority, path_and_query }))
    }
}

/// An address with a scheme.
fn absolute(uri: &str) -> Option<Address> {
    let uri: Uri = uri.parse().ok()?;
    let path_and_query = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    Some(Address {
        scheme: uri.scheme_str()?.to_ascii_lowercase(),
        authority: uri.authority()?.clone(),
        path_and_query: without_dots(path, "/")? + query,
    })
}

/// A path as it is seen from another one, without dot segments.
fn without_dots(path: &str, base: &str) -> Option<String> {
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if path.starts_with('/') && !dots {
        // Nothing to resolve, so it need not be all by the book either.
        return Some(path.to_owned());
    }
    let base = format!("http://base{base}");
    let path = UriRef::parse(path).ok().filter(|path| path.scheme().is_none())?;
    let resolved = path.resolve_against(&Base::parse(base.as_str()).ok()?).ok()?;
    Some(resolved.path().as_str().to_owned())
}

/// Why a RespURI that leads past protover is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// It cannot be read.
    NoAddress,
    /// It is of a host that is none of the site's servers.
    Elsewhere,
}

impl Past {
    /// In a few words, for the record.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::NoAddress => "it is no address",
            Self::Elsewhere => "it is of another host",
        }
    }
}

/// What a device has to be told instead of a RespURI. `None` when it may stay as it is: it leads to
/// protover, and from there to the right place.
///
/// # Errors
/// When it leads past protover, and what it should be is not known.
pub(super) fn rewrite(given: &str, way: &Way<'_>) -> Result<Option<Rewritten>, Past> {
    let asked = way.site.servers.get(way.server).ok_or(Past::NoAddress)?;
    let keeps = asked.host == HostHeader::Keep && !way.host.is_empty();
    let own = if keeps { way.host } else { way.address.authority().as_str() };
    // What the server means: itself, by either of its names, or another server of the site.
    let reference = Reference::read(given).ok_or(Past::NoAddress)?;
    let meant = reference.resolve(way.address.scheme(), own, way.sent).ok_or(Past::NoAddress)?;
    let by_url = |server: &Server| server.urls().any(|url| meant.means(url));
    let other = || way.site.servers.iter().enumerate().find(|(index, server)| *index != way.server && by_url(server));
    let server = if by_url(asked) { Some(way.server) } else { other().map(|(index, _)| index) };
    let (server, by_the_devices) = match server {
        Some(server) => (server, false),
        None if same_authority(meant.authority.as_str(), way.host, &meant.scheme)
            || same_authority(meant.authority.as_str(), way.host, way.scheme) =>
        {
            (way.server, true)
        }
        None => return Err(Past::Elsewhere),
    };
    let meant_server = way.site.servers.get(server).ok_or(Past::NoAddress)?;
    let site_path = way.site.path.trim_end_matches('/');
    let below = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?'])).map(str::to_owned)
    };
    // As a device may ask for it; and behind the site's path.
    let asked_for = below(&meant.path_and_query, meant_server.url.path().trim_end_matches('/'));
    let open = asked_for.as_ref().and_then(|path| below(path, site_path));

    // Where the device would go by itself, and what would become of that.
    let goes = reference.resolve(way.scheme, way.host, way.target);
    let comes_back = goes.filter(|goes| goes.is_at(way.scheme, way.host)).is_some_and(|goes| {
        let path = goes.path_and_query.split('?').next().unwrap_or_default();
        let same_site = way.live.site(way.host, path).is_some_and(|live| live.site.name == way.site.name);
        let same_place = asked_for.as_ref() == Some(&goes.path_and_query);
        server == way.server && same_site && same_place
    });
    if comes_back {
        return Ok(None);
    }

    let mark = if by_the_devices { BY_THE_DEVICES } else { BY_ITS_OWN };
    let base = format!("{}://{}{site_path}{mark}", way.scheme, way.host);
    let name = segment(meant_server);
    Ok(Some(match open.filter(|open| !open.starts_with(BY_ITS_OWN)) {
        Some(open) => Rewritten { uri: format!("{base}{name}{open}"), keep: None },
        None => {
            let token = token(&format!("{} {}", meant_server.name, meant.path_and_query));
            Rewritten { uri: format!("{base}{name}{BY_ITS_OWN}{token}"), keep: Some((token, meant.into_owned().path_and_query)) }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Source, compile};

    fn live(site: &str, servers: &[(&str, &str)]) -> Live {
        let servers: String =
            servers.iter().map(|(name, rest)| format!("[[server]]\nname = \"{name}\"\nspeaks = [\"1.2\"]\n{rest}\n")).collect();
        let sources = [
            ("proxy.toml", "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned()),
            ("a.toml", format!("[site]\nname = \"a\"\nhosts = [\"dm.example\"]\n{site}\n{servers}")),
        ];
        let sources = sources.map(|(name, text)| Source { name: name.into(), text });
        Live::new(compile(&sources).policies.expect("a policy"), None).expect("no TLS")
    }

    /// What `given` becomes for a device at `target`, and where its next request then goes.
    fn there_and_back(live: &Live, scheme: &str, target: &str, given: &str) -> String {
        let site = live.site("dm.example", "/dm").expect("the site");
        let target: PathAndQuery = target.parse().expect("a target");
        let address = site.upstreams[0].choose(None, &[]).expect("an address");
        let sent = address.target(&target).expect("a target");
        let (host, site) = ("dm.example", &*site.site);
        let way = Way { scheme, host, target: &target, live, site, server: 0, address: &address, sent: &sent };
        let rewritten = match rewrite(given, &way) {
            Ok(Some(rewritten)) => rewritten,
            Ok(None) => return "stays".to_owned(),
            Err(past) => return past.reason().to_owned(),
        };
        let uri: Uri = rewritten.uri.parse().expect("an address");
        assert_eq!(uri.authority().expect("absolute"), "dm.example");
        assert_eq!(uri.scheme_str(), Some(scheme));
        let found = find(site, uri.path_and_query().expect("a path")).expect("leads back");
        let kept = rewritten.keep;
        let place = match &found.place {
            Place::Below(rest) => format!("below {rest}"),
            Place::Kept(token) => {
                let (stored, path) = kept.expect("something to keep");
                assert_eq!(**token, stored);
                format!("kept {path}")
            }
            Place::At(path) => format!("at {path}"),
        };
        let server = &site.servers[found.server].name;
        format!("{server}{} {place}", if found.by_the_devices { " by the device's host" } else { "" })
    }

    #[test]
    fn what_leads_past_protover_comes_back_to_the_same_place() {
        let plain = live("", &[("dm11", "url = \"http://10.0.0.1:9011\""), ("other", "url = \"https://b.example/x\"")]);
        for (scheme, given, expected) in [
            ("http", "http://10.0.0.1:9011/session/1?Sct=a%2Fb&x=1;y|z", "dm11 below /session/1?Sct=a%2Fb&x=1;y|z"),
            ("https", "http://10.0.0.1:9011/", "dm11 below /"),
            ("https", "http://10.0.0.1:9011?x", "dm11 below /?x"),
            ("http", "https://B.example:443/x/y", "other below /y"),
            // Servers do not know how they are reached.
            ("http", "http://b.example/x/y", "other below /y"),
            ("http", "https://10.0.0.1:9011/x", "dm11 below /x"),
            ("http", "http://10.0.0.1:9012/x", "it is of another host"),
            ("http", "http://10.0.0.1:9011/a/../b/./c?d=../e", "dm11 below /b/c?d=../e"),
            ("http", "s?u=http://x/y", "stays"),
            ("http", "https://b.example/elsewhere?q", "other kept /elsewhere?q"),
            // The server sees the device's host, and believes that it is reached without TLS.
            ("https", "http://dm.example/session/1", "dm11 by the device's host below /session/1"),
            ("http", "http://dm.example/session/1", "stays"),
            ("http", "http://DM.example:80/session/1", "stays"),
            ("http", "/session/1?x", "stays"),
            ("http", "?x=1", "stays"),
            ("http", "next/1", "stays"),
            ("http", "http://elsewhere.example/", "it is of another host"),
            ("http", "http://10.0.0.1:9011/a b", "it is no address"),
            ("http", "mailto:x", "it is no address"),
        ] {
            assert_eq!(there_and_back(&plain, scheme, "/dm/start?a=1", given), expected, "{scheme} {given}");
        }
    }

    #[test]
    fn paths_of_server_and_site_are_taken_into_account() {
        // The server's path stands before the device's; the server knows nothing of that.
        let prefixed = live("path = \"/dm\"", &[("dm11", "url = \"http://10.0.0.1/servlet\"\nhost = \"rewrite\"")]);
        for (given, expected) in [
            ("session/2?x", "stays"),
            ("/servlet/dm/session?x", "dm11 below /session?x"),
            ("/servlet/dm?x", "dm11 below ?x"),
            // Devices may not ask for these by themselves.
            ("/servlet/session?x", "dm11 kept /servlet/session?x"),
            ("/servlet/dmx", "dm11 kept /servlet/dmx"),
            ("/servlet?x", "dm11 kept /servlet?x"),
            ("/servlets?x", "dm11 kept /servlets?x"),
            ("/other/~abc", "dm11 kept /other/~abc"),
            ("/servlet/dm/~0123456789abcdef", "dm11 kept /servlet/dm/~0123456789abcdef"),
            ("../session/./2", "dm11 kept /servlet/session/2"),
            ("http://10.0.0.1:80/servlet/dm/1", "dm11 below /1"),
            ("http://dm.example/dm/1", "dm11 by the device's host kept /dm/1"),
        ] {
            assert_eq!(there_and_back(&prefixed, "http", "/dm/start", given), expected, "{given}");
        }
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_path_is_hashed() {
        let odd = live("", &[("the old / server?", "url = \"http://10.0.0.1\"")]);
        assert_eq!(there_and_back(&odd, "http", "/dm", "http://10.0.0.1/x"), "the old / server? below /x");
    }

    #[test]
    fn other_targets_say_nothing() {
        let live = live("", &[("dm11", "url = \"http://10.0.0.1\"")]);
        let site = &live.site("dm.example", "/").expect("the site").site;
        for target in ["/", "/~", "/~none/x", "/dm/~dm11/x", "/~dm111/x", "*"] {
            assert_eq!(find(site, &target.parse().expect("a target")), None, "{target}");
        }
        let given = |target: &str| find(site, &target.parse().expect("a target")).expect("a name").place;
        assert_eq!(given("/~dm11"), Place::Below("".into()));
        assert_eq!(given("/~dm11?x"), Place::Below("?x".into()));
        assert_eq!(given("/~dm11/~0123"), Place::Below("/~0123".into()));
        assert_eq!(given("/%7Edm11/x"), Place::Below("/x".into()), "some clients escape it");
    }
}
