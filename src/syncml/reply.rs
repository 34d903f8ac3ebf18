//! Messages that protover writes itself: the answer that names the recommended version (Server-3), and
//! what both sides of a bridge are told when a message cannot cross it.
//!
//! The version of an answer is the client's own wherever it can be written: phones compare VerDTD,
//! VerProto and xmlns with what they sent, and give up in silence when they differ. None has Chal or
//! Cred, since a Chal makes phones try again for ever.

use std::borrow::Cow;

use super::{
    bridge::{Command, Obstacle},
    element::Element,
    header::{Field, HeaderIndex},
    status::Status,
    version::{Family, Forms, Version, VersionTable},
    write::Writer,
};

/// What a refusal says.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// 513, 505 for the DTD, 415 for the encoding.
    pub status: Status,
    /// The versions to list, the recommended one first.
    pub supported: &'a [Version],
    /// The recommended version.
    pub recommended: Option<Version>,
    /// The forms of every version.
    pub table: &'a VersionTable,
}

/// The answer to a client's message whose version is not supported (Server-3): the Status of the
/// SyncHdr with an Item for each supported version and one with a sentence (OMA-TS-SyncML-RepPro-V1_2_2,
/// section 10, 505 and 513).
#[must_use]
pub fn refusal(raw: &[u8], index: &HeaderIndex, refusal: &Refusal<'_>) -> Vec<u8> {
    let Refusal { status, supported, recommended, table } = *refusal;
    let ver_proto = index.text(raw, index.ver_proto);
    let ver_dtd = index.text(raw, index.ver_dtd);
    let writable = is_grammatical(&ver_proto) && table.knows_dtd(&ver_dtd);
    let instead = if writable { None } else { recommended.and_then(|version| table.get(version)) };
    // 1 in a new session, which is what the first message of one has; the session's own number in another.
    let msg_id = index.text(raw, index.msg_id);
    let counts = !msg_id.is_empty() && msg_id.bytes().all(|byte| byte.is_ascii_digit());
    let mut answer = Answer::to(raw, index, instead, if counts { &msg_id } else { "1" });
    let sentence = sentence(status, Family::claimed_by(&ver_proto), recommended);
    let items = supported.iter().map(|version| version.text()).chain([Cow::Owned(sentence)]);
    answer.header_status(&index.text(raw, index.msg_id), status, items);
    answer.finish()
}

/// The grammar of the media type's `verproto` parameter: `"DM/" 1*DIGIT "." 1*DIGIT`.
fn is_grammatical(ver_proto: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = Family::ALL.iter().find_map(|family| ver_proto.strip_prefix(family.name())?.strip_prefix('/'));
    number.and_then(|number| number.split_once('.')).is_some_and(|(major, minor)| digits(major) && digits(minor))
}

fn sentence(status: Status, family: Family, recommended: Option<Version>) -> String {
    let name = match family {
        Family::Dm => "DM",
        Family::SyncMl => "DS",
    };
    let (name, what) = match status {
        Status::UNSUPPORTED_MEDIA_TYPE => ("", "encoding"),
        _ => (name, " protocol version"),
    };
    let recommended = recommended.map(Version::text);
    let number = recommended.as_deref().and_then(|text| text.split_once('/')).map(|(_, number)| number);
    let also = number.map_or([".", ""], |number| [". Recommended version is ", number]);
    ["Error - unsupported ", name, what, also[0], also[1]].concat()
}

/// The answer to a client whose message has no equal in the server's version: a Status for the message,
/// and one for the command that stands in the way. The session ends with it; the server has not seen
/// the message.
#[must_use]
pub fn cannot_go(raw: &[u8], index: &HeaderIndex, obstacle: &Obstacle) -> Vec<u8> {
    let msg_id = index.text(raw, index.msg_id);
    let mut answer = Answer::to(raw, index, None, &msg_id);
    let (status, command) = match obstacle {
        Obstacle::Element { status, command, .. } => (*status, command.as_ref()),
        Obstacle::Malformed(_) => (Status::BAD_REQUEST, None),
    };
    answer.header_status(&msg_id, status, []);
    answer.command_status(&msg_id, command, status);
    answer.finish()
}

/// The answer to a client when the server's answer has no equal in the client's version. `raw` is the
/// client's message.
#[must_use]
pub fn cannot_come(raw: &[u8], index: &HeaderIndex) -> Vec<u8> {
    let msg_id = index.text(raw, index.msg_id);
    let mut answer = Answer::to(raw, index, None, &msg_id);
    answer.header_status(&msg_id, Status::BAD_GATEWAY, []);
    answer.finish()
}

/// The answer to a client's message that the server does not have to see: a Status for it, and nothing to do,
/// so that the session ends. `last` is the MsgID of the server's last message.
#[must_use]
pub fn nothing_more(raw: &[u8], index: &HeaderIndex, last: &str) -> Vec<u8> {
    let mut answer = Answer::to(raw, index, None, &after(last));
    answer.header_status(&index.text(raw, index.msg_id), Status::OK, []);
    answer.finish()
}

/// The MsgID after another.
fn after(last: &str) -> String {
    last.trim().parse::<u32>().map_or_else(|_| last.to_owned(), |last| last.saturating_add(1).to_string())
}

/// A message to the server in the client's stead, when the server's message (`raw`) has no equal in the
/// client's version: a Status for the message, one for the command that stands in the way, and the
/// alert that ends the session (1223, OMA-TS-DM_Protocol-V1_2_1, section 8.7). `last` is the MsgID of
/// the client's last message.
#[must_use]
pub fn in_the_clients_stead(raw: &[u8], index: &HeaderIndex, obstacle: Option<&Obstacle>, last: &str) -> Vec<u8> {
    const SESSION_ABORT: &str = "1223";
    let msg_id = index.text(raw, index.msg_id);
    let mut answer = Answer::to(raw, index, None, &after(last));
    answer.header_status(&msg_id, Status::OK, []);
    if let Some(Obstacle::Element { status, command, .. }) = obstacle {
        answer.command_status(&msg_id, command.as_ref(), *status);
    }
    answer.command(Element::Alert);
    answer.writer.leaf(Element::Data, SESSION_ABORT);
    answer.writer.close();
    answer.finish()
}

/// A message that answers another.
struct Answer<'a> {
    writer: Writer,
    target: Cow<'a, str>,
    source: Cow<'a, str>,
    commands: u32,
}

impl<'a> Answer<'a> {
    /// Begins it: SyncHdr with Target and Source swapped. `instead` are the forms to write where the
    /// other message's own cannot be.
    fn to(raw: &'a [u8], index: &HeaderIndex, instead: Option<&Forms>, msg_id: &str) -> Self {
        let mut writer = Writer::document(raw, index, instead);
        let text = |field: Field| index.text(raw, field);
        let (target, source) = (text(index.target), text(index.source));
        writer.open(Element::SyncML);
        writer.open(Element::SyncHdr);
        match instead {
            Some(forms) => {
                writer.leaf(Element::VerDTD, &forms.dtd);
                writer.leaf(Element::VerProto, &forms.version.to_string());
            }
            None => {
                writer.leaf(Element::VerDTD, &text(index.ver_dtd));
                writer.leaf(Element::VerProto, &text(index.ver_proto));
            }
        }
        writer.leaf(Element::SessionID, &text(index.session_id));
        writer.leaf(Element::MsgID, msg_id);
        for (element, uri) in [(Element::Target, &source), (Element::Source, &target)] {
            writer.open(element);
            writer.leaf(Element::LocURI, uri);
            writer.close();
        }
        writer.close();
        writer.open(Element::SyncBody);
        Self { writer, target, source, commands: 0 }
    }

    /// Opens a command and gives it a CmdID.
    fn command(&mut self, element: Element) {
        self.commands += 1;
        self.writer.open(element);
        self.writer.leaf(Element::CmdID, itoa::Buffer::new().format(self.commands));
    }

    /// The Status of the other message's SyncHdr.
    fn header_status(&mut self, msg_ref: &str, status: Status, items: impl IntoIterator<Item = Cow<'a, str>>) {
        self.command(Element::Status);
        for (element, text) in [
            (Element::MsgRef, msg_ref),
            (Element::CmdRef, "0"),
            (Element::Cmd, Element::SyncHdr.name()),
            (Element::TargetRef, &*self.target),
            (Element::SourceRef, &*self.source),
            (Element::Data, itoa::Buffer::new().format(status.0)),
        ] {
            self.writer.leaf(element, text);
        }
        for item in items {
            self.writer.open(Element::Item);
            self.writer.leaf(Element::Data, &item);
            self.writer.close();
        }
        self.writer.close();
    }

    /// The Status of a command. A Status is never answered by another.
    fn command_status(&mut self, msg_ref: &str, command: Option<&Command>, status: Status) {
        let Some(Command { element, cmd_id }) = command.filter(|command| command.element != Element::Status) else { return };
        self.command(Element::Status);
        for (element, text) in [
            (Element::MsgRef, msg_ref),
            (Element::CmdRef, cmd_id),
            (Element::Cmd, element.name()),
            (Element::Data, itoa::Buffer::new().format(status.0)),
        ] {
            self.writer.leaf(element, text);
        }
        self.writer.close();
    }

    fn finish(mut self) -> Vec<u8> {
        self.writer.empty(Element::Final);
        self.writer.close();
        self.writer.close();
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests;
