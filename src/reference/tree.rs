//! The device's management tree, and how it takes to commands on its accounts.

use std::collections::BTreeMap;

use crate::syncml::version::Version;

/// Where accounts are: DM 1.2, and DM 1.1.
const ROOTS: [&str; 2] = ["./DMAcc", "./SyncML/DMAcc"];

/// How a device takes to commands on its accounts. Real ones differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// As the specification has it: what is missing is 404, a leaf without a parent 500, what is there 418.
    #[default]
    Obliging,
    /// With this status, whatever it is asked.
    Refuses(&'static str),
    /// It does not survive them: the connection ends.
    BreaksOff,
}

/// Leaves by their URI. A node with others below it is there when they are, or when it was added itself;
/// then it has no value.
pub type Tree = BTreeMap<String, String>;

fn is_of_accounts(uri: &str) -> bool {
    ROOTS.iter().any(|root| uri.strip_prefix(root).is_some_and(|below| below.is_empty() || below.starts_with('/')))
}

/// The names of what is directly below a node.
fn below(tree: &Tree, uri: &str) -> Vec<String> {
    let prefix = format!("{uri}/");
    let names = tree.keys().filter_map(|key| key.strip_prefix(&prefix)?.split('/').next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.dedup();
    names
}

/// What a command does to a node, and the status that it gets; for a Get, what is there.
pub(super) fn act(tree: &mut Tree, manners: Manners, name: &str, uri: &str, data: &str) -> Result<Option<String>, &'static str> {
    let of_accounts = is_of_accounts(uri);
    if of_accounts && let Manners::Refuses(status) = manners {
        return Err(status);
    }
    let there = tree.contains_key(uri) || !below(tree, uri).is_empty();
    match name {
        "Get" => match tree.get(uri) {
            Some(value) if below(tree, uri).is_empty() => Ok(Some(value.clone())),
            _ if there => Ok(Some(below(tree, uri).join("/"))),
            _ => Err("404"),
        },
        "Replace" if of_accounts && !there => Err("404"),
        "Add" if of_accounts && there => Err("418"),
        "Add"
            if of_accounts
                && !uri
                    .rsplit_once('/')
                    .is_some_and(|(parent, _)| !below(tree, parent).is_empty() || tree.contains_key(parent)) =>
        {
            Err("500")
        }
        "Replace" | "Add" => {
            tree.insert(uri.to_owned(), data.to_owned());
            Ok(None)
        }
        "Delete" => {
            tree.remove(uri);
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Whether a device with these manners ends the connection when it is asked about this.
pub(super) fn breaks_off(manners: Manners, uri: &str) -> bool {
    manners == Manners::BreaksOff && is_of_accounts(uri)
}

/// An account in a tree: at a node, with the server's identifier, and the version when it is known.
pub fn add_account(tree: &mut Tree, node: &str, server_id: &str, version: Option<Version>) {
    let leaf = if node.starts_with(ROOTS[1]) { "ServerId" } else { "ServerID" };
    tree.insert(format!("{node}/{leaf}"), server_id.to_owned());
    if let Some(version) = version {
        tree.insert(format!("{node}/Ext/Protover/ProtoVer"), version.number());
    }
}

/// The version that the account of a server says (Client-4): of the leaf that its vendor has in Ext.
#[must_use]
pub fn account_version(tree: &Tree, server_id: &str) -> Option<Version> {
    let ids = tree.iter().filter(|(uri, value)| is_of_accounts(uri) && *value == server_id);
    let mut nodes = ids.filter_map(|(uri, _)| uri.strip_suffix("/ServerID").or_else(|| uri.strip_suffix("/ServerId")));
    nodes.find_map(|node| {
        let ext = format!("{node}/Ext/");
        let mut leaves = tree.iter().filter(|(uri, _)| uri.starts_with(&ext) && uri.ends_with("/ProtoVer"));
        leaves.find_map(|(_, value)| Version::from_spec(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_answer_as_real_ones_do() {
        let mut tree = Tree::new();
        add_account(&mut tree, "./DMAcc/x1", "me", None);
        add_account(&mut tree, "./DMAcc/test", "other", None);
        let mut act = |name: &str, uri: &str, data: &str| act(&mut tree, Manners::Obliging, name, uri, data);
        assert_eq!(act("Get", "./DMAcc", ""), Ok(Some("test/x1".into())));
        assert_eq!(act("Get", "./DMAcc/x1/ServerID", ""), Ok(Some("me".into())));
        assert_eq!(act("Replace", "./DMAcc/x1/Ext/Protover/ProtoVer", "1.3"), Err("404"));
        assert_eq!(act("Add", "./DMAcc/x1/Ext/Protover/ProtoVer", "1.3"), Err("500"));
        assert_eq!(act("Add", "./DMAcc/x1/Ext", ""), Ok(None));
        assert_eq!(act("Add", "./DMAcc/x1/Ext", ""), Err("418"));
        assert_eq!(act("Add", "./DMAcc/x1/Ext/Protover", ""), Ok(None));
        assert_eq!(act("Add", "./DMAcc/x1/Ext/Protover/ProtoVer", "1.2"), Ok(None));
        assert_eq!(act("Replace", "./DMAcc/x1/Ext/Protover/ProtoVer", "1.3"), Ok(None));
        assert_eq!(act("Replace", "./Work/Setting", "on"), Ok(None), "elsewhere nodes come by themselves");
        assert_eq!(account_version(&tree, "me"), Some(Version::DM_1_3));
        assert_eq!(account_version(&tree, "other"), None);
    }
}
