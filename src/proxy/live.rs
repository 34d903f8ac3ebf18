//! The policy in force, with connections to its servers. A request takes one snapshot and keeps to
//! it, however often the policy is reloaded meanwhile.

use std::{io, sync::Arc};

use crate::{
    policy::site::{Limits, Policies, Settings, Site},
    secrets::Secrets,
    syncml::version::VersionTable,
    upstream::Upstream,
};

/// A snapshot of the policy.
#[derive(Debug)]
pub struct Live {
    policies: Policies,
    sites: Vec<Arc<LiveSite>>,
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
    /// Makes a policy ready to be used. Servers that `before` has too keep their connections.
    ///
    /// # Errors
    /// When a PEM file of a server, or a file with secrets, cannot be used.
    pub fn new(policies: Policies, before: Option<&Self>) -> io::Result<Self> {
        let known: Vec<&Upstream> = before.iter().flat_map(|live| &live.sites).flat_map(|site| &site.upstreams).collect();
        let upstream = |server| match known.iter().find(|upstream| upstream.server() == server) {
            Some(upstream) => Ok((*upstream).clone()),
            None => Upstream::new(server),
        };
        let sites = policies.sites.iter().map(|site| {
            let upstreams = site.servers.iter().map(upstream).collect::<io::Result<_>>()?;
            let secrets = site.secrets.as_deref().map(Secrets::load).transpose()?;
            Ok(Arc::new(LiveSite { site: Arc::clone(site), upstreams, secrets }))
        });
        let sites = sites.collect::<io::Result<_>>()?;
        Ok(Self { policies, sites })
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
        let site = self.policies.site(host, path)?;
        self.sites.iter().find(|live| Arc::ptr_eq(&live.site, site))
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

impl LiveSite {
    /// The server at an index of the policy; the first when there is none.
    #[must_use]
    pub fn upstream(&self, index: usize) -> Option<&Upstream> {
        self.upstreams.get(index).or_else(|| self.upstreams.first())
    }
}
