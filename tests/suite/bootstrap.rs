//! Bootstrap documents: those of the corpus, those that pass through the proxy, and those that are stamped
//! by hand.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
};

use assert_cmd::Command;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use protover::{
    account::provisioning::{Document, NoDocument, stamp},
    reference::{Document as Message, Node, document::Header},
    syncml::{header::Encoding, version::Version},
};

use crate::rig::{Does, Rig, Upstream, oracle};

const XML: &str = "<?xml version=\"1.0\"?>\r\n<wap-provisioningdoc version=\"1.1\">\r\n  <characteristic type=\"APPLICATION\">\r\n\
    \x20   <parm name=\"APPID\" value=\"w7\"/>\r\n    <parm name=\"PROVIDER-ID\" value=\"com.example.dm\"/>\r\n\
    \x20   <parm name=\"AAUTHSECRET\" value=\"sheep\"/>\r\n    <characteristic type=\"APPADDR\">\r\n\
    \x20     <parm name=\"ADDR\" value=\"http://dm.example/dm\"/>\r\n    </characteristic>\r\n  </characteristic>\r\n</wap-provisioningdoc>\r\n";

/// The same account in WBXML, all strings inline.
fn wbxml() -> Vec<u8> {
    let parameter = |code: u8, value: &str| [&[0x87, code, 0x06, 0x03], value.as_bytes(), &[0, 0x01]].concat();
    [
        vec![0x03, 0x0B, 0x6A, 0x00, 0x45, 0xC6, 0x00, 0x01, 0x55, 0x01],
        parameter(0x36, "w7"),
        parameter(0x38, "com.example.dm"),
        parameter(0x34, "http://dm.example/dm"),
        vec![0x01, 0x01],
    ]
    .concat()
}

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PROTOVER_CORPUS").map_or_else(|| PathBuf::from("../shared/corpus"), PathBuf::from);
    let folder = folder.join("bootstrap");
    if !folder.is_dir() {
        eprintln!("skipped: there is no corpus in {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn every_bootstrap_document_of_the_corpus_is_read_or_passed_and_stamping_changes_the_parameter_alone() {
    let Some(folder) = corpus() else { return };
    let (mut read, mut passed, mut accounts) = (0, 0, 0);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let raw = Bytes::from(fs::read(&file).unwrap());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let document = match Document::read(&raw) {
            Ok(document) => document,
            Err(NoDocument::SomethingElse) => {
                assert!(!name.contains("prov-0") && !name.contains("cpclient"), "{name}");
                passed += 1;
                continue;
            }
            Err(NoDocument::Malformed(why)) => {
                // One was published without its last line.
                assert_eq!(
                    (name.contains("nokia-6600-sync-ota"), why.to_string()),
                    (true, format!("truncated at byte {}", raw.len()))
                );
                passed += 1;
                continue;
            }
        };
        read += 1;
        let before = document.accounts();
        for version in [Version::DM_1_1, Version::DM_1_2] {
            let (edits, changed) = stamp(&raw, &document, version, |_| true);
            let stamped = edits.apply(&raw);
            let already = before.iter().filter(|account| account.version() == Some(&version.number())).count();
            assert_eq!(changed, before.len() - already, "{name}");
            let again = Document::read(&stamped).unwrap();
            assert!(again.accounts().iter().all(|account| account.version() == Some(&version.number())), "{name}");
            assert_eq!(stamp(&stamped, &again, version, |_| true).1, 0, "{name}: idempotent");
            // Without what was put in it is what it was.
            let mut rest = stamped.to_vec();
            for edit in edits.iter().collect::<Vec<_>>().into_iter().rev() {
                let shift: usize =
                    edits.iter().filter(|other| other.span.start < edit.span.start).map(|other| other.with.len()).sum();
                let removed: usize =
                    edits.iter().filter(|other| other.span.start < edit.span.start).map(|other| other.span.len()).sum();
                let at = edit.span.range().start + shift - removed;
                rest.splice(at..at + edit.with.len(), edit.span.of(&raw).iter().copied());
            }
            assert_eq!(rest, raw, "{name}");
        }
        accounts += before.len();
    }
    println!("{read} documents with {accounts} DM accounts, {passed} passed");
    assert!(read >= 25 && accounts >= 2 && passed >= 5, "{read} {accounts} {passed}");
}

#[test]
fn twins_in_xml_and_wbxml_have_the_same_accounts() {
    let Some(folder) = corpus() else { return };
    let mut compared = 0;
    for number in 1..=8 {
        let find = |part: &str, end: &str| {
            let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let wanted = format!("{part}-{number:03}.{end}");
            names.into_iter().find(|path| path.to_string_lossy().ends_with(&wanted))
        };
        let (Some(xml), Some(wbxml)) = (find("libwbxml-prov", "xml"), find("wbxml-stream-prov", "wbxml")) else { continue };
        let tags = |path: &Path| -> Vec<(String, Vec<(String, String)>)> {
            let document = Document::read(&fs::read(path).unwrap()).unwrap();
            let starts = document.events.into_iter().filter_map(|event| match event {
                protover::account::provisioning::Event::Start(tag) => Some(tag),
                protover::account::provisioning::Event::End(_) => None,
            });
            starts
                .map(|tag| {
                    let attributes = tag.attributes.into_iter().map(|attribute| (attribute.name, attribute.text)).collect();
                    (tag.element.name().to_owned(), attributes)
                })
                .collect()
        };
        assert_eq!(tags(&xml), tags(&wbxml), "{}", xml.display());
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}

#[test]
fn what_wbxml2xml_sees_in_a_stamped_document_is_the_parameter() {
    if !oracle("wbxml2xml") {
        return;
    }
    let raw = Bytes::from(wbxml());
    let document = Document::read(&raw).unwrap();
    let stamped = stamp(&raw, &document, Version::DM_1_2, |_| true).0.apply(&raw);
    let seen = |bytes: &[u8]| {
        let mut child = Process::new("wbxml2xml")
            .args(["-o", "-", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let (before, after) = (seen(&raw), seen(&stamped));
    assert!(before.contains("com.example.dm"), "{before}");
    let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert_eq!(new.iter().map(|line| line.trim()).collect::<Vec<_>>(), ["<parm name=\"PROTOVER\" value=\"1.2\"/>"], "{after}");
}

fn site(server: SocketAddr, more: &str) -> String {
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n{more}\n[[server]]\nname = \"upstream\"\nurl = \"http://{server}\"\n\
         speaks = [\"DM/1.2\", \"DM/1.3\"]\n[account]\nbootstrap = true\nserver_id = \"com.example.dm\"\n"
    )
}

/// What a device gets that asks for a document, and the line of the log.
async fn fetched(content_type: &str, more: &str, body: &[u8], site_keys: &str) -> (Vec<u8>, serde_json::Value, Option<String>) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}\r\n", body.len());
    let answer = [head.as_bytes(), body].concat();
    let upstream = Upstream::start(move |_| Does::Answer(answer.clone())).await;
    let rig = Rig::start("", &[&site(upstream.address, site_keys)]).await;
    let got = rig.send("GET /boot HTTP/1.1\r\nHost: dm.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(got.status, 200);
    let encoding = got.header("content-encoding").map(str::to_owned);
    (got.body, rig.line().await, encoding)
}

const PROV_XML: &str = "application/vnd.wap.connectivity-xml";
const PROV_WBXML: &str = "application/vnd.wap.connectivity-wbxml; charset=UTF-8";

#[tokio::test]
async fn documents_on_their_way_get_the_version_and_nothing_else_changes() {
    let added = "\r\n    <parm name=\"PROTOVER\" value=\"1.2\"/>";
    let (got, line, _) = fetched(PROV_XML, "", XML.as_bytes(), "").await;
    let text = String::from_utf8(got).unwrap();
    // The recommended version is 1.3, which Windows does not know: the highest that it does.
    assert!(text.contains(added), "{text}");
    assert_eq!(text.replacen(added, "", 1), XML);
    let said: Vec<&str> =
        ["kind", "verdict", "requirement", "recommended"].iter().map(|key| line[*key].as_str().unwrap_or("-")).collect();
    assert_eq!(said, ["account", "pass", "Tree-1", "DM/1.2"], "{line}");
    assert_eq!((&line["edits"][0], &line["hints"][0]), (&"PROTOVER".into(), &"account".into()), "{line}");

    let (got, _, _) = fetched(PROV_WBXML, "", &wbxml(), "").await;
    assert_eq!(Document::read(&got).unwrap().accounts()[0].version(), Some("1.2"));

    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(XML.as_bytes()).unwrap();
    let (got, _, encoding) = fetched(PROV_XML, "Content-Encoding: gzip\r\n", &gzip.finish().unwrap(), "").await;
    assert_eq!(encoding, None);
    assert!(String::from_utf8(got).unwrap().contains(added));

    let inline = "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>0</SessionID>\
        <MsgID>0</MsgID><Target><LocURI>IMEI:1</LocURI></Target><Source><LocURI>com.example.dm</LocURI></Source></SyncHdr><SyncBody>\
        <Add><CmdID>1</CmdID><Item><Target><LocURI>./DMAcc/x/AppAddr/a/Addr</LocURI></Target><Data>https://dm.example/</Data></Item></Add>\
        <Final/></SyncBody></SyncML>";
    let (got, line, _) = fetched("application/vnd.syncml.dm+xml", "", inline.as_bytes(), "").await;
    let text = String::from_utf8(got).unwrap();
    assert!(text.contains("<LocURI>./DMAcc/x/Ext/Protover/ProtoVer</LocURI>") && text.contains("<Data>1.3</Data>"), "{text}");
    assert_eq!((&line["kind"], &line["edits"][0]), (&"account".into(), &"account".into()), "{line}");
}

/// A bootstrap of the DM profile, with one account.
fn inline(encoding: Encoding) -> Vec<u8> {
    let item = |uri: &str, data: &str| Node::new("Item", vec![Node::location("Target", uri), Node::leaf("Data", data)]);
    let items = vec![item("./DMAcc/x/ServerID", "com.example.dm"), item("./DMAcc/x/Name", "Dolly's")];
    let add = Node::new("Add", [vec![Node::leaf("CmdID", "1")], items].concat());
    let header = Header { session: "0", message: 1, target: "IMEI:1", source: "com.example.dm", ..Header::default() };
    Message::new(Version::DM_1_2, &header, vec![add]).write(encoding)
}

#[tokio::test]
async fn accounts_inside_messages_get_the_leaf_in_both_encodings_and_by_hand() {
    for (encoding, content_type) in
        [(Encoding::Xml, "application/vnd.syncml.dm+xml"), (Encoding::Wbxml, "application/vnd.syncml.dm+wbxml")]
    {
        let raw = inline(encoding);
        let (got, line, _) = fetched(content_type, "", &raw, "").await;
        let (before, after) = (Message::read(encoding, &raw).unwrap(), Message::read(encoding, &got).unwrap());
        assert_eq!(after.commands()[0], before.commands()[0], "{encoding:?}");
        let uris: Vec<&str> = after.commands().iter().map(|command| command.text_at(&["Item", "Target", "LocURI"])).collect();
        let leaf = "./DMAcc/x/Ext/Protover/ProtoVer";
        assert_eq!(uris, ["./DMAcc/x/ServerID", "./DMAcc/x/Ext", "./DMAcc/x/Ext/Protover", leaf, ""], "{encoding:?}");
        assert_eq!((&line["kind"], &line["requirement"]), (&"account".into(), &"Tree-1".into()), "{line}");
        let (by_hand, said) = protover(&["account", "stamp", "-", "--version", "1.3"], &raw, 0);
        assert_eq!((by_hand, said.as_str()), (got, "DM/1.3: com.example.dm (1 changed)\n"), "{encoding:?}");
    }
}

#[tokio::test]
async fn a_document_that_is_larger_than_what_is_read_goes_through() {
    let large = XML.replace("</wap", &format!("<!--{}--></wap", "x".repeat(100_000)));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {PROV_XML}\r\nContent-Length: {}\r\n\r\n", large.len());
    let answer = [head.as_bytes(), large.as_bytes()].concat();
    let upstream = Upstream::start(move |_| Does::Answer(answer.clone())).await;
    let rig = Rig::start("[limits]\nbody = \"64KiB\"\n", &[&site(upstream.address, "")]).await;
    let got = rig.send("GET /boot HTTP/1.1\r\nHost: dm.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!((got.status, got.text() == large), (200, true));
    rig.line().await;
}

#[tokio::test]
async fn what_is_not_to_be_changed_goes_on_byte_for_byte_with_the_reason() {
    let other = XML.replace("com.example.dm", "someone.else").replace("dm.example", "dm.elsewhere");
    let cut = &XML.as_bytes()[..200];
    let stamped = XML.replace("<parm name=\"AAUTH", "<parm name=\"PROTOVER\" value=\"1.2\"/><parm name=\"AAUTH");
    for (content_type, body, why) in [
        (&*format!("{PROV_XML}; SEC=USERPIN; MAC=00112233"), XML.as_bytes(), "integrity-protected"),
        (PROV_XML, other.as_bytes(), "no account of this site that does not say so"),
        (PROV_XML, stamped.as_bytes(), "no account of this site that does not say so"),
        (PROV_XML, cut, "truncated"),
        ("application/vnd.syncml.dm+wbxml; SEC=NETWORKPIN; MAC=0", b"\x02\xa4\x01", "integrity-protected"),
    ] {
        let (got, line, _) = fetched(content_type, "", body, "").await;
        assert_eq!(got, body, "{content_type}");
        let detail = line["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with("account: ") && detail.contains(why), "{line}");
        assert_eq!(line["edits"], serde_json::Value::Null);
    }
    let (got, line, _) = fetched(PROV_XML, "", XML.as_bytes(), "mode = \"observe\"").await;
    assert_eq!((got.as_slice(), &line["requirement"]), (XML.as_bytes(), &"Tree-1".into()), "observed only");
}

fn protover(arguments: &[&str], input: &[u8], status: i32) -> (Vec<u8>, String) {
    let mut command = Command::cargo_bin("protover").unwrap();
    let output = command.args(arguments).write_stdin(input).assert().code(status).get_output().clone();
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn documents_are_stamped_by_hand_and_shown_without_their_secrets() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("boot.xml");
    fs::write(&file, XML).unwrap();
    let path = file.display().to_string();
    let (stamped, said) = protover(&["account", "stamp", &path, "--version", "1.2"], b"", 0);
    assert_eq!(said, "DM/1.2: com.example.dm (1 changed)\n");
    assert!(String::from_utf8_lossy(&stamped).contains("<parm name=\"PROTOVER\" value=\"1.2\"/>"));
    assert_eq!(fs::read_to_string(&file).unwrap(), XML, "the file stays as it is");
    let in_place = ["account", "stamp", &path, "--version", "1.2", "-o", &path];
    protover(&in_place, b"", 0);
    assert_eq!(fs::read(&file).unwrap(), stamped);
    assert_eq!(protover(&in_place, b"", 0).1, "DM/1.2: com.example.dm (says so already)\n");
    assert_eq!(fs::read(&file).unwrap(), stamped, "idempotent");

    let (binary, _) = protover(&["account", "stamp", "-", "--version", "1.1", "--provider-id", "com.example.dm"], &wbxml(), 0);
    let (shown, _) = protover(&["inspect", "-"], &binary, 0);
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("  PROTOVER    1.1\n") && shown.contains("<parm name=\"PROVIDER-ID\" value=\"com.example.dm\"/>"),
        "{shown}"
    );
    let (shown, _) = protover(&["inspect", &path], b"", 0);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("a provisioning document in xml") && shown.contains("name=\"AAUTHSECRET\" value=\"***\""), "{shown}");
    assert!(!shown.contains("sheep"), "{shown}");

    for (arguments, input, status, expected) in [
        (&["--version", "1.3"][..], XML.as_bytes(), 2, "PROTOVER knows 1.1 and 1.2, not 1.3"),
        (&["--version", "1.2", "--provider-id", "x"], XML.as_bytes(), 1, "no DM account of this server in it"),
        (&["--version", "1.2"], &XML.as_bytes()[..100], 1, "truncated"),
        (&["--version", "1.2"], b"hello", 1, "neither a provisioning document nor a SyncML message"),
        (&["--version", "1.2", "-o", "/proc/nowhere"], XML.as_bytes(), 1, "/proc/nowhere"),
        (&["--version", "x"], XML.as_bytes(), 2, "a version is written"),
    ] {
        let (_, said) = protover(&[&["account", "stamp", "-"][..], arguments].concat(), input, status);
        assert!(said.contains(expected), "{said}");
    }
}
