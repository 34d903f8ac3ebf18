use bytes::Bytes;

use super::*;
use crate::syncml::{
    header::Encoding,
    scan,
    version::{Version, VersionTable},
};

fn across(raw: &str, from: Version, to: Version, lossy: bool, xmlns: Option<&str>) -> Result<(String, Vec<String>), Obstacle> {
    let table = VersionTable::default();
    let (from, to) = (table.get(from).unwrap(), table.get(to).unwrap());
    let index = scan(Encoding::Xml, raw.as_bytes()).unwrap();
    let own = Own { xmlns: xmlns.map(str::as_bytes), ..Own::default() };
    let bridged = bridge(raw.as_bytes(), &index, &Crossing { from, to, lossy, own })?;
    let out = bridged.edits.apply(&Bytes::copy_from_slice(raw.as_bytes()));
    let names = bridged.names.iter().map(ToString::to_string).collect();
    Ok((String::from_utf8(out.to_vec()).unwrap(), names))
}

fn message(root: &str, body: &str) -> String {
    format!(
        "{root}<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID><MsgID>2</MsgID>\
         <Target><LocURI>http://dm</LocURI></Target><Source><LocURI>IMEI:1</LocURI></Source></SyncHdr>\
         <SyncBody>{body}<Final/></SyncBody></SyncML>"
    )
}

const ROOT: &str = "<SyncML xmlns='SYNCML:SYNCML1.2'>";

#[test]
fn only_the_names_of_the_version_change_and_come_back() {
    let body = "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert><!-- DM/1.2 1.2 SYNCML:SYNCML1.2 -->\r\n";
    let url = "http://www.openmobilealliance.org/tech/DTD/OMA-TS-SyncML_RepPro_DTD-V1_2.dtd";
    let doctype = format!("<!DOCTYPE SyncML PUBLIC '-//SYNCML//DTD SYNCML 1.2//EN' \"{url}\">");
    for root in [
        "<SyncML>".to_owned(),
        ROOT.to_owned(),
        "<?xml version=\"1.0\"?>\r\n <SyncML\txmlns = \"syncml:SYNCML1.2\" >".to_owned(),
        format!("{doctype}{ROOT}"),
    ] {
        let raw = message(&root, body);
        for version in [Version::DM_1_1, Version::DM_1_3, Version::DM_1_2] {
            let (there, names) = across(&raw, Version::DM_1_2, version, false, None).unwrap();
            assert!(there.contains(&format!("<VerProto>{version}</VerProto>")), "{there}");
            assert_eq!(names.is_empty(), version == Version::DM_1_2);
            assert_eq!(there.matches("DM/1.2 1.2 SYNCML:SYNCML1.2").count(), 1, "comments are nobody's business: {there}");
            let (back, _) = across(&there, version, Version::DM_1_2, false, None).unwrap();
            assert_eq!(back, raw);
        }
    }
    let (down, names) =
        across(&message(&format!("{doctype}{ROOT}"), body), Version::DM_1_2, Version::DM_1_1, false, None).unwrap();
    assert_eq!(names, ["FPI", "DTD-URL", "xmlns", "VerDTD", "VerProto"]);
    assert!(down.starts_with(
        "<!DOCTYPE SyncML PUBLIC '-//SYNCML//DTD SYNCML 1.1//EN' \"http://www.syncml.org/docs/syncml_represent_v11_20020213.dtd\">\
         <SyncML xmlns='SYNCML:SYNCML1.1'>"
    ));
}

#[test]
fn what_contradicts_the_version_is_left_alone() {
    let raw = message("<SyncML xmlns='SYNCML:SYNCML1.1'>", "");
    let (out, names) = across(&raw, Version::DM_1_2, Version::DM_1_1, false, None).unwrap();
    assert_eq!(names, ["VerDTD", "VerProto"]);
    assert!(out.starts_with("<SyncML xmlns='SYNCML:SYNCML1.1'>"));
}

#[test]
fn an_answer_gets_the_name_space_that_its_receiver_writes() {
    let answer = message(ROOT, "").replace("1.2", "1.1");
    let (out, _) = across(&answer, Version::DM_1_1, Version::DM_1_2, false, Some("syncml:syncml1.2")).unwrap();
    assert!(out.starts_with("<SyncML xmlns='syncml:syncml1.2'>"), "{out}");
}

#[test]
fn values_in_any_form_become_plain_ones() {
    for value in ["DM/1&#x2e;2", "<![CDATA[DM/1.2]]>", "DM/<!-- x -->1.2", "DM&#47;1.<![CDATA[2]]>"] {
        let raw = message(ROOT, "").replace("<VerProto>DM/1.2<", &format!("<VerProto>{value}<"));
        let (out, _) = across(&raw, Version::DM_1_2, Version::DM_1_1, false, None).unwrap();
        let index = scan(Encoding::Xml, out.as_bytes()).unwrap();
        assert_eq!(index.text(out.as_bytes(), index.ver_proto), "DM/1.1", "{out}");
        assert!(!out.contains('&'), "{out}");
    }
}

/// `(body, name of the obstacle, command, status)`
type Case = (&'static str, &'static str, Option<(Element, &'static str)>, u16);
const OBSTACLES: [Case; 5] = [
    (
        "<Exec><CmdID>7</CmdID><Correlator>c</Correlator><Item><Data>x</Data></Item></Exec>",
        "Correlator",
        Some((Element::Exec, "7")),
        406,
    ),
    (
        "<Atomic><CmdID>1</CmdID><Add><CmdID> 2 </CmdID><Item><Meta><Type xmlns='syncml:metinf'> application/vnd.syncml.dmtnds+xml;charset=UTF-8</Type></Meta><Data>x</Data></Item></Add></Atomic>",
        "TNDS",
        Some((Element::Add, "2")),
        415,
    ),
    (
        "<Alert><CmdID>5</CmdID><Data>1226</Data><Item><Data>r</Data></Item></Alert>",
        "Alert 1226",
        Some((Element::Alert, "5")),
        406,
    ),
    (
        "<Get><CmdID>3</CmdID><Item><TargetParent><LocURI>.</LocURI></TargetParent></Item></Get>",
        "TargetParent",
        Some((Element::Get, "3")),
        406,
    ),
    ("<Move><CmdID>3</CmdID></Move>", "Move", None, 406),
];

#[test]
fn what_the_older_version_has_no_word_for_does_not_cross_downwards() {
    for (body, expected, command, code) in OBSTACLES {
        let raw = message(ROOT, body);
        let Err(Obstacle::Element { name, command: in_command, status, at }) =
            across(&raw, Version::DM_1_3, Version::DM_1_1, false, None)
        else {
            panic!("{body}")
        };
        assert_eq!((name, status.0), (expected, code));
        assert_eq!(in_command.as_ref().map(|command| (command.element, &*command.cmd_id)), command, "{body}");
        assert!(raw[..at as usize].contains("<SyncBody>"));
        let (same_dtd, _) = across(&raw, Version::DM_1_2, Version::DM_1_3, false, None).unwrap();
        assert_eq!(same_dtd, raw.replace("DM/1.2", "DM/1.3"));
        let up = raw.replace("1.2", "1.1");
        across(&up, Version::DM_1_1, Version::DM_1_2, false, None).unwrap();
    }
}

#[test]
fn lossy_drops_only_what_has_no_word_and_says_so() {
    let (out, names) = across(&message(ROOT, OBSTACLES[0].0), Version::DM_1_2, Version::DM_1_1, true, None).unwrap();
    assert!(out.contains("<Exec><CmdID>7</CmdID><Item><Data>x</Data></Item></Exec>"), "{out}");
    assert_eq!(names, ["xmlns", "VerDTD", "VerProto", "dropped:Correlator"]);
    for (body, ..) in &OBSTACLES[1..3] {
        let (out, names) = across(&message(ROOT, body), Version::DM_1_2, Version::DM_1_1, true, None).unwrap();
        assert!(out.contains(body) && names.len() == 3, "the receiver answers it by itself: {out}");
    }
}

#[test]
fn names_of_other_name_spaces_are_not_ours() {
    let body = "<Replace><CmdID>1</CmdID><Item><Data><MgmtTree xmlns='syncml:dmddf1.2'><Move/><Correlator/></MgmtTree></Data></Item></Replace>";
    let (out, _) = across(&message(ROOT, body), Version::DM_1_2, Version::DM_1_1, false, None).unwrap();
    assert!(out.contains(body));
}

#[test]
fn a_body_that_cannot_be_read_does_not_cross_downwards() {
    let whole = message(ROOT, "");
    for raw in [whole.replace("</SyncML>", ""), format!("{whole}<SyncML/>"), whole.replace("<Final/>", "<Final></Fina>")] {
        let result = across(&raw, Version::DM_1_2, Version::DM_1_1, false, None);
        assert!(matches!(result, Err(Obstacle::Malformed(_))), "{raw}");
    }
}
