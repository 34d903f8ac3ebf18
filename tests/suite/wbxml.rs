//! WBXML, held against real messages and against other readers of it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protover::syncml::{
    self,
    body::{Cursor, Step, Steps},
    bridge::{Crossing, Own, bridge},
    edit::Edits,
    element::Element,
    header::{Encoding, Field, HeaderIndex},
    hint,
    malformed::Problem,
    reply::{self, Refusal},
    status::Status,
    version::{Declared, Version, VersionTable},
    wbxml,
};

use super::{
    corpus::{Real, messages, there_and_back},
    rig::oracle,
};

const WBXML: Encoding = Encoding::Wbxml;

#[test]
fn wbxml_versions_are_those_of_the_manifest() {
    for real in messages("wbxml") {
        match syncml::scan(WBXML, &real.raw) {
            Ok(index) => {
                let read = [index.text(&real.raw, index.ver_dtd), index.text(&real.raw, index.ver_proto)];
                assert_eq!(read, [&*real.ver_dtd, &*real.ver_proto], "{}", real.name);
                assert_eq!(syncml::check(&real.raw, &index), Ok(()), "{}", real.name);
            }
            // Two are commands only.
            Err(malformed) => assert_eq!((malformed.problem, &*real.ver_dtd), (Problem::NoSyncHdr, "-"), "{}", real.name),
        }
    }
}

#[test]
fn wbxml_without_edits_is_the_same_bytes() {
    for real in messages("wbxml") {
        assert_eq!(Edits::new().apply(&real.raw).as_ptr(), real.raw.as_ptr(), "{}", real.name);
    }
}

#[test]
fn wbxml_bridged_there_and_back_is_the_same_bytes() {
    there_and_back(WBXML, "wbxml");
}

#[test]
fn wbxml_cut_anywhere_is_malformed() {
    for real in messages("wbxml").iter().filter(|real| whole(&real.raw)) {
        for end in 0..real.raw.len() {
            assert!(!whole(&real.raw[..end]), "{} cut at {end}", real.name);
        }
    }
}

/// Whether a message can be read from its first byte to its last.
fn whole(raw: &[u8]) -> bool {
    syncml::scan(WBXML, raw).is_ok_and(|index| syncml::check(raw, &index).is_ok())
}

#[test]
fn wbxml_with_any_bit_changed_is_read_or_refused_in_time() {
    let table = VersionTable::default();
    let forms = |version| table.get(version).unwrap();
    let crossing = Crossing { from: forms(Version::DM_1_2), to: forms(Version::DM_1_1), lossy: true, own: Own::default() };
    let start = Instant::now();
    let mut flipped = 0;
    for real in messages("wbxml") {
        let mut raw = real.raw.to_vec();
        for bit in 0..raw.len() * 8 {
            raw[bit / 8] ^= 1 << (bit % 8);
            if let Ok(index) = syncml::scan(WBXML, &raw) {
                let _ = (syncml::check(&raw, &index), syncml::started_by(&raw, &index), bridge(&raw, &index, &crossing));
            }
            raw[bit / 8] ^= 1 << (bit % 8);
            flipped += 1;
        }
    }
    assert!(start.elapsed() < Duration::from_secs(1) + Duration::from_millis(flipped), "{:?}", start.elapsed());
}

/// What decides about a message.
fn facts(raw: &[u8], index: &HeaderIndex) -> Vec<Option<String>> {
    let text = |field: Field| Some(index.text(raw, field).trim().to_owned());
    let mut facts: Vec<Option<String>> =
        [index.ver_dtd, index.ver_proto, index.session_id, index.msg_id, index.target, index.source].map(text).into();
    facts.extend([index.source_name, index.resp_uri, index.max_msg_size].map(|field| field.and_then(text)));
    facts.push(Some(format!("{} {:?}", index.no_resp, syncml::started_by(raw, index))));
    facts
}

/// The elements of a message in their order, without those of nested documents.
fn elements(encoding: Encoding, raw: &[u8]) -> Vec<&'static str> {
    let mut cursor = Cursor::document(encoding, raw).unwrap();
    let mut names = Vec::new();
    while let Some(step) = cursor.step().unwrap() {
        if let Step::Start { element, .. } = step
            && element != Element::Other
        {
            names.push(element.name());
        }
    }
    names
}

#[test]
fn xml_and_its_wbxml_twin_are_the_same_by_oracle_xml2wbxml() {
    if !oracle("xml2wbxml") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut twins = 0;
    for real in messages("xml") {
        let Ok(xml) = syncml::scan(Encoding::Xml, &real.raw) else { continue };
        if real.is_broken() {
            continue;
        }
        let path = folder.path().join("message.xml");
        std::fs::write(&path, &real.raw).unwrap();
        let path = path.to_str().unwrap();
        for arguments in [["-v", "1.2", "-n", "-o", "-", path].as_slice(), &["-v", "1.3", "-o", "-", path]] {
            let output = run("xml2wbxml", arguments, b"");
            // It knows only its own identifiers, and ends some messages half way.
            let raw = output.stdout;
            let Ok(wbxml) = syncml::scan(WBXML, &raw) else { continue };
            if syncml::check(&raw, &wbxml).is_err() {
                continue;
            }
            assert_eq!(facts(&raw, &wbxml), facts(&real.raw, &xml), "{}", real.name);
            assert_eq!(decided(&raw, &wbxml), decided(&real.raw, &xml), "{}", real.name);
            assert_eq!(elements(WBXML, &raw), elements(Encoding::Xml, &real.raw), "{}", real.name);
            twins += 1;
        }
    }
    println!("{twins} twins");
}

/// What a site with a server for DM 1.1 and a few rules decides about a message.
fn decided(raw: &[u8], index: &HeaderIndex) -> Vec<String> {
    use protover::policy::{
        decide::decide,
        facts::{Content, Dtd, Facts, Integrity, Message},
    };
    let rules = "[[rule]]\nname = \"started by clients\"\nwhen = { started_by = \"client\", share = \"30%\" }\nthen = { verdict = \"pass\" }";
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let log = std::path::Path::new("unused");
    let sites = ["bridge", "refuse"].map(|then| {
        crate::rig::site(address, "[\"DM/1.1\", \"SyncML/1.1\"]", &format!("[unsupported]\nthen = \"{then}\"\n{rules}"))
    });
    let decide_by = |site: &String| {
        let policies = crate::rig::policies(log, "", "", &[site]);
        let content = Content::Message(Message {
            encoding: index.encoding,
            declared: policies.versions.recognise(&index.text(raw, index.ver_proto)),
            dtd: Dtd::Agrees,
            media_type_agrees: true,
            device: index.text(raw, index.source),
            first: true,
            started_by: syncml::started_by(raw, index),
            integrity: Integrity::None,
        });
        let facts = Facts {
            path: "/",
            user_agent: None,
            client_certificate: None,
            client_fingerprint: None,
            content,
            notified: None,
            learnt: &[],
        };
        format!("{:?}", decide(&policies.sites[0], &policies.versions, &facts))
    };
    sites.iter().map(decide_by).collect()
}

/// Every message of the corpus, taken to another version, by name: before and after.
fn crossings() -> Vec<(String, Bytes, Bytes, [String; 2])> {
    let table = VersionTable::default();
    let mut all = Vec::new();
    for real in messages("wbxml") {
        let Declared::Known(version) = table.recognise(&real.ver_proto) else { continue };
        let Ok(index) = syncml::scan(WBXML, &real.raw) else { continue };
        let from = table.get(version).unwrap();
        for to in table.versions().into_iter().filter(|to| to.family() == version.family() && *to != version) {
            let to = table.get(to).unwrap();
            let crossing = Crossing { from, to, lossy: false, own: Own::default() };
            let Ok(bridged) = bridge(&real.raw, &index, &crossing) else { continue };
            let after = bridged.edits.apply(&real.raw);
            let name = format!("{} to {}", real.name, to.version);
            all.push((name, real.raw.clone(), after, [to.dtd.to_string(), to.version.to_string()]));
        }
    }
    all
}

#[test]
fn a_bridged_message_is_the_same_otherwise_by_oracle_wbxml2xml() {
    if !oracle("wbxml2xml") {
        return;
    }
    let crossings = crossings();
    for (name, before, after, [dtd, proto]) in &crossings {
        let (before, after) = (decoded(before), decoded(after));
        assert!(after.contains(&format!("<VerDTD>{dtd}</VerDTD>")), "{name}: {after}");
        assert!(after.contains(&format!("<VerProto>{proto}</VerProto>")), "{name}: {after}");
        assert_eq!(without_versions(&before), without_versions(&after), "{name}");
    }
    println!("{} crossings", crossings.len());
}

#[test]
fn a_hinted_message_is_the_same_otherwise_by_oracle_wbxml2xml() {
    if !oracle("wbxml2xml") {
        return;
    }
    for Real { name, raw, .. } in messages("wbxml") {
        let Ok(index) = syncml::scan(WBXML, &raw) else { continue };
        let hinted = hint::header_meta(&raw, &index, Version::DM_1_3).unwrap().apply(&raw);
        let (before, after) = (decoded(&raw), decoded(&hinted));
        let hint = r#"<EMI xmlns="syncml:metinf">DM-Recommended-Version=DM/1.3</EMI>"#;
        assert_eq!(after.matches(hint).count(), 1, "{name}: {after}");
        let rest = after.replace(&format!("<Meta>{hint}</Meta>"), "").replace(hint, "");
        assert_eq!(rest, before, "{name}");
        if let Some(edits) = hint::status_item(&raw, &index, Version::DM_1_3) {
            let after = decoded(&edits.apply(&raw));
            assert_eq!(after.replacen("<Item><Data>DM/1.3</Data></Item>", "", 1), before, "{name}");
        }
    }
}

/// A message as `wbxml2xml` reads it.
fn decoded(raw: &[u8]) -> String {
    let output = run("wbxml2xml", &["-m", "0", "-k", "-o", "-", "-"], raw);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Behind the document stands a message of its own.
    text.rfind("</SyncML>").map_or_else(|| panic!("not decoded: {text}"), |end| text[..end].to_owned())
}

/// Without DOCTYPE, name space and the values of the first VerDTD and VerProto.
fn without_versions(xml: &str) -> String {
    let root = xml.find("<SyncHdr").unwrap();
    let mut rest = xml[root..].to_owned();
    for name in ["VerDTD", "VerProto"] {
        let start = rest.find(&format!("<{name}>")).unwrap();
        let end = rest.find(&format!("</{name}>")).unwrap();
        rest.replace_range(start..end, "");
    }
    rest
}

#[test]
fn a_refusal_is_read_by_oracle_wbxml2xml() {
    if !oracle("wbxml2xml") {
        return;
    }
    let table = VersionTable::default();
    for Real { name, raw, ver_dtd, ver_proto, .. } in messages("wbxml") {
        let Ok(index) = syncml::scan(WBXML, &raw) else { continue };
        let supported = [Version::DM_1_3, Version::DM_1_2];
        let status = Status::PROTOCOL_VERSION_NOT_SUPPORTED;
        let refusal = Refusal { status, supported: &supported, recommended: Some(Version::DM_1_3), table: &table };
        let answer = reply::refusal(&raw, &index, &refusal);
        let own = syncml::scan(WBXML, &answer).unwrap();
        assert_eq!(syncml::check(&answer, &own), Ok(()), "{name}");
        assert_eq!(
            (&*own.text(&answer, own.target), &*own.text(&answer, own.source)),
            (&*index.text(&raw, index.source), &*index.text(&raw, index.target))
        );
        let xml = decoded(&answer);
        for part in ["<Data>513</Data>", "<Data>DM/1.3</Data>", "Recommended version is 1.3"] {
            assert!(xml.contains(part), "{name}: {part} in {xml}");
        }
        if ver_proto.starts_with("DM/") {
            assert!(xml.contains(&format!("<VerDTD>{ver_dtd}</VerDTD><VerProto>{ver_proto}</VerProto>")), "{name}: {xml}");
        }
    }
}

#[test]
fn a_listing_has_the_elements_and_texts_of_oracle_wbxml2xml() {
    if !oracle("wbxml2xml") {
        return;
    }
    for Real { name, raw, .. } in messages("wbxml") {
        let listing = wbxml::listing(&raw);
        assert_eq!((listing.malformed, wbxml::dump(&raw).malformed), (None, None), "{name}");
        let lines = listing.text.lines().map(|line| line.get(8..).unwrap_or_default().trim());
        let ours: String = lines.filter(|line| !line.starts_with("<!-- WBXML")).collect();
        assert_eq!(names(&ours), names(&decoded(&raw)), "{name}");
    }
}

/// The names of the start tags in a piece of XML, in their order.
fn names(xml: &str) -> Vec<&str> {
    let mut rest = xml;
    let mut names = Vec::new();
    while let Some((_, tag)) = rest.split_once('<') {
        rest = match tag.strip_prefix("![CDATA[") {
            Some(text) => text.split_once("]]>").map_or("", |(_, rest)| rest),
            None => tag,
        };
        if tag.starts_with(|character: char| character.is_ascii_alphabetic()) {
            names.push(tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default());
        }
    }
    names
}

#[test]
fn a_bridged_message_is_the_same_otherwise_by_oracle_tshark() {
    if !oracle("tshark") {
        return;
    }
    let crossings = crossings();
    let before = dissected(crossings.iter().map(|(_, before, ..)| before));
    let after = dissected(crossings.iter().map(|(_, _, after, _)| after));
    assert_eq!([before.len(), after.len()], [crossings.len(); 2]);
    for ((name, .., versions), (before, after)) in crossings.iter().zip(before.iter().zip(&after)) {
        let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        assert_eq!(before.len(), after.len(), "{name}");
        let changed: Vec<&str> =
            after.iter().zip(&before).filter(|(after, before)| after != before).map(|(line, _)| *line).collect();
        for line in &changed {
            let version = versions.iter().any(|version| line.ends_with(&format!("'{version}'")));
            assert!(version || line.contains("Public Identifier") || line.contains("//DTD"), "{name}: {line}");
        }
        for version in versions {
            assert!(after.iter().any(|line| line.ends_with(&format!("'{version}'"))), "{name}: {version}\n{after:#?}");
        }
    }
    println!("{} crossings", crossings.len());
}

/// Messages as `tshark` reads them.
fn dissected<'a>(messages: impl Iterator<Item = &'a Bytes>) -> Vec<String> {
    // A capture file whose packets go straight to the dissector named in front of them
    // (LINKTYPE_WIRESHARK_UPPER_PDU).
    let mut capture = Vec::new();
    for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 0x0010_0000, 252] {
        capture.extend_from_slice(&word.to_le_bytes());
    }
    for raw in messages {
        let packet = [b"\x00\x0C\x00\x08wbxml\0\0\0\x00\x00\x00\x00".as_slice(), raw].concat();
        let len = u32::try_from(packet.len()).unwrap();
        for word in [0, 0, len, len] {
            capture.extend_from_slice(&word.to_le_bytes());
        }
        capture.extend_from_slice(&packet);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.pcap");
    std::fs::write(&path, capture).unwrap();
    let output = run("tshark", &["-r", path.to_str().unwrap(), "-V", "-O", "wbxml"], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let frames = text.split("\nWAP Binary XML").skip(1);
    frames.map(|frame| frame.split("\nFrame ").next().unwrap_or_default().to_owned()).collect()
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}
