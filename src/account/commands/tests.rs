use bytes::Bytes;

use super::*;
use crate::{
    reference::{Document, Node, document::Header},
    syncml::{self, header::Encoding, version::Version},
};

fn status(reference: &str, data: &str) -> Node {
    let cmd = if reference == "0" { "SyncHdr" } else { "Replace" };
    let refs = [("CmdID", "1"), ("MsgRef", "1"), ("CmdRef", reference), ("Cmd", cmd), ("Data", data)];
    Node::new("Status", refs.map(|(name, text)| Node::leaf(name, text)).to_vec())
}

fn command(name: &str, id: &str) -> Node {
    Node::new(name, vec![Node::leaf("CmdID", id), Node::new("Item", vec![Node::location("Target", "./DevInfo/Man")])])
}

fn message(encoding: Encoding, commands: Vec<Node>) -> Bytes {
    let header = Header { session: "5", message: 4, target: "IMEI:1", source: "http://a/", ..Header::default() };
    Document::new(Version::DM_1_2, &header, commands).write(encoding).into()
}

fn appended(encoding: Encoding, raw: &Bytes, step: &Step) -> Result<(Document, Vec<String>), Hindrance> {
    let index = syncml::scan(encoding, raw).expect("a header");
    let (edits, ids) = append(raw, &index, step, None)?;
    let bytes = edits.apply(raw);
    syncml::check(&bytes, &syncml::scan(encoding, &bytes).expect("a header")).expect("well-formed");
    Ok((Document::read(encoding, &bytes).expect("readable"), ids))
}

fn add() -> Step {
    Step::Add { node: "./DMAcc/a&b".into(), below: "Ext/V/ProtoVer".into(), value: "1.3".into() }
}

const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];

#[test]
fn commands_stand_behind_the_last_one_in_front_of_final() {
    for encoding in BOTH {
        let theirs = vec![status("0", "200"), command("Get", "7")];
        let (document, ids) = appended(encoding, &message(encoding, theirs.clone()), &add()).expect("a place");
        assert_eq!(ids, ["8", "9", "10"]);
        let commands = document.commands();
        assert_eq!(commands[..2], theirs[..]);
        let uris: Vec<&str> = commands[2..5].iter().map(|add| add.text_at(&["Item", "Target", "LocURI"])).collect();
        assert_eq!(uris, ["./DMAcc/a&b/Ext", "./DMAcc/a&b/Ext/V", "./DMAcc/a&b/Ext/V/ProtoVer"]);
        let formats: Vec<&str> = commands[2..5].iter().map(|add| add.text_at(&["Item", "Meta", "Format"])).collect();
        assert_eq!(formats, ["node", "node", "chr"]);
        assert_eq!(commands[4].text_at(&["Item", "Data"]), "1.3");
        assert_eq!((commands[5].name.as_str(), commands.len()), ("Final", 6));
    }
}

#[test]
fn a_command_of_each_kind_as_it_is_written() {
    let raw = message(Encoding::Xml, vec![status("0", "212"), command("Get", "2")]);
    let index = syncml::scan(Encoding::Xml, &raw).expect("a header");
    for (step, expected) in [
        (
            Step::List { root: "./DMAcc".into() },
            "<Get><CmdID>3</CmdID><Item><Target><LocURI>./DMAcc</LocURI></Target></Item></Get>",
        ),
        (
            Step::Replace { uri: "./DMAcc/x/Ext/V".into(), value: "1.3".into() },
            "<Replace><CmdID>3</CmdID><Item><Target><LocURI>./DMAcc/x/Ext/V</LocURI></Target><Meta><Format xmlns=\"syncml:metinf\">chr</Format>\
             <Type xmlns=\"syncml:metinf\">text/plain</Type></Meta><Data>1.3</Data></Item></Replace>",
        ),
    ] {
        let (edits, _) = append(&raw, &index, &step, None).expect("a place");
        let text = String::from_utf8(edits.apply(&raw).to_vec()).expect("UTF-8");
        assert_eq!(text.replace(expected, "").as_bytes(), &raw[..], "{text}");
        assert!(text.contains(&format!("{expected}<Final")), "{text}");
    }
}

#[test]
fn cmd_ids_that_a_message_uses_are_not_used_again() {
    for (used, next) in [("9", "10"), ("4294967295", "1"), ("0b9c-uuid", "1"), ("007", "8")] {
        let raw =
            message(Encoding::Xml, vec![Node::new("Status", status("0", "200").children[1..].to_vec()), command("Get", used)]);
        let (_, ids) = appended(Encoding::Xml, &raw, &Step::List { root: "./DMAcc".into() }).expect("a place");
        assert_eq!(ids, [next], "{used}");
    }
    // Also those of commands inside others.
    let inside = Node::new("Atomic", vec![Node::leaf("CmdID", "2"), command("Replace", "30")]);
    let raw = message(Encoding::Wbxml, vec![status("0", "200"), inside]);
    let (document, ids) = appended(Encoding::Wbxml, &raw, &Step::List { root: "./DMAcc".into() }).expect("a place");
    assert_eq!(ids, ["31"]);
    assert_eq!(document.commands()[2].name, "Get", "at top level");
    let index = syncml::scan(Encoding::Wbxml, &raw).expect("a header");
    let again = |id: &str| append(&raw, &index, &Step::List { root: "./DMAcc".into() }, Some(&[id.to_owned()]));
    assert_eq!(again("31").map(|(_, ids)| ids), Ok(vec!["31".to_owned()]));
    assert_eq!(again("30").map(|(_, ids)| ids), Err(Hindrance::IdsTaken));
}

#[test]
fn where_no_command_may_follow() {
    let alert = |code: &str| Node::new("Alert", vec![Node::leaf("CmdID", "5"), Node::leaf("Data", code)]);
    let chunk = Node::new("Replace", vec![Node::leaf("CmdID", "5"), Node::new("Item", vec![Node::leaf("MoreData", "")])]);
    let get = || command("Get", "4");
    for encoding in BOTH {
        for (commands, hindrance) in [
            (vec![status("0", "401"), get()], Hindrance::NotAccepted("401".into())),
            (vec![status("0", "513"), get()], Hindrance::NotAccepted("513".into())),
            (vec![status("2", "200"), get()], Hindrance::NotAccepted("missing".into())),
            (vec![status("0", "200")], Hindrance::Ends),
            (vec![status("0", "200"), status("2", "200")], Hindrance::Ends),
            (vec![status("0", "200"), get(), alert("1223")], Hindrance::Aborts),
            (vec![status("0", "200"), get(), alert("1222")], Hindrance::InFlight),
            (vec![status("0", "200"), status("2", "213"), get()], Hindrance::InFlight),
            (vec![status("0", "200"), chunk.clone()], Hindrance::InFlight),
        ] {
            let raw = message(encoding, commands);
            assert_eq!(appended(encoding, &raw, &add()).map(|_| ()), Err(hindrance), "{encoding:?}");
        }
    }
    let raw = message(Encoding::Xml, vec![status("0", "200"), get()]);
    let text = String::from_utf8(raw.to_vec()).expect("UTF-8");
    let without = Bytes::from(text.replace("<Final></Final>", "").replace("<Final/>", ""));
    assert_ne!(without.len(), raw.len());
    assert_eq!(appended(Encoding::Xml, &without, &add()).map(|_| ()), Err(Hindrance::NoFinal));
    let no_resp = Bytes::from(text.replace("</SyncHdr>", "<NoResp/></SyncHdr>"));
    assert_eq!(appended(Encoding::Xml, &no_resp, &add()).map(|_| ()), Err(Hindrance::NoResp));
}

#[test]
fn what_the_device_says_counts_too() {
    let may = |commands: Vec<Node>| {
        let raw = message(Encoding::Xml, commands);
        may_follow(&raw, &syncml::scan(Encoding::Xml, &raw).expect("a header"))
    };
    let alert = |code: &str| Node::new("Alert", vec![Node::leaf("CmdID", "5"), Node::leaf("Data", code)]);
    assert_eq!(may(vec![alert("1201"), command("Replace", "2")]), Ok(()));
    assert_eq!(may(vec![alert("1222")]), Err(Hindrance::InFlight));
    assert_eq!(may(vec![alert("1223")]), Err(Hindrance::Aborts));
    assert_eq!(may(vec![status("0", "200"), status("3", "213")]), Err(Hindrance::InFlight));
}

#[test]
fn prefixes_are_those_of_the_message() {
    let raw: Bytes = "<s:SyncML xmlns:s=\"SYNCML:SYNCML1.2\"><s:SyncHdr><s:VerDTD>1.2</s:VerDTD><s:VerProto>DM/1.2</s:VerProto><s:SessionID>1</s:SessionID>\
        <s:MsgID>1</s:MsgID><s:Target><s:LocURI>a</s:LocURI></s:Target><s:Source><s:LocURI>b</s:LocURI></s:Source></s:SyncHdr><s:SyncBody>\
        <s:Status><s:CmdID>1</s:CmdID><s:MsgRef>1</s:MsgRef><s:CmdRef>0</s:CmdRef><s:Cmd>SyncHdr</s:Cmd><s:Data>200</s:Data></s:Status>\
        <s:Get><s:CmdID>2</s:CmdID></s:Get><s:Final/></s:SyncBody></s:SyncML>".into();
    let index = syncml::scan(Encoding::Xml, &raw).expect("a header");
    let (edits, _) = append(&raw, &index, &Step::List { root: "./DMAcc".into() }, None).expect("a place");
    let text = String::from_utf8(edits.apply(&raw).to_vec()).expect("UTF-8");
    assert!(
        text.contains(
            "<s:Get><s:CmdID>3</s:CmdID><s:Item><s:Target><s:LocURI>./DMAcc</s:LocURI></s:Target></s:Item></s:Get><s:Final/>"
        ),
        "{text}"
    );
}
