//! `[[server]]`.

use std::{ops::Range, time::Duration};

use http::Uri;

use super::value;
use crate::{
    policy::{
        diagnostic::Code,
        document::{Table, Value},
        site::{Health, HostHeader, Pool, RespUri, Server, Trial, Trigger},
    },
    syncml::{
        header::Encoding,
        status::Status,
        version::{Version, VersionTable},
    },
};

/// The servers that could be read, each with the place of its name. One of which only a value is wrong
/// stays, so that rules that name it are not reported too.
pub(super) fn read(tables: Vec<Table<'_>>, versions: &VersionTable) -> Vec<(Server, Range<usize>)> {
    let mut names = Vec::new();
    let mut servers = Vec::new();
    for table in tables {
        let name = table.require("name", "such as name = \"dm13\"; rules and the decision log use it");
        let (url, other_urls) = urls(&table);
        let speaks = table.require("speaks", "such as speaks = [\"DM/1.2\", \"DM/1.3\"]");
        let (speaks, discover) = speaks.map(|value| speaks_of(&value, versions)).unwrap_or_default();
        let trial = trial(&table, discover);
        let uris = [("rewrite", RespUri::Rewrite), ("keep", RespUri::Keep)];
        let resp_uri = table.get("resp_uri").and_then(|value| value.choice(&uris)).unwrap_or_default();
        let encodings = table.get("encodings").map_or_else(|| BOTH.to_vec(), |value| encodings(&value));
        let path = |key| table.get(key).and_then(|value: Value<'_>| value.text());
        let ca = path("ca").map(Into::into);
        let certificate = table.get("client_certificate");
        let key = table.get("client_key");
        if let (Some(alone), None) | (None, Some(alone)) = (certificate, key) {
            let title = "`client_certificate` and `client_key` need each other";
            alone.report(Code::TlsIncomplete, title, "the other one is missing", "both are PEM files");
        }
        let both = certificate.and_then(|value| value.text()).zip(key.and_then(|value| value.text()));
        if let Some(url) = url.as_ref().filter(|url| url.scheme_str() == Some("http")) {
            for (key, value) in [("ca", table.get("ca")), ("client_certificate", certificate)] {
                if let Some(value) = value {
                    let title = format!("`{key}` is not used");
                    value.report(
                        Code::TlsUnused,
                        title,
                        "there is no TLS to this server",
                        &format!("did you mean https in \"{url}\"?"),
                    );
                }
            }
        }
        let pool = pool(&table);
        let health = table.table("health", "health = { … }").and_then(health);
        let hosts = [("keep", HostHeader::Keep), ("rewrite", HostHeader::Rewrite)];
        let host = table.get("host").and_then(|value| value.choice(&hosts)).unwrap_or_default();
        let file = table.file;
        table.finish();
        let Some((name, place)) = name.and_then(|value| Some((value.text()?, value.span()))) else { continue };
        super::site::once(file, "server", name, place.clone(), &mut names);
        let identity = both.map(|(certificate, key)| (certificate.into(), key.into()));
        let url = url.unwrap_or_default();
        servers.push((
            Server {
                name: name.into(),
                url,
                other_urls,
                pool,
                health,
                speaks,
                trial,
                resp_uri,
                encodings,
                ca,
                identity,
                host,
                pem: [0; 32],
            },
            place,
        ));
    }
    servers
}

/// `url`, or `urls` in its place: the first and the others.
fn urls(table: &Table<'_>) -> (Option<Uri>, Vec<Uri>) {
    let Some(list) = table.get("urls") else {
        let help = "such as url = \"http://127.0.0.1:9013\", or urls = [\"http://a\", \"http://b\"]";
        return (table.require("url", help).as_ref().and_then(value::url), Vec::new());
    };
    if let Some(one) = table.get("url") {
        one.report(Code::Contradiction, "`url` and `urls` are both there", "one of them", "put it into `urls`");
    }
    let items = list.list();
    if list.is_list() && items.is_empty() {
        list.report(Code::Empty, "`urls` may not be empty", "no message could go there", "such as [\"http://127.0.0.1:9013\"]");
    }
    let mut urls: Vec<Uri> = Vec::new();
    for item in &items {
        let Some(url) = value::url(item) else { continue };
        let alike = |first: &Uri| {
            first.scheme() == url.scheme() && first.path().trim_end_matches('/') == url.path().trim_end_matches('/')
        };
        if urls.contains(&url) {
            item.report(Code::BadUrl, "an address is there twice", "again", "leave it out");
        } else if !urls.first().is_none_or(alike) {
            let help = "what is not the same server is a [[server]] of its own";
            item.report(Code::BadUrl, "the addresses of a server differ in host and port only", "another scheme or path", help);
        } else {
            urls.push(url);
        }
    }
    let mut urls = urls.into_iter();
    (urls.next(), urls.collect())
}

fn pool(table: &Table<'_>) -> Pool {
    let default = Pool::default();
    let duration = |key, default| table.get(key).as_ref().and_then(value::duration).unwrap_or(default);
    let number = |key, most| table.get(key).and_then(|value| value.integer(1..=most));
    Pool {
        connect_timeout: duration("connect_timeout", default.connect_timeout),
        idle_timeout: duration("idle_timeout", default.idle_timeout),
        max_pending: number("max_pending", 1_000_000).and_then(|n| n.try_into().ok()).unwrap_or(default.max_pending),
        eject_after: number("eject_after", 1_000).and_then(|n| n.try_into().ok()).unwrap_or(default.eject_after),
    }
}

fn health(table: Table<'_>) -> Option<Health> {
    let path = table.require("path", "such as path = \"/health\"").as_ref().and_then(value::path);
    let interval = table.get("interval").as_ref().and_then(value::duration).unwrap_or(Duration::from_secs(5));
    table.finish();
    Some(Health { path: path?, interval })
}

const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];

fn encodings(value: &Value<'_>) -> Vec<Encoding> {
    let mut out = Vec::new();
    for item in value.list() {
        if let Some(encoding) = item.choice(&BOTH.map(|encoding| (encoding.name(), encoding)))
            && !out.contains(&encoding)
        {
            out.push(encoding);
        }
    }
    if value.is_list() && out.is_empty() {
        value.report(Code::Empty, "`encodings` may not be empty", "no message could go there", "leave it out for both");
    }
    out
}

/// The versions; and whether they are to be found out.
fn speaks_of(value: &Value<'_>, versions: &VersionTable) -> (Vec<Version>, bool) {
    if value.as_str() == Some("discover") {
        return (Vec::new(), true);
    }
    let items = value.list();
    if value.is_list() && items.is_empty() {
        value.report(Code::Empty, "`speaks` may not be empty", "no message could go there", "such as [\"DM/1.2\"]");
    }
    (value::versions(&items, versions).into_iter().map(|(version, _)| version).collect(), false)
}

/// `step_down`, which `speaks = "discover"` implies, and `step_down_on`.
fn trial(table: &Table<'_>, discover: bool) -> Option<Trial> {
    let step_down = table.get("step_down");
    let wanted = step_down.and_then(|value| value.boolean());
    if let (Some(value), true, Some(false)) = (step_down, discover, wanted) {
        let help = "leave it out, or list the versions in `speaks`";
        value.report(Code::Contradiction, "discovering is stepping down", "`speaks = \"discover\"` does this", help);
    }
    let tries = discover || wanted == Some(true);
    let on = table.get("step_down_on");
    if let Some(value) = on.filter(|_| !tries) {
        value.report(Code::NoEffect, "`step_down_on` is not used", "nothing is tried here", "add step_down = true");
    }
    let items = on.map(|value| value.list()).unwrap_or_default();
    let also_on = items.iter().filter_map(trigger).collect();
    tries.then_some(Trial { also_on })
}

/// A Status of SyncHdr, or what HTTP says.
fn trigger(value: &Value<'_>) -> Option<Trigger> {
    let words = [
        ("400", Trigger::Status(Status::BAD_REQUEST)),
        ("406", Trigger::Status(Status::OPTIONAL_FEATURE_NOT_SUPPORTED)),
        ("501", Trigger::Status(Status::COMMAND_NOT_IMPLEMENTED)),
        ("505", Trigger::Status(Status::DTD_VERSION_NOT_SUPPORTED)),
        ("513", Trigger::Status(Status::PROTOCOL_VERSION_NOT_SUPPORTED)),
        ("http-400", Trigger::Http(400)),
        ("http-500", Trigger::Http(500)),
        ("no-syncml", Trigger::NoSyncMl),
    ];
    match value.as_integer() {
        // A status may be written as the number that it is.
        Some(number) => {
            let found = words.iter().find(|(word, _)| *word == number.to_string());
            if found.is_none() {
                let help = words.map(|(word, _)| format!("\"{word}\"")).join(", ");
                value.report(Code::UnknownChoice, format!("nothing steps down on {number}"), "none of the choices", &help);
            }
            found.map(|(_, trigger)| *trigger)
        }
        None => value.choice(&words),
    }
}
