//! Bootstraps of the DM profile (OMA-TS-DM_Bootstrap-V1_2_1, section 5.3): SyncML messages that add a DM
//! account, node by node. They get the version leaf too.

use super::{
    ROOTS,
    commands::{adds, replace, unused, write},
    survey::survey,
};
use crate::syncml::{
    body::{Cursor, Step, Steps},
    edit::Edits,
    element::Element,
    header::{Field, HeaderIndex, Slot, Span},
    malformed::{Malformed, Problem},
    write::value,
};

/// A DM account in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inline {
    /// Its node: `./DMAcc/x`.
    pub node: String,
    /// ServerID.
    pub server_id: String,
    /// Every Addr.
    pub addresses: Vec<String>,
}

/// A node that a message adds.
struct Added {
    uri: String,
    data: Option<(Field, String)>,
}

/// The edits that make the accounts that are `meant` say a version at `below` their node, and how many they
/// are. None where they say so already. Accounts in a management tree (TNDS) inside the message stay as they
/// are: what is in it is not read.
///
/// # Errors
/// [`Malformed`] when the message cannot be read to its end, or is in a charset that is not written.
pub fn stamp_inline(
    raw: &[u8],
    index: &HeaderIndex,
    below: &str,
    version: &str,
    meant: impl Fn(&Inline) -> bool,
) -> Result<(Edits, usize), Malformed> {
    let (added, end) = nodes(raw, index)?;
    let mut edits = Edits::new();
    let mut changed = 0;
    let mut commands = Vec::new();
    if !index.editable() {
        return Err(Malformed::new(Problem::Charset, 0));
    }
    for account in accounts(&added).iter().filter(|account| meant(account)) {
        let leaf = format!("{}/{below}", account.node);
        match added.iter().find(|added| added.uri == leaf) {
            None => commands.extend(adds(&account.node, below, version, |uri| added.iter().any(|added| added.uri == uri))),
            Some(Added { data: Some((field, said)), .. }) if said.trim() != version => {
                edits.replace(field.place, value(raw, index, *field, Element::Data, version));
            }
            // It is there and says nothing.
            Some(Added { data: None, .. }) => commands.push(replace(leaf, version)),
            Some(_) => continue,
        }
        changed += 1;
    }
    let survey = survey(raw, index)?;
    let place = match survey.last {
        Some(tag) => Some((Slot { span: Span { start: tag.start, end: tag.start }, empty: false, page: 0 }, Some(tag))),
        None => end.map(|slot| (slot, None)),
    };
    if let Some((slot, tag)) = place.filter(|_| !commands.is_empty()) {
        let ids = unused(&survey.ids, commands.len());
        for edit in write(raw, index, slot, tag, &commands, &ids).iter() {
            edits.replace(edit.span, edit.with.clone());
        }
    }
    Ok((edits, changed))
}

/// The nodes that a message adds or replaces, and the end of SyncBody.
fn nodes(raw: &[u8], index: &HeaderIndex) -> Result<(Vec<Added>, Option<Slot>), Malformed> {
    let mut cursor = Cursor::body(raw, index)?;
    let mut open = vec![Element::SyncML];
    let mut added: Vec<Added> = Vec::new();
    let mut end = None;
    while let Some(step) = cursor.step()? {
        match step {
            Step::Start { element, .. } => {
                open.truncate(cursor.depth().saturating_sub(1));
                if element == Element::Item && matches!(open.last(), Some(Element::Add | Element::Replace)) {
                    added.push(Added { uri: String::new(), data: None });
                }
                open.push(element);
            }
            Step::Text(field) => {
                let (Some(last), text) = (added.last_mut(), || index.text(raw, field).into_owned()) else { continue };
                match open.as_slice() {
                    [.., Element::Add | Element::Replace, Element::Item, Element::Target, Element::LocURI] => last.uri = text(),
                    [.., Element::Add | Element::Replace, Element::Item, Element::Data] => last.data = Some((field, text())),
                    _ => {}
                }
            }
            Step::End { element, .. } => {
                open.truncate(cursor.depth());
                if element == Element::SyncBody {
                    end = cursor.slot(step);
                }
            }
        }
    }
    Ok((added, end))
}

/// The accounts that nodes belong to.
fn accounts(added: &[Added]) -> Vec<Inline> {
    let mut accounts: Vec<Inline> = Vec::new();
    for Added { uri, data } in added {
        let below = ROOTS.iter().find_map(|root| uri.trim().strip_prefix(root)?.strip_prefix('/').map(|below| (root, below)));
        let Some((root, below)) = below else { continue };
        let (name, leaf) = below.split_once('/').unwrap_or((below, ""));
        let node = format!("{root}/{name}");
        if name.is_empty() {
            continue;
        }
        let at = accounts.iter().position(|account| account.node == node).unwrap_or_else(|| {
            accounts.push(Inline { node, ..Inline::default() });
            accounts.len() - 1
        });
        let Some(account) = accounts.get_mut(at) else { continue };
        let said = data.as_ref().map(|(_, text)| text.trim().to_owned()).unwrap_or_default();
        match leaf {
            "ServerID" | "ServerId" => account.server_id = said,
            leaf if leaf == "Addr" || leaf.ends_with("/Addr") => account.addresses.push(said),
            _ => {}
        }
    }
    accounts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        reference::{Document, Node, document::Header},
        syncml::{self, header::Encoding, version::Version},
    };

    const BELOW: &str = "Ext/V/ProtoVer";

    fn item(uri: &str, data: &str) -> Node {
        Node::new("Item", vec![Node::location("Target", uri), Node::leaf("Data", data)])
    }

    /// A bootstrap: one Add with all nodes, inside a Sequence.
    fn message(encoding: Encoding, items: Vec<Node>) -> Bytes {
        let add = Node::new("Add", [vec![Node::leaf("CmdID", "2")], items].concat());
        let sequence = Node::new("Sequence", vec![Node::leaf("CmdID", "1"), add]);
        let header = Header { session: "0", message: 1, target: "IMEI:1", source: "http://a/", ..Header::default() };
        Document::new(Version::DM_1_2, &header, vec![sequence]).write(encoding).into()
    }

    fn account(more: Vec<Node>) -> Vec<Node> {
        let mut items = vec![
            item("./DMAcc/x/ServerID", "me"),
            item("./DMAcc/x/AppAddr/a/Addr", "http://dm.example/dm"),
            item("./DMAcc/other/ServerID", "they"),
        ];
        items.extend(more);
        items
    }

    fn stamped(encoding: Encoding, raw: &Bytes, version: &str) -> (Bytes, usize) {
        let index = syncml::scan(encoding, raw).expect("a header");
        let (edits, changed) = stamp_inline(raw, &index, BELOW, version, |account| account.server_id == "me").expect("readable");
        (edits.apply(raw), changed)
    }

    #[test]
    fn the_leaf_is_added_behind_the_rest_once() {
        for encoding in [Encoding::Xml, Encoding::Wbxml] {
            let raw = message(encoding, account(vec![item("./DMAcc/x/Ext", "")]));
            let (bytes, changed) = stamped(encoding, &raw, "1.2");
            assert_eq!(changed, 1);
            let document = Document::read(encoding, &bytes).expect("readable");
            let adds: Vec<(&str, &str)> = document.commands()[1..3]
                .iter()
                .map(|add| (add.text_at(&["CmdID"]), add.text_at(&["Item", "Target", "LocURI"])))
                .collect();
            assert_eq!(adds, [("3", "./DMAcc/x/Ext/V"), ("4", "./DMAcc/x/Ext/V/ProtoVer")]);
            assert_eq!(document.commands().last().map(|last| last.name.as_str()), Some("Final"));
            assert_eq!(stamped(encoding, &bytes, "1.2"), (bytes.clone(), 0), "idempotent");
            let (other, changed) = stamped(encoding, &bytes, "1.1");
            assert_eq!((other.len(), changed), (bytes.len(), 1));
            assert_eq!(other.iter().zip(&bytes).filter(|(a, b)| a != b).count(), 1, "only the value");
        }
    }

    #[test]
    fn without_final_it_goes_to_the_end_of_the_body() {
        let raw = String::from_utf8(message(Encoding::Xml, account(Vec::new())).to_vec()).expect("UTF-8");
        let raw = Bytes::from(raw.replace("<Final></Final>", "").replace("<Final/>", ""));
        let (bytes, changed) = stamped(Encoding::Xml, &raw, "1.2");
        assert_eq!(changed, 1);
        assert!(String::from_utf8_lossy(&bytes).ends_with("<Data>1.2</Data></Item></Add></SyncBody></SyncML>"));
    }

    #[test]
    fn whose_account_it_is_can_be_told_by_address_too() {
        let raw = message(Encoding::Xml, account(Vec::new()));
        let index = syncml::scan(Encoding::Xml, &raw).expect("a header");
        let by_address = |account: &Inline| account.addresses.iter().any(|address| address.contains("dm.example"));
        assert_eq!(stamp_inline(&raw, &index, BELOW, "1.2", by_address).expect("readable").1, 1);
        assert_eq!(stamp_inline(&raw, &index, BELOW, "1.2", |_| false).expect("readable").1, 0);
    }

    #[test]
    fn a_leaf_that_says_nothing_is_replaced() {
        let leaf = Node::new("Item", vec![Node::location("Target", "./DMAcc/x/Ext/V/ProtoVer")]);
        let raw = message(Encoding::Xml, account(vec![leaf]));
        let (bytes, changed) = stamped(Encoding::Xml, &raw, "1.2");
        assert_eq!(changed, 1);
        let document = Document::read(Encoding::Xml, &bytes).expect("readable");
        let replace = &document.commands()[1];
        assert_eq!((replace.name.as_str(), replace.text_at(&["Item", "Data"])), ("Replace", "1.2"));
    }

    #[test]
    fn what_is_in_a_tree_inside_is_not_touched() {
        let tnds = item("./DMAcc/x", "&lt;MgmtTree&gt;&lt;Node&gt;ServerID&lt;/Node&gt;");
        let raw = message(Encoding::Xml, vec![tnds]);
        assert_eq!(stamped(Encoding::Xml, &raw, "1.2"), (raw, 0));
    }
}
