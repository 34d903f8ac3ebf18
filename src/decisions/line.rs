//! A record as one line of JSON. The keys and their order are what log pipelines depend on.

use std::{fmt::Display, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::record::Record;
use crate::{
    policy::{facts::Integrity, site::Mode},
    syncml::{alert::StartedBy, header::Encoding},
};

/// Every key, in order.
#[cfg(test)]
pub(super) const KEYS: [&str; 34] = [
    "ts",
    "id",
    "listener",
    "peer",
    "site",
    "server",
    "policy",
    "mode",
    "kind",
    "device",
    "session",
    "message",
    "encoding",
    "integrity",
    "started_by",
    "declared",
    "declared_dtd",
    "used",
    "recommended",
    "supported",
    "verdict",
    "reason",
    "requirement",
    "rule",
    "store",
    "edits",
    "hints",
    "http_status",
    "syncml_status",
    "attempts",
    "bytes_in",
    "bytes_out",
    "upstream_us",
    "duration_us",
];

/// The most characters of a text that a client chose; the rest is cut off with an ellipsis.
pub(super) const TEXT: usize = 256;

/// Writes the line, with its end, behind what is in the buffer.
pub(super) fn write(record: &Record, duration: Duration, into: &mut Vec<u8>) {
    let before = into.len();
    let line = Line { record, duration };
    match serde_json::to_writer(&mut *into, &line) {
        Ok(()) => into.push(b'\n'),
        // Only a clock outside the years that RFC 3339 can write gets here.
        Err(error) => {
            into.truncate(before);
            super::sink::say(&format!("decision {} cannot be written: {error}", record.id));
        }
    }
}

struct Line<'a> {
    record: &'a Record,
    duration: Duration,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let r = self.record;
        let mut line = serializer.serialize_struct("Decision", 34)?;
        line.serialize_field("ts", &Shown(humantime::format_rfc3339_micros(r.at.wall)))?;
        line.serialize_field("id", r.id())?;
        line.serialize_field("listener", &*r.listener)?;
        line.serialize_field("peer", &Shown(r.peer))?;
        line.serialize_field("site", &r.site.as_deref())?;
        line.serialize_field("server", &r.server.as_deref())?;
        line.serialize_field("policy", &r.policy.as_deref())?;
        line.serialize_field("mode", &r.mode.map(Mode::code))?;
        line.serialize_field("kind", r.kind.code())?;
        line.serialize_field("device", &r.device.as_ref().and_then(|device| device.shown()).map(Short))?;
        line.serialize_field("session", &r.session.as_deref().map(Short))?;
        line.serialize_field("message", &r.message.as_deref().map(Short))?;
        line.serialize_field("encoding", &r.encoding.map(Encoding::name))?;
        line.serialize_field("integrity", &r.integrity.map(Integrity::code))?;
        line.serialize_field("started_by", &r.started_by.map(StartedBy::code))?;
        line.serialize_field("declared", &r.declared.as_ref().map(Shown))?;
        line.serialize_field("declared_dtd", &r.declared_dtd.as_deref().map(Short))?;
        line.serialize_field("used", &r.used.map(Shown))?;
        line.serialize_field("recommended", &r.recommended.map(Shown))?;
        line.serialize_field("supported", &List(r.supported.iter().map(Shown)))?;
        line.serialize_field("verdict", &r.verdict)?;
        line.serialize_field("reason", &r.reason)?;
        line.serialize_field("requirement", &r.requirement)?;
        line.serialize_field("rule", &r.rule.as_deref())?;
        line.serialize_field("store", &r.store)?;
        line.serialize_field("edits", &List(r.edits.iter()))?;
        line.serialize_field("hints", &List(r.hints.iter()))?;
        line.serialize_field("http_status", &r.http_status)?;
        line.serialize_field("syncml_status", &r.syncml_status)?;
        line.serialize_field("attempts", &r.attempts)?;
        line.serialize_field("bytes_in", &r.bytes_in)?;
        line.serialize_field("bytes_out", &r.bytes_out)?;
        line.serialize_field("upstream_us", &r.upstream.map(micros))?;
        line.serialize_field("duration_us", &micros(self.duration))?;
        line.end()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Anything by its text.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A text that a client chose.
struct Short<'a>(&'a str);

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.char_indices().nth(TEXT) {
            None => serializer.serialize_str(self.0),
            Some((end, _)) => serializer.collect_str(&format_args!("{}…", &self.0[..end])),
        }
    }
}

/// A list; `null` when it is empty.
struct List<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = self.0.clone().peekable();
        if items.peek().is_none() { serializer.serialize_none() } else { serializer.collect_seq(items) }
    }
}
