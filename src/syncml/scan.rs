//! SyncHdr to a [`HeaderIndex`], whatever the encoding.

use super::{
    body::{Leaf, Plain, Step, Steps},
    element::{Element, Elements},
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
        walk.steps.skim(|plain| found.take(&mut walk.seen, plain));
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
    /// Where the value of a child of SyncHdr goes that holds a text.
    fn value(&mut self, element: Element) -> Option<&mut Option<Field>> {
        Some(match element {
            Element::VerDTD => &mut self.ver_dtd,
            Element::VerProto => &mut self.ver_proto,
            Element::SessionID => &mut self.session_id,
            Element::MsgID => &mut self.msg_id,
            Element::RespURI => &mut self.resp_uri,
            _ => return None,
        })
    }

    /// Takes a child of SyncHdr that holds a text.
    #[inline]
    fn take(&mut self, seen: &mut Seen, plain: Plain) -> bool {
        match (self.value(plain.element), plain.leaf) {
            (Some(value), Some(leaf)) => seen.take(value, plain.element, leaf),
            _ => false,
        }
    }

    /// Takes a child of SyncHdr, up to its End.
    fn child<S: Steps>(&mut self, walk: &mut Walk<'_, S>, element: Element, tag: Span, empty: bool) -> Result<(), Malformed> {
        walk.seen.once(element, tag)?;
        if let Some(value) = self.value(element) {
            *value = Some(walk.value(element, tag, empty)?);
            return Ok(());
        }
        match element {
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
            let value = &mut self.max_msg_size;
            walk.steps.skim(|plain| match plain {
                Plain { element: Element::MaxMsgSize, leaf: Some(leaf), .. } => Seen::default().take(value, plain.element, leaf),
                Plain { element, .. } => element != Element::MaxMsgSize,
            });
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
struct Seen(Elements);

impl Seen {
    fn once(&mut self, element: Element, tag: Span) -> Result<(), Malformed> {
        if self.0.has(element) {
            return Err(malformed(Problem::Duplicate(element.name()), tag));
        }
        if element != Element::Other {
            self.0 = self.0.with(element);
        }
        Ok(())
    }

    /// Takes a text as the value of an element, unless something is wrong with it.
    fn take(&mut self, value: &mut Option<Field>, element: Element, leaf: Leaf) -> bool {
        let len = leaf.field.place.len().max(leaf.field.text.len());
        let takes = value.is_none() && !self.0.has(element) && len <= limits::VALUE;
        if takes {
            self.0 = self.0.with(element);
            *value = Some(leaf.field);
        }
        takes
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
            self.steps.skim(|_| true);
            match self.next()? {
                Step::End { .. } if self.steps.depth() < depth => return Ok(()),
                Step::Start { .. } | Step::End { .. } | Step::Text(_) => {}
            }
        }
    }

    /// The text of an element that holds nothing else, up to its End.
    fn value(&mut self, element: Element, tag: Span, empty: bool) -> Result<Field, Malformed> {
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
            self.steps.skim(|plain| match (plain.element, plain.leaf) {
                (Element::LocURI, Some(leaf)) => seen.take(&mut uri, Element::LocURI, leaf),
                (Element::LocName, Some(leaf)) => seen.take(&mut name, Element::LocName, leaf),
                _ => false,
            });
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
