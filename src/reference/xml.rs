//! Messages in XML, by quick-xml.

use quick_xml::{
    Reader,
    escape::{partial_escape, resolve_predefined_entity},
    events::{BytesStart, Event},
};

use super::document::{Document, Node, Quirks};
use crate::syncml::element::Element;

pub(super) fn read(raw: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(raw).map_err(|error| error.to_string())?;
    let mut quirks = Quirks { mark: text.starts_with('\u{feff}'), ..Quirks::default() };
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut xmlns = None;
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => open.push(element(&start, open.is_empty(), &mut xmlns, &mut quirks)?),
            Event::Empty(start) => {
                let node = element(&start, open.is_empty(), &mut xmlns, &mut quirks)?;
                close(node, &mut open, &mut root)?;
            }
            Event::End(_) => {
                let mut node = open.pop().ok_or("an end without a beginning")?;
                if !node.children.is_empty() {
                    quirks.space |= !node.text.is_empty();
                    node.text.clear();
                }
                close(node, &mut open, &mut root)?;
            }
            Event::Text(text) => add(&mut open, &text),
            Event::CData(text) => add(&mut open, &text),
            Event::GeneralRef(reference) => {
                quirks.references |= open.last().is_some_and(|node| node.name == "VerProto");
                match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(character) => add(&mut open, character.encode_utf8(&mut [0; 4])),
                    None => add(&mut open, resolve_predefined_entity(&reference).ok_or("an unknown entity")?),
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !open.is_empty() {
        return Err("truncated".to_owned());
    }
    Ok(Document { root: root.ok_or("no root")?, xmlns, public_id: None, quirks })
}

fn element(start: &BytesStart<'_>, root: bool, xmlns: &mut Option<String>, quirks: &mut Quirks) -> Result<Node, String> {
    quirks.prefix |= start.name().prefix().is_some();
    if root {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.key.as_ref().starts_with("xmlns") {
                *xmlns = Some(attribute.value.to_string());
            }
        }
    }
    Ok(Node::new(start.local_name().as_ref(), Vec::new()))
}

fn add(open: &mut [Node], text: &str) {
    if let Some(node) = open.last_mut() {
        node.text.push_str(text);
    }
}

fn close(node: Node, open: &mut [Node], root: &mut Option<Node>) -> Result<(), String> {
    match open.last_mut() {
        Some(parent) => parent.children.push(node),
        None if root.is_none() => *root = Some(node),
        None => return Err("a second root".to_owned()),
    }
    Ok(())
}

pub(super) fn write(document: &Document) -> Vec<u8> {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let xmlns = document.xmlns.as_ref().map(|xmlns| format!(" xmlns=\"{xmlns}\"")).unwrap_or_default();
    node(&document.root, &xmlns, false, &mut out);
    out.into_bytes()
}

fn node(of: &Node, attributes: &str, in_meta: bool, out: &mut String) {
    let meta = Element::named(&of.name).is_meta();
    let xmlns = if meta && !in_meta { " xmlns=\"syncml:metinf\"" } else { attributes };
    let name = &of.name;
    if of.children.is_empty() && of.text.is_empty() {
        out.push_str(&format!("<{name}{xmlns}/>"));
        return;
    }
    out.push_str(&format!("<{name}{xmlns}>{}", partial_escape(&of.text)));
    for child in &of.children {
        node(child, "", meta, out);
    }
    out.push_str(&format!("</{name}>"));
}
