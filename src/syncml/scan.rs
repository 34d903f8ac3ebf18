//! SyncHdr to a [`HeaderIndex`], whatever the encoding.

use super::{
    body::{Step, Steps},
    element::Element,
    header::{Encoding, Field, Form, HeaderIndex, Prologue, Slot, Span},
    limits,
    malformed::{Malformed, Problem},
};

/// Reads root and SyncHdr from a walk whose next step is the Start of the root. `at` gives the place
/// of a step for errors; `empty` says where a value goes that an element written as empty lacks.
///
/// Nothing behind SyncHdr is read. Elements of SyncHdr that are not known are passed over; known ones
/// may not be there twice, since two readers could then see two different messages.
///
/// # Errors
/// [`Malformed`] as [`super::scan()`].
pub fn header<S: Steps>(
    steps: &mut S,
    encoding: Encoding,
    prologue: impl FnOnce(&mut S) -> Prologue,
) -> Result<HeaderIndex, Malformed> {
    let mut walk = Walk { steps, encoding, seen: Seen::default() };
    match walk.start()? {
        Some((Element::SyncML, _, false)) => {}
        Some((Element::SyncML, tag, true)) => return Err(malformed(Problem::NoSyncHdr, tag)),
        Some((_, tag, _)) => return Err(malformed(Problem::NotSyncMl, tag)),
        None => return Err(Malformed::new(Problem::NotSyncMl, 0)),
    }
    let (tag, empty) = match walk.start()? {
        Some((Element::SyncHdr, tag, empty)) => (tag, empty),
        Some((_, tag, _)) => return Err(malformed(Problem::NoSyncHdr, tag)),
        None => return Err(Malformed::new(Problem::NoSyncHdr, 0)),
    };
    if empty {
        return Err(malformed(Problem::Missing("VerDTD"), tag));
    }
    let prologue = prologue(walk.steps);
    let mut found = Found::default();
    let end = loop {
        match walk.next()? {
            Step::Text(_) => {}
            Step::Start { element, tag, empty } => found.child(&mut walk, element, tag, empty)?,
            Step::End { tag, .. } => break tag,
        }
    };
    let missing = |name: &'static str| malformed(Problem::Missing(name), end);
    Ok(HeaderIndex {
        encoding,
        prologue,
        ver_dtd: found.ver_dtd.ok_or_else(|| missing("VerDTD"))?,
        ver_proto: found.ver_proto.ok_or_else(|| missing("VerProto"))?,
        session_id: found.session_id.ok_or_else(|| missing("SessionID"))?,
        msg_id: found.msg_id.ok_or_else(|| missing("MsgID"))?,
        target: found.target.ok_or_else(|| missing("Target/LocURI"))?,
        source: found.source.ok_or_else(|| missing("Source/LocURI"))?,
        source_name: found.source_name,
        resp_uri: found.resp_uri,
        no_resp: found.no_resp,
        max_msg_size: found.max_msg_size,
        meta: found.meta,
        header: Slot { span: Span { start: end.start, end: end.start }, empty: false, page: walk.steps.page() },
        body: end.end,
    })
}

fn malformed(problem: Problem, at: Span) -> Malformed {
    Malformed { problem, at: at.start }
}

/// What was found in SyncHdr so far.
#[derive(Default)]
struct Found {
    ver_dtd: Option<Field>,
    ver_proto: Option<Field>,
    session_id: Option<Field>,
    msg_id: Option<Field>,
    target: Option<Field>,
    source: Option<Field>,
    source_name: Option<Field>,
    resp_uri: Option<Field>,
    no_resp: bool,
    max_msg_size: Option<Field>,
    meta: Option<Slot>,
}

impl Found {
    /// Takes a child of SyncHdr, up to its End.
    fn child<S: Steps>(&mut self, walk: &mut Walk<'_, S>, element: Element, tag: Span, empty: bool) -> Result<(), Malformed> {
        walk.seen.once(element, tag)?;
        match element {
            Element::VerDTD => self.ver_dtd = Some(walk.value(element, tag, empty)?),
            Element::VerProto => self.ver_proto = Some(walk.value(element, tag, empty)?),
            Element::SessionID => self.session_id = Some(walk.value(element, tag, empty)?),
            Element::MsgID => self.msg_id = Some(walk.value(element, tag, empty)?),
            Element::RespURI => self.resp_uri = Some(walk.value(element, tag, empty)?),
            Element::Target => (self.target, _) = walk.location()?,
            Element::Source => (self.source, self.source_name) = walk.location()?,
            Element::Meta => self.meta(walk, tag, empty)?,
            Element::NoResp => {
                self.no_resp = true;
                walk.skip()?;
            }
            _ => walk.skip()?,
        }
        Ok(())
    }

    /// Takes Meta: MaxMsgSize in it, also inside a MetInf, and its end.
    fn meta<S: Steps>(&mut self, walk: &mut Walk<'_, S>, tag: Span, empty: bool) -> Result<(), Malformed> {
        let depth = walk.steps.depth();
        if empty {
            self.meta = Some(walk.empty_slot(tag));
        }
        loop {
            match walk.next()? {
                Step::Start { element: Element::MaxMsgSize, tag, empty } if self.max_msg_size.is_none() => {
                    self.max_msg_size = Some(walk.value(Element::MaxMsgSize, tag, empty)?);
                }
                Step::Start { element: Element::MaxMsgSize, tag, .. } => {
                    return Err(malformed(Problem::Duplicate("MaxMsgSize"), tag));
                }
                Step::End { tag, .. } if walk.steps.depth() < depth => {
                    let span = Span { start: tag.start, end: tag.start };
                    let end = Slot { span, empty: false, page: walk.steps.page() };
                    self.meta.get_or_insert(end);
                    return Ok(());
                }
                Step::Start { .. } | Step::End { .. } | Step::Text(_) => {}
            }
        }
    }
}

/// The elements of one parent that were there already.
#[derive(Default)]
struct Seen(u128);

impl Seen {
    fn once(&mut self, element: Element, tag: Span) -> Result<(), Malformed> {
        let bit = if element == Element::Other { 0 } else { 1u128 << (element as u32) };
        if self.0 & bit != 0 {
            return Err(malformed(Problem::Duplicate(element.name()), tag));
        }
        self.0 |= bit;
        Ok(())
    }
}

struct Walk<'s, S> {
    steps: &'s mut S,
    encoding: Encoding,
    seen: Seen,
}

impl<S: Steps> Walk<'_, S> {
    fn next(&mut self) -> Result<Step, Malformed> {
        self.steps.step()?.ok_or(Malformed { problem: Problem::Truncated, at: u32::MAX })
    }

    /// The next Start, passing over text; `None` when an End or the end of the document comes first.
    fn start(&mut self) -> Result<Option<(Element, Span, bool)>, Malformed> {
        loop {
            match self.steps.step()? {
                Some(Step::Text(_)) => {}
                Some(Step::Start { element, tag, empty }) => return Ok(Some((element, tag, empty))),
                Some(Step::End { .. }) | None => return Ok(None),
            }
        }
    }

    /// Passes over the rest of the element that began last.
    fn skip(&mut self) -> Result<(), Malformed> {
        let depth = self.steps.depth();
        loop {
            match self.next()? {
                Step::Start { .. } => _ = self.steps.leaf(),
                Step::End { .. } if self.steps.depth() < depth => return Ok(()),
                Step::End { .. } | Step::Text(_) => {}
            }
        }
    }

    /// The text of an element that holds nothing else, up to its End.
    fn value(&mut self, element: Element, tag: Span, empty: bool) -> Result<Field, Malformed> {
        if let Some((field, _)) = self.steps.leaf() {
            return if field.text.len() > limits::VALUE { Err(malformed(Problem::TooLarge, field.place)) } else { Ok(field) };
        }
        let mut value = None;
        loop {
            match self.next()? {
                Step::Text(field) if field.place.len().max(field.text.len()) > limits::VALUE => {
                    return Err(malformed(Problem::TooLarge, field.place));
                }
                Step::Text(field) => value = Some(field),
                Step::Start { tag, .. } => return Err(malformed(Problem::NotText(element.name()), tag)),
                Step::End { tag: end, .. } => {
                    let place = if empty { self.empty_slot(tag).span } else { Span { start: end.start, end: end.start } };
                    let text = Span { start: place.end, end: place.end };
                    return Ok(value.unwrap_or(Field { place, text, form: Form::Literal }));
                }
            }
        }
    }

    /// LocURI and LocName of a Target or Source, up to its End.
    fn location(&mut self) -> Result<(Option<Field>, Option<Field>), Malformed> {
        let mut seen = Seen::default();
        let (mut uri, mut name) = (None, None);
        loop {
            match self.next()? {
                Step::Text(_) => {}
                Step::Start { element, tag, empty } => {
                    seen.once(element, tag)?;
                    match element {
                        Element::LocURI => uri = Some(self.value(element, tag, empty)?),
                        Element::LocName => name = Some(self.value(element, tag, empty)?),
                        _ => self.skip()?,
                    }
                }
                Step::End { .. } => return Ok((uri, name)),
            }
        }
    }

    /// The bytes that say that an element is empty.
    fn empty_slot(&self, tag: Span) -> Slot {
        let span = match self.encoding {
            Encoding::Xml => Span { start: tag.end.saturating_sub(2), end: tag.end },
            Encoding::Wbxml => tag,
        };
        Slot { span, empty: true, page: self.steps.page() }
    }
}
