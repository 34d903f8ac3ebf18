//! A document as indented XML, each line with the place of its first byte, for people to read.

use std::fmt::Write as _;

use super::{
    codebook::Codebook,
    head::Head,
    token::{LITERAL, US_ASCII, UTF_8},
    tokens::{Kind, Part, Piece, Tag, Token, Tokens},
};
use crate::syncml::{
    header::{PublicId, Span},
    limits,
    malformed::{Malformed, Problem},
};

/// How deep documents may be nested in documents to be shown as such.
const NESTED: usize = 4;
/// How many bytes of an opaque that is not text are shown.
const SHOWN: usize = 48;

/// A document for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// One line for each element, string or token.
    pub text: String,
    /// Why it ends before the document does.
    pub malformed: Option<Malformed>,
}

/// What a WBXML document is by its public identifier: `SyncML`, `DevInf`, `MetInf`, `management tree`,
/// `provisioning`; `unknown` when that says nothing. `None` for what does not begin as WBXML does.
#[must_use]
pub fn kind(raw: &[u8]) -> Option<&'static str> {
    let head = Head::read(raw).ok()?;
    Some(Codebook::of(raw, &head).map_or("unknown", Codebook::title))
}

/// Shows a document as indented XML. Documents nested in it are shown in their place when they are
/// WBXML, and as text or hex otherwise.
#[must_use]
pub fn listing(raw: &[u8]) -> Listing {
    let mut lines = Lines::default();
    let malformed = match Reader::new(raw, 0) {
        Err(malformed) => Some(malformed),
        Ok(reader) => lines.all(reader).err(),
    };
    if lines.unfinished {
        lines.text.push('\n');
    }
    Listing { text: lines.text, malformed }
}

/// A document that is being read.
struct Reader<'a> {
    raw: &'a [u8],
    /// Where it begins in the outermost document.
    base: usize,
    head: Head,
    book: Codebook,
    tokens: Tokens<'a>,
    /// The names of the open elements and their code pages.
    open: Vec<(String, u8)>,
}

impl<'a> Reader<'a> {
    fn new(raw: &'a [u8], base: usize) -> Result<Self, Malformed> {
        let head = Head::read(raw)?;
        let book = Codebook::of(raw, &head).unwrap_or(Codebook::SyncMl);
        Ok(Self { raw, base, head, book, tokens: Tokens::new(raw, &head), open: Vec::new() })
    }
}

#[derive(Default)]
struct Lines {
    text: String,
    /// The last line holds a start tag and may go on with its text.
    unfinished: bool,
    elements: usize,
}

impl Lines {
    /// The outermost document with those in it, innermost last.
    fn all(&mut self, outermost: Reader<'_>) -> Result<(), Malformed> {
        self.heading(&outermost, 0);
        let mut readers = vec![outermost];
        while let Some(mut reader) = readers.pop() {
            let indent = readers.iter().map(|outer| outer.open.len()).sum();
            match self.step(&mut reader, indent, readers.len()) {
                Ok(Next::Same) => readers.push(reader),
                Ok(Next::Nested(nested)) => {
                    self.heading(&nested, indent + reader.open.len());
                    readers.push(reader);
                    readers.push(nested);
                }
                Ok(Next::End) => {}
                Err(malformed) if readers.is_empty() => return Err(malformed),
                Err(Malformed { problem, at }) => {
                    self.line(reader.base + at as usize, indent, &format!("<!-- {problem} -->"));
                }
            }
        }
        Ok(())
    }

    /// One token of a document.
    fn step<'a>(&mut self, reader: &mut Reader<'a>, indent: usize, outer: usize) -> Result<Next<'a>, Malformed> {
        match reader.tokens.next()? {
            None => return Err(Malformed::new(Problem::Truncated, reader.raw.len())),
            Some(Token::Tag(tag)) => self.tag(reader, &tag, indent)?,
            Some(_) if reader.open.is_empty() => return Err(Malformed::new(Problem::Syntax, reader.tokens.position())),
            Some(Token::End(at)) => {
                let Some((name, _)) = reader.open.pop() else { return Ok(Next::End) };
                let tag = format!("</{name}>");
                if self.unfinished {
                    self.text.push_str(&tag);
                    self.text.push('\n');
                    self.unfinished = false;
                } else {
                    self.line(reader.base + at as usize, indent + reader.open.len(), &tag);
                }
            }
            Some(Token::Piece(piece)) => {
                if piece.kind == Kind::Opaque
                    && outer + 1 < NESTED
                    && let Some(nested) = nested(reader, piece.text)
                {
                    return Ok(Next::Nested(nested));
                }
                let text = shown(reader.raw, piece);
                if self.unfinished {
                    self.text.push_str(&text);
                } else {
                    self.line(reader.base + piece.token.range().start, indent + reader.open.len(), &text);
                }
            }
        }
        if !reader.open.is_empty() {
            return Ok(Next::Same);
        }
        reader.tokens.only_instructions().map(|()| Next::End)
    }

    fn tag(&mut self, reader: &mut Reader<'_>, tag: &Tag, indent: usize) -> Result<(), Malformed> {
        let at = tag.span.range().start;
        self.elements += 1;
        if reader.open.len() >= limits::DEPTH {
            return Err(Malformed::new(Problem::TooDeep, at));
        }
        if self.elements > limits::ELEMENTS {
            return Err(Malformed::new(Problem::TooLarge, at));
        }
        let page = reader.tokens.page();
        let name = tag_name(reader.raw, reader.book, page, tag);
        let mut line = format!("<{name}");
        let namespace = reader.book.namespace(page);
        if !namespace.is_empty() && reader.open.last().is_none_or(|(_, outer)| *outer != page) {
            let _ = write!(line, " xmlns=\"{namespace}\"");
        }
        line.push_str(&attributes(reader.raw, reader.head.string_table, tag.attributes)?);
        line.push_str(if tag.empty { "/>" } else { ">" });
        self.line(reader.base + at, indent + reader.open.len(), &line);
        if !tag.empty {
            // The line goes on with the text of the element.
            self.text.pop();
            self.unfinished = true;
            reader.open.push((name, page));
        }
        Ok(())
    }

    /// What stands before the root.
    fn heading(&mut self, reader: &Reader<'_>, indent: usize) {
        let Reader { raw, head, .. } = reader;
        let title = Codebook::of(raw, head).map_or("unknown", Codebook::title);
        let text = format!(
            "<!-- WBXML 1.{}, {title}, public id {}, charset {}, string table {} bytes -->",
            head.version,
            public_id(raw, head),
            charset(head.charset),
            head.string_table.len()
        );
        self.line(reader.base, indent, &text);
    }

    fn line(&mut self, at: usize, indent: usize, text: &str) {
        if self.unfinished {
            self.text.push('\n');
            self.unfinished = false;
        }
        let _ = writeln!(self.text, "{at:06x}  {:1$}{text}", "", 2 * indent);
    }
}

/// Which document is read on.
enum Next<'a> {
    Same,
    Nested(Reader<'a>),
    End,
}

/// A WBXML document in an opaque. Its public identifier must be known: a few bytes of anything may
/// look like some WBXML header.
fn nested<'a>(reader: &Reader<'a>, span: Span) -> Option<Reader<'a>> {
    let nested = Reader::new(reader.raw.get(span.range())?, reader.base + span.range().start).ok()?;
    Codebook::of(nested.raw, &nested.head).map(|_| nested)
}

/// The name of a tag; one that is not known by its numbers.
pub(super) fn tag_name(raw: &[u8], book: Codebook, page: u8, tag: &Tag) -> String {
    if tag.code == LITERAL {
        return escaped(&String::from_utf8_lossy(tag.name.of(raw)));
    }
    book.name(page, tag.code).map_or_else(|| format!("tag-{page:02X}-{:02X}", tag.code), str::to_owned)
}

/// The attributes of a tag, with a space before each.
fn attributes(raw: &[u8], table: Span, span: Span) -> Result<String, Malformed> {
    let mut out = String::new();
    if span.is_empty() {
        return Ok(out);
    }
    let mut tokens = Tokens::at(raw, span.range().start, table, 0);
    let begin = |out: &mut String, name: &str| {
        let _ = write!(out, "{} {name}=\"", if out.is_empty() { "" } else { "\"" });
    };
    loop {
        match tokens.part()? {
            Part::End if out.is_empty() => return Ok(out),
            Part::End => {
                out.push('"');
                return Ok(out);
            }
            Part::Start(code) => begin(&mut out, &format!("attribute-{code:02X}")),
            Part::Name(None) => begin(&mut out, "xmlns"),
            Part::Name(Some(name)) => begin(&mut out, &escaped(&String::from_utf8_lossy(name.of(raw)))),
            Part::Value(code) => {
                let _ = write!(out, "[{code:02X}]");
            }
            Part::Piece(piece) => out.push_str(&shown(raw, piece)),
            Part::Page(_) => {}
        }
    }
}

/// A piece of text, or an opaque as a comment in hex when it is no text.
pub(super) fn shown(raw: &[u8], piece: Piece) -> String {
    let bytes = piece.text.of(raw);
    match (piece.kind, std::str::from_utf8(bytes)) {
        (Kind::Entity(character), _) => format!("&#{};", u32::from(character)),
        (Kind::Opaque, Ok(text)) if text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')) => escaped(text),
        (Kind::Opaque, _) => format!("<!-- {} bytes: {} -->", bytes.len(), hex(bytes, SHOWN)),
        (_, Ok(text)) => escaped(text),
        (_, Err(_)) => escaped(&String::from_utf8_lossy(bytes)),
    }
}

/// Bytes in hex, up to a number of them.
pub(super) fn hex(bytes: &[u8], most: usize) -> String {
    let mut out = String::new();
    for (index, byte) in bytes.iter().take(most).enumerate() {
        let _ = write!(out, "{}{byte:02X}", if index == 0 { "" } else { " " });
    }
    if bytes.len() > most {
        out.push_str(" …");
    }
    out
}

/// Text that cannot be taken for markup, and that stays on its line and does nothing to a terminal.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A public identifier as it is written.
pub(super) fn public_id(raw: &[u8], head: &Head) -> String {
    match head.public_id {
        PublicId::Number { value, .. } => format!("0x{value:04X}"),
        PublicId::Text { fpi } => escaped(&String::from_utf8_lossy(fpi.of(raw))),
    }
}

/// The name of a charset.
pub(super) fn charset(number: u32) -> String {
    match number {
        0 => "unknown".to_owned(),
        US_ASCII => "US-ASCII".to_owned(),
        4 => "ISO-8859-1".to_owned(),
        UTF_8 => "UTF-8".to_owned(),
        other => format!("{other} (IANA)"),
    }
}
