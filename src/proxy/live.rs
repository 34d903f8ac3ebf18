//! The policy in force, with connections to its servers. A request takes one snapshot and keeps to
//! it, however often the policy is reloaded meanwhile.

use std::{io, sync::Arc};

use super::pace::Paces;
use crate::{
    policy::site::{Limits, Policies, Server, Settings, Site},
    secrets::Secrets,
    syncml::version::VersionTable,
    upstream::Upstream,
};

/// A snapshot of the policy.
#[derive(Debug)]
pub struct Live {
    policies: Policies,
    sites: Vec<Arc<LiveSite>>,
    /// The push gateways, by the names of their listeners.
    gateways: Vec<Upstream>,
    /// How often addresses and devices may come.
    paces: Arc<Paces>,
}

/// A site and the connections to its servers.
#[derive(Debug)]
pub struct LiveSite {
    /// Its policy.
    pub site: Arc<Site>,
    /// Its servers, in the order of the policy.
    pub upstreams: Vec<Upstream>,
    /// The passwords of its server and clients.
    pub secrets: Option<Secrets>,
}

impl Live {
    /// Makes a policy ready to be used. Servers that `before` has too, in the same site, keep their connections
    /// and what is known of their addresses.
    ///
    /// # Errors
    /// When a PEM file of a server, or a file with secrets, cannot be used.
    pub fn new(policies: Policies, before: Option<&Self>) -> io::Result<Self> {
        let sites = policies.sites.iter().map(|site| {
            // Those of the same site only, so that what is counted for a server is its own.
            let old = before.iter().flat_map(|live| &live.sites).find(|old| old.site.name == site.name);
            let known = old.map_or(&[][..], |old| &old.upstreams);
            let upstreams = site.servers.iter().map(|server| kept_or_new(server, known)).collect::<io::Result<_>>()?;
            let secrets = site.secrets.as_deref().map(Secrets::load).transpose()?;
            Ok(Arc::new(LiveSite { site: Arc::clone(site), upstreams, secrets }))
        });
        let sites = sites.collect::<io::Result<_>>()?;
        let known = before.map_or(&[][..], |live| &live.gateways);
        let gateways = policies.settings.listeners.iter().filter_map(|listener| {
            let url = listener.gateway.clone()?;
            Some(kept_or_new(&Arc::new(Server::gateway(&listener.name, url)), known))
        });
        let gateways = gateways.collect::<io::Result<_>>()?;
        let paces = Paces::new(&policies.settings.limits, before.map(|before| &before.paces));
        Ok(Self { policies, sites, gateways, paces })
    }

    /// Whether the sites are the same, to the letter.
    #[must_use]
    pub fn has_the_sites_of(&self, other: &Self) -> bool {
        let digests = |live: &Self| live.sites.iter().map(|live| live.site.digest.clone()).collect::<Vec<_>>();
        digests(self) == digests(other)
    }

    /// The site for a host and path.
    #[must_use]
    pub fn site(&self, host: &str, path: &str) -> Option<&Arc<LiveSite>> {
        self.sites.get(self.policies.site(host, path)?)
    }

    /// Every site, in the order of the policies.
    #[must_use]
    pub fn sites(&self) -> &[Arc<LiveSite>] {
        &self.sites
    }

    /// The push gateways, in the order of their listeners.
    #[must_use]
    pub fn gateways(&self) -> &[Upstream] {
        &self.gateways
    }

    /// The push gateway behind a listener.
    #[must_use]
    pub fn gateway(&self, listener: &str) -> Option<&Upstream> {
        self.gateways.iter().find(|gateway| *gateway.server().name == *listener)
    }

    /// The site whose server has an identifier, as devices know it.
    #[must_use]
    pub fn site_of_server(&self, id: &str) -> Option<&Arc<LiveSite>> {
        let is = |live: &&Arc<LiveSite>| {
            live.secrets.as_ref().and_then(|secrets| secrets.server.as_ref()).is_some_and(|server| server.id == id)
        };
        self.sites.iter().find(is)
    }

    /// How often addresses and devices may come.
    #[must_use]
    pub const fn paces(&self) -> &Arc<Paces> {
        &self.paces
    }

    /// What clients and servers may take up.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.policies.settings.limits
    }

    /// How the process runs.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.policies.settings
    }

    /// The versions that protover knows.
    #[must_use]
    pub const fn versions(&self) -> &VersionTable {
        &self.policies.versions
    }
}

fn kept_or_new(server: &Arc<Server>, known: &[Upstream]) -> io::Result<Upstream> {
    match known.iter().find(|upstream| upstream.server() == server) {
        Some(upstream) => Ok(upstream.clone()),
        None => Upstream::new(server),
    }
}

impl LiveSite {
    /// The server at an index of the policy; the first when there is none.
    #[must_use]
    pub fn upstream(&self, index: usize) -> Option<&Upstream> {
        self.upstreams.get(index).or_else(|| self.upstreams.first())
    }
}
