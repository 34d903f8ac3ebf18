//! What is well-formed and yet wrong, or doubtful: sites that clash, rules that never match, servers
//! that never get a message.

use super::{
    compile::Read,
    diagnostic::{Code, Diagnostic},
    reason::Verdict,
    site::{ClientAuth, Settings, Speaks},
};

mod cover;

#[cfg(test)]
pub(super) use cover::covers;

/// What only shows with all sites side by side.
pub(super) fn across(sites: &[Read], settings: Option<&Settings>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (at, read) in sites.iter().enumerate() {
        for earlier in sites.iter().take(at) {
            clashes(earlier, read, &mut found);
        }
    }
    let asks = |settings: &Settings| {
        settings.listeners.iter().any(|listener| {
            // A proxy that is trusted may have asked.
            let told = !listener.trusted_proxies.is_empty() && !listener.proxy_protocol;
            told || listener.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::Off)
        })
    };
    if settings.is_some_and(|settings| !asks(settings)) {
        for read in sites {
            for (rule, places) in read.site.rules.iter().zip(&read.rules) {
                let Some(span) = &places.client_certificate else { continue };
                let title = format!("the rule \"{}\" never matches", rule.name);
                found.push(
                    Diagnostic::new(Code::NoClientCertificates, title)
                        .at(&read.source, span.clone(), "no listener asks clients for a certificate")
                        .help("add client_ca and client_auth to the `tls` of a listener"),
                );
            }
        }
    }
    found
}

fn clashes(earlier: &Read, later: &Read, found: &mut Vec<Diagnostic>) {
    let (a, b) = (&earlier.site, &later.site);
    if a.name == b.name {
        found.push(
            Diagnostic::new(Code::DuplicateName, format!("two sites are called \"{}\"", a.name))
                .at(&later.source, later.name.clone(), "taken")
                .at(&earlier.source, earlier.name.clone(), "by this one"),
        );
    }
    if a.path != b.path {
        return;
    }
    for (host, span) in b.hosts.iter().zip(&later.hosts) {
        let Some((_, first)) = a.hosts.iter().zip(&earlier.hosts).find(|(other, _)| *other == host) else { continue };
        found.push(
            Diagnostic::new(Code::HostClash, format!("two sites for the host \"{host}\" and the path \"{}\"", a.path))
                .at(&later.source, span.clone(), "again")
                .at(&earlier.source, first.clone(), "here")
                .help("give one of them another host or another `path`"),
        );
    }
}

/// What shows within a site.
pub(super) fn site(read: &Read) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (version, span) in &read.recommend {
        unspoken_recommendation(read, *version, span, &mut found);
    }
    for (at, (rule, places)) in read.site.rules.iter().zip(&read.rules).enumerate() {
        if let (Some(version), Some(span)) = (rule.then.recommend, &places.recommend) {
            unspoken_recommendation(read, version, span, &mut found);
        }
        cover::rule(read, at, &mut found);
        versions_of_rule(read, at, &mut found);
    }
    idle_servers(read, &mut found);
    found
}

fn unspoken_recommendation(
    read: &Read,
    version: crate::syncml::version::Version,
    span: &std::ops::Range<usize>,
    found: &mut Vec<Diagnostic>,
) {
    // What is found out by trial may speak it.
    if !read.site.supported(version.family()).contains(&version) && !read.site.tries() {
        found.push(
            Diagnostic::new(Code::RecommendsUnspoken, format!("no server here speaks the recommended {version}"))
                .at(&read.source, span.clone(), "devices that follow it would be bridged or refused")
                .help("recommend a version of `speaks`, or leave it out for the highest"),
        );
    }
}

/// Whether the servers of a rule speak what it sends them.
fn versions_of_rule(read: &Read, at: usize, found: &mut Vec<Diagnostic>) {
    let (Some(rule), Some(places)) = (read.site.rules.get(at), read.rules.get(at)) else { return };
    let servers = || {
        let servers = read.site.servers.iter().enumerate();
        servers.filter(|(index, _)| rule.then.server.is_none_or(|only| only == *index)).map(|(_, server)| server)
    };
    let speaks = |version| servers().any(|server| server.speaks(version, None) != Speaks::No);
    let whom = rule.then.server.and_then(|index| read.site.servers.get(index));
    let whom = whom.map_or_else(|| "no server here speaks".to_owned(), |server| format!("\"{}\" does not speak", server.name));
    if let (Some(to), Some(span)) = (rule.then.to, &places.to) {
        if !speaks(to) {
            found.push(
                Diagnostic::new(Code::BridgesToUnspoken, format!("the rule \"{}\" bridges to {to}", rule.name))
                    .at(&read.source, span.clone(), format!("{whom} it"))
                    .help("bridge to a version of `speaks`"),
            );
        }
        let versions = rule.when.version.as_deref().unwrap_or_default();
        if !versions.is_empty() && versions.iter().all(|version| version.family() != to.family()) {
            found.push(Diagnostic::new(Code::Contradiction, format!("the rule \"{}\" bridges to another family", rule.name)).at(
                &read.source,
                span.clone(),
                "DM and SyncML never become each other",
            ));
        }
    }
    let passes = matches!(rule.then.verdict, Some(Verdict::Pass | Verdict::Advise));
    for version in rule.when.version.iter().flatten().filter(|version| passes && !speaks(**version)) {
        let span = places.verdict.clone().unwrap_or_else(|| places.when.clone());
        found.push(
            Diagnostic::new(Code::PassesUnspoken, format!("the rule \"{}\" passes {version}", rule.name))
                .at(&read.source, span, format!("{whom} it"))
                .help("it will get the message all the same; \"bridge\" would translate it"),
        );
    }
}

/// Servers that are behind others in everything they take, and that no rule names.
fn idle_servers(read: &Read, found: &mut Vec<Diagnostic>) {
    for (at, (server, span)) in read.site.servers.iter().zip(&read.servers).enumerate() {
        let named = read.site.rules.iter().any(|rule| rule.then.server == Some(at));
        let taken = |version, encoding| read.site.servers.iter().take(at).any(|earlier| earlier.takes(version, encoding));
        let all = server.speaks.iter().all(|version| server.encodings.iter().all(|encoding| taken(*version, *encoding)));
        if at > 0 && !named && all && !server.speaks.is_empty() {
            found.push(
                Diagnostic::new(Code::IdleServer, format!("the server \"{}\" never gets a message", server.name))
                    .at(&read.source, span.clone(), "servers above it speak all that it speaks")
                    .help("the first that speaks the version gets the message; put it first, or name it in a rule"),
            );
        }
    }
}
