//! Messages in WBXML: as much of it as a simple phone knows (WAP-192-WBXML-20010725).

use super::document::{Document, Node, Quirks};
use crate::syncml::element::Element;

const SWITCH_PAGE: u8 = 0x00;
const END: u8 = 0x01;
const STR_I: u8 = 0x03;
const STR_T: u8 = 0x83;
const OPAQUE: u8 = 0xC3;
const CONTENT: u8 = 0x40;
const UTF_8: u8 = 0x6A;

pub(super) fn write(document: &Document) -> Vec<u8> {
    let mut out = vec![0x02];
    number(document.public_id.unwrap_or(0x1201), &mut out);
    out.extend_from_slice(&[UTF_8, 0x00]);
    let mut page = 0;
    node(&document.root, &mut page, &mut out);
    out
}

fn number(value: u32, out: &mut Vec<u8>) {
    let septets: Vec<u8> = (0..5).rev().map(|septet| u8::try_from(value >> (septet * 7) & 0x7F).unwrap_or(0)).collect();
    let first = septets.iter().position(|septet| *septet != 0).unwrap_or(4);
    for (place, septet) in septets.iter().enumerate().skip(first) {
        out.push(if place == 4 { *septet } else { septet | 0x80 });
    }
}

fn node(of: &Node, page: &mut u8, out: &mut Vec<u8>) {
    let Some((its_page, token)) = Element::named(&of.name).token() else { return };
    if *page != its_page {
        out.extend_from_slice(&[SWITCH_PAGE, its_page]);
        *page = its_page;
    }
    if of.children.is_empty() && of.text.is_empty() {
        out.push(token);
        return;
    }
    out.push(token | CONTENT);
    if !of.text.is_empty() {
        out.push(STR_I);
        out.extend(of.text.bytes().filter(|byte| *byte != 0));
        out.push(0);
    }
    for child in &of.children {
        node(child, page, out);
    }
    out.push(END);
}

/// The bytes that are not read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.0.split_first().ok_or("truncated")?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("truncated")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, String> {
        let mut value = 0_u32;
        loop {
            let byte = self.byte()?;
            value = value.checked_mul(128).ok_or("a number that is too large")? + u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or("truncated")?;
        let text = utf8(self.take(end)?)?;
        self.byte()?;
        Ok(text)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

pub(super) fn read(raw: &[u8]) -> Result<Document, String> {
    let mut bytes = Bytes(raw);
    if bytes.byte()? > 3 {
        return Err("not WBXML".to_owned());
    }
    let public_id = match bytes.number()? {
        0 => {
            bytes.number()?;
            None
        }
        number => Some(number),
    };
    bytes.number()?;
    let len = bytes.number()? as usize;
    let table = bytes.take(len)?;
    let mut page = 0;
    let mut open: Vec<Node> = Vec::new();
    loop {
        let text = match bytes.byte()? {
            SWITCH_PAGE => {
                page = bytes.byte()?;
                continue;
            }
            END => {
                let node = open.pop().ok_or("an end without a beginning")?;
                if let Some(root) = close(node, &mut open) {
                    return Ok(Document { root, xmlns: None, public_id, quirks: Quirks::default() });
                }
                continue;
            }
            STR_I => bytes.text()?,
            STR_T => {
                let at = bytes.number()? as usize;
                Bytes(table.get(at..).ok_or("outside the string table")?).text()?
            }
            OPAQUE => {
                let len = bytes.number()? as usize;
                utf8(bytes.take(len)?)?
            }
            token if token & 0x80 != 0 => return Err(format!("token {token:#04x}")),
            token => {
                let element = Element::from_token(page, token & !CONTENT);
                let node = Node::new(element.name(), Vec::new());
                if token & CONTENT != 0 {
                    open.push(node);
                } else if let Some(root) = close(node, &mut open) {
                    return Ok(Document { root, xmlns: None, public_id, quirks: Quirks::default() });
                }
                continue;
            }
        };
        open.last_mut().ok_or("text outside of the root")?.text.push_str(&text);
    }
}

/// Adds an element to the one around it; gives it back when there is none.
fn close(node: Node, open: &mut [Node]) -> Option<Node> {
    match open.last_mut() {
        Some(parent) => {
            parent.children.push(node);
            None
        }
        None => Some(node),
    }
}
