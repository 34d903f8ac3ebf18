use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use std::{
    panic,
    pin::Pin,
    task::{Context, Poll},
};

use super::*;
use crate::{
    decisions::Log,
    policy::{self, Source},
    proxy::{Earlier, Live},
    server::pulse::Noticed,
    store,
};

/// A handler that panics: at once, or after it has waited.
#[derive(Clone)]
struct Panics {
    later: bool,
}

impl Service<Arrival> for Panics {
    type Response = Box<Ruled>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Box<Ruled>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        assert!(self.later, "a handler that panics at once, {:?}", arrival.request.method());
        Box::pin(async move {
            let arrival = arrival;
            tokio::task::yield_now().await;
            panic!("a handler that panics later, {arrival:?}");
        })
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_with_one_line_and_the_connection_goes_on() {
    const N: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let proxy =
        format!("[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n[decisions]\nto = {:?}", path.display().to_string());
    let site =
        "[site]\nname = \"s\"\nhosts = [\"*\"]\n[[server]]\nname = \"u\"\nurl = \"http://127.0.0.1:1\"\nspeaks = [\"DM/1.2\"]";
    let sources = [("proxy.toml", &*proxy), ("s.toml", site)].map(|(name, text)| Source { name: name.into(), text: text.into() });
    let policies = policy::compile(&sources).policies.unwrap();
    let log = Log::start(&policies.settings.decisions).unwrap();
    let store = store::open(&policies.settings.store).unwrap();
    let live = ArcSwap::from_pointee(Live::new(policies, None).unwrap());
    let shared = Arc::new(Shared {
        live,
        earlier: Earlier::default(),
        store,
        log: log.clone(),
        requests: Arc::new(tokio::sync::Semaphore::new(8)),
        draining: false.into(),
        expiries: ArcSwap::default(),
    });
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for later in [false, true] {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let (alive, _over) = tokio::sync::mpsc::channel(1);
        let connection = Connection {
            listener: "d".into(),
            peer: ([127, 0, 0, 1], 1).into(),
            tls: false,
            server_name: None,
            push: false,
            certificate: None,
            forwards: false,
            said: std::sync::OnceLock::new(),
            alive,
        };
        let pulse = Arc::new(Pulse::new(true, Arc::default()));
        let stack = Record {
            inner: Panics { later },
            shared: Arc::clone(&shared),
            connection: connection.into(),
            pulse: Arc::clone(&pulse),
        };
        let serving =
            http1::Builder::new().serve_connection(TokioIo::new(Noticed::new(server, pulse)), TowerToHyperService::new(stack));
        let serving = tokio::spawn(serving);
        for _ in 0..N {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 4096];
            let read = client.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("protover-decision: "), "{answer}");
        }
        drop(client);
        serving.await.unwrap().unwrap();
    }
    panic::set_hook(quiet);
    log.flush();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 2 * N, "{text}");
    for line in text.lines() {
        assert!(line.contains("\"verdict\":\"fail\",\"reason\":\"panic\"") && line.contains("\"http_status\":500"), "{line}");
    }
}

impl crate::server::pulse::Socket for tokio::io::DuplexStream {
    fn poll_arrived(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn discard(&self) {}
}
