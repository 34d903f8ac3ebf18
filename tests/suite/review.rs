//! What reviews found on the wire, each in one place.

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::rig::{Answer, Does, Rig, Upstream, answer, message, numbered, ok, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";
const BRIDGE: &str = "[unsupported]\nthen = \"bridge\"\n";

#[tokio::test]
async fn a_device_gets_its_own_ver_dtd_back_even_when_it_is_odd() {
    let upstream = Upstream::start(|_| Does::Answer(ok(XML, answer("1.2", "DM/1.2", "").as_bytes()))).await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", BRIDGE)]).await;
    let odd = message("1.1", "DM/1.1").replace("<VerDTD>1.1<", "<VerDTD>1.2<");
    let got = rig.send(post("", odd.as_bytes())).await.text();
    assert!(got.contains("<VerDTD>1.2</VerDTD><VerProto>DM/1.1</VerProto>"), "{got}");
    assert!(got.contains("SYNCML:SYNCML1.1"), "{got}");
}

#[tokio::test]
async fn a_bridged_answer_is_bridged_back_under_whatever_label_and_no_message_passes() {
    let message_answer = answer("1.2", "DM/1.2", "");
    for (does, status, expected, reason) in [
        (Does::Answer(ok("text/xml", message_answer.as_bytes())), 200, "<VerProto>DM/1.1</VerProto>", "bridged"),
        (Does::Answer(ok("text/plain", b"no message")), 200, "no message", "bridged"),
        (Does::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops".to_vec()), 500, "Oops", "bridged"),
        (Does::Answer(ok(XML, b"no message")), 502, "upstream-malformed", "upstream-malformed"),
        (
            Does::Answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec()),
            502,
            "",
            "upstream-broke",
        ),
    ] {
        let case = format!("{does:?}").chars().take(60).collect::<String>();
        let upstream = Upstream::start(move |_| does.clone()).await;
        let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", BRIDGE)]).await;
        let got = rig.send(post("", message("1.1", "DM/1.1").as_bytes())).await;
        assert_eq!(got.status, status, "{case} {}", got.text());
        assert!(got.text().contains(expected), "{case}: {}", got.text());
        let line = rig.line().await;
        assert_eq!(line["reason"], reason, "{case}");
        assert!(line["edits"].as_array().is_some_and(|edits| !edits.is_empty()), "what was sent was edited: {line}");
    }
}

#[tokio::test]
async fn a_refused_head_is_answered_and_has_one_line() {
    let rig = Rig::start("", &[&site(crate::rig::nobody().await, "[\"DM/1.2\"]", "")]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"HEAD / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 421") && head.contains("content-length: ") && !head.contains("content-length: 0"),
            "{head}"
        );
    }
    for line in rig.lines(2).await {
        assert_eq!((&line["verdict"], &line["reason"], &line["http_status"]), (&"refuse".into(), &"no-site".into(), &421.into()));
    }
}

#[tokio::test]
async fn what_a_careless_server_reads_as_ours_does_not_reach_it() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let headers =
        "Client_Cert: :MII=:\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded_Proto: https\r\nVia: 1.0 evil\r\nX_Other: kept\r\n";
    rig.send(post(headers, message("1.2", "DM/1.2").as_bytes())).await;
    let seen = upstream.seen().remove(0);
    for name in ["client_cert", "x_forwarded_for", "x-forwarded_proto"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!((seen.header("via"), seen.header("x_other")), (Some("1.1 protover"), Some("kept")));
}

#[tokio::test]
async fn a_type_that_is_said_twice_or_oddly_is_no_way_round_the_policy() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let unknown = String::from_utf8(post("", message("1.2", "DM/9.9").as_bytes())).unwrap();
    let twice = unknown.replace("Content-Type:", "Content-Type: text/plain\r\nContent-Type:");
    assert_eq!(rig.send(&twice).await.status, 400);
    let put = rig.send(unknown.replacen("POST", "PUT", 1)).await;
    assert!(put.text().contains("513"), "{}", put.text());
    let odd = unknown.as_bytes().to_vec();
    let at = odd.windows(7).position(|window| window == b"dm+xml\r").unwrap() + 6;
    let odd = [&odd[..at], b"; x=\xFF", &odd[at..]].concat();
    assert!(rig.send(odd).await.text().contains("513"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_in_a_running_session_has_its_number() {
    let rig = Rig::start("", &[&site(crate::rig::nobody().await, "[\"DM/1.2\"]", "")]).await;
    for (number, expected) in [(1, "<MsgID>1</MsgID>"), (5, "<MsgID>5</MsgID>")] {
        let later = numbered("1.2", "DM/9.9", number, "<Alert><CmdID>1</CmdID><Data>1222</Data></Alert>");
        let got: Answer = rig.send(post("", later.as_bytes())).await;
        assert!(got.text().contains(expected) && got.text().contains("513"), "{}", got.text());
    }
    let lines: Vec<Value> = rig.lines(2).await;
    assert!(lines.iter().all(|line| line["syncml_status"] == 513));
}
