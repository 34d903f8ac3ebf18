//! The push message around a notification: PAP (WAP-247-PAP, section 8: a control entity in XML and a
//! message entity, in `multipart/related`), or the notification by itself, as OTA-HTTP and the interfaces
//! of vendors have it. Only the octets of the notification are ever changed.

use std::{fmt, ops::Range};

use base64::{Engine, alphabet, engine};
use quick_xml::{Reader, events::Event};

use super::{GENERAL, OF_1_3};

/// A push message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Where the notification stands in the body.
    place: Range<usize>,
    packing: Packing,
    /// The notification.
    pub notification: Vec<u8>,
    /// Whom it goes to, as PAP writes addresses; none when the notification is alone.
    pub addresses: Vec<String>,
}

/// `Content-Transfer-Encoding` (RFC 2045, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Base64,
    QuotedPrintable,
}

/// Why there is no notification in a push message that could be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Something else is pushed.
    NoNotification,
    /// A notification of DM 1.3.
    Of13,
    /// `multipart/related` without a boundary, or with one that never comes.
    Boundary,
    /// The part is packed in a way that is not known, or is broken.
    TransferEncoding,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNotification => "no notification",
            Self::Of13 => "a notification of DM 1.3",
            Self::Boundary => "multipart without a boundary",
            Self::TransferEncoding => "unknown or broken Content-Transfer-Encoding",
        })
    }
}

/// Characters that make no sense are passed over, and padding may be missing.
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

impl Push {
    /// Reads a push message.
    ///
    /// # Errors
    /// [`Unreadable`]: it is to be passed on as it is.
    pub fn read(content_type: &str, body: &[u8]) -> Result<Self, Unreadable> {
        let essence = essence(content_type);
        if essence.eq_ignore_ascii_case(GENERAL) {
            return Ok(Self {
                place: 0..body.len(),
                packing: Packing::Plain,
                notification: body.to_vec(),
                addresses: Vec::new(),
            });
        }
        if essence.eq_ignore_ascii_case(OF_1_3) {
            return Err(Unreadable::Of13);
        }
        if !essence.eq_ignore_ascii_case("multipart/related") {
            return Err(Unreadable::NoNotification);
        }
        let boundary = parameter(content_type, "boundary").ok_or(Unreadable::Boundary)?;
        let parts = parts(body, boundary.as_bytes())?;
        let of = |media_type: &str| parts.iter().find(|part| part.is(media_type));
        let Some(part) = of(GENERAL) else {
            return Err(if of(OF_1_3).is_some() { Unreadable::Of13 } else { Unreadable::NoNotification });
        };
        let raw = body.get(part.content.clone()).unwrap_or_default();
        let packing = part.packing().ok_or(Unreadable::TransferEncoding)?;
        let notification = unpack(packing, raw).ok_or(Unreadable::TransferEncoding)?;
        let control = parts.iter().find(|part| part.is("application/xml") || part.is("text/xml"));
        let control = control.and_then(|part| body.get(part.content.clone())).unwrap_or_default();
        Ok(Self { place: part.content.clone(), packing, notification, addresses: addresses(control) })
    }

    /// The body with another notification in the place of this one, packed alike.
    #[must_use]
    pub fn with(&self, body: &[u8], notification: &[u8]) -> Vec<u8> {
        if notification == self.notification {
            // However oddly it is packed.
            return body.to_vec();
        }
        let (before, rest) = body.split_at_checked(self.place.start).unwrap_or((body, b""));
        let (theirs, after) = rest.split_at_checked(self.place.len()).unwrap_or((rest, b""));
        let packed = match self.packing {
            Packing::Plain => notification.to_vec(),
            Packing::Base64 => base64_like(theirs, notification),
            Packing::QuotedPrintable => quoted_like(theirs, &self.notification, notification),
        };
        [before, &packed, after].concat()
    }
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// A parameter of a Content-Type, quoted or not.
fn parameter(content_type: &str, name: &str) -> Option<String> {
    let mut rest = content_type.split_once(';')?.1;
    loop {
        let (found, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
        rest = after.split_once(';')?.1;
    }
}

/// A part of a multipart body.
struct Part<'b> {
    head: &'b [u8],
    content: Range<usize>,
}

impl Part<'_> {
    fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(self.head).replace("\r\n", "\n");
        // A line that begins with a space belongs to the one before it.
        let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
        unfolded.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn is(&self, media_type: &str) -> bool {
        self.header("content-type").is_some_and(|theirs| essence(&theirs).eq_ignore_ascii_case(media_type))
    }

    fn packing(&self) -> Option<Packing> {
        let encoding = self.header("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
        match encoding.as_str() {
            "" | "7bit" | "8bit" | "binary" => Some(Packing::Plain),
            "base64" => Some(Packing::Base64),
            "quoted-printable" => Some(Packing::QuotedPrintable),
            _ => None,
        }
    }
}

/// The parts of a multipart body (RFC 2046, section 5.1.1). A delimiter stands at the beginning of a line,
/// and nothing but blanks follows it; lines end as the first delimiter's does, so that bytes of a binary
/// part that only look like a delimiter are left alone.
fn parts<'b>(body: &'b [u8], boundary: &[u8]) -> Result<Vec<Part<'b>>, Unreadable> {
    let dashed = [b"--", boundary].concat();
    let first = memchr::memmem::find_iter(body, &dashed).find(|at| {
        let before = at.checked_sub(1).and_then(|before| body.get(before));
        before.is_none_or(|byte| *byte == b'\n') && line_end(body, at + dashed.len()).is_some()
    });
    let first = first.ok_or(Unreadable::Boundary)?;
    let mut at = line_end(body, first + dashed.len()).ok_or(Unreadable::Boundary)?;
    let ending: &[u8] = if body.get(at.saturating_sub(2)..at) == Some(b"\r\n") { b"\r\n" } else { b"\n" };
    let delimiter = [ending, &dashed].concat();
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let ends = |found: &usize| {
            let behind = at + found + delimiter.len();
            body.get(behind..).is_some_and(|behind| behind.starts_with(b"--")) || line_end(body, behind).is_some()
        };
        // A part may be empty: then its delimiter begins where it does.
        let end = memchr::memmem::find_iter(rest, &delimiter).find(ends).ok_or(Unreadable::Boundary)?;
        let part = rest.get(..end).unwrap_or_default();
        let blank = [ending, ending].concat();
        let split = match part.strip_prefix(ending) {
            // No header at all.
            Some(_) => Some((0, ending.len())),
            None => memchr::memmem::find(part, &blank).map(|head| (head, head + blank.len())),
        };
        // Without a blank line there are only headers, and nothing that they are about.
        if let Some((head, content)) = split {
            parts.push(Part { head: part.get(..head).unwrap_or_default(), content: at + content..at + end });
        }
        let behind = at + end + delimiter.len();
        match line_end(body, behind) {
            Some(next) if !body.get(behind..).is_some_and(|rest| rest.starts_with(b"--")) => at = next,
            _ => return Ok(parts),
        }
    }
}

/// The end of a line on which nothing but blanks is left.
fn line_end(body: &[u8], at: usize) -> Option<usize> {
    let rest = body.get(at..)?;
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let rest = rest.get(blanks..)?;
    let ending = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
    (ending > 0).then_some(at + blanks + ending)
}

fn unpack(packing: Packing, raw: &[u8]) -> Option<Vec<u8>> {
    match packing {
        Packing::Plain => Some(raw.to_vec()),
        Packing::Base64 => {
            let digits: Vec<u8> = raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            BASE64.decode(digits).ok()
        }
        Packing::QuotedPrintable => tokens(raw).map(|tokens| tokens.into_iter().filter_map(|token| token.byte).collect()),
    }
}

/// A piece of quoted-printable text: what it is written as, and what it means. A soft line break means
/// nothing.
struct Token<'r> {
    written: &'r [u8],
    byte: Option<u8>,
}

fn tokens(raw: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(first) = raw.get(at) {
        let (len, byte) = match (first, raw.get(at + 1..)?) {
            (b'=', [b'\r', b'\n', ..]) => (3, None),
            (b'=', [b'\n', ..]) => (2, None),
            (b'=', [high, low, ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                (3, Some(digit(*high)? << 4 | digit(*low)?))
            }
            (b'=', _) => return None,
            (byte, _) => (1, Some(*byte)),
        };
        tokens.push(Token { written: raw.get(at..at + len)?, byte });
        at += len;
    }
    Some(tokens)
}

/// Base64 in lines as long as theirs: where the lengths are equal, every line break stays where it is.
fn base64_like(theirs: &[u8], bytes: &[u8]) -> Vec<u8> {
    let padded = theirs.contains(&b'=') || bytes.len().is_multiple_of(3);
    let text = BASE64.encode(bytes);
    let mut digits = if padded { text.as_str() } else { text.trim_end_matches('=') }.bytes();
    let mut out = Vec::with_capacity(theirs.len());
    let last = theirs.iter().rposition(|byte| !byte.is_ascii_whitespace());
    if last.is_none() {
        // There was nothing: the first line takes it all.
        out.extend(digits.by_ref());
    }
    for (at, byte) in theirs.iter().enumerate() {
        if byte.is_ascii_whitespace() {
            out.push(*byte);
        } else {
            out.extend(digits.next());
        }
        if Some(at) == last {
            // More than there was goes behind it; one line is as good as another there.
            out.extend(digits.by_ref());
        }
    }
    out
}

/// Quoted-printable text, byte by byte as they wrote it where the byte is the same.
fn quoted_like(theirs: &[u8], before: &[u8], bytes: &[u8]) -> Vec<u8> {
    let quoted = |byte: u8| format!("={byte:02X}").into_bytes();
    let tokens = tokens(theirs).unwrap_or_default();
    if before.len() != bytes.len() {
        // Another length: everything is written anew, in lines that are short enough.
        let lines: Vec<Vec<u8>> = bytes.chunks(24).map(|chunk| chunk.iter().flat_map(|byte| quoted(*byte)).collect()).collect();
        return lines.join(&b"=\r\n"[..]);
    }
    let mut new = bytes.iter();
    let written = tokens.into_iter().flat_map(|token| match (token.byte, token.byte.and_then(|_| new.next())) {
        (Some(old), Some(new)) if old != *new => quoted(*new),
        _ => token.written.to_vec(),
    });
    written.collect()
}

/// The addresses in a control entity: `<address address-value="…"/>`.
fn addresses(control: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(control) else { return Vec::new() };
    let mut reader = Reader::from_str(text);
    let mut addresses = Vec::new();
    while let Ok(event) = reader.read_event() {
        let start = match event {
            Event::Start(start) | Event::Empty(start) => start,
            Event::Eof => break,
            _ => continue,
        };
        if start.local_name().as_ref() != "address" {
            continue;
        }
        let values = start.attributes().flatten().filter(|attribute| attribute.key.local_name().as_ref() == "address-value");
        addresses.extend(values.map(|attribute| {
            quick_xml::escape::unescape(&attribute.value)
                .map_or_else(|_| attribute.value.to_string(), std::borrow::Cow::into_owned)
        }));
    }
    addresses
}

#[cfg(test)]
mod tests;
