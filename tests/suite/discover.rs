//! Servers of which nobody knows what they speak: asked safely, at the first message of a session, in the
//! device's stead.

use std::net::{Ipv4Addr, SocketAddr};

use protover::{
    reference::{Device, Outcome, Refusal, Server, Settings, Strictness},
    syncml::{header::Encoding, version::Version},
};
use serde_json::Value;

use crate::rig::{self, Does, Rig, Upstream, numbered, ok, post};

const XML: &str = "application/vnd.syncml.dm+xml";

fn site(server: SocketAddr, keys: &str) -> String {
    format!("[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"old\"\nurl = \"http://{server}\"\n{keys}\n")
}

async fn server(versions: &[Version], refusal: Refusal) -> Server {
    let settings = Settings { versions: versions.to_vec(), refusal, ..Settings::default() };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

async fn run(rig: &Rig, version: Version, encoding: Encoding, session: &str) -> Outcome {
    let mut device = Device::new("IMEI:493005100592800", version);
    device.encoding = encoding;
    device.strictness = Strictness::Motorola;
    device.session = session.to_owned();
    device.run(&"http://dm.example/dm".parse().unwrap(), Some(rig.address())).await
}

#[tokio::test]
async fn a_server_that_refuses_in_any_way_is_found_out_in_one_step_and_remembered() {
    let on = "speaks = \"discover\"\nstep_down_on = [\"http-400\", \"http-500\"]";
    for refusal in [Refusal::Status, Refusal::Dtd, Refusal::Http400, Refusal::Http500] {
        for encoding in [Encoding::Xml, Encoding::Wbxml] {
            let old = server(&[Version::DM_1_1], refusal).await;
            let rig = Rig::start("", &[&site(old.address(), on)]).await;
            let case = format!("{refusal:?} {encoding:?}");
            let first = run(&rig, Version::DM_1_2, encoding, "1").await;
            assert!(first.is_complete(), "{case}: {first:?}");
            assert_eq!(first.carried_out.len(), 5, "{case}");
            assert!(first.exchanges.iter().all(|exchange| exchange.version.as_deref() == Some("DM/1.2")), "{case}");
            let second = run(&rig, Version::DM_1_2, encoding, "2").await;
            assert!(second.is_complete(), "{case}: {second:?}");
            // Nobody but the first message was ever in another version than the server's.
            let versions: Vec<String> = old.saw().into_iter().map(|saw| saw.version).collect();
            assert_eq!(versions.iter().filter(|version| *version != "DM/1.1").count(), 1, "{case}: {versions:?}");
            let lines = rig.lines(first.exchanges.len() + second.exchanges.len()).await;
            let (one, two) = lines.split_at(first.exchanges.len());
            assert_eq!((&one[0]["verdict"], &one[0]["reason"]), (&"bridge".into(), &"stepped-down".into()), "{case}");
            assert_eq!((&one[0]["attempts"], &one[0]["used"]), (&2.into(), &"DM/1.1".into()), "{case}");
            assert_eq!(one[0]["detail"], "the server refused DM/1.2", "{case}");
            assert_eq!((&two[0]["attempts"], &two[0]["reason"]), (&1.into(), &"bridged".into()), "{case}");
            for line in one[1..].iter().chain(&two[1..]) {
                assert_eq!((&line["verdict"], &line["reason"]), (&"bridge".into(), &"session-pinned".into()), "{case}: {line}");
                assert_eq!((&line["attempts"], &line["store"]), (&1.into(), &"memory".into()), "{case}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_newer_than_the_device_is_found_too() {
    let new = server(&[Version::DM_1_3], Refusal::Http400).await;
    let rig = Rig::start("", &[&site(new.address(), "speaks = \"discover\"\nstep_down_on = [\"http-400\"]")]).await;
    let outcome = run(&rig, Version::DM_1_1, Encoding::Xml, "1").await;
    assert!(outcome.is_complete(), "{outcome:?}");
    let line = rig.lines(outcome.exchanges.len()).await.remove(0);
    assert_eq!((&line["attempts"], &line["used"]), (&3.into(), &"DM/1.3".into()));
}

#[tokio::test]
async fn a_list_that_is_wrong_is_put_right_by_step_down() {
    let old = server(&[Version::DM_1_1], Refusal::Status).await;
    let rig = Rig::start("", &[&site(old.address(), "speaks = [\"DM/1.2\"]\nstep_down = true")]).await;
    for session in ["1", "2"] {
        let outcome = run(&rig, Version::DM_1_2, Encoding::Xml, session).await;
        assert!(outcome.is_complete(), "{outcome:?}");
    }
    let lines = rig.lines(old.saw().len() - 1).await;
    let firsts: Vec<&Value> = lines.iter().filter(|line| line["message"] == "1").collect();
    assert_eq!((&firsts[0]["attempts"], &firsts[0]["reason"]), (&2.into(), &"stepped-down".into()));
    assert_eq!((&firsts[1]["attempts"], &firsts[1]["reason"]), (&1.into(), &"bridged".into()));
    // What the server takes is what devices are told of from then on.
    assert_eq!((&firsts[1]["recommended"], &firsts[1]["supported"]), (&"DM/1.1".into(), &serde_json::json!(["DM/1.1"])));
}

#[tokio::test]
async fn a_server_that_takes_no_version_leaves_the_error_that_devices_understand() {
    for refusal in [Refusal::Status, Refusal::Http500] {
        // It names DM/1.4, which nobody knows, or nothing at all.
        let strange = server(&[Version::parse("DM/1.4").unwrap()], refusal).await;
        let on = "speaks = \"discover\"\nstep_down_on = [\"http-500\"]";
        let rig = Rig::start("", &[&site(strange.address(), on)]).await;
        for session in 1..=2 {
            let outcome = run(&rig, Version::DM_1_2, Encoding::Xml, &session.to_string()).await;
            let refused = outcome.refused.unwrap();
            assert_eq!(refused.status, "513", "{refusal:?}");
            let named = refused.items.iter().any(|item| item == "DM/1.4");
            assert_eq!(named, refusal == Refusal::Status, "what the server named: {:?}", refused.items);
        }
        for line in rig.lines(2).await {
            assert_eq!((&line["verdict"], &line["reason"]), (&"refuse".into(), &"unsupported-version".into()), "{line}");
            assert_eq!(line["requirement"], "Server-3");
            // Nothing is learnt of a server that took nothing: it may be ill.
            assert_eq!(line["attempts"], 3, "{line}");
        }
    }
}

#[tokio::test]
async fn what_was_learnt_is_unlearnt_when_the_server_has_changed() {
    let settings = std::sync::Arc::new(std::sync::Mutex::new("DM/1.1"));
    let speaks = settings.clone();
    let upstream = Upstream::start(move |seen| {
        let speaks = *speaks.lock().unwrap();
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let declared = body.split("<VerProto>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let code = if declared == speaks { "200" } else { "513" };
        let dtd = &speaks[3..];
        let status =
            format!("<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>{code}</Data></Status>");
        Does::Answer(ok(XML, numbered(dtd, speaks, 1, &status).as_bytes()))
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "speaks = \"discover\"")]).await;
    let first = |version: &str| post("", rig::message(&version[3..], version).as_bytes());
    let mut expected = Vec::new();
    for (server, device, attempts, used) in [
        ("DM/1.1", "DM/1.2", 2, "DM/1.1"),
        ("DM/1.1", "DM/1.2", 1, "DM/1.1"),
        // It was upgraded: the version it took is refused, and the one that it refused is asked again.
        ("DM/1.2", "DM/1.2", 2, "DM/1.2"),
        ("DM/1.2", "DM/1.2", 1, "DM/1.2"),
        ("DM/1.2", "DM/1.1", 1, "DM/1.2"),
    ] {
        *settings.lock().unwrap() = server;
        let answer = rig.send(first(device)).await;
        assert_eq!(answer.status, 200);
        expected.push((attempts, used.to_owned()));
    }
    let lines = rig.lines(expected.len()).await;
    let said = |line: &Value| (line["attempts"].as_u64().unwrap(), line["used"].as_str().unwrap_or("-").to_owned());
    assert_eq!(lines.iter().map(said).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_server_that_may_have_acted_is_not_asked_again() {
    let commands = |code: &str| {
        format!(
            "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>513</Data></Status>\
             <Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>1</CmdRef><Cmd>Alert</Cmd><Data>{code}</Data></Status>"
        )
    };
    let acted = numbered("1.2", "DM/1.2", 1, &commands("200"));
    let working = numbered("1.2", "DM/1.2", 1, &(commands("513") + "<Get><CmdID>3</CmdID></Get>"));
    let on = "speaks = \"discover\"\nstep_down_on = [\"http-400\", \"http-500\", \"no-syncml\"]";
    let gzip = [&b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\n"[..], b"abc"];
    let cases: [(Does, u64, u16); 9] = [
        (Does::Answer(ok(XML, acted.as_bytes())), 1, 200),
        (Does::Answer(ok(XML, working.as_bytes())), 1, 200),
        (Does::Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()), 1, 503),
        (Does::Answer(b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n".to_vec()), 1, 401),
        (Does::Reset, 1, 502),
        // Whatever it says that it is: it was acted on, or nobody can know.
        (Does::Answer(ok("text/xml", acted.as_bytes())), 1, 200),
        (Does::Answer(gzip.concat()), 1, 200),
        // Senseless answers are as good as a refusal, where the policy says so.
        (Does::Answer(ok("text/html", b"<html>Hello</html>")), 3, 200),
        (Does::Answer(ok("application/soap+xml", b"<fault/>")), 3, 200),
    ];
    for (does, attempts, status) in cases {
        let case = format!("{does:?}");
        let upstream = Upstream::start(move |_| does.clone()).await;
        let rig = Rig::start("", &[&site(upstream.address, on)]).await;
        let answer = rig.send(post("", rig::message("1.2", "DM/1.2").as_bytes())).await;
        assert_eq!(answer.status, status, "{case}");
        let line = rig.line().await;
        assert_eq!(line["attempts"], attempts, "{case}: {line}");
        // A later message is never tried, whatever the answer.
        if attempts > 1 {
            let later = numbered("1.2", "DM/1.2", 2, "<Status><CmdID>1</CmdID></Status>");
            let answer = rig.send(post("", later.as_bytes())).await;
            assert_eq!(answer.status, 503, "nothing is known of how it began");
            let line = rig.lines(2).await.remove(1);
            assert_eq!((&line["attempts"], &line["reason"]), (&Value::Null, &"session-lost".into()), "{case}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_ill_for_a_moment_is_not_taken_for_an_old_one() {
    let ill = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_ill = ill.clone();
    let upstream = Upstream::start(move |_| {
        if is_ill.load(std::sync::atomic::Ordering::Relaxed) {
            return Does::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
        }
        Does::Answer(ok(XML, rig::answer("1.2", "DM/1.2", "").as_bytes()))
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "speaks = \"discover\"\nstep_down_on = [\"http-500\"]")]).await;
    let first = || post("", rig::message("1.2", "DM/1.2").as_bytes());
    assert_eq!(rig.send(first()).await.status, 200);
    ill.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(rig.send(first()).await.status, 500, "it took this version before");
    ill.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(rig.send(first()).await.status, 200);
    for line in rig.lines(3).await {
        assert_eq!((&line["attempts"], &line["used"]), (&1.into(), &"DM/1.2".into()), "{line}");
    }
}

#[tokio::test]
async fn a_rule_and_observe_mode_keep_servers_from_being_tried() {
    let old = server(&[Version::DM_1_1], Refusal::Status).await;
    let rule = "speaks = \"discover\"\n[[rule]]\nname = \"r\"\nwhen = { user_agent = \"*\" }\nthen = { verdict = \"pass\" }";
    for site in
        [site(old.address(), rule), site(old.address(), "speaks = \"discover\"").replace("hosts", "mode = \"observe\"\nhosts")]
    {
        let rig = Rig::start("", &[&site]).await;
        rig.send(post("User-Agent: x\r\n", rig::message("1.2", "DM/1.2").as_bytes())).await;
        let line = rig.line().await;
        assert_eq!((&line["attempts"], &line["verdict"]), (&1.into(), &"pass".into()), "{line}");
    }
}
