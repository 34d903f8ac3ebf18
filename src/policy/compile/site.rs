//! The file of a site.

use std::{cmp::Ordering, ops::Range, path::PathBuf, sync::Arc};

use sha2::{Digest, Sha256};

use super::{account, rule, server, value};
use crate::{
    policy::{
        diagnostic::{Code, Diagnostic, Source},
        document::{File, Table, Value},
        glob::Glob,
        site::{
            Account, Carriers, Higher, Mode, Notification, NotificationCarrier, OnMalformed, Rule, Server, Site, Unsupported,
        },
    },
    syncml::version::{Family, Version, VersionTable},
};

/// A site, and where its parts are written.
#[derive(Debug)]
pub(in crate::policy) struct Read {
    pub(in crate::policy) source: Arc<Source>,
    pub(in crate::policy) site: Site,
    pub(in crate::policy) name: Range<usize>,
    /// One for each host.
    pub(in crate::policy) hosts: Vec<Range<usize>>,
    /// One for each server.
    pub(in crate::policy) servers: Vec<Range<usize>>,
    /// One for each rule.
    pub(in crate::policy) rules: Vec<rule::Places>,
    /// The recommended versions as they are written.
    pub(in crate::policy) recommend: Vec<(Version, Range<usize>)>,
}

/// Reports a name that is there already, and keeps it otherwise.
pub(super) fn once(file: &File, what: &str, name: &str, span: Range<usize>, names: &mut Vec<(String, Range<usize>)>) {
    match names.iter().find(|(known, _)| known == name) {
        Some((_, first)) => file.add(
            Diagnostic::new(Code::DuplicateName, format!("two {what}s are called \"{name}\""))
                .at(&file.source, span, "taken")
                .at(&file.source, first.clone(), "by this one"),
        ),
        None => names.push((name.to_owned(), span)),
    }
}

/// Reads the file of a site. `None` when not enough of it could be read to go on.
pub(super) fn read(root: Table<'_>, versions: &VersionTable) -> Option<Read> {
    let source = Arc::clone(&root.file.source);
    let file = root.file;
    let head = root.require("site", "[site]\nname = \"operator\"\nhosts = [\"dm.operator.example\"]");
    let head = head.and_then(|value| value.table("[site]")).map(|table| head_of(table, versions));
    let tables = root.tables("server", "[[server]]");
    if tables.is_empty() {
        let help = "[[server]]\nname = \"dm13\"\nurl = \"http://127.0.0.1:9013\"\nspeaks = [\"DM/1.3\"]";
        file.report(Code::Missing, 0..0, "there is no `[[server]]`", "a site has at least one", Some(help));
    }
    let (servers, server_places): (Vec<_>, Vec<_>) = server::read(tables, versions).into_iter().unzip();
    let unsupported = [("bridge", Unsupported::Bridge), ("refuse", Unsupported::Refuse), ("pass", Unsupported::Pass)];
    let unsupported = then(root.table("unsupported", "[unsupported]"), &unsupported);
    let malformed = [("refuse", OnMalformed::Refuse), ("pass", OnMalformed::Pass)];
    let malformed = then(root.table("malformed", "[malformed]"), &malformed);
    let carriers = root.table("hint", "[hint]").map_or(HEADER_ONLY, carriers);
    let written = root.get("account").or_else(|| root.get("hint")).map(|value| value.span());
    let account = root.table("account", "[account]").map(account::read);
    let account = account.or_else(|| carriers.account.then(Account::default));
    let notification = root.table("notification", "[notification]").map(notification);
    let (rules, rule_places): (Vec<Rule>, Vec<_>) =
        rule::read(root.tables("rule", "[[rule]]"), &servers, versions).into_iter().unzip();
    root.finish();

    let Head { name, hosts, path, mode, strict, secrets, recommend } = head?;
    let supported = Family::ALL.map(|family| supported(&servers, family));
    let chosen = |family| recommend.iter().map(|(version, _)| *version).find(|version| version.family() == family);
    let (name, name_place) = name?;
    let (hosts, host_places) = hosts.into_iter().unzip();
    let site = Site {
        name: name.into(),
        digest: digest(&source.text),
        hosts,
        path,
        mode,
        strict,
        recommend: Family::ALL.map(chosen),
        supported,
        servers: servers.into_iter().map(Arc::new).collect(),
        unsupported,
        malformed,
        carriers,
        account,
        secrets,
        notification,
        rules,
    };
    if let (Some(account), Some(span)) = (&site.account, written) {
        account::check(file, span, account, &site);
    }
    Some(Read { source, site, name: name_place, hosts: host_places, servers: server_places, rules: rule_places, recommend })
}

/// `[site]`.
struct Head {
    name: Option<(String, Range<usize>)>,
    hosts: Vec<(Box<str>, Range<usize>)>,
    path: Box<str>,
    mode: Mode,
    strict: bool,
    secrets: Option<PathBuf>,
    recommend: Vec<(Version, Range<usize>)>,
}

fn head_of(table: Table<'_>, versions: &VersionTable) -> Head {
    let name = table.require("name", "such as name = \"operator\"; it labels the decision log");
    let name = name.and_then(|value| Some((value.text()?.to_owned(), value.span())));
    let mut hosts: Vec<(Box<str>, Range<usize>)> = Vec::new();
    if let Some(value) = table.require("hosts", "such as hosts = [\"dm.operator.example\"], or [\"*\"] for any") {
        let items = value.list();
        if items.is_empty() && value.is_list() {
            value.report(Code::Empty, "`hosts` may not be empty", "no device could address this site", "\"*\" is any host");
        }
        for item in items {
            let Some(host) = value::host(&item) else { continue };
            match hosts.iter().find(|(known, _)| *known == host) {
                Some((_, first)) => table.file.add(
                    Diagnostic::new(Code::HostClash, format!("the host \"{host}\" is there twice"))
                        .at(&table.file.source, item.span(), "again")
                        .at(&table.file.source, first.clone(), "here"),
                ),
                None => hosts.push((host, item.span())),
            }
        }
    }
    let path = table.get("path").as_ref().and_then(value::path).unwrap_or_else(|| "/".into());
    let modes = [("enforce", Mode::Enforce), ("observe", Mode::Observe)];
    let mode = table.get("mode").and_then(|value| value.choice(&modes)).unwrap_or_default();
    let strict = table.get("strict").and_then(|value| value.boolean()).unwrap_or_default();
    let secrets = table.get("secrets").and_then(|value| value.text()).map(Into::into);
    let recommend = table.get("recommend").map(|value| recommended(&value.one_or_more(), versions)).unwrap_or_default();
    table.finish();
    Head { name, hosts, path, mode, strict, secrets, recommend }
}

/// One version of each family at most.
fn recommended(values: &[Value<'_>], versions: &VersionTable) -> Vec<(Version, Range<usize>)> {
    let recommend = value::versions(values, versions);
    for (at, (version, span)) in recommend.iter().enumerate() {
        let first = recommend.iter().take(at).find(|(other, _)| other.family() == version.family());
        if let (Some((other, _)), Some(value)) = (first, values.first()) {
            let title = format!("both {other} and {version} are recommended");
            let label = "one version of a family can be recommended";
            value.file.report(Code::TwoOfAFamily, span.clone(), title, label, None);
        }
    }
    recommend
}

/// The word of a table with the one key `then`.
fn then<T: Copy + Default>(table: Option<Table<'_>>, choices: &[(&str, T)]) -> T {
    let Some(table) = table else { return T::default() };
    let help = format!("such as then = \"{}\"", choices.first().map_or("", |(word, _)| word));
    let chosen = table.require("then", &help).and_then(|value| value.choice(choices));
    table.finish();
    chosen.unwrap_or_default()
}

fn notification(table: Table<'_>) -> Notification {
    let versions = [("keep", false), ("recommended", true)];
    let recommend = table.get("version").and_then(|value| value.choice(&versions)).unwrap_or_default();
    let devices = table.get("devices").map(|value| value.list()).unwrap_or_default();
    let devices = devices.iter().filter_map(Value::text).map(Glob::new).collect();
    let carriers = [("version-field", NotificationCarrier::VersionField), ("vendor-body", NotificationCarrier::VendorBody)];
    let carrier = table.get("carrier").and_then(|value| value.choice(&carriers)).unwrap_or_default();
    let choices = [("log", Higher::Log), ("bridge", Higher::Bridge), ("refuse", Higher::Refuse)];
    let higher = table.get("higher").and_then(|value| value.choice(&choices)).unwrap_or_default();
    table.finish();
    Notification { recommend, devices, carrier, higher }
}

const HEADER_ONLY: Carriers = Carriers { http_header: true, status_item: false, header_meta: false, account: false };

fn carriers(table: Table<'_>) -> Carriers {
    let Some(value) = table.get("carriers") else {
        table.finish();
        return HEADER_ONLY;
    };
    let mut carriers = Carriers { http_header: false, ..HEADER_ONLY };
    let choices = [("http-header", 0), ("status-item", 1), ("header-meta", 2), ("account", 3)];
    for item in value.list() {
        match item.choice(&choices) {
            Some(0) => carriers.http_header = true,
            Some(1) => carriers.status_item = true,
            Some(2) => carriers.header_meta = true,
            Some(_) => carriers.account = true,
            None => {}
        }
    }
    table.finish();
    carriers
}

/// What the servers speak of a family, each once, descending.
fn supported(servers: &[Server], family: Family) -> Arc<[Version]> {
    let spoken = servers.iter().flat_map(|server| server.speaks.iter().copied());
    let mut supported: Vec<Version> = spoken.filter(|version| version.family() == family).collect();
    supported.sort_by(|a, b| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    supported.dedup();
    supported.into()
}

/// The first 16 hexadecimal digits of the SHA-256.
fn digest(text: &str) -> Arc<str> {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
