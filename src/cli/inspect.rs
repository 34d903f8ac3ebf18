//! `protover inspect`: any message, for people to read.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose};
use clap::Args;

use super::{Failure, notify, print};
use crate::account::provisioning::Document;
use crate::notification::Package0;
use crate::syncml::{
    self,
    alert::StartedBy,
    body::{Cursor, Step, Steps},
    element::Element,
    header::{Encoding, Field, HeaderIndex},
    malformed::Malformed,
    version::VersionTable,
    wbxml::{self, Listing},
};

/// Decodes a message: SyncML in XML or WBXML, a notification, or a provisioning document; also captured as hex
/// or base64.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  protover inspect package1.wbxml\n  xxd -p package1.wbxml | protover inspect --raw -")]
pub(super) struct Inspect {
    /// The file to read; `-` is standard input.
    file: PathBuf,
    /// Show WBXML token by token, with the bytes of each.
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    /// Reads the file and prints what is in it. Of a message that ends too early, what there is.
    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = read(&self.file).map_err(|error| Failure::doing(self.file.display(), error))?;
        match inspect(&bytes, self.raw) {
            Ok(shown) => print(shown),
            Err(NotShown { shown, why }) => {
                print(shown)?;
                Err(Failure::doing(self.file.display(), why))
            }
        }
    }
}

/// What cannot be shown, or not to its end.
#[derive(Debug, PartialEq, Eq)]
struct NotShown {
    /// What can be shown of it.
    shown: String,
    /// Why it ends there, in one line.
    why: String,
}

impl NotShown {
    fn because(why: impl Into<String>) -> Self {
        Self { shown: String::new(), why: why.into() }
    }
}

/// The bytes of a file; `-` is standard input.
pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A message for people to read, when all of it can be shown.
pub(super) fn shown(bytes: &[u8]) -> Option<String> {
    inspect(bytes, false).ok()
}

/// Says what is in a message, whatever it is encoded in. `raw` shows the tokens of WBXML.
fn inspect(bytes: &[u8], raw: bool) -> Result<String, NotShown> {
    match recognise(bytes) {
        Content::Xml => xml(bytes),
        Content::Wbxml => binary(bytes, raw),
        Content::Notification => notification(bytes),
        Content::Unknown => match captured(bytes) {
            Some((form, message)) => {
                let found = format!("captured as {form}, {} bytes\n", message.len());
                let shown = match recognise(&message) {
                    Content::Unknown => Err(NotShown::because(format!("neither SyncML XML nor WBXML, captured as {form}"))),
                    Content::Xml => xml(&message),
                    Content::Wbxml => binary(&message, raw),
                    Content::Notification => notification(&message),
                };
                match shown {
                    Ok(shown) => Ok(found + &shown),
                    Err(NotShown { shown, why }) => Err(NotShown { shown: found + &shown, why }),
                }
            }
            None => Err(NotShown::because("neither SyncML XML nor WBXML, nor either of them as hex or base64")),
        },
    }
}

/// What a file holds, as its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Xml,
    Wbxml,
    Notification,
    Unknown,
}

fn recognise(bytes: &[u8]) -> Content {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    if text.starts_with(b"<") {
        Content::Xml
    } else if is_notification(bytes) {
        Content::Notification
    } else if wbxml::kind(bytes).is_some() {
        Content::Wbxml
    } else {
        Content::Unknown
    }
}

/// Whether this is package 0, of a version that was ever used. Of the bytes of a message, hardly any are
/// a digest and a trigger by chance.
fn is_notification(bytes: &[u8]) -> bool {
    Package0::read(bytes).is_ok_and(|package0| (9..=20).contains(&package0.version))
}

fn notification(bytes: &[u8]) -> Result<String, NotShown> {
    match Package0::read(bytes) {
        Ok(package0) => Ok(format!("a notification (package 0), {} bytes\n{}", bytes.len(), notify::shown(&package0))),
        Err(why) => Err(NotShown::because(format!("no notification: {why}"))),
    }
}

/// The bytes that a text stands for, and the form it is in.
fn captured(text: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?;
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digits: String = plain.replace("0x", "").replace("\\x", "").chars().filter(|c| !matches!(c, ',' | ':')).collect();
    if !digits.is_empty() && digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pair = |index| u8::from_str_radix(digits.get(index..index + 2)?, 16).ok();
        return Some(("hex", (0..digits.len()).step_by(2).filter_map(pair).collect()));
    }
    let engines = [
        &general_purpose::STANDARD,
        &general_purpose::URL_SAFE,
        &general_purpose::STANDARD_NO_PAD,
        &general_purpose::URL_SAFE_NO_PAD,
    ];
    let bytes = engines.iter().find_map(|engine| engine.decode(&plain).ok()).filter(|bytes| !bytes.is_empty())?;
    Some(("base64", bytes))
}

fn xml(bytes: &[u8]) -> Result<String, NotShown> {
    if root(bytes) == b"wap-provisioningdoc" {
        return document(bytes);
    }
    match syncml::scan(Encoding::Xml, bytes) {
        Ok(index) => summary(bytes, &index),
        Err(malformed) => Err(NotShown::because(format!("no SyncML message in XML: {malformed}"))),
    }
}

/// The local name of an XML document's root, as far as a glance can tell.
fn root(bytes: &[u8]) -> &[u8] {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<').map(|(at, _)| &bytes[at + 1..]);
    let root = starts.into_iter().find(|rest| rest.first().is_some_and(u8::is_ascii_alphabetic)).unwrap_or_default();
    let name = root.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b':')).next().unwrap_or_default();
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default()
}

/// A provisioning document.
fn document(bytes: &[u8]) -> Result<String, NotShown> {
    match Document::read(bytes) {
        Ok(document) => Ok(provisioning::shown(&document, bytes.len())),
        Err(why) => Err(NotShown::because(format!("no complete provisioning document: {why}"))),
    }
}

/// Whether the bytes mean to be a provisioning document.
pub(super) fn is_provisioning(bytes: &[u8]) -> bool {
    root(bytes) == b"wap-provisioningdoc" || wbxml::kind(bytes) == Some("provisioning")
}

/// WBXML token by token.
fn dumped(bytes: &[u8]) -> Result<String, NotShown> {
    let Listing { text, malformed } = wbxml::dump(bytes);
    match malformed {
        None => Ok(text),
        Some(malformed) => Err(NotShown { shown: text, why: format!("no complete document: {malformed}") }),
    }
}

fn binary(bytes: &[u8], raw: bool) -> Result<String, NotShown> {
    let kind = wbxml::kind(bytes).unwrap_or("unknown");
    if kind == "provisioning" {
        return if raw { dumped(bytes) } else { document(bytes) };
    }
    let mut shown = String::new();
    let mut wrong = None;
    if kind == "SyncML" || kind == "unknown" {
        match syncml::scan(Encoding::Wbxml, bytes) {
            // What is wrong with the rest, the listing says where it stands.
            Ok(index) => {
                let (Ok(summary) | Err(NotShown { shown: summary, .. })) = summary(bytes, &index);
                shown = summary + "\n";
                wrong = syncml::check(bytes, &index).err();
            }
            Err(malformed) => wrong = Some(malformed),
        }
    }
    let Listing { text, malformed } = if raw { wbxml::dump(bytes) } else { wbxml::listing(bytes) };
    shown.push_str(&text);
    match malformed.or(wrong) {
        None => Ok(shown),
        Some(malformed) => Err(NotShown { shown, why: format!("no complete message: {malformed}") }),
    }
}

/// What decides about a message, and its commands.
fn summary(raw: &[u8], index: &HeaderIndex) -> Result<String, NotShown> {
    let mut out = format!("SyncML in {}, {} bytes\n", index.encoding.name(), raw.len());
    let mut line = |name: &str, value: &str| {
        // Values come from the network: nothing in them may steer a terminal.
        let value: String =
            value.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect();
        let _ = writeln!(out, "  {name:11} {value}");
    };
    let known = VersionTable::default().recognise(&index.text(raw, index.ver_proto)).known();
    let proto = index.text(raw, index.ver_proto);
    line("VerProto", &if known.is_some() { proto.into_owned() } else { format!("{proto} (no version that protover knows)") });
    let fields: [(&str, Option<Field>); 8] = [
        ("VerDTD", Some(index.ver_dtd)),
        ("SessionID", Some(index.session_id)),
        ("MsgID", Some(index.msg_id)),
        ("Target", Some(index.target)),
        ("Source", Some(index.source)),
        ("LocName", index.source_name),
        ("RespURI", index.resp_uri),
        ("MaxMsgSize", index.max_msg_size),
    ];
    for (name, field) in fields {
        if let Some(field) = field {
            line(name, &index.text(raw, field));
        }
    }
    match syncml::started_by(raw, index) {
        Some(StartedBy::Server) => line("started by", "the server (Alert 1200)"),
        Some(StartedBy::Client) => line("started by", "the client (Alert 1201)"),
        None => {}
    }
    if !index.editable() {
        line("charset", "not UTF-8: protover does not edit this message");
    }
    let (commands, malformed) = commands(raw, index);
    line("commands", &commands);
    match malformed.or_else(|| syncml::check(raw, index).err()) {
        None => Ok(out),
        Some(malformed) => Err(NotShown { shown: out, why: format!("no complete message: {malformed}") }),
    }
}

/// The names of the commands in a body, in their order.
fn commands(raw: &[u8], index: &HeaderIndex) -> (String, Option<Malformed>) {
    const COMMAND: usize = 3;
    const SHOWN: usize = 40;
    let mut names: Vec<&str> = Vec::new();
    let mut more = 0;
    let mut walk = || -> Result<(), Malformed> {
        let mut cursor = Cursor::body(raw, index)?;
        while let Some(step) = cursor.step()? {
            match step {
                Step::Start { element, .. } if cursor.depth() == COMMAND && names.len() < SHOWN => {
                    names.push(if element == Element::Other { "(unknown)" } else { element.name() });
                }
                Step::Start { .. } if cursor.depth() == COMMAND => more += 1,
                Step::Start { .. } | Step::End { .. } | Step::Text(_) => {}
            }
        }
        Ok(())
    };
    let malformed = walk().err();
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    (names.join(", ") + &more, malformed)
}

mod provisioning;
#[cfg(test)]
mod tests;
