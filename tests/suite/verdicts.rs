//! What becomes of a message: passed, advised, bridged, refused; what each side sees, and what the log says.

use serde_json::{Value, json};

use crate::rig::{Does, Rig, Seen, Upstream, answer, message, nobody, numbered, ok, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";

fn str_of<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn verdict(line: &Value) -> (&str, &str) {
    (str_of(line, "verdict"), str_of(line, "reason"))
}

#[tokio::test]
async fn a_message_in_the_recommended_version_passes_byte_for_byte() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "")]).await;
    let sent = message("1.2", "DM/1.2");
    let got = rig.send(post("User-Agent: old phone\r\nx-UnUsUaL-cAsE: 1\r\nConnection: close\r\n", sent.as_bytes())).await;
    assert_eq!((got.status, got.text()), (200, sent.clone()));
    assert_eq!(got.header("dm-recommended-version"), None);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.body, sent.as_bytes());
    assert!(seen.head.starts_with("POST /dm?x=%20y HTTP/1.1\r\n"), "the query stays byte for byte: {}", seen.head);
    assert!(seen.head.contains("x-UnUsUaL-cAsE: 1"), "{}", seen.head);
    assert_eq!(seen.header("host"), Some("dm.example"));
    let line = rig.line().await;
    assert_eq!(verdict(&line), ("pass", "recommended"));
    assert_eq!(got.header("protover-decision"), line["id"].as_str());
    assert_eq!(seen.header("protover-decision"), line["id"].as_str());
    let expected = [
        ("site", json!("s")),
        ("server", json!("upstream")),
        ("device", json!("IMEI:493005100592800")),
        ("session", json!("0A")),
        ("message", json!("1")),
        ("encoding", json!("xml")),
        ("integrity", json!("none")),
        ("started_by", json!("client")),
        ("declared", json!("DM/1.2")),
        ("declared_dtd", json!("1.2")),
        ("used", json!("DM/1.2")),
        ("recommended", json!("DM/1.2")),
        ("supported", json!(["DM/1.2", "DM/1.1"])),
        ("edits", Value::Null),
        ("hints", Value::Null),
        ("http_status", json!(200)),
        ("attempts", json!(1)),
        ("bytes_in", json!(sent.len())),
        ("bytes_out", json!(sent.len())),
    ];
    for (key, value) in expected {
        assert_eq!(line[key], value, "{key}");
    }
}

#[tokio::test]
async fn a_supported_version_that_is_not_recommended_is_advised_by_every_carrier() {
    let reply =
        answer("1.1", "DM/1.1", "<Get><CmdID>2</CmdID><Item><Target><LocURI>./DevInfo/Man</LocURI></Target></Item></Get>");
    let body = reply.clone();
    let upstream = Upstream::start(move |_| Does::Answer(ok(XML, body.as_bytes()))).await;
    let carriers = "[hint]\ncarriers = [\"http-header\", \"status-item\", \"header-meta\"]";
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\", \"DM/1.3\"]", carriers)]).await;
    let got = rig.send(post("", message("1.1", "DM/1.1").as_bytes())).await;
    assert_eq!(got.header("dm-recommended-version"), Some("DM/1.3"));
    assert_eq!(got.header("dm-supported-versions"), Some("DM/1.3, DM/1.2, DM/1.1"));
    let expected = reply
        .replace("<Data>212</Data>", "<Data>212</Data><Item><Data>DM/1.3</Data></Item>")
        .replace("</SyncHdr>", "<Meta><EMI xmlns=\"syncml:metinf\">DM-Recommended-Version=DM/1.3</EMI></Meta></SyncHdr>");
    assert_eq!(got.text(), expected);
    assert_eq!(got.header("content-length"), Some(&*expected.len().to_string()));
    assert_eq!(upstream.seen()[0].header("accept-encoding"), Some("identity"));
    let line = rig.line().await;
    assert_eq!(verdict(&line), ("advise", "supported-not-recommended"));
    assert_eq!(line["requirement"], "Server-2");
    assert_eq!(line["hints"], json!(["http-header", "status-item", "header-meta"]));
}

#[tokio::test]
async fn a_hint_that_the_device_has_no_room_for_stays_out_of_the_body() {
    let reply = answer("1.1", "DM/1.1", "");
    let room = reply.len() + 50;
    let body = reply.clone();
    let upstream = Upstream::start(move |_| Does::Answer(ok(XML, body.as_bytes()))).await;
    let carriers = "[hint]\ncarriers = [\"http-header\", \"status-item\", \"header-meta\"]";
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", carriers)]).await;
    let meta = format!("<Meta><MaxMsgSize xmlns=\"syncml:metinf\">{room}</MaxMsgSize></Meta></SyncHdr>");
    let got = rig.send(post("", message("1.1", "DM/1.1").replace("</SyncHdr>", &meta).as_bytes())).await;
    assert_eq!(got.text(), reply.replace("<Data>212</Data>", "<Data>212</Data><Item><Data>DM/1.2</Data></Item>"));
    assert_eq!(rig.line().await["hints"], json!(["http-header", "status-item"]));
}

#[tokio::test]
async fn a_protected_answer_is_never_edited() {
    let reply = answer("1.1", "DM/1.1", "");
    let body = reply.clone();
    let upstream = Upstream::start(move |_| {
        let raw = String::from_utf8(ok(XML, body.as_bytes())).unwrap();
        Does::Answer(raw.replace("\r\n\r\n", "\r\nx-syncml-hmac: algorithm=MD5, username=\"u\", mac=AAAA\r\n\r\n").into_bytes())
    })
    .await;
    let carriers = "[hint]\ncarriers = [\"status-item\", \"http-header\"]";
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", carriers)]).await;
    let got = rig.send(post("", message("1.1", "DM/1.1").as_bytes())).await;
    assert_eq!(got.text(), reply);
    assert_eq!(rig.line().await["hints"], json!(["http-header"]));
}

#[tokio::test]
async fn a_protected_message_is_refused_rather_than_bridged() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let mac = "x-syncml-hmac: algorithm=MD5, username=\"u\", mac=AAAA\r\n";
    let got = rig.send(post(mac, message("1.2", "DM/1.2").as_bytes())).await;
    assert!(got.text().contains("<Data>513</Data>"), "{}", got.text());
    assert!(upstream.seen().is_empty());
    let line = rig.line().await;
    assert_eq!(verdict(&line), ("refuse", "integrity-protected"));
    assert_eq!(line["integrity"], "hmac");
}

/// The versions by their VerDTD and VerProto.
const VERSIONS: [(&str, &str); 3] = [("1.1", "DM/1.1"), ("1.2", "DM/1.2"), ("1.2", "DM/1.3")];

#[tokio::test]
async fn between_any_two_versions_each_side_sees_only_its_own() {
    for (their_dtd, their_proto) in VERSIONS {
        let upstream = Upstream::start(move |_| {
            let body =
                answer(their_dtd, their_proto, "<Exec><CmdID>2</CmdID><Item><Target><LocURI>./x</LocURI></Target></Item></Exec>");
            let head = format!("{XML}; charset=utf-8; verproto=\"{their_proto}\"; verdtd={their_dtd}");
            let raw = String::from_utf8(ok(&head, body.as_bytes())).unwrap();
            Does::Answer(raw.replacen("\r\n", "\r\nETag: \"x\"\r\nContent-MD5: x\r\n", 1).into_bytes())
        })
        .await;
        let speaks = format!("[{their_proto:?}]");
        let rig = Rig::start("", &[&site(upstream.address, &speaks, "[unsupported]\nthen = \"bridge\"")]).await;
        for (ver_dtd, ver_proto) in VERSIONS.into_iter().filter(|(_, proto)| *proto != their_proto) {
            let sent = message(ver_dtd, ver_proto);
            let head = format!("{XML};verdtd={ver_dtd} ; verproto={ver_proto}");
            let raw = String::from_utf8(post("Digest: x\r\n", sent.as_bytes())).unwrap().replacen(XML, &head, 1);
            let got = rig.send(raw).await;
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), message(their_dtd, their_proto));
            assert_eq!(seen.header("content-type"), Some(&*format!("{XML};verdtd={their_dtd} ; verproto={their_proto}")));
            assert_eq!(seen.header("digest"), None);
            let commands = "<Exec><CmdID>2</CmdID><Item><Target><LocURI>./x</LocURI></Target></Item></Exec>";
            assert_eq!(got.text(), answer(ver_dtd, ver_proto, commands), "{ver_proto} to {their_proto}");
            assert_eq!(
                got.header("content-type"),
                Some(&*format!("{XML}; charset=utf-8; verproto=\"{ver_proto}\"; verdtd={ver_dtd}"))
            );
            assert_eq!((got.header("etag"), got.header("content-md5")), (None, None));
            assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()));
        }
        for line in rig.lines(2).await {
            assert_eq!(verdict(&line), ("bridge", "bridged"));
            assert_eq!(line["used"], their_proto);
            assert!(line["edits"].as_array().unwrap().contains(&json!("VerProto")), "{line}");
        }
    }
}

#[tokio::test]
async fn versions_that_nobody_knows_get_the_error_that_names_the_recommended_one() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "")]).await;
    let cases = [
        ("2.0", "DM/2.0", 513, "unrecognised-version", "1.2", "DM/1.2"),
        ("1.2", "DM/9.9", 513, "unrecognised-version", "1.2", "DM/9.9"),
        ("1.2", "dm/1.2", 513, "unrecognised-version", "1.2", "DM/1.2"),
        ("1.2", " DM/1.2 ", 513, "unrecognised-version", "1.2", "DM/1.2"),
        ("1.2", "", 513, "unrecognised-version", "1.2", "DM/1.2"),
        ("7.0", "DM/1.2", 505, "dtd-mismatch", "1.2", "DM/1.2"),
    ];
    for (ver_dtd, ver_proto, status, reason, said_dtd, said_proto) in cases {
        let head = format!("{XML}; charset=UTF-8");
        let raw = String::from_utf8(post("", message(ver_dtd, ver_proto).as_bytes())).unwrap().replacen(XML, &head, 1);
        let got = rig.send(raw).await;
        let text = got.text();
        assert_eq!((got.status, got.header("content-type")), (200, Some(&*head)), "{ver_proto:?}");
        assert!(text.contains(&format!("<VerDTD>{said_dtd}</VerDTD><VerProto>{said_proto}</VerProto>")), "{ver_proto:?}: {text}");
        assert!(text.contains("<SessionID>0A</SessionID><MsgID>1</MsgID>"), "{text}");
        assert!(text.contains(&format!(
            "<MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><TargetRef>http://dm.example/dm</TargetRef>\
             <SourceRef>IMEI:493005100592800</SourceRef><Data>{status}</Data><Item><Data>DM/1.2</Data></Item><Item><Data>DM/1.1</Data></Item>\
             <Item><Data>Error - unsupported DM protocol version. Recommended version is 1.2</Data></Item></Status><Final/>"
        )));
        assert_eq!(got.header("dm-recommended-version"), Some("DM/1.2"));
        assert_eq!(got.header("dm-supported-versions"), Some("DM/1.2, DM/1.1"));
        assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()));
        let line = rig.lines(1).await.pop().unwrap();
        assert_eq!(verdict(&line), ("refuse", reason), "{ver_proto:?}");
        assert_eq!((line["syncml_status"].clone(), line["requirement"].clone()), (json!(status), json!("Server-3")));
        assert_eq!(line["declared"], ver_proto);
        std::fs::write(rig.log_path(), "").unwrap();
    }
    assert!(upstream.seen().is_empty(), "nothing goes upstream");
}

#[tokio::test]
async fn a_message_without_a_version_is_malformed() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let got = rig.send(post("", message("1.2", "DM/1.2").replace("<VerProto>DM/1.2</VerProto>", "").as_bytes())).await;
    assert_eq!(got.status, 400);
    assert!(got.text().contains("VerProto is missing at byte"), "{}", got.text());
    assert!(upstream.seen().is_empty());
    assert_eq!(verdict(&rig.line().await), ("refuse", "malformed"));
}

#[tokio::test]
async fn dm_2_0_is_told_what_is_spoken_here() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let raw = String::from_utf8(post("", b"{\"CMD\":[]}")).unwrap().replace(XML, "application/vnd.oma.dm.initiation+json");
    let got = rig.send(raw).await;
    assert_eq!(got.status, 415);
    assert_eq!(got.header("accept"), Some("application/vnd.syncml.dm+xml, application/vnd.syncml.dm+wbxml"));
    assert_eq!(got.header("dm-recommended-version"), Some("DM/1.2"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    let error: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(error["recommended"], "DM/1.2");
    assert!(upstream.seen().is_empty());
    assert_eq!(verdict(&rig.line().await), ("refuse", "unrecognised-version"));
}

#[tokio::test]
async fn data_synchronisation_is_never_told_a_dm_version() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let got = rig.send(post("", message("1.1", "SyncML/1.1").as_bytes())).await;
    assert!(got.text().contains("<Data>513</Data>") && !got.text().contains("DM/1"), "{}", got.text());
    assert_eq!(got.header("dm-recommended-version"), None);
    assert_eq!(verdict(&rig.line().await), ("refuse", "unsupported-version"));
}

#[tokio::test]
async fn observing_changes_nothing_and_says_what_would_have_been() {
    let upstream = Upstream::echoing().await;
    let observed = site(upstream.address, "[\"DM/1.1\"]", "mode = \"observe\"\n[unsupported]\nthen = \"bridge\"");
    let rig = Rig::start("", &[&observed]).await;
    for (ver_dtd, ver_proto, expected) in [
        ("1.2", "DM/1.2", ("bridge", "bridged")),
        ("1.2", "DM/9.9", ("refuse", "unrecognised-version")),
        ("1.1", "DM/1.1", ("pass", "recommended")),
    ] {
        let sent = message(ver_dtd, ver_proto);
        let got = rig.send(post("", sent.as_bytes())).await;
        assert_eq!((got.status, got.text()), (200, sent));
        assert_eq!(got.header("dm-recommended-version"), None);
        let line = rig.lines(1).await.pop().unwrap();
        assert_eq!((verdict(&line), str_of(&line, "mode")), (expected, "observe"));
        assert_eq!(line["edits"], Value::Null);
        std::fs::write(rig.log_path(), "").unwrap();
    }
}

const CORRELATOR: &str = "<Exec><CmdID>7</CmdID><Correlator>c</Correlator><Item><Data>x</Data></Item></Exec>";
const GENERIC: &str = "<Alert><CmdID>4</CmdID><Data>1226</Data><Item><Data>done</Data></Item></Alert>";

#[tokio::test]
async fn what_cannot_cross_at_the_beginning_is_refused_and_named() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let got = rig.send(post("", numbered("1.2", "DM/1.2", 1, GENERIC).as_bytes())).await;
    assert!(got.text().contains("<Data>513</Data><Item><Data>DM/1.1</Data></Item>"), "{}", got.text());
    assert!(upstream.seen().is_empty());
    let line = rig.line().await;
    assert_eq!(verdict(&line), ("refuse", "cannot-bridge"));
    assert_eq!((&line["detail"], &line["server"], &line["used"]), (&json!("Alert 1226"), &Value::Null, &Value::Null));
}

#[tokio::test]
async fn what_cannot_cross_later_is_answered_with_a_status_of_its_own() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let got = rig.send(post("", numbered("1.2", "DM/1.2", 3, GENERIC).as_bytes())).await;
    let text = got.text();
    assert!(text.contains("<VerProto>DM/1.2</VerProto>") && text.contains("<MsgID>3</MsgID>"), "{text}");
    assert!(text.contains("<CmdRef>4</CmdRef><Cmd>Alert</Cmd><Data>406</Data>"), "{text}");
    assert!(upstream.seen().is_empty());
    let line = rig.line().await;
    assert_eq!((verdict(&line), line["syncml_status"].clone()), (("refuse", "cannot-bridge"), json!(406)));
}

#[tokio::test]
async fn lossy_drops_what_the_old_version_has_no_word_for() {
    let upstream = Upstream::start(|_| Does::Answer(ok(XML, answer("1.1", "DM/1.1", "").as_bytes()))).await;
    let rule = "[[rule]]\nname = \"lossy\"\nwhen = { version = \"DM/1.2\" }\nthen = { verdict = \"bridge\", to = \"DM/1.1\", lossy = true }";
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", rule)]).await;
    let got = rig.send(post("", numbered("1.2", "DM/1.2", 1, CORRELATOR).as_bytes())).await;
    assert_eq!(got.text(), answer("1.2", "DM/1.2", ""));
    let expected = numbered("1.1", "DM/1.1", 1, &CORRELATOR.replace("<Correlator>c</Correlator>", ""));
    assert_eq!(String::from_utf8(upstream.seen()[0].body.clone()).unwrap(), expected);
    let line = rig.line().await;
    assert_eq!((verdict(&line).0, str_of(&line, "rule")), ("bridge", "lossy"));
    assert!(line["edits"].as_array().unwrap().contains(&json!("dropped:Correlator")), "{line}");
}

/// A server whose first message has no equal in DM 1.1.
async fn correlating() -> Upstream {
    Upstream::start(|seen| {
        let first = String::from_utf8_lossy(&seen.body).contains("<MsgID>1</MsgID>");
        let body = if first { answer("1.2", "DM/1.2", CORRELATOR) } else { answer("1.2", "DM/1.2", "") };
        Does::Answer(ok(XML, body.as_bytes()))
    })
    .await
}

/// What it is told, when the device cannot.
async fn told(upstream: &Upstream) -> Seen {
    for _ in 0..200 {
        if upstream.seen().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    upstream.seen()[1].clone()
}

#[tokio::test]
async fn a_server_is_told_in_the_name_of_the_device_that_its_message_cannot_come() {
    let upstream = correlating().await;
    let urls = [nobody().await, upstream.address].map(|address| format!("\"http://{address}\"")).join(", ");
    let policy = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[unsupported]\nthen = \"bridge\"\n[[server]]\nname = \"upstream\"\n\
         urls = [{urls}]\nhost = \"rewrite\"\nspeaks = [\"DM/1.2\"]\n"
    );
    let rig = Rig::start("", &[&policy]).await;
    let sent = String::from_utf8(post("User-Agent: phone/1\r\n", message("1.1", "DM/1.1").as_bytes())).unwrap();
    let got = rig.send(sent.replace("dm+xml\r\n", "dm+xml;verproto=\"DM/1.1\"\r\n")).await;
    assert_eq!(got.header("content-type"), Some("application/vnd.syncml.dm+xml;verproto=\"DM/1.1\""));
    let line = rig.line().await;
    let told = told(&upstream).await;
    let said = ["host", "user-agent", "via", "protover-decision", "content-type"].map(|name| told.header(name));
    let address = upstream.address.to_string();
    assert_eq!(said, [Some(&*address), Some("phone/1"), Some("1.1 protover"), Some(str_of(&line, "id")), Some(XML)]);
}

#[tokio::test]
async fn a_servers_message_that_cannot_come_is_answered_for_both_sides() {
    let upstream = correlating().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let got = rig.send(post("", message("1.1", "DM/1.1").as_bytes())).await;
    let text = got.text();
    assert!(text.contains("<VerProto>DM/1.1</VerProto>") && text.contains("<Data>502</Data></Status><Final/>"), "{text}");
    let line = rig.line().await;
    assert_eq!((verdict(&line), line["detail"].clone()), (("refuse", "cannot-bridge"), json!("Correlator")));
    let told = String::from_utf8(told(&upstream).await.body).unwrap();
    assert!(told.contains("<VerProto>DM/1.2</VerProto>") && told.contains("<MsgID>2</MsgID>"), "{told}");
    assert!(told.contains("<CmdRef>7</CmdRef><Cmd>Exec</Cmd><Data>406</Data>") && told.contains("<Data>1223</Data>"), "{told}");
    assert!(told.contains("<Source><LocURI>IMEI:493005100592800</LocURI></Source>"), "{told}");
}

#[tokio::test]
async fn a_servers_answer_that_cannot_be_read_does_not_reach_an_old_phone() {
    let upstream = Upstream::start(|_| Does::Answer(ok(XML, b"<SyncML><oops"))).await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    assert_eq!(rig.send(post("", message("1.1", "DM/1.1").as_bytes())).await.status, 502);
    assert_eq!(verdict(&rig.line().await), ("fail", "upstream-malformed"));
}

#[tokio::test]
async fn the_first_server_that_speaks_the_version_gets_the_message() {
    let (new, old) = (Upstream::echoing().await, Upstream::echoing().await);
    let two = site(new.address, "[\"DM/1.2\", \"DM/1.3\"]", "")
        + &format!(
            "\n[[server]]\nname = \"legacy\"\nurl = \"http://{}/base/\"\nhost = \"rewrite\"\nspeaks = [\"DM/1.1\"]\n",
            old.address
        );
    let rig = Rig::start("", &[&two]).await;
    for (ver_dtd, ver_proto) in VERSIONS {
        assert_eq!(rig.send(post("", message(ver_dtd, ver_proto).as_bytes())).await.status, 200);
    }
    assert_eq!((new.seen().len(), old.seen().len()), (2, 1));
    let seen = &old.seen()[0];
    assert!(seen.head.starts_with("POST /base/dm?x=%20y HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("host"), Some(&*old.address.to_string()));
    let mut served: Vec<String> = rig.lines(3).await.iter().map(|line| str_of(line, "server").to_owned()).collect();
    served.sort();
    assert_eq!(served, ["legacy", "upstream", "upstream"]);
}

#[tokio::test]
async fn strict_reads_the_whole_message_and_believes_no_contradiction() {
    let upstream = Upstream::echoing().await;
    let strict = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "strict = true")]).await;
    let lenient = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "")]).await;
    let whole = message("1.2", "DM/1.2");
    for (what, raw, expected) in [
        ("truncated", post("", whole.replace("</SyncML>", "").as_bytes()), ("refuse", "malformed")),
        ("trailing", post("", (whole.clone() + "<SyncML/>").as_bytes()), ("refuse", "malformed")),
        ("VerDTD", post("", message("1.1", "DM/1.2").as_bytes()), ("refuse", "dtd-mismatch")),
        (
            "verproto",
            String::from_utf8(post("", whole.as_bytes()))
                .unwrap()
                .replacen(XML, &format!("{XML}; verproto=DM/1.1"), 1)
                .into_bytes(),
            ("refuse", "media-type-mismatch"),
        ),
    ] {
        strict.send(raw.clone()).await;
        assert_eq!(verdict(&strict.lines(1).await[0]), expected, "{what}");
        std::fs::write(strict.log_path(), "").unwrap();
        assert_eq!(lenient.send(raw).await.status, 200, "{what}");
        assert_eq!(str_of(&lenient.lines(1).await[0], "verdict"), "pass", "{what}");
        std::fs::write(lenient.log_path(), "").unwrap();
    }
}

#[tokio::test]
async fn the_body_says_how_it_is_encoded_whatever_the_content_type_says() {
    use protover::{
        reference::{Document, document::Header},
        syncml::{header::Encoding, version::Version},
    };
    let upstream = Upstream::echoing().await;
    let lenient = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let strict = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "strict = true")]).await;
    let header = Header { session: "1", message: 1, target: "http://dm.example/dm", source: "IMEI:1", ..Header::default() };
    let document = Document::new(Version::DM_1_2, &header, Vec::new());
    for (encoding, said) in [(Encoding::Wbxml, "xml"), (Encoding::Xml, "wbxml")] {
        let body = document.write(encoding);
        let head = format!(
            "POST /dm HTTP/1.1\r\nHost: dm.example\r\nContent-Type: application/vnd.syncml.dm+{said}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let raw = [head.as_bytes(), &body].concat();
        assert_eq!(lenient.send(&raw).await.body, body);
        let line = lenient.lines(1).await.remove(0);
        assert_eq!((verdict(&line), str_of(&line, "encoding")), (("pass", "recommended"), encoding.name()));
        assert_eq!(line["detail"], "Content-Type contradicts the message");
        let got = strict.send(&raw).await;
        let said = got.header("content-type").unwrap();
        assert_eq!(said, format!("application/vnd.syncml.dm+{}", encoding.name()), "the answer says what it is");
        assert!(Document::read(encoding, &got.body).unwrap().commands()[0].text_at(&["Data"]).starts_with(['4', '5']));
        assert_eq!(verdict(&strict.lines(1).await[0]), ("refuse", "media-type-mismatch"));
        std::fs::write(lenient.log_path(), "").unwrap();
        std::fs::write(strict.log_path(), "").unwrap();
    }
}
