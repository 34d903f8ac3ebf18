//! A record as one line of JSON. The keys and their order are what log pipelines depend on.

use std::{
    borrow::Cow,
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
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

/// The bytes that cannot stand in a string of JSON as they are.
static SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut control = 0;
    while control < b' ' as usize {
        special[control] = true;
        control += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

/// A key as it stands in the line, so that it is written in one go.
struct Key {
    /// In front of a number or a list.
    bare: &'static str,
    /// In front of a string.
    string: &'static str,
    /// Without a value.
    null: &'static str,
}

macro_rules! key {
    ($name:literal) => {
        &Key {
            bare: concat!(",\"", $name, "\":"),
            string: concat!(",\"", $name, "\":\""),
            null: concat!(",\"", $name, "\":null"),
        }
    };
}

/// Writes the line, with its end, behind what is there.
pub(super) fn write(record: &Record, duration: Duration, into: &mut String) {
    let mut line = Line(into);
    line.record(record, duration);
    line.0.push_str("}\n");
}

/// A line that is being written. Keys and codes are known to need no escapes, and few texts need any: a line
/// is written for every request, and to look for escapes by serde_json in 35 keys was a third of the work.
struct Line<'a>(&'a mut String);

impl Line<'_> {
    fn record(&mut self, r: &Record, duration: Duration) {
        self.0.push_str("{\"ts\":");
        self.time(r.at.wall);
        self.code(key!("id"), Some(r.id()));
        self.text(key!("listener"), Some(&r.listener));
        self.peer(key!("peer"), r.peer);
        self.text(key!("site"), r.site.as_deref());
        self.text(key!("server"), r.server.as_deref());
        self.text(key!("policy"), r.policy.as_deref());
        self.code(key!("mode"), r.mode.map(Mode::code));
        self.code(key!("kind"), Some(r.kind.code()));
        self.short(key!("device"), r.device.as_ref().and_then(|device| device.shown()));
        self.short(key!("session"), r.session.as_deref());
        self.short(key!("message"), r.message.as_deref());
        self.code(key!("encoding"), r.encoding.map(Encoding::name));
        self.code(key!("integrity"), r.integrity.map(Integrity::code));
        self.code(key!("started_by"), r.started_by.map(StartedBy::code));
        match &r.declared {
            Some(Declared::Unrecognised(text)) => self.text(key!("declared"), Some(text)),
            known => self.version(key!("declared"), known.as_ref().and_then(Declared::known)),
        }
        self.short(key!("declared_dtd"), r.declared_dtd.as_deref());
        self.version(key!("used"), r.used);
        self.version(key!("recommended"), r.recommended);
        self.list(key!("supported"), &r.supported, |version| version.text());
        self.code(key!("verdict"), Some(r.verdict.code()));
        self.code(key!("reason"), Some(r.reason.code()));
        self.code(key!("requirement"), r.requirement.map(Requirement::code));
        self.text(key!("rule"), r.rule.as_deref());
        self.code(key!("store"), r.store);
        self.list(key!("edits"), &r.edits, |name| Cow::Borrowed(name));
        self.list(key!("hints"), &r.hints, |name| Cow::Borrowed(name));
        self.number(key!("http_status"), r.http_status);
        self.number(key!("syncml_status"), r.syncml_status);
        self.number(key!("attempts"), r.attempts);
        self.number(key!("bytes_in"), Some(r.bytes_in));
        self.number(key!("bytes_out"), Some(r.bytes_out));
        self.number(key!("upstream_us"), r.upstream.map(micros));
        self.number(key!("duration_us"), Some(micros(duration)));
        self.short(key!("detail"), r.detail.as_deref());
    }

    /// RFC 3339 in microseconds, UTC. Lines come many to a second, so the second is kept as text.
    fn time(&mut self, at: SystemTime) {
        thread_local! {
            static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
        }
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        SECOND.with_borrow_mut(|(second, text)| {
            if *second != since.as_secs() {
                let whole = UNIX_EPOCH + Duration::from_secs(since.as_secs());
                (*second, *text) = (since.as_secs(), humantime::format_rfc3339_seconds(whole).to_string());
                text.pop();
            }
            self.0.push('"');
            self.0.push_str(text);
        });
        let mut digits = itoa::Buffer::new();
        // The leading zeros come of the digit in front, which the dot takes the place of.
        let micros = digits.format(1_000_000 + since.subsec_micros());
        self.0.push('.');
        self.0.push_str(micros.get(1..).unwrap_or_default());
        self.0.push_str("Z\"");
    }

    fn peer(&mut self, key: &Key, peer: SocketAddr) {
        self.0.push_str(key.string);
        match peer {
            SocketAddr::V4(peer) => {
                for (octet, end) in peer.ip().octets().into_iter().zip([".", ".", ".", ":"]) {
                    self.0.push_str(itoa::Buffer::new().format(octet));
                    self.0.push_str(end);
                }
                self.0.push_str(itoa::Buffer::new().format(peer.port()));
            }
            SocketAddr::V6(peer) => self.0.push_str(&peer.to_string()),
        }
        self.0.push('"');
    }

    /// A text that needs no escapes.
    fn code(&mut self, key: &Key, code: Option<&str>) {
        match code {
            Some(code) => {
                self.0.push_str(key.string);
                self.0.push_str(code);
                self.0.push('"');
            }
            None => self.0.push_str(key.null),
        }
    }

    fn text(&mut self, key: &Key, text: Option<&str>) {
        match text {
            Some(text) if is_special(text) => {
                self.0.push_str(key.bare);
                self.escaped(text);
            }
            text => self.code(key, text),
        }
    }

    #[cold]
    fn escaped(&mut self, text: &str) {
        // Strings have a form in JSON, all of them.
        self.0.push_str(&serde_json::to_string(text).unwrap_or_default());
    }

    fn version(&mut self, key: &Key, version: Option<Version>) {
        self.code(key, version.map(Version::text).as_deref());
    }

    fn number(&mut self, key: &Key, number: Option<impl itoa::Integer>) {
        match number {
            Some(number) => {
                self.0.push_str(key.bare);
                self.0.push_str(itoa::Buffer::new().format(number));
            }
            None => self.0.push_str(key.null),
        }
    }

    /// A text that a client chose.
    fn short(&mut self, key: &Key, text: Option<&str>) {
        let long = text.filter(|text| text.len() > TEXT);
        let cut = long.and_then(|text| Some(format!("{}…", text.get(..text.char_indices().nth(TEXT)?.0)?)));
        self.text(key, cut.as_deref().or(text));
    }

    /// A list; `null` when it is empty.
    fn list<T>(&mut self, key: &Key, items: &[T], text: impl Fn(&T) -> Cow<'_, str>) {
        if items.is_empty() {
            return self.0.push_str(key.null);
        }
        self.0.push_str(key.bare);
        for (at, item) in items.iter().enumerate() {
            self.0.push(if at == 0 { '[' } else { ',' });
            let item = text(item);
            if is_special(&item) {
                self.escaped(&item);
            } else {
                self.0.push('"');
                self.0.push_str(&item);
                self.0.push('"');
            }
        }
        self.0.push(']');
    }
}

fn is_special(text: &str) -> bool {
    text.bytes().any(|byte| SPECIAL[usize::from(byte)])
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
