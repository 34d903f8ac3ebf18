//! The names of a version outside SyncHdr: public identifier and name space.

use super::{
    super::{
        bridge::{Bridged, Crossing, renamed},
        header::{Field, PublicId, Span, WbxmlPrologue},
    },
    head::Head,
    token::CONTINUES,
    tokens::{Part, Tokens},
    write::{integer, value},
};

/// The edits that take public identifier and `xmlns` attribute of a message from one version to
/// another, each only where it agrees with the version that the message is in.
///
/// The identifier in the string table is changed where it stands. No writer refers to it for anything
/// else; a message that did would have that value changed with it.
pub(in super::super) fn names(raw: &[u8], prologue: &WbxmlPrologue, crossing: &Crossing<'_>, bridged: &mut Bridged) {
    let Crossing { from, to, own, .. } = *crossing;
    match prologue.public_id {
        PublicId::Number { value, place } if value == from.public_id => {
            let new = own.public_id.unwrap_or(to.public_id);
            if new != value {
                bridged.replace("public-id", place, number(new, place.len()));
            }
        }
        PublicId::Number { .. } => {}
        PublicId::Text { fpi } => {
            if let Some(new) = renamed(fpi.of(raw), &from.fpi, &to.fpi, own.fpi) {
                text(raw, prologue, fpi, new, bridged);
            }
        }
    }
    if let Some(field) = prologue.xmlns
        && let Some(new) = renamed(field.text.of(raw), &from.xmlns, &to.xmlns, own.xmlns)
    {
        bridged.replace("xmlns", field.place, value(raw, prologue, field, &String::from_utf8_lossy(&new)));
    }
}

/// A public identifier in as many bytes as there were, when it fits: padding that was there stays, so
/// that changing it back gives the bytes there were.
fn number(value: u32, len: usize) -> Vec<u8> {
    let mut minimal = Vec::new();
    integer(&mut minimal, value);
    let mut out = vec![CONTINUES; len.saturating_sub(minimal.len())];
    out.append(&mut minimal);
    out
}

/// The identifier in the string table. One of another length goes to the end of the table, so that
/// every other string keeps its index.
fn text(raw: &[u8], prologue: &WbxmlPrologue, fpi: Span, new: Vec<u8>, bridged: &mut Bridged) {
    if new.len() == fpi.len() {
        bridged.replace("FPI", fpi, new);
        return;
    }
    let Ok(head) = Head::read(raw) else { return };
    let table = prologue.string_table;
    let unterminated = table.of(raw).last() != Some(&0);
    let mut added = if unterminated { vec![0] } else { Vec::new() };
    let mut index = Vec::new();
    integer(&mut index, table.end - table.start + u32::from(unterminated));
    added.extend_from_slice(&new);
    added.push(0);
    let mut len = Vec::new();
    integer(&mut len, u32::try_from(table.len() + added.len()).unwrap_or(u32::MAX));
    bridged.edits.replace(head.index, index);
    bridged.edits.replace(head.table_len, len);
    bridged.replace("FPI", Span { start: table.end, end: table.end }, added);
}

/// The value of an `xmlns` attribute. Nokia spells its name as a literal in a string table that is
/// not there.
pub(super) fn xmlns(raw: &[u8], table: Span, attributes: Span) -> Option<Field> {
    let mut tokens = Tokens::at(raw, attributes.range().start, table, 0);
    let mut named = false;
    while tokens.position() < attributes.range().end {
        match tokens.part().ok()? {
            Part::Name(name) => named = name.is_none_or(|name| name.of(raw) == b"xmlns"),
            Part::Piece(piece) if named => {
                // A value in several pieces is no name space that anybody writes.
                let alone = matches!(tokens.part().ok()?, Part::End | Part::Name(_) | Part::Start(_));
                return alone.then(|| piece.field(raw));
            }
            Part::End => return None,
            Part::Start(_) => named = false,
            Part::Value(_) | Part::Piece(_) | Part::Page(_) => {}
        }
    }
    None
}
