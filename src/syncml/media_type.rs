//! Content-Type: which encoding, and what `verproto` and `verdtd` say (the registrations of
//! `application/vnd.syncml.dm+xml` and `…+wbxml` with IANA; the grammar of RFC 9110, section 8.3).

use super::header::Encoding;

/// What a media type announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device management message.
    Dm(Encoding),
    /// A data synchronisation message.
    Ds(Encoding),
    /// A DM 2.0 message in JSON, which cannot be bridged.
    Dm2Json,
    /// Anything else.
    Other,
}

impl Kind {
    /// The encoding of the SyncML message that is announced.
    #[must_use]
    pub const fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Dm(encoding) | Self::Ds(encoding) => Some(encoding),
            Self::Dm2Json | Self::Other => None,
        }
    }
}

/// A media type, and the parameters that matter here. Values without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// What it announces.
    pub kind: Kind,
    /// The protocol version, to be the same as VerProto.
    pub verproto: Option<String>,
    /// The DTD version, to be the same as VerDTD.
    pub verdtd: Option<String>,
    /// The character set.
    pub charset: Option<String>,
}

/// `(essence, what it announces)`.
const KINDS: [(&str, Kind); 7] = [
    ("application/vnd.syncml.dm+xml", Kind::Dm(Encoding::Xml)),
    ("application/vnd.syncml.dm+wbxml", Kind::Dm(Encoding::Wbxml)),
    ("application/vnd.syncml+xml", Kind::Ds(Encoding::Xml)),
    ("application/vnd.syncml+wbxml", Kind::Ds(Encoding::Wbxml)),
    ("application/vnd.oma.dm.initiation+json", Kind::Dm2Json),
    ("application/vnd.oma.dm.request+json", Kind::Dm2Json),
    ("application/vnd.oma.dm.response+json", Kind::Dm2Json),
];

impl MediaType {
    /// Reads a Content-Type. `None` when it is not one by the grammar. Of a parameter that is there
    /// twice the first counts.
    #[must_use]
    pub fn parse(content_type: &str) -> Option<Self> {
        let known = |text: &str| KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind);
        if let Some(kind) = known(content_type) {
            return Some(Self { kind, verproto: None, verdtd: None, charset: None });
        }
        let essence = content_type.split(';').next().unwrap_or_default();
        let bare = essence.trim_matches(OWS);
        let (main, sub) = bare.split_once('/')?;
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        let kind = known(bare).unwrap_or(Kind::Other);
        let mut media_type = Self { kind, verproto: None, verdtd: None, charset: None };
        let mut parameters = Parameters { text: content_type, at: essence.len() };
        while let Some(parameter) = parameters.next()? {
            let place = match parameter.name {
                name if name.eq_ignore_ascii_case("verproto") => &mut media_type.verproto,
                name if name.eq_ignore_ascii_case("verdtd") => &mut media_type.verdtd,
                name if name.eq_ignore_ascii_case("charset") => &mut media_type.charset,
                _ => continue,
            };
            place.get_or_insert_with(|| unquote(parameter.value));
        }
        Some(media_type)
    }
}

/// The same Content-Type with the values of `verproto` and `verdtd` replaced where they are there;
/// spaces, quotes and everything else stay. Text that is no media type stays as it is.
#[must_use]
pub fn rewrite(content_type: &str, verproto: &str, verdtd: &str) -> String {
    let mut out = String::with_capacity(content_type.len());
    let mut copied = 0;
    let mut parameters = Parameters { text: content_type, at: content_type.find(';').unwrap_or(content_type.len()) };
    while let Some(Some(Parameter { name, value, start })) = parameters.next() {
        let new = if name.eq_ignore_ascii_case("verproto") {
            verproto
        } else if name.eq_ignore_ascii_case("verdtd") {
            verdtd
        } else {
            continue;
        };
        out.push_str(content_type.get(copied..start).unwrap_or_default());
        let quoted = value.starts_with('"') || !is_token_or_slash(new);
        if quoted {
            out.push('"');
        }
        out.push_str(new);
        if quoted {
            out.push('"');
        }
        copied = start + value.len();
    }
    out.push_str(content_type.get(copied..).unwrap_or_default());
    out
}

const OWS: [char; 2] = [' ', '\t'];

/// A parameter: its name, its value as written, and where that begins.
struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
    start: usize,
}

struct Parameters<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parameters<'a> {
    /// The next parameter; `Some(None)` at the end, `None` when what follows is no parameter.
    /// `verproto=DM/1.2` is taken without quotes too: clients write it so, although a token may
    /// not hold a slash.
    #[allow(clippy::option_option, reason = "an end and an error, both without detail")]
    fn next(&mut self) -> Option<Option<Parameter<'a>>> {
        loop {
            let rest = self.text.get(self.at..)?;
            let Some(after) = rest.trim_start_matches(OWS).strip_prefix(';') else {
                return rest.trim_matches(OWS).is_empty().then_some(None);
            };
            let after = after.trim_start_matches(OWS);
            let begin = self.text.len() - after.len();
            self.at = begin;
            if after.is_empty() || after.starts_with(';') {
                continue;
            }
            let (name, value) = after.split_once('=')?;
            let len =
                if value.starts_with('"') { quoted_len(value)? } else { value.find([';', ' ', '\t']).unwrap_or(value.len()) };
            let value = value.get(..len)?;
            if !is_token(name) || !(value.starts_with('"') || is_token_or_slash(value)) {
                return None;
            }
            let start = begin + name.len() + 1;
            self.at = start + len;
            return Some(Some(Parameter { name, value, start }));
        }
    }
}

/// The length of a quoted string with its quotes.
fn quoted_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn unquote(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut out = String::with_capacity(inside.len());
    let mut escaped = false;
    for character in inside.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(character);
            escaped = false;
        }
    }
    out
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_token_or_slash(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(|part| part.is_empty() || is_token(part))
}
