//! PROTOVER for accounts in a provisioning document.

use super::{Application, Document, Tag, binary, text};
use crate::syncml::{
    edit::Edits,
    header::{Encoding, Span},
    version::{Family, Version},
};

/// The parameter, and the highest version that it knows: its values are `1.1` and `1.2` (w7 APPLICATION CSP).
pub(super) const PROTOVER: &str = "PROTOVER";
const HIGHEST: Version = Version::DM_1_2;

/// The version that PROTOVER says for servers that speak these: the recommended one, or the highest below it
/// that may stand there. `None` when there is none.
#[must_use]
pub fn highest(recommended: Option<Version>, supported: &[Version]) -> Option<Version> {
    let may = |version: &Version| version.family() == Family::Dm && *version <= HIGHEST;
    let below = supported.iter().copied().filter(may).reduce(|a, b| if b > a { b } else { a });
    recommended.filter(may).or(below)
}

/// The edits that make PROTOVER of the accounts that are `meant` say a version, and how many accounts they
/// change. None where it says so already.
#[must_use]
pub fn stamp(raw: &[u8], document: &Document, version: Version, meant: impl Fn(&Application) -> bool) -> (Edits, usize) {
    let value = version.number();
    let mut edits = Edits::new();
    let mut changed = 0;
    for account in document.accounts().iter().filter(|account| meant(account)) {
        // Which one of several a client looks at is its own affair.
        let differing = account.protover.iter().filter(|parameter| parameter.says("value") != value);
        let mut wanted: Vec<_> = differing.map(|parameter| changes(raw, document.encoding, parameter, &value)).collect();
        if account.protover.is_empty() {
            wanted.extend(added(raw, document.encoding, account, &value));
        }
        changed += usize::from(!wanted.is_empty());
        for (span, with) in wanted {
            edits.replace(span, with);
        }
    }
    (edits, changed)
}

/// Another value.
fn changes(raw: &[u8], encoding: Encoding, parameter: &Tag, value: &str) -> (Span, Vec<u8>) {
    match (encoding, parameter.attribute("value")) {
        (Encoding::Xml, Some(old)) => (old.place, value.as_bytes().to_vec()),
        (Encoding::Wbxml, Some(old)) => (old.place, binary::instead(old, value)),
        (Encoding::Xml, None) => {
            let tag = parameter.span.of(raw);
            let close = if tag.ends_with(b"/>") { 2 } else { 1 };
            let inside = tag.get(..tag.len().saturating_sub(close)).unwrap_or_default().trim_ascii_end();
            let at = Span::at(parameter.span.range().start + inside.len());
            (at, format!(" value=\"{value}\"").into_bytes())
        }
        (Encoding::Wbxml, None) => (Span::at(parameter.span.range().end.saturating_sub(1)), binary::value(value)),
    }
}

/// Another parameter, behind the one that it belongs to.
fn added(raw: &[u8], encoding: Encoding, account: &Application, value: &str) -> Option<(Span, Vec<u8>)> {
    let neighbour = account.neighbour.as_ref()?;
    let with = match encoding {
        Encoding::Wbxml => binary::parameter(PROTOVER, value),
        Encoding::Xml => text::beside(raw, &neighbour.tag, neighbour.plain, PROTOVER, value),
    };
    Some((Span { start: neighbour.end, end: neighbour.end }, with))
}
