//! The device's answers to a command of protover's own, taken out of its message: the server knows nothing
//! of the command. Nothing else changes, and CmdIDs keep their gap.

use crate::{
    session::Injected,
    syncml::{
        body::{Cursor, Step, Steps},
        edit::Edits,
        element::Element,
        header::{Encoding, HeaderIndex, Span},
        malformed::Malformed,
    },
};

/// What is left of a message.
#[derive(Debug, Default)]
pub struct Stripped {
    /// What is to be taken out.
    pub edits: Edits,
    /// Whether only a Status for SyncHdr is left, and Final: a message that no device would have sent.
    pub empty: bool,
    /// Whether it has Final.
    pub last: bool,
}

/// Finds the answers in a message, and takes them down in `injected`.
///
/// # Errors
/// [`Malformed`] when it cannot be read to its end.
pub fn strip(raw: &[u8], index: &HeaderIndex, injected: &mut Injected) -> Result<Stripped, Malformed> {
    const COMMAND: usize = 3;
    let mut cursor = Cursor::body(raw, index)?;
    let mut stripped = Stripped::default();
    let mut path = [Element::Other; 6];
    let mut answer = Answer::default();
    let (mut removed, mut others) = (false, false);
    while let Some(step) = cursor.step()? {
        let depth = cursor.depth();
        match step {
            Step::Start { element, tag, .. } => {
                if let Some(open) = path.get_mut(depth) {
                    *open = element;
                }
                if depth == COMMAND {
                    answer = Answer { start: tag.start, ..Answer::default() };
                    stripped.last |= element == Element::Final;
                    others |= !matches!(element, Element::Status | Element::Results | Element::Final);
                }
            }
            Step::Text(field) => {
                let [_, _, _, command, child, grandchild] = path;
                let text = || index.text(raw, field).trim().to_owned();
                match (depth, command, child, grandchild) {
                    (4, Element::Status | Element::Results, Element::MsgRef, _) => answer.msg_ref = Some(text()),
                    (4, Element::Status | Element::Results, Element::CmdRef, _) => answer.cmd_ref = text(),
                    (4, Element::Status, Element::Data, _) => answer.status = text().parse().ok(),
                    (5, Element::Results, Element::Item, Element::Data) => answer.data.push(text()),
                    _ => {}
                }
            }
            Step::End { element: element @ (Element::Status | Element::Results), tag } if depth == COMMAND - 1 => {
                if answer.taken_down(element, injected) {
                    let end = tag.end.max(answer.start);
                    let span = whole(raw, index.encoding, Span { start: answer.start, end }, cursor.page());
                    removed |= stripped.edits.replace(span, "");
                } else {
                    others |= !(element == Element::Status && answer.cmd_ref == "0");
                }
            }
            Step::End { .. } => {}
        }
    }
    stripped.empty = removed && !others;
    Ok(stripped)
}

/// A Status or Results that is being read.
#[derive(Default)]
struct Answer {
    start: u32,
    msg_ref: Option<String>,
    cmd_ref: String,
    status: Option<u16>,
    data: Vec<String>,
}

impl Answer {
    /// Whether it answers a command of protover's own; what it says is taken down then.
    fn taken_down(&mut self, element: Element, injected: &mut Injected) -> bool {
        // Results without MsgRef are about the first message (OMA-TS-SyncML-RepPro-V1_2_2, section 6.5).
        let msg_ref = self.msg_ref.as_deref().unwrap_or("1");
        let Some((about, counts)) = injected.about(msg_ref, &self.cmd_ref) else { return false };
        match element {
            Element::Status if counts => about.status = about.status.or(self.status),
            Element::Results => about.data = Some(self.data.join("/")),
            _ => {}
        }
        true
    }
}

/// The element with what belongs to it alone: in XML the white space in front of it, in WBXML a switch back
/// to the code page that was in force in front of it.
fn whole(raw: &[u8], encoding: Encoding, span: Span, page: u8) -> Span {
    match encoding {
        Encoding::Xml => {
            let before = raw.get(..span.start as usize).unwrap_or_default();
            let text = before.trim_ascii_end();
            // Behind text it is none of ours.
            let own = text.last() == Some(&b'>');
            if own { Span { start: u32::try_from(text.len()).unwrap_or(span.start), end: span.end } } else { span }
        }
        Encoding::Wbxml => {
            const SWITCH_TO_0: [u8; 2] = [0, 0];
            let behind = raw.get(span.end as usize..).unwrap_or_default();
            let switches = page != 0 && behind.starts_with(&SWITCH_TO_0);
            if switches { Span { start: span.start, end: span.end + 2 } } else { span }
        }
    }
}

#[cfg(test)]
mod tests;
