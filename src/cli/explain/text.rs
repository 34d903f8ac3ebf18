//! An explanation as text, and as JSON.

use std::{fmt::Write, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, header};
use serde_json::{Value, json};

use super::{Explained, Request};
use crate::{
    cli::{
        inspect,
        table::{plain, table},
    },
    policy::{
        explain::Missed,
        reason::{Reason, Verdict},
        site::{Mode, Policies, Server},
    },
    proxy::{decode, exchange::sniff, remembered::seconds},
    session::Learnt,
    syncml::{
        header::{Encoding, Field},
        version::{Family, Version},
    },
};

pub(super) fn no_site(request: &Request, policies: &Policies) -> String {
    let mut text = format!(
        "No site for the host \"{}\" and the path \"{}\": HTTP 421, no-site.\n\n",
        plain(&request.host),
        plain(&request.path)
    );
    let mut rows = vec![["site", "hosts", "path"].map(str::to_owned).to_vec()];
    rows.extend(policies.sites.iter().map(|site| vec![site.name.to_string(), site.hosts.join(", "), site.path.to_string()]));
    text += &table(&rows);
    text + "\n`--host` and `--path` say what the device addresses.\n"
}

pub(super) fn no_site_json(request: &Request) -> String {
    let object = json!({
        "host": request.host, "path": request.path, "site": null, "verdict": Verdict::Refuse, "reason": Reason::NoSite, "http_status": 421,
    });
    format!("{object}\n")
}

/// `(what, its value)`: what was read, in the order of reading.
fn facts(explained: &Explained<'_>) -> Vec<(&'static str, Option<String>)> {
    let Explained { request, certificate, message, .. } = explained;
    let header = |name: HeaderName| request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut facts = vec![
        ("host", Some(request.host.clone())),
        ("path", Some(request.path.clone())),
        ("content_type", header(header::CONTENT_TYPE)),
        ("user_agent", header(header::USER_AGENT)),
        ("client_certificate", certificate.map(|shown| shown.subject.clone())),
        ("client_fingerprint", certificate.and_then(|shown| shown.fingerprint.clone())),
        ("integrity", Some(decode::integrity(&request.headers).code().to_owned())),
    ];
    match message {
        Some(Ok(known)) => {
            let text = |field: Field| Some(known.index.text(&request.body, field).into_owned());
            facts.extend([
                ("encoding", Some(known.index.encoding.name().to_owned())),
                ("declared", Some(known.declared.to_string())),
                ("declared_dtd", text(known.index.ver_dtd)),
                ("device", text(known.index.source)),
                ("session", text(known.index.session_id)),
                ("message", text(known.index.msg_id)),
                ("started_by", known.started_by.map(|by| by.code().to_owned())),
            ]);
        }
        Some(Err(malformed)) => facts.push(("malformed", Some(malformed.to_string()))),
        None => {}
    }
    facts
}

/// What comes of it in the end: a message that cannot cross a bridge is refused.
fn outcome(explained: &Explained<'_>) -> (Verdict, Reason) {
    match &explained.sent.obstacle {
        Some((reason, _)) => (Verdict::Refuse, *reason),
        None => (explained.explanation.decision.verdict(), explained.explanation.decision.reason()),
    }
}

/// What was learnt of each server whose versions are found out.
fn learnt(explained: &Explained<'_>) -> Vec<String> {
    let names = |versions: &[Version]| versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ");
    let of_server = |(server, learnt): (&Arc<Server>, &Learnt)| {
        server.trial.as_ref()?;
        let accepted: Vec<Version> = Family::ALL.into_iter().flat_map(|family| learnt.accepted(family)).collect();
        if accepted.is_empty() {
            return Some(format!("{}: nothing", server.name));
        }
        let refused = if learnt.refused().is_empty() { "nothing".to_owned() } else { names(learnt.refused()) };
        let age = humantime::format_duration(Duration::from_secs(learnt.age(seconds())));
        Some(format!("{} takes {} and refuses {refused}; learnt {age} ago", server.name, names(&accepted)))
    };
    let known = explained.site.servers.iter().zip(&explained.learnt.servers).filter_map(of_server);
    known.chain(explained.learnt.unknown.map(str::to_owned)).collect()
}

fn why(missed: &Missed) -> String {
    let is = missed.is.as_ref().map_or_else(|| "absent".to_owned(), |is| format!("\"{is}\""));
    format!("{} is {is}, wanted: {}", missed.condition, missed.wanted)
}

pub(super) fn text(explained: &Explained<'_>) -> String {
    let Explained { site, explanation, sent, .. } = explained;
    let decision = &explanation.decision;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<13} {}", plain(value));
    };
    for (name, value) in facts(explained) {
        line(name, value.as_deref().unwrap_or("-"));
    }
    let mode = if site.mode == Mode::Observe { ", only observed: nothing is changed" } else { "" };
    line("site", &format!("{} (policy {}){mode}", site.name, site.digest));
    for text in learnt(explained) {
        line("learnt", &text);
    }
    for missed in &explanation.missed {
        line("rule", &format!("\"{}\" does not match: {}", missed.rule, why(missed)));
    }
    if let Some(rule) = decision.rule() {
        line("rule", &format!("\"{rule}\" matches"));
    }
    let (verdict, reason) = outcome(explained);
    line("verdict", verdict.code());
    let obstacle = sent.obstacle.as_ref().map(|(_, what)| format!(": {what}")).unwrap_or_default();
    line("reason", &format!("{reason}{obstacle}"));
    line("requirement", decision.requirement().map_or("-", |requirement| requirement.code()));
    line("recommended", &decision.recommended().map_or_else(|| "-".to_owned(), |version| version.to_string()));
    line(
        "used",
        &decision.used().filter(|_| sent.server.is_some()).map_or_else(|| "-".to_owned(), |version| version.to_string()),
    );
    let whom = sent.server.and_then(|index| site.servers.get(index));
    let whom = whom.map_or_else(|| "the device".to_owned(), |server| format!("{} at {}", server.name, server.url));
    line("sent to", &whom);
    if let (Some(http), syncml) = (sent.http_status, sent.syncml_status) {
        line("status", &format!("HTTP {http}{}", syncml.map(|status| format!(", SyncML {status}")).unwrap_or_default()));
    } else {
        line("edits", &if sent.edits.is_empty() { "none: byte for byte".to_owned() } else { sent.edits.join(", ") });
    }
    line("Content-Type", &sent.content_type);
    out.push('\n');
    out + &shown(&sent.body)
}

/// A body for people to read. What others wrote must not command the terminal; line breaks may stay.
fn shown(body: &[u8]) -> String {
    let text = match sniff(body) {
        Encoding::Wbxml => {
            inspect::shown(body).unwrap_or_else(|| format!("{} bytes of WBXML that cannot be shown\n", body.len()))
        }
        Encoding::Xml => String::from_utf8_lossy(body).into_owned(),
    };
    let lines: Vec<String> = text.lines().map(|line| line.replace('\t', "    ")).map(|line| plain(&line)).collect();
    lines.join("\n") + "\n"
}

pub(super) fn json(explained: &Explained<'_>) -> String {
    let Explained { site, explanation, sent, .. } = explained;
    let decision = &explanation.decision;
    let (verdict, reason) = outcome(explained);
    let facts: serde_json::Map<String, Value> =
        facts(explained).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let missed: Vec<Value> = explanation
        .missed
        .iter()
        .map(|missed| json!({ "rule": *missed.rule, "condition": missed.condition.key(), "wanted": missed.wanted, "is": missed.is }))
        .collect();
    let text = std::str::from_utf8(&sent.body).ok().filter(|_| sniff(&sent.body) == Encoding::Xml);
    let object = json!({
        "site": *site.name,
        "policy": *site.digest,
        "mode": site.mode.code(),
        "facts": facts,
        "missed": missed,
        "rule": decision.rule().map(ToString::to_string),
        "verdict": verdict,
        "reason": reason,
        "obstacle": sent.obstacle.as_ref().map(|(_, what)| what),
        "requirement": decision.requirement(),
        "recommended": decision.recommended().map(|version| version.to_string()),
        "supported": decision.supported().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "learnt": learnt(explained),
        "used": decision.used().filter(|_| sent.server.is_some()).map(|version| version.to_string()),
        "server": sent.server.and_then(|index| site.servers.get(index)).map(|server| server.name.to_string()),
        "http_status": sent.http_status,
        "syncml_status": sent.syncml_status,
        "edits": sent.edits,
        "sent": { "content_type": sent.content_type, "text": text, "base64": text.is_none().then(|| STANDARD.encode(&sent.body)) },
    });
    format!("{object}\n")
}
