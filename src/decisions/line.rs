//! A record as one line of JSON. The keys and their order are what log pipelines depend on.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use super::record::Record;
use crate::{
    policy::{facts::Integrity, reason::Requirement, site::Mode},
    syncml::{
        alert::StartedBy,
        header::Encoding,
        version::{Declared, Version},
    },
};

/// Every key, in order.
#[cfg(test)]
pub(super) const KEYS: [&str; 35] = [
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
    "detail",
];

/// The most characters of a text that a client chose; the rest is cut off with an ellipsis.
pub(super) const TEXT: usize = 256;

/// Writes the line, with its end, behind what is in the buffer.
pub(super) fn write(record: &Record, duration: Duration, into: &mut Vec<u8>) {
    let before = into.len();
    match (Line { into }).record(record, duration) {
        Ok(()) => into.extend_from_slice(b"}\n"),
        // Nothing that is known gets here: the clock keeps to the years that RFC 3339 can write.
        Err(error) => {
            into.truncate(before);
            super::sink::say(&format!("decision {} cannot be written: {error}", record.id));
        }
    }
}

/// A line that is being written. Keys and codes are known to need no escapes, so only texts go through
/// serde_json: a line is written for every request, and a third of the work was to look for escapes in 35 keys.
struct Line<'a> {
    into: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn record(&mut self, r: &Record, duration: Duration) -> io::Result<()> {
        self.into.extend_from_slice(b"{\"ts\":\"");
        write!(self.into, "{}\"", humantime::format_rfc3339_micros(r.at.wall))?;
        self.code("id", Some(r.id()));
        self.text("listener", Some(&r.listener))?;
        self.key("peer");
        write!(self.into, "\"{}\"", r.peer)?;
        self.text("site", r.site.as_deref())?;
        self.text("server", r.server.as_deref())?;
        self.text("policy", r.policy.as_deref())?;
        self.code("mode", r.mode.map(Mode::code));
        self.code("kind", Some(r.kind.code()));
        self.short("device", r.device.as_ref().and_then(|device| device.shown()))?;
        self.short("session", r.session.as_deref())?;
        self.short("message", r.message.as_deref())?;
        self.code("encoding", r.encoding.map(Encoding::name));
        self.code("integrity", r.integrity.map(Integrity::code));
        self.code("started_by", r.started_by.map(StartedBy::code));
        match &r.declared {
            Some(Declared::Unrecognised(text)) => self.text("declared", Some(text))?,
            known => self.version("declared", known.as_ref().and_then(Declared::known)),
        }
        self.short("declared_dtd", r.declared_dtd.as_deref())?;
        self.version("used", r.used);
        self.version("recommended", r.recommended);
        self.list("supported", &r.supported, |version| version.text())?;
        self.code("verdict", Some(r.verdict.code()));
        self.code("reason", Some(r.reason.code()));
        self.code("requirement", r.requirement.map(Requirement::code));
        self.text("rule", r.rule.as_deref())?;
        self.code("store", r.store);
        self.list("edits", &r.edits, |name| Cow::Borrowed(name))?;
        self.list("hints", &r.hints, |name| Cow::Borrowed(name))?;
        self.number("http_status", r.http_status);
        self.number("syncml_status", r.syncml_status);
        self.number("attempts", r.attempts);
        self.number("bytes_in", Some(r.bytes_in));
        self.number("bytes_out", Some(r.bytes_out));
        self.number("upstream_us", r.upstream.map(micros));
        self.number("duration_us", Some(micros(duration)));
        self.short("detail", r.detail.as_deref())
    }

    fn key(&mut self, key: &'static str) {
        self.into.extend_from_slice(b",\"");
        self.into.extend_from_slice(key.as_bytes());
        self.into.extend_from_slice(b"\":");
    }

    fn null(&mut self) {
        self.into.extend_from_slice(b"null");
    }

    /// A text that needs no escapes.
    fn quoted(&mut self, plain: &str) {
        self.into.push(b'"');
        self.into.extend_from_slice(plain.as_bytes());
        self.into.push(b'"');
    }

    fn code(&mut self, key: &'static str, code: Option<&str>) {
        self.key(key);
        match code {
            Some(code) => self.quoted(code),
            None => self.null(),
        }
    }

    fn version(&mut self, key: &'static str, version: Option<Version>) {
        self.code(key, version.map(Version::text).as_deref());
    }

    fn number(&mut self, key: &'static str, number: Option<impl itoa::Integer>) {
        self.key(key);
        match number {
            Some(number) => self.into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            None => self.null(),
        }
    }

    fn text(&mut self, key: &'static str, text: Option<&str>) -> io::Result<()> {
        self.key(key);
        Ok(serde_json::to_writer(&mut *self.into, &text)?)
    }

    /// A text that a client chose.
    fn short(&mut self, key: &'static str, text: Option<&str>) -> io::Result<()> {
        let cut = text.and_then(|text| Some(format!("{}…", text.get(..text.char_indices().nth(TEXT)?.0)?)));
        self.text(key, cut.as_deref().or(text))
    }

    /// A list; `null` when it is empty.
    fn list<T>(&mut self, key: &'static str, items: &[T], text: impl Fn(&T) -> Cow<'_, str>) -> io::Result<()> {
        self.key(key);
        if items.is_empty() {
            self.null();
            return Ok(());
        }
        for (at, item) in items.iter().enumerate() {
            self.into.push(if at == 0 { b'[' } else { b',' });
            serde_json::to_writer(&mut *self.into, &text(item))?;
        }
        self.into.push(b']');
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
