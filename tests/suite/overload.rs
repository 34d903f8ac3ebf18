//! More than can be served, or than is fair: turned away with one line each, and nobody else is harmed.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::rig::{Answer, Does, Rig, Upstream, answer, message, ok, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";

fn of_device(imei: &str) -> Vec<u8> {
    post("Connection: close\r\n", message("1.2", "DM/1.2").replace("IMEI:493005100592800", imei).as_bytes())
}

#[tokio::test]
async fn more_requests_than_the_ceiling_are_told_so_until_there_is_room() {
    let bytes = answer("1.2", "DM/1.2", "").into_bytes();
    let upstream = Upstream::start(move |_| Does::AnswerAfter(Duration::from_millis(300), ok(XML, &bytes))).await;
    let rig = Rig::start("[limits]\nrequests = 2", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.write_all(&of_device("IMEI:1")).await.unwrap();
        busy.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let shed = rig.send(of_device("IMEI:2")).await;
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("30")));
    for stream in &mut busy {
        assert_eq!(Answer::read(stream).await.status, 200);
    }
    rig.lines(3).await;
    assert_eq!(rig.send(of_device("IMEI:2")).await.status, 200, "there is room again");
    let lines = rig.lines(4).await;
    let shed: Vec<_> = lines.iter().filter(|line| line["reason"] == "overloaded").collect();
    assert_eq!((shed.len(), &shed[0]["verdict"], &shed[0]["http_status"]), (1, &"fail".into(), &503.into()));
    assert_eq!(upstream.seen().len(), 3, "what is shed costs the server nothing");
}

#[tokio::test]
async fn a_device_that_comes_too_often_harms_nobody_else() {
    let bytes = answer("1.2", "DM/1.2", "").into_bytes();
    let upstream = Upstream::start(move |_| Does::Answer(ok(XML, &bytes))).await;
    let limits = "[limits]\nper_device = { per_second = 1, burst = 3 }";
    let rig = Rig::start(limits, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(rig.send(of_device("IMEI:1")).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    let other = rig.send(of_device("IMEI:2")).await;
    assert_eq!(other.status, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = rig.send(of_device("IMEI:1")).await;
    assert_eq!(again.status, 200, "a second later it may come again");
    let lines = rig.lines(8).await;
    let limited: Vec<_> = lines.iter().filter(|line| line["reason"] == "rate-limited").collect();
    assert_eq!((limited.len(), &limited[0]["verdict"], &limited[0]["device"]), (3, &"refuse".into(), &"IMEI:1".into()));
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn an_address_that_comes_too_often_is_told_when_to_come_again() {
    let upstream = Upstream::echoing().await;
    let limits = "[limits]\nper_address = { per_second = 2 }";
    let rig = Rig::start(limits, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut last = Answer::default();
    for _ in 0..3 {
        last = rig.send(of_device("IMEI:1")).await;
    }
    assert_eq!((last.status, last.header("retry-after")), (429, Some("1")));
    // Behind another address there is somebody else.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.77:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(rig.address()).await.unwrap();
    other.write_all(&of_device("IMEI:1")).await.unwrap();
    assert_eq!(Answer::read(&mut other).await.status, 200);
    rig.lines(4).await;
}

#[tokio::test]
async fn however_many_requests_wait_for_their_server_more_begin() {
    const DEVICES: usize = 300;
    const THINKS: Duration = Duration::from_secs(3);
    let bytes = answer("1.2", "DM/1.2", "").into_bytes();
    let upstream = Upstream::start(move |_| Does::AnswerAfter(THINKS, ok(XML, &bytes))).await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let began = std::time::Instant::now();
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.write_all(&of_device(&format!("IMEI:{number}"))).await.unwrap();
        devices.push(stream);
    }
    for stream in &mut devices {
        assert_eq!(Answer::read(stream).await.status, 200);
    }
    assert!(began.elapsed() < 2 * THINKS, "some had to wait for others: {:?}", began.elapsed());
    rig.lines(DEVICES).await;
}
