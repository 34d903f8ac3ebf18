//! More connections than there are file descriptors.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    life::{Served, write},
    rig::{Answer, Upstream, message, post, site},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_says_so_and_waits_and_serves_again_when_there_are_some() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    write(&folder, "[limits]\nheader_timeout = \"2m\"\n[runtime]\nworkers = 2\n", &site(upstream.address, "[\"DM/1.2\"]", ""));
    let served = Served::limited(&folder, "-n 64");
    assert!(served.began.contains("open files"), "it says at once that there are too few: {}", served.began);
    let served_by = async |stream: &mut TcpStream| {
        stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
        Answer::read(stream).await.status
    };
    let mut first = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(served_by(&mut first).await, 200);

    let mut held = Vec::new();
    for _ in 0..120 {
        held.push(TcpStream::connect(served.address).await.unwrap());
    }
    let said = served.says("cannot accept connections");
    assert!(said.contains("Too many open files"), "{said}");
    let before = served.processor();
    let again = served.times("cannot accept connections", Duration::from_secs(4));
    assert!(again <= 1, "once by each worker, and then not for a while: {again}");
    let used = served.processor() - before;
    assert!(used < Duration::from_millis(400), "it waits, and does not spin: {used:?} of 4 s");
    // Who is there already is served, on the connection to the server that is there too.
    assert_eq!(served_by(&mut first).await, 200);

    drop(held);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        assert_eq!(served_by(&mut stream).await, 200);
    }
    assert_eq!(upstream.seen().len(), 22);
}
