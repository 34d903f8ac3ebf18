//! What an answer says of the message that it answers, and whether it leaves anything to do
//! (OMA-TS-DM_Protocol-V1_2_1, section 8).

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    body::{Cursor, Leaf, Plain, Step, Steps},
    element::Element,
    header::{Field, HeaderIndex},
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
    let mut cursor = Cursor::body(raw, index)?;
    let mut reading =
        Reading { raw, index, family, answer: Answer::default(), about_header: true, code: None, items: Vec::new() };
    loop {
        if cursor.open(COMMAND) == Element::Status {
            cursor.skim(|plain| reading.take(plain));
        }
        let Some(step) = cursor.step()? else { break };
        let depth = cursor.depth();
        match step {
            Step::Start { element, .. } if depth == COMMAND => {
                reading.begin(element);
                if reading.answer.commands {
                    break;
                }
            }
            Step::Start { element, .. } => reading.answer.challenge |= depth == COMMAND + 1 && element == Element::Chal,
            Step::Text(field) if cursor.open(COMMAND) == Element::Status => {
                reading.text(depth, cursor.open(depth - 1), cursor.open(depth), field);
            }
            Step::End { element, .. } if depth == COMMAND - 1 => reading.end(element),
            Step::Text(_) | Step::End { .. } => {}
        }
    }
    Ok(reading.answer)
}

/// How deep the commands are.
const COMMAND: usize = 3;

/// An answer that is being read.
struct Reading<'a> {
    raw: &'a [u8],
    index: &'a HeaderIndex,
    family: Family,
    answer: Answer,
    /// Of the Status that is being read: whether it is about the SyncHdr, and what it says.
    about_header: bool,
    code: Option<u16>,
    items: Vec<Version>,
}

impl Reading<'_> {
    /// Takes the beginning of a command.
    fn begin(&mut self, element: Element) {
        (self.about_header, self.code) = (true, None);
        self.items.clear();
        self.answer.last |= element == Element::Final;
        self.answer.commands = !matches!(element, Element::Status | Element::Final);
    }

    /// Takes an element of a Status.
    #[inline]
    fn take(&mut self, plain: Plain) -> bool {
        let Some(Leaf { field, .. }) = plain.leaf else {
            return !matches!(plain.element, Element::Cmd | Element::CmdRef | Element::Data | Element::Chal);
        };
        self.text(plain.depth, plain.outer, plain.element, field);
        plain.element != Element::Chal
    }

    /// Takes a text in a Status: how deep, and in which element of which other.
    #[inline]
    fn text(&mut self, depth: usize, outer: Element, element: Element, field: Field) {
        let says = |characters| self.index.says(self.raw, field, characters);
        match (depth - COMMAND, outer, element) {
            (1, _, Element::Cmd) => self.about_header &= says(Element::SyncHdr.name()),
            (1, _, Element::CmdRef) => self.about_header &= says("0"),
            (1, _, Element::Data) => self.code = self.index.text(self.raw, field).trim().parse().ok(),
            (2, Element::Item, Element::Data) => {
                self.items.extend(versions(&self.index.text(self.raw, field), self.family));
            }
            _ => {}
        }
    }

    /// Takes the end of a command.
    fn end(&mut self, element: Element) {
        if element != Element::Status {
            return;
        }
        if !self.about_header {
            self.answer.acted |= self.code.is_some_and(|code| (200..300).contains(&code));
        } else if self.answer.status.is_none() {
            self.answer.status = self.code.map(Status);
            self.answer.named = core::mem::take(&mut self.items);
        }
    }
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
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SESSION_ABORT));
    // Nearly no message does: what does not hold the number need not be read.
    if FINDER.find(raw).is_none() {
        return false;
    }
    let Ok(mut cursor) = Cursor::body(raw, index) else { return false };
    while let Ok(Some(step)) = cursor.step() {
        if let Step::Text(field) = step
            && cursor.depth() == COMMAND + 1
            && (cursor.open(COMMAND), cursor.open(COMMAND + 1)) == (Element::Alert, Element::Data)
            && index.says(raw, field, SESSION_ABORT)
        {
            return true;
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
