//! What a message holds, as far as it matters for a command of protover's own to follow it.

use std::collections::BTreeSet;

use crate::syncml::{
    body::{Cursor, Step, Steps},
    element::Element,
    header::{HeaderIndex, Span},
    malformed::Malformed,
};

/// What a message holds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The data of the Status for SyncHdr.
    pub(super) header: Option<String>,
    /// Whether there is anything to do besides reading a Status.
    pub(super) commands: bool,
    /// Whether a large object is on its way, or the sender has not finished.
    pub(super) in_flight: bool,
    /// Whether it ends the session.
    pub(super) aborts: bool,
    /// The tag of Final, when it is the last command.
    pub(super) last: Option<Span>,
    /// Every CmdID.
    pub(super) ids: BTreeSet<String>,
}

/// `Next Message` and `No End of Data` (OMA-TS-DM_Protocol-V1_2_1, section 8.7).
const GOES_ON: [&str; 2] = ["1222", "1225"];
const SESSION_ABORT: &str = "1223";
/// `Chunked item accepted and buffered`.
const CHUNK_ACCEPTED: &str = "213";

/// Looks at a whole message.
///
/// # Errors
/// [`Malformed`] when it cannot be read to its end.
pub(super) fn survey(raw: &[u8], index: &HeaderIndex) -> Result<Survey, Malformed> {
    const COMMAND: usize = 3;
    let mut cursor = Cursor::body(raw, index)?;
    let mut survey = Survey::default();
    let mut path = [Element::Other; 6];
    // Of the Status that is being read: whether it is about the SyncHdr, and its data.
    let (mut about_header, mut data) = (true, String::new());
    while let Some(step) = cursor.step()? {
        let depth = cursor.depth();
        match step {
            Step::Start { element, tag, .. } => {
                if let Some(open) = path.get_mut(depth) {
                    *open = element;
                }
                survey.in_flight |= element == Element::MoreData;
                if depth == COMMAND {
                    (about_header, data) = (true, String::new());
                    survey.last = (element == Element::Final).then_some(tag);
                    survey.commands |= !matches!(element, Element::Status | Element::Final);
                }
            }
            Step::Text(field) => {
                if path.get(depth) == Some(&Element::CmdID) {
                    survey.ids.insert(index.text(raw, field).trim().to_owned());
                }
                let [_, _, _, command, child, _] = path;
                let text = || index.text(raw, field).trim().to_owned();
                match (depth, command, child) {
                    (4, Element::Status, Element::Cmd) => about_header &= text() == Element::SyncHdr.name(),
                    (4, Element::Status, Element::CmdRef) => about_header &= text() == "0",
                    (4, Element::Status, Element::Data) => {
                        data = text();
                        survey.in_flight |= data == CHUNK_ACCEPTED;
                    }
                    (4, Element::Alert, Element::Data) => {
                        let code = text();
                        survey.in_flight |= GOES_ON.contains(&code.as_str());
                        survey.aborts |= code == SESSION_ABORT;
                    }
                    _ => {}
                }
            }
            Step::End { element: Element::Status, .. } if depth == COMMAND - 1 => {
                if about_header && survey.header.is_none() {
                    survey.header = Some(std::mem::take(&mut data));
                }
            }
            Step::End { .. } => {}
        }
    }
    Ok(survey)
}
