//! `[account]`: what is written into the DM accounts of devices.

use std::ops::Range;

use crate::{
    policy::{
        diagnostic::Code,
        document::{File, Table, Value},
        site::{Account, Node, Site, ValueForm},
    },
    syncml::version::{Family, Version},
};

/// Where the version lives. There is no such leaf in the DMAcc object of DM 1.2 (OMA-TS-DM_StdObj-V1_2_1,
/// section 5.3); `Ext` is where vendors put theirs, as Microsoft does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preset {
    Dm12,
    Dm11,
    Windows,
}

const PRESETS: [(&str, Preset); 3] = [("dm-1.2", Preset::Dm12), ("dm-1.1", Preset::Dm11), ("windows", Preset::Windows)];

pub(super) fn read(table: Table<'_>) -> Account {
    let preset = table.get("preset").and_then(|value| value.choice(&PRESETS)).unwrap_or(Preset::Dm12);
    let vendor = table.get("vendor");
    let named = vendor.and_then(|value| segment(&value)).unwrap_or_else(|| "Protover".to_owned());
    let template = match preset {
        Preset::Dm12 => "./DMAcc/{account}/Ext/{vendor}/ProtoVer",
        Preset::Dm11 => "./SyncML/DMAcc/{account}/Ext/{vendor}/ProtoVer",
        Preset::Windows => "./SyncML/DMAcc/{account}/Ext/Microsoft/ProtoVer",
    };
    let template = table.get("uri").and_then(|value| uri(&value)).unwrap_or(template);
    if let Some(value) = vendor.filter(|_| !template.contains("{vendor}")) {
        value.report(Code::NoEffect, "`vendor` is not used", "a name for nothing", "there is no {vendor} in `uri`");
    }
    let node = node(&table, preset);
    let server_id = table.get("server_id").and_then(|value| value.text()).map(Into::into);
    let forms = [("number", ValueForm::Number), ("verproto", ValueForm::VerProto)];
    let form = table.get("value").and_then(|value| value.choice(&forms)).unwrap_or_default();
    let bootstrap = table.get("bootstrap").and_then(|value| value.boolean()).unwrap_or_default();
    table.finish();
    Account {
        uri: template.replace("{vendor}", &named).into(),
        node,
        server_id,
        form,
        // The leaf and the parameter of Windows know 1.1 and 1.2 (DMAcc CSP, w7 APPLICATION CSP).
        highest: (preset == Preset::Windows).then_some(Version::DM_1_2),
        bootstrap,
    }
}

fn node(table: &Table<'_>, preset: Preset) -> Node {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum By {
        Discover,
        Name,
        Sha256,
    }
    let ways = [("discover", By::Discover), ("name", By::Name), ("sha256", By::Sha256)];
    let said = table.get("account");
    let name = table.get("name");
    let by = said.and_then(|value| value.choice(&ways));
    let by = by.unwrap_or(if preset == Preset::Windows { By::Sha256 } else { By::Discover });
    match (by, name) {
        (By::Name, Some(name)) => segment(&name).map_or(Node::Discover, |name| Node::Named(name.into())),
        (By::Name, None) => {
            if let Some(value) = said {
                value.report(Code::Missing, "`name` is missing", "which one?", "such as name = \"operator\"");
            }
            Node::Discover
        }
        (_, Some(name)) => {
            name.report(Code::NoEffect, "`name` is not used", "a name for nothing", "it belongs to account = \"name\"");
            Node::Discover
        }
        (By::Discover, None) => Node::Discover,
        (By::Sha256, None) => Node::Sha256,
    }
}

/// One segment of a path in the management tree.
fn segment(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let plain = text.chars().all(|character| !character.is_control() && !matches!(character, '/' | '{' | '}'));
    if !plain || text == "." || text == ".." {
        let title = format!("`{}` cannot be \"{text}\"", value.key());
        value.report(Code::BadNodeUri, title, "one segment of a path, without \"/\"", "");
        return None;
    }
    Some(text.to_owned())
}

/// A path of the management tree with one `{account}`, which is a whole segment.
fn uri<'d>(value: &Value<'d>) -> Option<&'d str> {
    let text = value.text()?;
    let segments: Vec<&str> = text.split('/').collect();
    let accounts = segments.iter().filter(|segment| **segment == "{account}").count();
    let known = |segment: &str| match segment {
        "{account}" | "{vendor}" => true,
        other => !other.is_empty() && !other.contains(['{', '}']) && !other.chars().any(char::is_control),
    };
    let starts = segments.first() == Some(&".") && !matches!(segments.get(1), None | Some(&"{account}"));
    if !(starts && accounts == 1 && segments.last() != Some(&"{account}") && segments.iter().all(|segment| known(segment))) {
        let help = "such as uri = \"./DMAcc/{account}/Ext/{vendor}/ProtoVer\"";
        value.report(Code::BadNodeUri, format!("`uri` cannot be \"{text}\""), "no path of a leaf in an account", help);
        return None;
    }
    Some(text)
}

/// What shows only with the rest of the site.
pub(super) fn check(file: &File, span: Range<usize>, account: &Account, site: &Site) {
    if !site.carriers.account && !account.bootstrap {
        let help = "add \"account\" to the carriers in [hint], or bootstrap = true";
        file.report(Code::NoEffect, span, "`[account]` is not used", "nothing is written into accounts", Some(help));
        return;
    }
    if site.carriers.account && account.server_id.is_none() && site.secrets.is_none() && !matches!(account.node, Node::Named(_)) {
        let help = "[account]\nserver_id = \"…\", as the accounts of devices have it; or `secrets` in [site]";
        let title = "accounts cannot be found without the server's identifier";
        file.report(Code::NoServerId, span.clone(), title, "which of a device's accounts?", Some(help));
    }
    let highest = site.supported(Family::Dm).first().copied();
    if let Some(version) = site.recommended(Family::Dm).or(highest)
        && account.value(version).is_none()
    {
        let title = format!("{version} cannot stand in these accounts");
        let help = "Windows knows 1.1 and 1.2 there; recommend one of these";
        file.report(Code::NotInAccounts, span, title, "it is not written", Some(help));
    }
}
