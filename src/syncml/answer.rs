//! What an answer says of the message that it answers, and whether it leaves anything to do
//! (OMA-TS-DM_Protocol-V1_2_1, section 8).

use super::{
    body::{Cursor, Step, Steps},
    element::Element,
    header::HeaderIndex,
    malformed::Malformed,
    status::Status,
    version::{Family, Version},
};

/// An answer, up to its first command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The Status of the SyncHdr.
    pub status: Option<Status>,
    /// The versions that its Items name, in their order.
    pub named: Vec<Version>,
    /// Whether it holds anything besides Status and Final: then it was acted on, and more will come.
    pub commands: bool,
    /// Whether a Status asks for credentials.
    pub challenge: bool,
    /// Whether a Status is about anything but the SyncHdr and says that it was done.
    pub acted: bool,
    /// Whether it has Final.
    pub last: bool,
}

impl Answer {
    /// Whether the session ends with it: nothing is left for the other side to do.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.last && !self.commands && !self.challenge
    }
}

/// Reads an answer, up to its first command. `family` is that of the session: a bare number in an Item is
/// a version of it.
///
/// # Errors
/// [`Malformed`] when it cannot be read so far.
pub fn answer(raw: &[u8], index: &HeaderIndex, family: Family) -> Result<Answer, Malformed> {
    const COMMAND: usize = 3;
    let mut cursor = Cursor::body(raw, index)?;
    let mut answer = Answer::default();
    let mut path = [Element::Other; 6];
    // Of the Status that is being read: whether it is about the SyncHdr, and what it says.
    let mut about_header = true;
    let mut code: Option<u16> = None;
    let mut items = Vec::new();
    while let Some(step) = cursor.step()? {
        let depth = cursor.depth();
        let text = match step {
            Step::Start { element, .. } => {
                if let Some(open) = path.get_mut(depth) {
                    *open = element;
                }
                answer.challenge |= depth == COMMAND + 1 && element == Element::Chal;
                if depth == COMMAND {
                    (about_header, code) = (true, None);
                    items.clear();
                    match element {
                        Element::Status => {}
                        Element::Final => answer.last = true,
                        _ => {
                            answer.commands = true;
                            return Ok(answer);
                        }
                    }
                }
                // The end of a command says something too.
                if depth > COMMAND { cursor.leaf().map(|(field, _)| field) } else { None }
            }
            Step::Text(field) => Some(field),
            Step::End { element: Element::Status, .. } if depth == COMMAND - 1 => {
                if !about_header {
                    answer.acted |= code.is_some_and(|code| (200..300).contains(&code));
                } else if answer.status.is_none() {
                    answer.status = code.map(Status);
                    answer.named = core::mem::take(&mut items);
                }
                None
            }
            Step::End { .. } => None,
        };
        let (Some(field), [_, _, _, Element::Status, child, grandchild]) = (text, path) else { continue };
        let text = || index.text(raw, field);
        match (depth, child, grandchild) {
            (4, Element::Cmd, _) => about_header &= text().trim() == Element::SyncHdr.name(),
            (4, Element::CmdRef, _) => about_header &= text().trim() == "0",
            (4, Element::Data, _) => code = text().trim().parse().ok(),
            (5, Element::Item, Element::Data) => items.extend(versions(&text(), family)),
            _ => {}
        }
    }
    Ok(answer)
}

/// The versions that the text of an Item names. Servers write one (`DM/1.2`), a list with commas
/// (libsynthesis), or a bare number (Nokia, and every 505). A sentence names none.
fn versions(text: &str, family: Family) -> impl Iterator<Item = Version> + '_ {
    text.split(',').map(str::trim).filter_map(move |text| match Version::parse(text) {
        Some(version) => Some(version),
        None => Version::parse(&format!("{}/{text}", family.name())),
    })
}

/// Whether a message ends its session with Alert 1223 (section 8.7).
#[must_use]
pub fn aborts(raw: &[u8], index: &HeaderIndex) -> bool {
    const SESSION_ABORT: &str = "1223";
    // Nearly no message does: what does not hold the number need not be read.
    if memchr::memmem::find(raw, SESSION_ABORT.as_bytes()).is_none() {
        return false;
    }
    let Ok(mut cursor) = Cursor::body(raw, index) else { return false };
    let mut path = [Element::Other; 5];
    while let Ok(Some(step)) = cursor.step() {
        match step {
            Step::Start { element, .. } => {
                if let Some(open) = path.get_mut(cursor.depth()) {
                    *open = element;
                }
            }
            Step::Text(field) if cursor.depth() == 4 && path.ends_with(&[Element::Alert, Element::Data]) => {
                if index.text(raw, field).trim() == SESSION_ABORT {
                    return true;
                }
            }
            Step::Text(_) | Step::End { .. } => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syncml::{self, header::Encoding};

    fn message(body: &str) -> Vec<u8> {
        format!(
            "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID>\
             <MsgID>1</MsgID><Target><LocURI>IMEI:1</LocURI></Target><Source><LocURI>http://a/</LocURI></Source></SyncHdr>\
             <SyncBody>{body}</SyncBody></SyncML>"
        )
        .into_bytes()
    }

    fn read(body: &str) -> Answer {
        let raw = message(body);
        let index = syncml::scan(Encoding::Xml, &raw).expect("a header");
        answer(&raw, &index, Family::Dm).expect("readable")
    }

    fn status(cmd: &str, reference: &str, code: &str, rest: &str) -> String {
        format!(
            "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>{reference}</CmdRef><Cmd>{cmd}</Cmd>{}<Data>{code}</Data>{}</Status>",
            if rest.starts_with("<Chal>") { rest } else { "" },
            if rest.starts_with("<Item>") { rest } else { "" },
        )
    }

    #[test]
    fn a_refusal_names_the_versions_it_likes() {
        for (items, named) in [
            ("<Item><Data>DM/1.2</Data></Item><Item><Data>DM/1.1</Data></Item>", "DM/1.2 DM/1.1"),
            ("<Item><Data>DM/1.1, DM/1.2</Data></Item>", "DM/1.1 DM/1.2"),
            ("<Item><Data> 1.2 </Data></Item>", "DM/1.2"),
            ("<Item><Data>Error - unsupported DM protocol version. Recommended version is 1.2</Data></Item>", ""),
            ("", ""),
        ] {
            let answer = read(&(status("SyncHdr", "0", "513", items) + "<Final/>"));
            assert_eq!(answer.status, Some(Status::PROTOCOL_VERSION_NOT_SUPPORTED));
            let is: Vec<String> = answer.named.iter().map(Version::to_string).collect();
            assert_eq!(is.join(" "), named, "{items}");
            assert!(answer.ends() && !answer.acted);
        }
    }

    #[test]
    fn what_is_left_to_do_keeps_a_session_open() {
        let ok = status("SyncHdr", "0", "200", "") + &status("Replace", "2", "200", "");
        assert!(read(&format!("{ok}<Final/>")).ends());
        assert!(read(&format!("{ok}<Final/>")).acted);
        assert!(!read(&ok).ends(), "no Final");
        assert!(!read(&format!("{ok}<Get><CmdID>3</CmdID></Get><Final/>")).ends());
        assert!(!read(&format!("{ok}<Alert><CmdID>3</CmdID><Data>1222</Data></Alert><Final/>")).ends());
        let challenge = status("SyncHdr", "0", "407", "<Chal><Meta/></Chal>");
        assert!(!read(&format!("{challenge}<Final/>")).ends(), "credentials are to come");
    }

    #[test]
    fn a_status_of_a_command_is_not_one_of_the_header() {
        let answer = read(&(status("Alert", "1", "513", "") + "<Final/>"));
        assert_eq!(answer.status, None);
        assert!(!answer.acted);
    }

    #[test]
    fn only_the_alert_1223_aborts() {
        let is_abort = |body: &str| {
            let raw = message(body);
            aborts(&raw, &syncml::scan(Encoding::Xml, &raw).expect("a header"))
        };
        assert!(is_abort("<Alert><CmdID>1</CmdID><Data>1223</Data></Alert><Final/>"));
        assert!(is_abort("<Status><CmdID>1</CmdID><Data>1223</Data></Status><Alert><Data> 1223 </Data></Alert>"));
        assert!(!is_abort("<Status><CmdID>1</CmdID><Data>1223</Data></Status><Final/>"));
        assert!(!is_abort("<Alert><CmdID>1223</CmdID><Data>1222</Data><Item><Data>1223</Data></Item></Alert><Final/>"));
    }
}
