//! Listening sockets that protover is started with.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Output, Stdio},
};

use socket2::{Domain, Socket, Type};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    life::{Served, write},
    rig::{Answer, PATIENCE, Upstream, message, oracle, post, site},
};

/// A command that becomes `protover serve` with one or two sockets as the service manager passes them on:
/// descriptors 3 and 4.
pub(crate) fn with_sockets(folder: &Path, sockets: Vec<OwnedFd>, names: &str) -> Command {
    let script = "export LISTEN_PID=$$; exec \"$0\" serve --policies \"$1\" 3<&0 4>&1 0</dev/null 1>/dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_protover")]).arg(folder);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mut sockets = sockets.into_iter();
    command.stdin(Stdio::from(sockets.next().unwrap()));
    command.stdout(sockets.next().map_or_else(Stdio::null, Stdio::from));
    command
}

/// Policies whose listener is at an address.
pub(crate) fn at(folder: &Path, address: SocketAddr, process: &str, site: &str) {
    write(folder, process, site);
    let text = fs::read_to_string(folder.join("proxy.toml")).unwrap();
    fs::write(folder.join("proxy.toml"), text.replacen("127.0.0.1:0", &address.to_string(), 1)).unwrap();
}

fn listening() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn fails(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

async fn ask(address: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    Answer::read(&mut stream).await.status
}

/// How many sockets listen at an address.
pub(crate) fn sockets(address: SocketAddr) -> usize {
    let port = format!(":{:04X} ", address.port());
    let listens = |line: &&str| line.split_whitespace().nth(3) == Some("0A") && line.contains(&port);
    fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(listens).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inherited_socket_is_served_by_all_workers_and_outlives_the_process() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let (socket, address) = listening();
    at(&folder, address, "[runtime]\nworkers = 3\n", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let mut served = Served::spawn(with_sockets(&folder, vec![socket.try_clone().unwrap().into()], "devices"));
    assert_eq!(served.address, address);
    assert_eq!(sockets(address), 1, "shared, not bound anew");
    for _ in 0..12 {
        assert_eq!(ask(address).await, 200);
    }
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    // Who comes now waits for the next process.
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    let mut next = Served::spawn(with_sockets(&folder, vec![socket.into()], "devices"));
    assert_eq!(Answer::read(&mut waiting).await.status, 200);
    next.signal("TERM");
    assert_eq!(next.ended(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_without_an_inherited_socket_are_bound_and_admin_may_have_one() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let ((first, second), (third, fourth)) = (listening(), listening());
    let admin = format!("[admin]\naddress = \"{fourth}\"\n[[listener]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n");
    at(&folder, second, &admin, &site(upstream.address, "[\"DM/1.1\"]", ""));
    // In another order than in the policy.
    let mut served = Served::spawn(with_sockets(&folder, vec![third.into(), first.into()], ""));
    assert_eq!((served.address, ask(second).await), (second, 200));
    let other: serde_json::Value = serde_json::from_str(&served.says("\"other\"")).unwrap();
    let other: SocketAddr = other["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(ask(other).await, 200);
    let mut operator = TcpStream::connect(fourth).await.unwrap();
    operator.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(Answer::read(&mut operator).await.status, 200);
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_inherited_sockets_at_one_address_each_is_served() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut passed = Vec::new();
    for _ in 0..2 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        passed.push(OwnedFd::from(socket));
    }
    // One worker for both: it takes them in turn.
    at(&folder, address, "[runtime]\nworkers = 1\n", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let mut served = Served::spawn(with_sockets(&folder, passed, "a:b"));
    // The kernel deals these out: that none comes to the second is as good as impossible.
    for _ in 0..40 {
        assert_eq!(ask(address).await, 200);
    }
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_of_it_is_said_and_what_is_for_another_process_left_alone() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let ((socket, address), (stray, nowhere)) = (listening(), listening());
    at(&folder, address, "", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let said = fails(with_sockets(&folder, vec![socket.try_clone().unwrap().into(), stray.into()], "devices:web"));
    let expected = format!("inherited socket 2 (web) is at {nowhere}, where no listener is; there are {address}");
    assert!(said.contains(&expected), "{said}");

    let connected = std::net::TcpStream::connect(address).unwrap();
    for other in [UdpSocket::bind("127.0.0.1:0").unwrap().into(), OwnedFd::from(connected)] {
        let said = fails(with_sockets(&folder, vec![other], ""));
        assert!(said.contains("inherited socket 1 is no TCP socket that listens"), "{said}");
    }

    drop(socket);
    let mut command = Command::new(env!("CARGO_BIN_EXE_protover"));
    command.args(["serve", "--policies"]).arg(&folder).envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]).stdout(Stdio::null());
    let mut served = Served::spawn(command);
    assert_eq!(ask(address).await, 200);
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_socket_activate_starts_it_with_the_first_connection() {
    if !oracle("systemd-socket-activate") {
        return;
    }
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let (socket, address) = listening();
    drop(socket);
    at(&folder, address, "", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &address.to_string(), "--fdname=devices", env!("CARGO_BIN_EXE_protover"), "serve", "--policies"]);
    command.arg(&folder).stdout(Stdio::null());
    let first = tokio::spawn(async move {
        let began = std::time::Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "nobody listens");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ask(address).await
    });
    let mut served = tokio::task::spawn_blocking(|| Served::spawn(command)).await.unwrap();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!((served.address, sockets(address)), (address, 1));
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
}
