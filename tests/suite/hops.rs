//! What belongs to one connection stays on it, in both directions; and what does not, cannot be made to.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::rig::{Answer, Does, Rig, Upstream, message, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";

/// Headers of one connection, by themselves and by what the `Connection` lines say, in every case.
const OF_ONE_CONNECTION: &str = "cOnNeCtIoN: close, X-One ,,x-TWO\r\nConnection:\tX-Three\r\nConnection: X-Four, \u{e9}, X-Five\r\n\
    X-One: 1\r\nX-Two: 2\r\nx-two: 2\r\nx-three: 3\r\nX-FOUR: 4\r\nX-Five: 5\r\nKeep-Alive: timeout=5\r\nPROXY-connection: keep-alive\r\n\
    TE: trailers\r\nTrailer: X-End\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nProxy-Authenticate: Basic\r\n\
    Proxy-Authorization: Basic x\r\nProxy-Authentication-Info: x\r\n";

const GONE: [&str; 15] = [
    "x-one",
    "x-two",
    "x-three",
    "x-four",
    "x-five",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];

#[tokio::test]
async fn neither_server_nor_device_sees_the_headers_of_the_other_connection() {
    for kind in [XML, "text/plain"] {
        let upstream = Upstream::start(move |seen| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{OF_ONE_CONNECTION}X-End: kept\r\nETag: x\r\n\r\n",
                seen.body.len()
            );
            Does::Answer([head.as_bytes(), &seen.body].concat())
        })
        .await;
        let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        let body = message("1.2", "DM/1.2");
        let raw = String::from_utf8(post(&format!("{OF_ONE_CONNECTION}X-End: kept\r\n"), body.as_bytes())).unwrap();
        let got = rig.send(raw.replace(XML, kind)).await;
        assert_eq!((got.status, got.text(), got.header("x-end")), (200, body, Some("kept")), "{kind}");
        let seen = &upstream.seen()[0];
        assert_eq!((seen.header("x-end"), seen.header("connection")), (Some("kept"), None));
        for gone in GONE {
            assert_eq!((seen.header(gone), got.header(gone)), (None, None), "{gone}");
        }
        // Its own connection it may well close, as it was asked.
        assert_eq!(got.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn connection_cannot_take_away_what_a_message_is() {
    let upstream = Upstream::start(|seen| {
        let head = "HTTP/1.1 200 OK\r\nConnection: Content-Type, Content-Length, X-Syncml-Hmac, DM-Recommended-Version\r\n";
        let rest = format!("X-Syncml-Hmac: algorithm=MD5\r\nContent-Type: {XML}\r\nContent-Length: {}\r\n\r\n", seen.body.len());
        Does::Answer([head.as_bytes(), rest.as_bytes(), &seen.body].concat())
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "")]).await;
    let body = message("1.1", "DM/1.1");
    let named = "Connection: Host, Content-Type, Content-Length, Content-Encoding, X-Syncml-Hmac, MS-Signature, Forwarded, X-Forwarded-For, \
        Via, Protover-Decision\r\nContent-Encoding: identity\r\nX-Syncml-Hmac: algorithm=MD5, username=\"u\", mac=x\r\nMS-Signature: y\r\n";
    let got = rig.send(post(named, body.as_bytes())).await;
    assert_eq!((got.status, got.text()), (200, body.clone()));
    let seen = &upstream.seen()[0];
    assert_eq!(seen.body, body.as_bytes());
    for (name, value) in [
        ("host", "dm.example"),
        ("content-type", XML),
        ("content-encoding", "identity"),
        ("x-syncml-hmac", "algorithm=MD5, username=\"u\", mac=x"),
        ("ms-signature", "y"),
        ("x-forwarded-for", "127.0.0.1"),
        ("via", "1.1 protover"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert!(seen.header("forwarded").is_some() && seen.header("protover-decision").is_some());
    assert_eq!((got.header("content-type"), got.header("x-syncml-hmac")), (Some(XML), Some("algorithm=MD5")));
    assert_eq!(got.header("dm-recommended-version"), Some("DM/1.2"));
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_cannot_unsay_what_that_says_of_it() {
    let upstream = Upstream::echoing().await;
    let trusting = "trusted_proxies = [\"127.0.0.1\"]\n";
    let rig = Rig::with_listener(trusting, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    // As a careless proxy passes it on.
    let passed = "Connection: close, X-Forwarded-For, Forwarded, Client-Cert\r\nX-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n\
        Client-Cert: :Zm9v:\r\n";
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(&post(passed, message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
    assert!(seen.header("forwarded").unwrap().starts_with("for=192.0.2.7, for=127.0.0.1"));
    assert_eq!(seen.header("client-cert"), Some(":Zm9v:"));
}
