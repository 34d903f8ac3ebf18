//! The connections to a server: how many there are, which of them is used, and when they close.

use std::{
    net::{Shutdown, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{Request, header};
use http_body_util::BodyExt;
use protover::{policy::site::Server, proxy::body::Sent, server::Workers, upstream::Upstream};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::{
    rig::{Answer, PATIENCE, Rig, message, ok, policies, post, site},
    upstream::{at, passes},
};

/// A server that tells its connections apart.
struct Counting {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// The connection that each request came by, by the order in which they were made.
    by: Vec<usize>,
    /// The connection that was made last.
    last: Option<socket2::Socket>,
    made: usize,
    /// For how long each that was closed had been quiet, in the order of their ends.
    quiet: Vec<Duration>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counting {
    /// Answers the n-th request that it sees after `pause(n)`.
    async fn start(pause: fn(usize) -> Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = all.lock().unwrap().made;
                all.lock().unwrap().made += 1;
                all.lock().unwrap().last = Some(SockRef::from(&stream).try_clone().unwrap());
                tokio::spawn(Self::serve(stream, number, pause, Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    async fn serve(mut stream: TcpStream, number: usize, pause: fn(usize) -> Duration, all: Arc<Mutex<Seen>>) {
        let (mut raw, mut last) = (Vec::new(), Instant::now());
        while stream.read_buf(&mut raw).await.is_ok_and(|read| read > 0) {
            if raw.ends_with(b"</SyncML>") || raw.ends_with(b"\r\n\r\n") && raw.starts_with(b"GET") {
                raw.clear();
                let served = {
                    let mut all = all.lock().unwrap();
                    all.by.push(number);
                    all.by.len() - 1
                };
                tokio::time::sleep(pause(served)).await;
                stream.write_all(&ok("text/plain", b"fine")).await.unwrap();
                last = Instant::now();
            }
        }
        all.lock().unwrap().quiet.push(last.elapsed());
    }

    /// Closes the connection that was made last, if there is one, here and now.
    fn close(&self) {
        if let Some(last) = self.seen.lock().unwrap().last.take() {
            last.shutdown(Shutdown::Both).unwrap();
        }
    }

    fn by(&self) -> Vec<usize> {
        self.seen.lock().unwrap().by.clone()
    }

    fn made(&self) -> usize {
        self.seen.lock().unwrap().made
    }

    /// How long each connection was quiet before it was closed, once so many were.
    async fn closed(&self, count: usize) -> Vec<Duration> {
        let began = Instant::now();
        loop {
            let quiet = self.seen.lock().unwrap().quiet.clone();
            if quiet.len() >= count {
                return quiet;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {count} were closed", quiet.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn crowd(rig: &Rig, count: usize) {
    let sent: Vec<_> = (0..count).map(|_| passes(rig)).collect();
    for answer in futures_util::future::join_all(sent).await {
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn there_are_no_more_connections_than_were_needed_at_a_time_and_what_is_not_used_closes_by_itself() {
    let server = Counting::start(|_| Duration::from_millis(200)).await;
    let rig = Rig::start("", &[&at(&[server.address], "idle_timeout = \"700ms\"")]).await;
    crowd(&rig, 40).await;
    assert_eq!(server.made(), 40);
    crowd(&rig, 40).await;
    assert_eq!(server.made(), 40, "the same ones");
    let quiet = server.closed(40).await;
    assert!(quiet.iter().all(|quiet| *quiet > Duration::from_millis(650)), "{quiet:?}");
    assert!(quiet.iter().all(|quiet| *quiet < Duration::from_millis(1400)), "{quiet:?}");
    crowd(&rig, 1).await;
    assert_eq!(server.made(), 41);
    server.closed(41).await;
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    // Of the first three requests the second is answered last.
    let server = Counting::start(|served| Duration::from_millis(*[150, 450, 300].get(served).unwrap_or(&0))).await;
    let rig = Rig::start("", &[&at(&[server.address], "idle_timeout = \"1s\"")]).await;
    crowd(&rig, 3).await;
    let last = server.by()[1];
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        crowd(&rig, 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.by()[3..].iter().all(|by| *by == last), "{:?}", server.by());
    // So the others have a rest, and an end.
    assert_eq!(server.closed(2).await.len(), 2);
    assert_eq!(server.made(), 3);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_just_before_a_request_is_replaced_unseen() {
    let server = Counting::start(|_| Duration::ZERO).await;
    let rig = Rig::start("", &[&at(&[server.address], "")]).await;
    let mut device = TcpStream::connect(rig.address()).await.unwrap();
    let message = post("", message("1.2", "DM/1.2").as_bytes());
    for number in 0..50 {
        // Nobody is about to look any more for another reason, such as the end of the last answer: between an
        // end and the next look a request that is written is lost, and nobody could know.
        tokio::time::sleep(Duration::from_millis(2)).await;
        // The end, and in every other round the request too, is there before the proxy has a chance to look.
        server.close();
        if number % 2 == 0 {
            tokio::task::yield_now().await;
        }
        device.write_all(&message).await.unwrap();
        assert_eq!(Answer::read(&mut device).await.status, 200);
    }
    assert_eq!((server.made(), server.by().len()), (50, 50), "each message once, by a connection of its own");
    assert!(rig.lines(50).await.iter().all(|line| line["attempts"] == 1));
}

#[tokio::test]
async fn an_answer_that_is_given_up_halfway_closes_its_connection_and_harms_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start("", &[&site(listener.local_addr().unwrap(), "[\"DM/1.2\"]", "")]).await;
    let get = "GET /file HTTP/1.1\r\nHost: dm.example\r\n\r\n";
    let mut device = TcpStream::connect(rig.address()).await.unwrap();
    device.write_all(get.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nbegin").await.unwrap();
    let mut begun = [0; 16];
    device.read_exact(&mut begun).await.unwrap();
    device.set_zero_linger().unwrap();
    drop(device);
    let gone = async { while server.write_all(&[b'x'; 4096]).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is closed to the server too");

    let other = async {
        let (mut server, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
            server.write_all(&ok("text/plain", b"whole")).await.unwrap();
        }
        server
    };
    let asked = async { [rig.send(get).await.text(), rig.send(get).await.text()] };
    let (_server, answers) = tokio::join!(other, asked);
    assert_eq!(answers, ["whole", "whole"]);
}

#[tokio::test]
async fn a_connection_whose_request_is_still_being_sent_is_not_used_for_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start("", &[&site(listener.local_addr().unwrap(), "[\"DM/1.2\"]", "")]).await;
    let mut device = TcpStream::connect(rig.address()).await.unwrap();
    device.write_all(b"PUT /file HTTP/1.1\r\nHost: dm.example\r\nContent-Length: 10\r\n\r\nhalf.").await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    assert!(first.read(&mut [0; 4096]).await.unwrap() > 0);
    first.write_all(&ok("text/plain", b"early")).await.unwrap();
    assert_eq!(Answer::read(&mut device).await.text(), "early");

    let get = "GET /file HTTP/1.1\r\nHost: dm.example\r\n\r\n";
    let serve = async |server: &mut TcpStream| {
        assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
        server.write_all(&ok("text/plain", b"fine")).await.unwrap();
    };
    let second = async {
        let (mut server, _) = listener.accept().await.unwrap();
        serve(&mut server).await;
    };
    let ((), answer) = tokio::join!(second, rig.send(get));
    assert_eq!(answer.text(), "fine");

    // When the rest has been sent, it is free. The other one is closed by its server.
    device.write_all(b"rest.").await.unwrap();
    let mut rest = [0; 5];
    first.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"rest.");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ((), answer) = tokio::join!(serve(&mut first), rig.send(get));
    assert_eq!(answer.text(), "fine");
}

#[tokio::test]
async fn a_request_takes_a_connection_that_comes_free_before_a_new_one_is_made() {
    // One connection is accepted, and then no more: the backlog is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let rig = Rig::start("", &[&at(&[address], "connect_timeout = \"10s\"")]).await;
    let both = async {
        let first = passes(&rig);
        let second = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            passes(&rig).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.status, second.status), (200, 200));
    };
    let server = async {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut held = Vec::new();
        while let Ok(connected) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            held.push(connected.unwrap());
        }
        for pause in [1000, 0] {
            let mut raw = Vec::new();
            while !raw.ends_with(b"</SyncML>") {
                assert!(server.read_buf(&mut raw).await.unwrap() > 0);
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            server.write_all(&ok("text/plain", b"fine")).await.unwrap();
        }
        (server, held)
    };
    let began = Instant::now();
    tokio::join!(both, server);
    assert!(began.elapsed() < Duration::from_secs(5), "it did not wait for the new one: {:?}", began.elapsed());
}

#[tokio::test]
async fn connections_of_a_policy_that_was_replaced_close_when_no_session_needs_it() {
    let server = Counting::start(|_| Duration::ZERO).await;
    let (process, other) = ("[session]\nidle = \"100ms\"", Counting::start(|_| Duration::ZERO).await);
    let rig = Rig::start(process, &[&at(&[server.address], "")]).await;
    crowd(&rig, 1).await;
    let replaced = policies(&rig.log_path(), "", process, &[&at(&[other.address], "")]);
    rig.proxy.reload(replaced).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The first request after that lets go of it.
    crowd(&rig, 1).await;
    server.closed(1).await;
    assert_eq!((server.made(), other.made()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_the_server_closes_while_nobody_uses_it_is_let_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start("", &[&at(&[listener.local_addr().unwrap()], "idle_timeout = \"50s\"")]).await;
    // More than a task may do at a time.
    const COUNT: usize = 200;
    let servers = async {
        let mut servers = Vec::new();
        while servers.len() < COUNT {
            servers.push(listener.accept().await.unwrap().0);
        }
        for server in &mut servers {
            assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
            server.write_all(&ok("text/plain", b"fine")).await.unwrap();
        }
        servers
    };
    let (mut servers, ()) = tokio::join!(servers, crowd(&rig, COUNT));
    for server in &mut servers {
        // Only its half of it.
        server.shutdown().await.unwrap();
    }
    let gone = async {
        for server in &mut servers {
            assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("they are closed, without another request");
}

#[tokio::test]
async fn a_request_goes_on_without_its_device_and_its_connection_serves_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start("", &[&at(&[listener.local_addr().unwrap()], "")]).await;
    let sent = post("", message("1.2", "DM/1.2").as_bytes());
    let mut device = TcpStream::connect(rig.address()).await.unwrap();
    device.write_all(&sent).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
    device.set_zero_linger().unwrap();
    drop(device);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = ok("application/vnd.syncml.dm+xml", crate::rig::answer("1.2", "DM/1.2", "").as_bytes());
    let (head, rest) = answer.split_at(answer.len() / 2);
    server.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.write_all(rest).await.unwrap();
    assert_eq!(rig.line().await["reason"], "client-gone");

    let next = async {
        assert!(server.read(&mut [0; 4096]).await.unwrap() > 0, "over the same one");
        server.write_all(&ok("text/plain", b"fine")).await.unwrap();
    };
    let ((), answer) = tokio::join!(next, rig.send(&sent));
    assert_eq!(answer.text(), "fine");
}

#[tokio::test]
async fn many_small_parts_that_come_at_once_all_arrive() {
    const PARTS: usize = 5000;
    let parts = "1\r\nx\r\n".repeat(PARTS) + "0\r\n\r\n";
    let chunked = |first: &str, media_type: &str| {
        format!("{first}\r\nHost: dm.example\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n{parts}")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start("", &[&at(&[listener.local_addr().unwrap()], "")]).await;
    let (text, syncml) = ("text/plain", "application/vnd.syncml.dm+xml");
    let answers = [text, syncml].map(|media_type| chunked("HTTP/1.1 200 OK", media_type));
    let server = tokio::spawn(async move {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        for (end, answer) in ["0\r\n\r\n", "</SyncML>"].into_iter().zip(answers) {
            let mut raw = Vec::new();
            while !raw.ends_with(end.as_bytes()) {
                assert!(server.read_buf(&mut raw).await.unwrap() > 0);
            }
            seen.push(String::from_utf8(raw).unwrap().matches("\r\nx\r\n").count());
            server.write_all(answer.as_bytes()).await.unwrap();
        }
        seen
    });
    let send = async |raw: Vec<u8>| tokio::time::timeout(PATIENCE, rig.send(raw)).await.expect("an answer");
    // Both ways as they come.
    let answer = send(chunked("PUT /file HTTP/1.1", text).into()).await;
    assert_eq!((answer.status, answer.text().matches("\r\nx\r\n").count()), (200, PARTS));
    // The answer is read, and then has a length.
    let answer = send(post("", message("1.2", "DM/1.2").as_bytes())).await;
    assert_eq!((answer.status, answer.body.len()), (200, PARTS));
    assert_eq!(server.await.unwrap(), [PARTS, 0]);
    // So is a message, or what should be one.
    assert_eq!(send(chunked("POST /dm HTTP/1.1", syncml).into()).await.status, 400);
    assert_eq!(rig.lines(3).await.last().unwrap()["bytes_in"], PARTS);
}

#[test]
fn workers_keep_to_their_own_connections_and_share_them_before_they_make_new_ones() {
    let workers = Workers::start(NonZeroUsize::new(3)).unwrap();
    let others = workers.others();
    workers.first().block_on(async {
        let server = Counting::start(|served| Duration::from_millis(if served < 2 { 300 } else { 0 })).await;
        let known = Server::gateway(&"s".into(), format!("http://{}/", server.address).parse().unwrap());
        let upstream = Upstream::new(&Arc::new(known)).unwrap();
        let ask = || {
            let to = upstream.choose(None, &[]).unwrap();
            async move {
                let mut request = Request::new(Sent::whole("".into()));
                request.headers_mut().insert(header::HOST, "dm.example".parse().unwrap());
                let answer = to.send(request.into(), tokio::time::Instant::now() + PATIENCE).await.unwrap();
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "fine");
            }
        };
        let (first, second) = (others[0].spawn(ask()), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            others[1].spawn(ask()).await.unwrap();
        });
        tokio::join!(async { first.await.unwrap() }, second);
        for worker in [0, 1, 1, 0, 1] {
            others[worker].spawn(ask()).await.unwrap();
        }
        assert_eq!(server.by(), [0, 1, 0, 1, 1, 0, 1], "each its own, also when another one was used later");
        ask().await;
        assert_eq!(server.made(), 2, "one that has none takes that of another");
        // Nobody has to know of them any more.
        drop(upstream);
        server.closed(2).await;
    });
    workers.end();
}
