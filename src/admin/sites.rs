//! The policy in force, for people and scripts. There are no passwords in policies; the files that hold them
//! are named.

use serde_json::{Value, json};

use crate::{
    policy::{
        reason::Verdict,
        site::{Node, Rule, Server, Site, Unsupported},
    },
    proxy::Live,
    syncml::{header::Encoding, version::Version},
};

pub(super) fn json(live: &Live) -> String {
    let sites: Vec<Value> = live.sites().iter().map(|site| of(&site.site)).collect();
    format!("{}\n", Value::Array(sites))
}

fn names(versions: &[Version]) -> Vec<String> {
    versions.iter().map(Version::to_string).collect()
}

fn of(site: &Site) -> Value {
    let carriers = [
        (site.carriers.http_header, "http-header"),
        (site.carriers.status_item, "status-item"),
        (site.carriers.header_meta, "header-meta"),
        (site.carriers.account, "account"),
    ];
    let carriers: Vec<&str> = carriers.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect();
    json!({
        "name": *site.name,
        "policy": *site.digest,
        "hosts": site.hosts,
        "path": site.path,
        "mode": site.mode.code(),
        "strict": site.strict,
        "recommend": site.recommend.iter().flatten().map(Version::to_string).collect::<Vec<_>>(),
        "supported": names(&site.supported.concat()),
        "unsupported": match site.unsupported {
            Unsupported::Bridge => "bridge",
            Unsupported::Refuse => "refuse",
            Unsupported::Pass => "pass",
        },
        "carriers": carriers,
        "account": site.account.as_ref().map(|account| json!({
            "uri": account.uri,
            "account": match &account.node {
                Node::Discover => "discover",
                Node::Named(_) => "name",
                Node::Sha256 => "sha256",
            },
            "bootstrap": account.bootstrap,
        })),
        "secrets": site.secrets.as_ref().map(|path| path.display().to_string()),
        "servers": site.servers.iter().map(|server| server_of(server)).collect::<Vec<_>>(),
        "rules": site.rules.iter().map(rule_of).collect::<Vec<_>>(),
    })
}

fn server_of(server: &Server) -> Value {
    json!({
        "name": *server.name,
        "url": server.url.to_string(),
        "urls": server.urls().map(ToString::to_string).collect::<Vec<_>>(),
        "speaks": names(&server.speaks),
        "discovered": server.trial.is_some(),
        "encodings": server.encodings.iter().map(|encoding: &Encoding| encoding.name()).collect::<Vec<_>>(),
    })
}

fn rule_of(rule: &Rule) -> Value {
    json!({
        "name": *rule.name,
        "versions": rule.when.version.as_deref().map(names),
        "verdict": rule.then.verdict.map(Verdict::code),
        "recommend": rule.then.recommend.map(|version| version.to_string()),
        "account": rule.then.account,
    })
}
