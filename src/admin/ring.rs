//! The last decisions, as they were written.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::decisions::Record;

/// A decision, with what it can be asked for by.
#[derive(Debug)]
struct Entry {
    site: Option<Arc<str>>,
    verdict: &'static str,
    reason: &'static str,
    line: Box<str>,
}

/// The last decisions.
#[derive(Debug)]
pub(super) struct Ring {
    entries: Mutex<VecDeque<Entry>>,
    size: usize,
}

/// Which of them.
#[derive(Clone, Debug)]
pub(super) struct Query {
    limit: usize,
    site: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self { limit: 50, site: None, verdict: None, reason: None }
    }
}

impl Query {
    /// Reads `limit=N&site=…&verdict=…&reason=…`. Values are names from policies and the log, which need no
    /// escapes but those of spaces and slashes.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescaped(value);
            match key {
                "limit" => read.limit = value.parse().map_err(|_| format!("limit is a number, not \"{value}\""))?,
                "site" => read.site = Some(value),
                "verdict" => read.verdict = Some(value),
                "reason" => read.reason = Some(value),
                other => return Err(format!("\"{other}\" is none of limit, site, verdict, reason")),
            }
        }
        Ok(read)
    }

    fn takes(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        is(&self.verdict, entry.verdict)
            && is(&self.reason, entry.reason)
            && self.site.as_ref().is_none_or(|wanted| entry.site.as_deref() == Some(wanted))
    }
}

/// A value of a query without its escapes. What is no escape stays.
fn unescaped(value: &str) -> String {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let escaped = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let rest = if let Some(byte) = escaped {
            bytes.push(byte);
            piece.get(2..).unwrap_or_default()
        } else {
            bytes.push(b'%');
            piece
        };
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Ring {
    pub(super) fn new(size: usize) -> Self {
        Self { entries: Mutex::default(), size }
    }

    pub(super) fn push(&self, record: &Record, line: &str) {
        let entry = Entry {
            site: record.site.clone(),
            verdict: record.verdict.code(),
            reason: record.reason.code(),
            line: line.trim_end().into(),
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.size {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// As a list in JSON, the newest first.
    pub(super) fn newest(&self, query: &Query) -> String {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> =
            entries.iter().rev().filter(|entry| query.takes(entry)).take(query.limit).map(|entry| &*entry.line).collect();
        format!("[{}]\n", lines.join(",\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_wrong() {
        let query = Query::read("limit=3&site=a%20b%2Fc&verdict=pass").expect("a query");
        assert_eq!((query.limit, query.site.as_deref(), query.verdict.as_deref()), (3, Some("a b/c"), Some("pass")));
        assert_eq!(unescaped("%zz%"), "%zz%");
        assert!(Query::read("limit=x").is_err() && Query::read("colour=red").is_err());
    }
}
