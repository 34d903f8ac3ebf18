//! `proxy.toml`.

use std::num::{NonZeroU32, NonZeroUsize};

use super::{admin, listener, store, value, version};
use crate::{
    policy::{
        diagnostic::Code,
        document::{Table, Value},
        site::{Decisions, DecisionsTo, DeviceIds, Limits, OnLogFailure, Rate, Sessions, Settings},
    },
    syncml::version::VersionTable,
};

/// Reads the process settings; versions are added to the table.
pub(super) fn read(root: Table<'_>, versions: &mut VersionTable) -> Option<Settings> {
    version::read(root.tables("version", "[[version]]"), versions);
    let tables = root.tables("listener", "[[listener]]");
    let written = tables.len();
    let listeners = listener::read(tables);
    let admin = root.table("admin", "[admin]").and_then(admin::read);
    let limits = root.table("limits", "[limits]").map(limits).unwrap_or_default();
    let decisions = root.table("decisions", "[decisions]").map(decisions).unwrap_or_default();
    let store = root.table("store", "[store]").map(store::read).unwrap_or_default();
    let sessions = root.table("session", "[session]").map(sessions).unwrap_or_default();
    let workers = root.table("runtime", "[runtime]").and_then(workers);
    if written == 0 {
        let help = "[[listener]]\nname = \"devices\"\naddress = \"127.0.0.1:8080\"";
        root.file.report(Code::Missing, 0..0, "there is no `[[listener]]`", "nobody could connect", Some(help));
    }
    root.finish();
    Some(Settings { listeners, admin, limits, decisions, store, sessions, workers })
}

fn workers(table: Table<'_>) -> Option<NonZeroUsize> {
    let workers = table.get("workers").and_then(|value| value.integer(1..=1024));
    table.finish();
    workers.and_then(|workers| usize::try_from(workers).ok()).and_then(NonZeroUsize::new)
}

fn limits(table: Table<'_>) -> Limits {
    let mut limits = Limits::default();
    if let Some(body) = table.get("body").as_ref().and_then(value::size) {
        limits.body = body;
    }
    if let Some(connections) = table.get("connections").and_then(|value| value.integer(1..=1_000_000)) {
        limits.connections = usize::try_from(connections).unwrap_or(limits.connections);
    }
    if let Some(requests) = table.get("requests").and_then(|value| value.integer(1..=1_000_000)) {
        limits.requests = usize::try_from(requests).unwrap_or(limits.requests);
    }
    limits.per_address = table.table("per_address", "per_address").and_then(rate);
    limits.per_device = table.table("per_device", "per_device").and_then(rate);
    let durations = [
        ("header_timeout", &mut limits.header_timeout),
        ("body_timeout", &mut limits.body_timeout),
        ("idle_timeout", &mut limits.idle_timeout),
        ("upstream_timeout", &mut limits.upstream_timeout),
        ("drain_timeout", &mut limits.drain_timeout),
    ];
    for (key, limit) in durations {
        if let Some(duration) = table.get(key).as_ref().and_then(value::duration) {
            *limit = duration;
        }
    }
    table.finish();
    limits
}

fn rate(table: Table<'_>) -> Option<Rate> {
    let number = |value: Value<'_>| u32::try_from(value.integer(1..=1_000_000)?).ok().and_then(NonZeroU32::new);
    let per_second = table.require("per_second", "such as per_second = 5, on the average").and_then(number);
    let burst = table.get("burst").and_then(number);
    table.finish();
    Some(Rate { per_second: per_second?, burst: burst.or(per_second)? })
}

fn sessions(table: Table<'_>) -> Sessions {
    let mut sessions = Sessions::default();
    for (key, duration) in [("idle", &mut sessions.idle), ("learnt", &mut sessions.learnt), ("notified", &mut sessions.notified)]
    {
        if let Some(written) = table.get(key).as_ref().and_then(value::duration) {
            *duration = written;
        }
    }
    table.finish();
    sessions
}

fn decisions(table: Table<'_>) -> Decisions {
    let to = table.get("to").and_then(|value| value.text()).map(|text| match text {
        "stdout" => DecisionsTo::Stdout,
        "stderr" => DecisionsTo::Stderr,
        path => DecisionsTo::File(path.into()),
    });
    let devices = [("plain", DeviceIds::Plain), ("hash", DeviceIds::Hash), ("omit", DeviceIds::Omit)];
    let device = table.get("device").and_then(|value| value.choice(&devices)).unwrap_or_default();
    let key = table.get("key_file");
    if let Some(value) = key.filter(|_| device != DeviceIds::Hash) {
        value.report(Code::NoEffect, "`key_file` is not used", "a key for nothing", "it belongs to device = \"hash\"");
    }
    let failures = [("serve", OnLogFailure::Serve), ("refuse", OnLogFailure::Refuse)];
    let on_failure = table.get("on_failure").and_then(|value| value.choice(&failures));
    table.finish();
    Decisions {
        to: to.unwrap_or_default(),
        device,
        key_file: key.and_then(|value| value.text()).map(Into::into),
        on_failure: on_failure.unwrap_or_default(),
    }
}
