//! Whole exchanges in one process: the proxy on the thread that calls, a client and a server on threads of
//! their own, so that what is counted or timed here is the proxy's.

#![allow(clippy::unwrap_used, reason = "a benchmark ends there as a test does")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use protover::{
    decisions::Log,
    policy::{self, Source},
    server::Proxy,
};
use tokio::runtime::{Builder, Runtime};

/// What happens to a message, the version that it declares, and the host whose site does that.
pub(super) const KINDS: [(&str, &str, &str); 4] = [
    ("pass", "DM/1.2", "pass.example"),
    ("advise", "DM/1.2", "advise.example"),
    ("bridge", "DM/1.2", "bridge.example"),
    ("refuse", "DM/9.9", "advise.example"),
];

/// A proxy that serves, and a server behind it.
pub(super) struct Exchange {
    runtime: Runtime,
    address: SocketAddr,
    _proxy: Proxy,
    _folder: tempfile::TempDir,
}

impl Exchange {
    /// Starts both.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (server("1.2"), server("1.1"));
        let site = |name: &str, recommend: &str, speaks: &str, then: &str, upstream: SocketAddr| {
            format!(
                "[site]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nrecommend = \"{recommend}\"\n[unsupported]\nthen = \"{then}\"\n\
                 [[server]]\nname = \"dm\"\nurl = \"http://{upstream}\"\nspeaks = {speaks}\n\
                 [hint]\ncarriers = [\"http-header\", \"status-item\"]\n"
            )
        };
        let log = folder.path().join("decisions.jsonl");
        let proxy = format!(
            "[[listener]]\nname = \"devices\"\naddress = \"127.0.0.1:0\"\n[decisions]\nto = {log:?}\n",
            log = log.display().to_string()
        );
        let sources = [
            ("proxy.toml", proxy),
            ("pass.toml", site("pass", "DM/1.2", "[\"DM/1.2\"]", "refuse", new)),
            ("advise.toml", site("advise", "DM/1.3", "[\"DM/1.2\", \"DM/1.3\"]", "refuse", new)),
            ("bridge.toml", site("bridge", "DM/1.1", "[\"DM/1.1\"]", "bridge", old)),
        ];
        let compiled = policy::compile(&sources.map(|(name, text)| Source { name: name.into(), text }));
        let policies = compiled.policies.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
        let log = Log::start(&policies.settings.decisions).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let proxy = runtime.block_on(Proxy::start(policies, log)).unwrap();
        let address = proxy.addresses().next().unwrap().1;
        Self { runtime, address, _proxy: proxy, _folder: folder }
    }

    /// A client that sends a message of this kind so many times over one connection, and reads the answers.
    /// Returns when it has the last one.
    pub(super) fn run(&self, (kind, version, host): (&'static str, &str, &str), count: u64) {
        let body = message("1.2", version, "device");
        let request = format!(
            "POST /dm HTTP/1.1\r\nHost: {host}\r\nUser-Agent: device/1\r\nContent-Type: application/vnd.syncml.dm+xml\r\n\
             Accept: */*\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address;
        let (done, over) = tokio::sync::oneshot::channel();
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut answers = BufReader::new(stream.try_clone().unwrap());
            for _ in 0..count {
                stream.write_all(request.as_bytes()).unwrap();
                let (head, body) = receive(&mut answers).unwrap();
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let body = String::from_utf8(body).unwrap();
                let expected = match kind {
                    "advise" => "<Item><Data>DM/1.3</Data></Item>",
                    "refuse" => "<Data>513</Data>",
                    _ => "<VerProto>DM/1.2</VerProto>",
                };
                assert!(body.contains(expected), "{kind}: {body}");
            }
            let _ = done.send(());
        });
        let _ = self.runtime.block_on(over);
        client.join().unwrap();
    }
}

/// A server that answers every message in its version.
fn server(dtd: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = message(dtd, &format!("DM/{dtd}"), "server");
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncml.dm+xml\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut requests = BufReader::new(stream.try_clone().unwrap());
                while receive(&mut requests).is_some() {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

/// Head and body of the next message of HTTP; `None` at the end.
fn receive(from: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// A message of some 2 KB: the first one of a session, as a device sends it, or the answer to that.
fn message(dtd: &str, version: &str, from: &str) -> String {
    let metinf = "xmlns=\"syncml:metinf\"";
    let (device, server) = ("IMEI:490154203237518", "https://dm.example/dm");
    let (target, source) = if from == "device" { (server, device) } else { (device, server) };
    let name = if from == "device" && dtd == "1.2" { "<LocName>device</LocName>" } else { "" };
    let commands: String = if from == "device" {
        (2..8)
            .map(|id| {
                format!(
                    "<Replace><CmdID>{id}</CmdID><Item><Source><LocURI>./DevInfo/Node{id}</LocURI></Source><Meta><Format {metinf}>chr\
                     </Format><Type {metinf}>text/plain</Type></Meta><Data>value {id}</Data></Item></Replace>"
                )
            })
            .collect()
    } else {
        let status = |id: u32, command: u32, name: &str, data: u32| {
            format!(
                "<Status><CmdID>{id}</CmdID><MsgRef>1</MsgRef><CmdRef>{command}</CmdRef><Cmd>{name}</Cmd><TargetRef>{server}\
                 </TargetRef><SourceRef>{device}</SourceRef><Data>{data}</Data></Status>"
            )
        };
        status(1, 0, "SyncHdr", 212) + &(2..8).map(|id| status(id, id, "Replace", 200)).collect::<String>()
    };
    let alert = if from == "device" { "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>" } else { "" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SyncML xmlns=\"SYNCML:SYNCML{dtd}\"><SyncHdr><VerDTD>{dtd}</VerDTD>\
         <VerProto>{version}</VerProto><SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>{target}</LocURI></Target><Source>\
         <LocURI>{source}</LocURI>{name}</Source><Meta><MaxMsgSize {metinf}>16384</MaxMsgSize></Meta></SyncHdr><SyncBody>{alert}\
         {commands}<Final/></SyncBody></SyncML>"
    )
}
