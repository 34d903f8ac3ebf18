//! A command for the device, put into a message of the server: at top level, behind the last command and in
//! front of Final.

use std::fmt;

use super::survey::survey;
use crate::{
    session::Step,
    syncml::{
        edit::Edits,
        element::Element,
        header::{HeaderIndex, Slot, Span},
        write::{Writer, fill},
    },
};

/// Why no command may follow in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It cannot be read to its end, or not be written.
    Unreadable,
    /// It is not the last of its package.
    NoFinal,
    /// A large object is on its way, in one direction or the other.
    InFlight,
    /// The server does not let the device in: the status of SyncHdr.
    NotAccepted(String),
    /// It ends the session.
    Aborts,
    /// It asks for nothing: the session would end with it.
    Ends,
    /// No answer is wanted.
    NoResp,
    /// The CmdIDs that were used in it before are used for something else.
    IdsTaken,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the message cannot be edited",
            Self::NoFinal => "no Final",
            Self::InFlight => "a large object or an unfinished package is on its way",
            Self::NotAccepted(status) => return write!(f, "the status of SyncHdr is {status}"),
            Self::Aborts => "the session is aborted",
            Self::Ends => "nothing but Status and Final",
            Self::NoResp => "NoResp",
            Self::IdsTaken => "the CmdID is taken",
        })
    }
}

/// Whether the device's message lets a command follow in the answer to it.
///
/// # Errors
/// [`Hindrance`] when it does not.
pub fn may_follow(raw: &[u8], index: &HeaderIndex) -> Result<(), Hindrance> {
    let survey = survey(raw, index).map_err(|_| Hindrance::Unreadable)?;
    match () {
        () if survey.aborts => Err(Hindrance::Aborts),
        () if survey.in_flight => Err(Hindrance::InFlight),
        () if survey.last.is_none() => Err(Hindrance::NoFinal),
        () => Ok(()),
    }
}

/// Puts a step into a message of the server. `ids` are the CmdIDs to use, when it was put there before;
/// otherwise such as the message does not use. The edit, and the CmdIDs; that of the command that counts
/// is the last.
///
/// # Errors
/// [`Hindrance`] when nothing may follow in this message.
pub fn append(raw: &[u8], index: &HeaderIndex, step: &Step, ids: Option<&[String]>) -> Result<(Edits, Vec<String>), Hindrance> {
    if !index.editable() {
        return Err(Hindrance::Unreadable);
    }
    let survey = survey(raw, index).map_err(|_| Hindrance::Unreadable)?;
    let status = survey.header.as_deref().unwrap_or("missing");
    let place = match survey.last {
        _ if index.no_resp => return Err(Hindrance::NoResp),
        _ if !matches!(status, "200" | "212") => return Err(Hindrance::NotAccepted(status.to_owned())),
        _ if survey.aborts => return Err(Hindrance::Aborts),
        _ if survey.in_flight => return Err(Hindrance::InFlight),
        None => return Err(Hindrance::NoFinal),
        Some(_) if !survey.commands => return Err(Hindrance::Ends),
        Some(tag) => tag,
    };
    let commands = commands(step);
    let ids = match ids {
        Some(ids) if ids.iter().any(|id| survey.ids.contains(id)) => return Err(Hindrance::IdsTaken),
        Some(ids) => ids.to_vec(),
        None => unused(&survey.ids, commands.len()),
    };
    // A command is on code page 0, as Final is.
    let slot = Slot { span: Span { start: place.start, end: place.start }, empty: false, page: 0 };
    Ok((write(raw, index, slot, Some(place), &commands, &ids), ids))
}

/// The edit that writes commands at a place in SyncBody. `tag` has the prefix that they are to have.
pub(super) fn write(
    raw: &[u8],
    index: &HeaderIndex,
    slot: Slot,
    tag: Option<Span>,
    commands: &[Command],
    ids: &[String],
) -> Edits {
    let with = fill(raw, index, slot, tag, Element::SyncBody, |writer| {
        for (command, id) in commands.iter().zip(ids) {
            command.write(writer, id);
        }
    });
    let mut edits = Edits::new();
    edits.replace(slot.span, with);
    edits
}

/// CmdIDs that a message does not use: the numbers above its own.
pub(super) fn unused(used: &std::collections::BTreeSet<String>, count: usize) -> Vec<String> {
    let highest = used.iter().filter_map(|id| id.parse::<u32>().ok()).max().unwrap_or(0);
    // A message that counts up to the largest number has others free.
    let from = if highest < u32::MAX / 2 { highest } else { 0 };
    (from..u32::MAX).map(|id| (id + 1).to_string()).filter(|id| !used.contains(id)).take(count).collect()
}

/// A command on one node.
pub(super) struct Command {
    element: Element,
    uri: String,
    what: What,
}

enum What {
    /// Get: nothing more.
    Ask,
    /// A node with others below it.
    Interior,
    /// A leaf that says this.
    Leaf(String),
}

impl Command {
    /// By the DTD: CmdID; in Item Target, Meta, Data (OMA-TS-SyncML_RepPro_DTD-V1_2).
    fn write(&self, writer: &mut Writer, id: &str) {
        writer.open(self.element);
        writer.leaf(Element::CmdID, id);
        writer.open(Element::Item);
        writer.open(Element::Target);
        writer.leaf(Element::LocURI, &self.uri);
        writer.close();
        match &self.what {
            What::Ask => {}
            What::Interior => {
                writer.open(Element::Meta);
                writer.leaf(Element::Format, "node");
                writer.close();
            }
            What::Leaf(value) => {
                writer.open(Element::Meta);
                writer.leaf(Element::Format, "chr");
                writer.leaf(Element::Type, "text/plain");
                writer.close();
                writer.leaf(Element::Data, value);
            }
        }
        writer.close();
        writer.close();
    }
}

/// The commands of a step; the last is the one that counts.
fn commands(step: &Step) -> Vec<Command> {
    match step {
        Step::List { .. } | Step::Identify { .. } => {
            vec![Command { element: Element::Get, uri: step.uri(), what: What::Ask }]
        }
        Step::Replace { uri, value } => vec![replace(uri.clone(), value)],
        Step::Add { node, below, value } => adds(node, below, value, |_| false),
    }
}

/// A Replace of a leaf.
pub(super) fn replace(uri: String, value: &str) -> Command {
    Command { element: Element::Replace, uri, what: What::Leaf(value.to_owned()) }
}

/// Adds of a leaf below a node, with the nodes between in front, since devices do not make them by themselves;
/// without those that are `there`.
pub(super) fn adds(node: &str, below: &str, value: &str, there: impl Fn(&str) -> bool) -> Vec<Command> {
    let add = |uri: String, what| Command { element: Element::Add, uri, what };
    let between = below.match_indices('/').map(|(at, _)| format!("{node}/{}", below.get(..at).unwrap_or_default()));
    let interior = between.filter(|uri| !there(uri)).map(|uri| add(uri, What::Interior));
    interior.chain([add(format!("{node}/{below}"), What::Leaf(value.to_owned()))]).collect()
}

#[cfg(test)]
mod tests;
