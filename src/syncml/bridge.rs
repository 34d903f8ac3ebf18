//! Which edits take a message from one version to another, or why it cannot go.
//!
//! Between two versions of the table only names change: VerProto, VerDTD, the name space of the root,
//! the identifiers of a DOCTYPE or of a WBXML header. Each is changed only where it agreed with the
//! version the message is in, and keeps the form it was written in: what a peer writes for reasons of
//! its own is not ours to mend. To a version with an older DTD the rest of the message is read as well,
//! for what that DTD has no word for (`what the 1.2 releases added`: RepPro and MetInfo DTD 1.2,
//! OMA-TS-DM_TNDS-V1_2_1, generic alerts in OMA-TS-DM_Protocol-V1_2_1, section 8.7).

use std::borrow::Cow;

use super::{
    body::{Cursor, Leaf, Plain, Step, Steps},
    edit::Edits,
    element::{Dtd, Element, Elements, dtd},
    header::{Field, Form, HeaderIndex, Prologue, PublicId, Span, WbxmlPrologue, XmlPrologue},
    malformed::Malformed,
    status::Status,
    version::Forms,
    wbxml,
    write::value,
};

/// From which version to which, and how.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// The version that the message is in.
    pub from: &'a Forms,
    /// The version that it shall be in.
    pub to: &'a Forms,
    /// Whether elements that the other version has no word for may be dropped. What that version can
    /// at least carry, a TNDS payload or a generic alert, then passes as it is: the receiver answers
    /// the command with a status of its own (415, 406).
    pub lossy: bool,
    /// For answers: the names as the receiver itself writes them.
    pub own: Own<'a>,
}

/// The names of a version as a peer writes them itself, right or wrong. Some phones compare what they
/// get with that, and take no other form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own<'a> {
    /// The name space of the root.
    pub xmlns: Option<&'a [u8]>,
    /// The formal public identifier, of a DOCTYPE or a WBXML header.
    pub fpi: Option<&'a [u8]>,
    /// The address of the DTD in a DOCTYPE.
    pub dtd_url: Option<&'a [u8]>,
    /// The number in a WBXML header.
    pub public_id: Option<u32>,
    /// VerDTD.
    pub ver_dtd: Option<&'a [u8]>,
}

impl<'a> Own<'a> {
    /// The names in a message.
    #[must_use]
    pub fn of(raw: &'a [u8], index: &HeaderIndex) -> Self {
        let bytes = |span: Option<Span>| span.map(|span| span.of(raw));
        // One in several pieces is read as such, and not repeated.
        let plain = matches!(index.ver_dtd.form, Form::Literal | Form::WbxmlTable | Form::WbxmlOpaque);
        let ver_dtd = bytes(plain.then_some(index.ver_dtd.text));
        match index.prologue {
            Prologue::Xml(XmlPrologue { xmlns, fpi, dtd_url, .. }) => {
                Self { xmlns: bytes(xmlns), fpi: bytes(fpi), dtd_url: bytes(dtd_url), public_id: None, ver_dtd }
            }
            Prologue::Wbxml(WbxmlPrologue { public_id, xmlns, .. }) => {
                let (fpi, public_id) = match public_id {
                    PublicId::Text { fpi } => (Some(fpi), None),
                    PublicId::Number { value, .. } => (None, Some(value)),
                };
                Self { xmlns: bytes(xmlns.map(|field| field.text)), fpi: bytes(fpi), dtd_url: None, public_id, ver_dtd }
            }
        }
    }
}

/// The edits of a bridged message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridged {
    /// What to change.
    pub edits: Edits,
    /// What is changed: `VerProto`, `VerDTD`, `xmlns`, `FPI`, `DTD-URL`, `public-id`, `dropped:…`.
    pub names: Vec<Cow<'static, str>>,
}

impl Bridged {
    /// Adds an edit under a name.
    pub fn replace(&mut self, name: impl Into<Cow<'static, str>>, span: Span, with: Vec<u8>) {
        if self.edits.replace(span, with) {
            self.names.push(name.into());
        }
    }
}

/// Why a message cannot cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The older version has no word for something in it.
    Element {
        /// What: the name of an element, `TNDS`, `Alert 1226`, or `charset` when it is in one that
        /// protover does not write.
        name: &'static str,
        /// The command that has it, when it is in one.
        command: Option<Command>,
        /// The status that fits: 415 for a payload of an unknown type, 406 otherwise.
        status: Status,
        /// The byte where it stands.
        at: u32,
    },
    /// It had to be read to the end, and cannot be.
    Malformed(Malformed),
}

/// A command of a message, as a Status refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which command: [`Element::is_command`] holds.
    pub element: Element,
    /// Its CmdID.
    pub cmd_id: String,
}

impl From<Malformed> for Obstacle {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Finds the edits that take a message from one version to another. Between versions of the same DTD,
/// and upwards, nothing behind SyncHdr is read.
///
/// # Errors
/// [`Obstacle`] when the message cannot cross.
pub fn bridge(raw: &[u8], index: &HeaderIndex, crossing: &Crossing<'_>) -> Result<Bridged, Obstacle> {
    let Crossing { from, to, .. } = *crossing;
    let mut bridged = Bridged::default();
    match index.prologue {
        Prologue::Xml(prologue) => xml_names(raw, &prologue, crossing, &mut bridged),
        Prologue::Wbxml(prologue) => wbxml::names(raw, &prologue, crossing, &mut bridged),
    }
    let mut field = |name, field: Field, element, text: &str| {
        if index.text(raw, field) != text {
            bridged.replace(name, field.place, value(raw, index, field, element, text));
        }
    };
    let ver_dtd = crossing.own.ver_dtd.and_then(|own| std::str::from_utf8(own).ok()).map_or(&*to.dtd, str::trim);
    field("VerDTD", index.ver_dtd, Element::VerDTD, ver_dtd);
    field("VerProto", index.ver_proto, Element::VerProto, &to.version.text());
    if let (Some(from), Some(to)) = (dtd(&from.dtd), dtd(&to.dtd))
        && to < from
    {
        downwards(raw, index, to, crossing.lossy, &mut bridged)?;
    }
    if !bridged.edits.is_empty() && !index.editable() {
        return Err(Obstacle::Element { name: "charset", command: None, status: Status::UNSUPPORTED_MEDIA_TYPE, at: 0 });
    }
    Ok(bridged)
}

/// Name space and DOCTYPE of an XML message.
fn xml_names(raw: &[u8], prologue: &XmlPrologue, crossing: &Crossing<'_>, bridged: &mut Bridged) {
    let Crossing { from, to, own, .. } = crossing;
    let names = [
        ("FPI", prologue.fpi, &from.fpi, &to.fpi, own.fpi),
        ("DTD-URL", prologue.dtd_url, &from.dtd_url, &to.dtd_url, own.dtd_url),
        ("xmlns", prologue.xmlns, &from.xmlns, &to.xmlns, own.xmlns),
    ];
    for (name, span, from, to, own) in names {
        if let Some(span) = span
            && let Some(new) = renamed(span.of(raw), from, to, own)
        {
            bridged.replace(name, span, new);
        }
    }
}

/// A name of one version as that of another: the receiver's own, or in the case that it is written in
/// (`syncml:SYNCML1.2` becomes `syncml:SYNCML1.1`). `None` when it is not that of the first version, or
/// stays as it is.
pub(super) fn renamed(theirs: &[u8], from: &str, to: &str, own: Option<&[u8]>) -> Option<Vec<u8>> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if !theirs.eq_ignore_ascii_case(from) {
        return None;
    }
    let new = match own {
        Some(own) => own.to_vec(),
        None if from.len() != to.len() => to.to_vec(),
        None => {
            theirs.iter().zip(from.iter().zip(to)).map(|(theirs, (from, to))| if from == to { *theirs } else { *to }).collect()
        }
    };
    (new != theirs).then_some(new)
}

/// Media types of a management tree in one piece, the shortest first (OMA-TS-DM_TNDS-V1_2_1).
const TNDS: [&str; 2] = ["application/vnd.syncml.dmtnds+xml", "application/vnd.syncml.dmtnds+wbxml"];
const GENERIC_ALERT: &str = "1226";

/// Reads the body for what an older DTD has no word for.
fn downwards(raw: &[u8], index: &HeaderIndex, to: Dtd, lossy: bool, bridged: &mut Bridged) -> Result<(), Obstacle> {
    let mut cursor = Cursor::body(raw, index)?;
    let newer = Elements::after(to);
    let mut down = Down { raw, index, newer, lossy, bridged, dropping: None, seen_body: false };
    loop {
        cursor.skim(|plain| down.take(plain));
        let Some(step) = cursor.step()? else { break };
        let (depth, page) = (cursor.depth(), cursor.page());
        match step {
            Step::Start { element, tag, .. } => down.start(element, tag, page, depth)?,
            Step::Text(field) => down.text(cursor.open(depth - 1), cursor.open(depth), field)?,
            Step::End { tag, .. } => down.end(tag, page, depth),
        }
    }
    if !down.seen_body {
        return Err(Malformed::new(super::malformed::Problem::Missing("SyncBody"), raw.len()).into());
    }
    Ok(())
}

/// A message on its way to an older DTD.
struct Down<'a> {
    raw: &'a [u8],
    index: &'a HeaderIndex,
    /// What the older DTD does not have.
    newer: Elements,
    lossy: bool,
    bridged: &'a mut Bridged,
    dropping: Option<Dropping>,
    seen_body: bool,
}

impl Down<'_> {
    /// Takes an element in which there is nothing to be seen.
    #[inline]
    fn take(&self, plain: Plain) -> bool {
        if self.newer.has(plain.element) || plain.element == Element::SyncBody {
            return false;
        }
        match plain.leaf {
            Some(Leaf { field, .. }) => self.unknown(plain.outer, plain.element, field).is_none(),
            None => self.lossy || !matches!(plain.element, Element::Type | Element::Data),
        }
    }

    fn start(&mut self, element: Element, tag: Span, page: u8, depth: usize) -> Result<(), Obstacle> {
        self.seen_body |= element == Element::SyncBody;
        if self.newer.has(element) && self.dropping.is_none() {
            if !self.lossy {
                // A new command has not told its CmdID as yet.
                let command = if element.is_command() { None } else { command_around(self.raw, self.index, tag.start) };
                let status = Status::OPTIONAL_FEATURE_NOT_SUPPORTED;
                return Err(Obstacle::Element { name: element.name(), command, status, at: tag.start });
            }
            self.dropping = Some(Dropping { element, start: tag.start, page, depth });
        }
        Ok(())
    }

    fn text(&self, outer: Element, inner: Element, field: Field) -> Result<(), Obstacle> {
        let Some((name, status)) = self.unknown(outer, inner, field) else { return Ok(()) };
        let at = field.place.start;
        Err(Obstacle::Element { name, command: command_around(self.raw, self.index, at), status, at })
    }

    /// What a text says that the older version does not know.
    #[inline]
    fn unknown(&self, outer: Element, inner: Element, field: Field) -> Option<(&'static str, Status)> {
        match (outer, inner) {
            _ if self.lossy => None,
            (Element::Alert, Element::Data) if self.index.says(self.raw, field, GENERIC_ALERT) => {
                Some(("Alert 1226", Status::OPTIONAL_FEATURE_NOT_SUPPORTED))
            }
            // Nearly all types are too short for it.
            (Element::Meta | Element::MetInf, Element::Type)
                if (field.form != Form::Literal || field.text.len() >= TNDS[0].len())
                    && is_tnds(&self.index.text(self.raw, field)) =>
            {
                Some(("TNDS", Status::UNSUPPORTED_MEDIA_TYPE))
            }
            _ => None,
        }
    }

    fn end(&mut self, tag: Span, page: u8, depth: usize) {
        if let Some(dropped) = self.dropping.take_if(|dropping| dropping.depth > depth) {
            let span = Span { start: dropped.start, end: tag.end };
            self.bridged.replace(format!("dropped:{}", dropped.element.name()), span, wbxml::dropped(dropped.page, page));
        }
    }
}

/// An element that is being dropped.
struct Dropping {
    element: Element,
    /// Where it begins, in which code page, and how many elements are open in it.
    start: u32,
    page: u8,
    depth: usize,
}

/// The innermost command around a place, when it has told its CmdID by then.
#[cold]
fn command_around(raw: &[u8], index: &HeaderIndex, at: u32) -> Option<Command> {
    let mut cursor = Cursor::body(raw, index).ok()?;
    // The commands that are open: how deep, which, and what their CmdID is.
    let mut commands: Vec<(usize, Element, Option<Field>)> = Vec::new();
    while let Some(step) = cursor.step().ok()? {
        let depth = cursor.depth();
        match step {
            Step::Start { tag, .. } if tag.start >= at => break,
            Step::Text(field) if field.place.start >= at => break,
            Step::Start { element, .. } if element.is_command() => commands.push((depth, element, None)),
            Step::Text(field) if cursor.open(depth) == Element::CmdID => {
                if let Some((command, _, cmd_id)) = commands.last_mut()
                    && *command + 1 == depth
                {
                    *cmd_id = Some(field);
                }
            }
            Step::End { .. } => commands.retain(|(command, ..)| *command <= depth),
            Step::Start { .. } | Step::Text(_) => {}
        }
    }
    let (_, element, cmd_id) = commands.pop()?;
    Some(Command { element, cmd_id: index.text(raw, cmd_id?).trim().to_owned() })
}

fn is_tnds(media_type: &str) -> bool {
    let text = media_type.trim_start();
    TNDS.iter().any(|tnds| match text.split_at_checked(tnds.len()) {
        Some((essence, rest)) => essence.eq_ignore_ascii_case(tnds) && matches!(rest.trim_start().as_bytes(), [] | [b';', ..]),
        None => false,
    })
}

#[cfg(test)]
mod tests;
