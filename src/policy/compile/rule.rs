//! `[[rule]]`.

use std::ops::Range;

use super::value;
use crate::{
    policy::{
        diagnostic::Code,
        document::{Table, Value},
        glob::Glob,
        reason::Verdict,
        site::{Rule, Server, Then, When},
    },
    syncml::{
        alert::StartedBy,
        header::Encoding,
        version::{Version, VersionTable},
    },
};

/// Where the parts of a rule are written.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Places {
    pub(in crate::policy) name: Range<usize>,
    pub(in crate::policy) when: Range<usize>,
    pub(in crate::policy) client_certificate: Option<Range<usize>>,
    pub(in crate::policy) verdict: Option<Range<usize>>,
    pub(in crate::policy) to: Option<Range<usize>>,
    pub(in crate::policy) recommend: Option<Range<usize>>,
}

pub(super) fn read(tables: Vec<Table<'_>>, servers: &[Server], versions: &VersionTable) -> Vec<(Rule, Places)> {
    let mut names = Vec::new();
    let mut rules = Vec::new();
    for table in tables {
        let name = table.require("name", "such as name = \"old phones stay\"; the decision log says which rule decided");
        let named = name.and_then(|value| Some((value.text()?, value.span())));
        let when = table.require("when", "when = {} is always").and_then(|value| value.table("when"));
        let then = table.require("then", "such as then = { verdict = \"pass\" }").and_then(|value| value.table("then"));
        let file = table.file;
        let mut places = Places {
            name: table.span.clone(),
            when: when.as_ref().map_or_else(|| table.span.clone(), |table| table.span.clone()),
            client_certificate: None,
            verdict: None,
            to: None,
            recommend: None,
        };
        table.finish();
        let when = when.map(|table| when_of(table, versions, &mut places));
        let then = then.map(|table| then_of(table, servers, versions, &mut places));
        if let Some((name, span)) = &named {
            super::site::once(file, "rule", name, span.clone(), &mut names);
            places.name = span.clone();
        }
        if let (Some((name, _)), Some(when), Some(then)) = (named, when, then) {
            rules.push((Rule { name: name.into(), when, then }, places));
        }
    }
    rules
}

fn when_of(table: Table<'_>, versions: &VersionTable, places: &mut Places) -> When {
    let glob = |key| table.get(key).and_then(|value: Value<'_>| value.text()).map(Glob::new);
    let version = table.get("version").map(|value| {
        let mut all: Vec<Version> = Vec::new();
        for version in value.one_or_more().iter().filter_map(|item| value::compared(item, versions)).flatten() {
            if !all.contains(&version) {
                all.push(version);
            }
        }
        all
    });
    let encodings = [Encoding::Xml, Encoding::Wbxml].map(|encoding| (encoding.name(), encoding));
    let starters = [StartedBy::Server, StartedBy::Client].map(|starter| (starter.code(), starter));
    let when = When {
        version,
        device: glob("device"),
        user_agent: glob("user_agent"),
        encoding: table.get("encoding").and_then(|value| value.choice(&encodings)),
        client_certificate: glob("client_certificate"),
        client_fingerprint: table
            .get("client_fingerprint")
            .map(|value| value.one_or_more().iter().filter_map(value::fingerprint).collect()),
        path: glob("path"),
        started_by: table.get("started_by").and_then(|value| value.choice(&starters)),
        share: table.get("share").as_ref().and_then(value::share),
    };
    places.client_certificate = table.get("client_certificate").or(table.get("client_fingerprint")).map(|value| value.span());
    table.finish();
    when
}

fn then_of(table: Table<'_>, servers: &[Server], versions: &VersionTable, places: &mut Places) -> Then {
    let verdicts = [Verdict::Pass, Verdict::Advise, Verdict::Bridge, Verdict::Refuse].map(|verdict| (verdict.code(), verdict));
    let (said, server, to) = (table.get("verdict"), table.get("server"), table.get("to"));
    let (recommend, lossy, account) = (table.get("recommend"), table.get("lossy"), table.get("account"));
    let verdict = said.and_then(|value| value.choice(&verdicts));
    places.verdict = said.map(|value| value.span());
    places.to = to.map(|value| value.span());
    places.recommend = recommend.map(|value| value.span());
    let then = Then {
        verdict,
        server: server.and_then(|value| index(&value, servers)),
        to: to.as_ref().and_then(|value| value::version(value, versions)),
        recommend: recommend.as_ref().and_then(|value| value::version(value, versions)),
        lossy: lossy.and_then(|value| value.boolean()).unwrap_or_default(),
        account: account.and_then(|value| value.boolean()),
    };
    let odd = |value: &Value<'_>, key: &str, help: &str| {
        let title = format!("`{key}` does not go with this verdict");
        value.report(Code::Contradiction, title, "has no meaning here", help);
    };
    if let Some(server) = server.filter(|_| verdict == Some(Verdict::Refuse)) {
        odd(&server, "server", "a refused message goes to no server");
    }
    for (key, value) in [("to", to), ("lossy", lossy)] {
        if let Some(value) = value.filter(|_| said.is_none() || verdict.is_some_and(|verdict| verdict != Verdict::Bridge)) {
            odd(&value, key, "it belongs to verdict = \"bridge\"");
        }
    }
    if [said, server, to, recommend, lossy, account].iter().all(Option::is_none) {
        let help = "such as then = { verdict = \"pass\" }; the default decision needs no rule";
        table.file.report(Code::SaysNothing, table.span.clone(), "this rule says nothing", "empty", Some(help));
    }
    table.finish();
    then
}

/// The server of that name.
fn index(value: &Value<'_>, servers: &[Server]) -> Option<usize> {
    let name = value.text()?;
    let index = servers.iter().position(|server| *server.name == *name);
    if index.is_none() {
        let names: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.name)).collect();
        let help = format!("the servers of this site: {}", names.join(", "));
        value.report(Code::NoSuchServer, format!("there is no server \"{name}\""), "not known here", &help);
    }
    index
}
