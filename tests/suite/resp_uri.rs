//! RespURI: wherever a server wants the next message, the device stays inside protover, and the server
//! gets it where it wanted it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use protover::{
    reference::{Device, Outcome, Server, Settings, Strictness},
    server::tls,
    syncml::{header::Encoding, version::Version},
};

use crate::{
    rig::{Does, Rig, Upstream, message, numbered, ok, post},
    tls::{certificates, listener},
};

async fn server(resp_uri: &str) -> Server {
    // Its own address is not known before it listens.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::rig::nobody().await.port()));
    let settings = Settings {
        versions: vec![Version::DM_1_1],
        resp_uri: Some(resp_uri.replace("{own}", &address.to_string())),
        ..Settings::default()
    };
    Server::start(address, settings).await.unwrap()
}

fn site(server: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "[site]\nname = \"s\"\nhosts = [\"localhost\"]\npath = \"/dm\"\n[unsupported]\nthen = \"bridge\"\n\
         [[server]]\nname = \"dm11\"\nurl = \"http://{server}{path}\"\nspeaks = [\"DM/1.1\"]\n{more}\n"
    )
}

/// One session of a device that repeats the RespURI as its Target, as Android does.
async fn run(rig: &Rig, certs: Option<&Path>, version: Version, encoding: Encoding) -> Outcome {
    let mut device = Device::new("IMEI:493005100592800", version);
    if let Some(certs) = certs {
        device = device.with_roots(tls::roots(&certs.join("ca.pem")).unwrap());
    }
    device.encoding = encoding;
    device.strictness = Strictness::Motorola;
    device.echoes_resp_uri = true;
    let scheme = if certs.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}/dm/start?a=1", rig.address().port()).parse().unwrap();
    device.run(&url, Some(rig.address())).await
}

#[tokio::test]
async fn the_session_stays_inside_the_proxy_and_the_server_gets_its_own_address() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    // The URL's path, the RespURI, and what the server is asked for and told as its Target afterwards; `-`
    // where nothing has to be rewritten: then the device uses what it was given.
    let cases = [
        (
            "",
            "http://{own}/session/{session}?Sct=a%2Fb&x=1;y",
            "/session/0A?Sct=a%2Fb&x=1;y",
            "http://{own}/session/0A?Sct=a%2Fb&x=1;y",
        ),
        ("", "http://{own}/dm/next?{session}", "/dm/next?0A", "http://{own}/dm/next?0A"),
        ("/servlet", "http://{own}/servlet/x?s={session}", "/servlet/x?s=0A", "http://{own}/servlet/x?s=0A"),
        ("/servlet", "http://{own}/another/x?s={session}", "/another/x?s=0A", "http://{own}/another/x?s=0A"),
        // By the host that the device used, which the server sees; over TLS it believes that there is none.
        ("", "http://{host}/dm/session/{session}", "/dm/session/0A", "http://{host}/dm/session/0A"),
        ("", "http://{host}/session/{session}", "/session/0A", "http://{host}/session/0A"),
        // Relative ones: to what the server was asked for.
        ("", "next?s={session}", "/dm/next?s=0A", "-"),
        ("", "?s={session}", "/dm/start?s=0A", "-"),
        ("", "/elsewhere/{session}", "/elsewhere/0A", "http://{host}/elsewhere/0A"),
        ("/servlet", "/servlet/x?s={session}", "/servlet/x?s=0A", "http://{host}/servlet/x?s=0A"),
    ];
    for (path, given, asked, target) in cases {
        for tls in [false, true] {
            for (version, encoding) in [(Version::DM_1_1, Encoding::Xml), (Version::DM_1_2, Encoding::Wbxml)] {
                let case = format!("{given} behind {path:?}, TLS {tls}, {version}");
                let old = server(&given.replace("{session}", "0A")).await;
                let keys = if tls { listener(&certs, "off") } else { String::new() };
                let rig = Rig::with_listener(&keys, "", &[&site(old.address(), path, "")]).await;
                let outcome = run(&rig, tls.then_some(&certs), version, encoding).await;
                assert!(outcome.is_complete(), "{case}: {outcome:?}");
                assert_eq!(outcome.carried_out.len(), 5, "{case}");
                let saw = old.saw();
                assert_eq!(saw.len(), outcome.exchanges.len(), "{case}: no message went round protover");
                assert_eq!(rig.lines(saw.len()).await.len(), saw.len(), "{case}");
                let host = format!("localhost:{}", rig.address().port());
                let own = old.address().to_string();
                let scheme = if tls { "https" } else { "http" };
                let (asked, target) = (asked.to_owned(), target.replace("{own}", &own).replace("{host}", &host));
                assert_eq!(saw[0].path, format!("{path}/dm/start?a=1"), "{case}");
                for saw in &saw[1..] {
                    assert_eq!(saw.path, asked, "{case}");
                    if target == "-" {
                        continue;
                    }
                    let stays = given.starts_with("http://{host}/dm/") && !tls;
                    let expected = if stays { target.replace("http:", &format!("{scheme}:")) } else { target.clone() };
                    assert_eq!(saw.target, expected, "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_resp_uri_is_kept_where_the_policy_says_so_and_where_it_leads_elsewhere() {
    for (given, more, stays) in [
        ("http://{own}/x", "", false),
        ("http://{own}/x", "resp_uri = \"keep\"", true),
        ("http://elsewhere.example/x", "", true),
        ("not an address", "", true),
    ] {
        let upstream = Upstream::start(move |seen| {
            let host = seen.header("host").unwrap_or_default().to_owned();
            let own = given.replace("{own}", &host);
            let body = numbered("1.2", "DM/1.2", 1, "<Status><CmdID>1</CmdID></Status>")
                .replace("</Source>", &format!("</Source><RespURI>{own}</RespURI>"));
            Does::Answer(ok("application/vnd.syncml.dm+xml", body.as_bytes()))
        })
        .await;
        let site = format!(
            "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"a & b\"\nurl = \"http://{}\"\nhost = \"rewrite\"\nspeaks = [\"DM/1.2\"]\n{more}\n",
            upstream.address
        );
        let rig = Rig::start("", &[&site]).await;
        let answer = rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await;
        let own = given.replace("{own}", &upstream.address.to_string());
        let line = rig.line().await;
        assert_eq!(answer.text().contains(&format!("<RespURI>{own}</RespURI>")), stays, "{given}: {}", answer.text());
        let edits = if stays { serde_json::Value::Null } else { serde_json::json!(["RespURI"]) };
        assert_eq!((&line["edits"], &line["verdict"]), (&edits, &"pass".into()), "{given}");
        assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string());
    }
}

#[tokio::test]
async fn behind_a_terminator_of_tls_the_device_says_how_it_came() {
    let upstream = Upstream::start(|seen| {
        let own = seen.header("host").unwrap_or_default().to_owned();
        let body = numbered("1.2", "DM/1.2", 1, "<Status><CmdID>1</CmdID></Status>")
            .replace("</Source>", &format!("</Source><RespURI>http://{own}/x</RespURI>"));
        Does::Answer(ok("application/vnd.syncml.dm+xml", body.as_bytes()))
    })
    .await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"a\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.2\"]\n",
        upstream.address
    );
    let rig = Rig::start("", &[&site]).await;
    for (target, expected) in [
        ("https://dm.example/dm", "<RespURI>https://dm.example/~~a/x</RespURI>"),
        ("http://dm.example/dm", "<RespURI>http://dm.example/x</RespURI>"),
        ("dm-server", "<RespURI>http://dm.example/x</RespURI>"),
    ] {
        let message = message("1.2", "DM/1.2").replace("http://dm.example/dm", target);
        let answer = rig.send(post("", message.as_bytes())).await;
        assert!(answer.text().contains(expected), "{target}: {}", answer.text());
    }
    // The next message is for the server's own address, as the device repeats it and as the server gave it.
    let later = numbered("1.2", "DM/1.2", 2, "<Status><CmdID>1</CmdID></Status>");
    let later = post("", later.replace("http://dm.example/dm", "https://dm.example/~~a/x").as_bytes());
    rig.send(String::from_utf8(later).unwrap().replace("/dm?x=%20y", "/~~a/x")).await;
    let seen = upstream.seen().pop().unwrap();
    assert!(seen.head.starts_with("POST /x "), "{}", seen.head);
    assert!(String::from_utf8(seen.body).unwrap().contains("<LocURI>http://dm.example/x</LocURI>"));
}

#[tokio::test]
async fn a_protected_answer_is_not_edited_and_the_record_says_what_follows() {
    let upstream = Upstream::start(|_| {
        let body = numbered("1.2", "DM/1.2", 1, "<Status><CmdID>1</CmdID></Status>")
            .replace("</Source>", "</Source><RespURI>http://10.1.2.3/x</RespURI>");
        let mut answer = String::from_utf8(ok("application/vnd.syncml.dm+xml", body.as_bytes())).unwrap();
        answer = answer.replacen("\r\n", "\r\nx-syncml-hmac: algorithm=MD5, username=\"a\", mac=b\r\n", 1);
        Does::Answer(answer.into_bytes())
    })
    .await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"a\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.2\"]\n\
         [[server]]\nname = \"b\"\nurl = \"http://10.1.2.3\"\nspeaks = [\"DM/1.1\"]\n",
        upstream.address
    );
    let rig = Rig::start("", &[&site]).await;
    let answer = rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await;
    assert!(answer.text().contains("<RespURI>http://10.1.2.3/x</RespURI>"));
    assert_eq!(rig.line().await["detail"], "RespURI leads past protover: integrity-protected");
}

#[tokio::test]
async fn a_servers_name_in_a_path_opens_nothing_that_the_policy_does_not() {
    let upstream = Upstream::echoing().await;
    let other = Upstream::echoing().await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\npath = \"/dm\"\n[[server]]\nname = \"a\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.2\"]\n\
         [[server]]\nname = \"b\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.1\"]\n[[server]]\nname = \"c\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.3\"]\nresp_uri = \"keep\"\n",
        upstream.address, other.address, other.address
    );
    let rig = Rig::start("", &[&site]).await;
    let first = String::from_utf8(post("", message("1.2", "DM/1.2").as_bytes())).unwrap();
    for (path, asked) in [
        ("/dm/~a/manager", "/dm/manager"),
        ("/dm/~a", "/dm"),
        ("/dm/~b/x?y", "/dm/x?y"),
        ("/dm/~c/x", "/dm/~c/x"),
        ("/dm/~none/x", "/dm/~none/x"),
    ] {
        assert_eq!(rig.send(first.replace("/dm?x=%20y", path)).await.status, 200, "{path}");
        let seen = upstream.seen().pop().unwrap();
        assert!(seen.head.starts_with(&format!("POST {asked} ")), "{path}: {}", seen.head);
    }
    // What is no message is not translated at all; and nothing climbs out of the path.
    rig.send("GET /dm/~a/manager HTTP/1.1\r\nHost: dm.example\r\n\r\n").await;
    assert!(upstream.seen().pop().unwrap().head.starts_with("GET /dm/~a/manager "));
    assert_eq!(rig.send(first.replace("/dm?x=%20y", "/dm/~a/../../manager")).await.status, 400);
    assert!(other.seen().is_empty(), "a first message goes where the policy sends it");
}

#[tokio::test]
async fn a_token_that_nobody_knows_is_a_lost_session() {
    let upstream = Upstream::echoing().await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"a\"\nurl = \"http://{}/servlet\"\nspeaks = [\"DM/1.2\"]\n",
        upstream.address
    );
    let rig = Rig::start("", &[&site]).await;
    let request = post("", numbered("1.2", "DM/1.2", 2, "<Status><CmdID>1</CmdID></Status>").as_bytes());
    let request = String::from_utf8(request).unwrap().replace("/dm?x=%20y", "/~a/~0123456789abcdef");
    let answer = rig.send(request).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(rig.line().await["reason"], "session-lost");
    assert!(upstream.seen().is_empty());
}
