//! What tests of the proxy stand on: a proxy with policies from text, its log in a file, servers that do
//! as they are told, and clients that speak raw bytes.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use protover::{
    decisions::Log,
    policy::{self, Source},
    server::Proxy,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Nothing in these tests takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy under test.
pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    pub(crate) log: Log,
    pub(crate) folder: TempDir,
}

impl Rig {
    /// Starts a proxy. `process` is the text of proxy.toml without listener and log, `sites` those of the
    /// sites.
    pub(crate) async fn start(process: &str, sites: &[&str]) -> Self {
        Self::with_listener("", process, sites).await
    }

    /// The same, with more keys for the listener.
    pub(crate) async fn with_listener(listener: &str, process: &str, sites: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policies = policies(&folder.path().join("decisions.log"), listener, process, sites);
        let log = Log::start(&policies.settings.decisions).unwrap();
        let proxy = Proxy::start(policies, log.clone()).await.unwrap();
        Self { proxy, log, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.address("devices").unwrap()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.path().join("decisions.log")
    }

    /// The lines of the log, once there are at least so many. Waits a little longer for one too many.
    pub(crate) async fn lines(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let log = self.log.clone();
            tokio::task::spawn_blocking(move || log.flush()).await.unwrap();
            let text = fs::read_to_string(self.log_path()).unwrap();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() > count || (lines.len() == count && began.elapsed() > Duration::from_millis(30)) {
                assert_eq!(lines.len(), count, "{text}");
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {count} lines:\n{text}", lines.len());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// The only line of the log.
    pub(crate) async fn line(&self) -> Value {
        self.lines(1).await.remove(0)
    }

    /// Sends raw bytes over a connection of their own and reads all that comes back.
    pub(crate) async fn send(&self, raw: impl AsRef<[u8]>) -> Answer {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(raw.as_ref()).await.unwrap();
        Answer::read(&mut stream).await
    }
}

/// Policies with a log in a file.
pub(crate) fn policies(log: &std::path::Path, listener: &str, process: &str, sites: &[&str]) -> policy::site::Policies {
    let proxy = format!(
        "[[listener]]\nname = \"devices\"\nkind = \"dm\"\naddress = \"127.0.0.1:0\"\n{listener}\n[decisions]\nto = {:?}\n{process}",
        log.display().to_string()
    );
    let mut sources = vec![Source { name: "proxy.toml".into(), text: proxy }];
    for (number, site) in sites.iter().enumerate() {
        sources.push(Source { name: format!("site{number}.toml"), text: (*site).into() });
    }
    let compiled = policy::compile(&sources);
    let shown: Vec<String> = compiled.diagnostics.iter().map(ToString::to_string).collect();
    compiled.policies.unwrap_or_else(|| panic!("{}", shown.join("\n")))
}

/// A site for `dm.example` with one server.
pub(crate) fn site(server: SocketAddr, speaks: &str, more: &str) -> String {
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n{}\n[[server]]\nname = \"upstream\"\nurl = \"http://{server}\"\nspeaks = {speaks}\n{}",
        more.lines().take_while(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n"),
        more.lines().skip_while(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n"),
    )
}

/// An HTTP answer, as it came over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer: as long as Content-Length says, or to the end of chunks or connection.
    pub(crate) async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Self {
        tokio::time::timeout(PATIENCE, Self::read_patiently(stream)).await.expect("an answer")
    }

    async fn read_patiently(stream: &mut (impl AsyncReadExt + Unpin)) -> Self {
        let mut raw = Vec::new();
        loop {
            if let Some(answer) = Self::whole(&raw) {
                if answer.status != 100 {
                    return answer;
                }
                let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                raw.drain(..end);
                continue;
            }
            let mut buffer = [0; 16 * 1024];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return Self::parse(&raw),
                Ok(read) => raw.extend_from_slice(&buffer[..read]),
            }
        }
    }

    fn whole(raw: &[u8]) -> Option<Self> {
        raw.windows(4).position(|window| window == b"\r\n\r\n")?;
        let answer = Self::parse(raw);
        if answer.status == 100 || answer.status == 304 || answer.status == 204 {
            return Some(answer);
        }
        match answer.header("content-length") {
            Some(length) => (answer.body.len() >= length.parse().unwrap()).then_some(answer),
            None if answer.header("transfer-encoding").is_some() => answer.body.ends_with(b"0\r\n\r\n").then_some(answer),
            None => None,
        }
    }

    fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Self { status, head, body: raw.get(end + 4..).unwrap_or_default().to_vec() }
    }

    /// The value of a header, whatever its case; of several the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a server does with a connection after it has read a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Sends these bytes, and goes on.
    Answer(Vec<u8>),
    /// Sends these bytes and closes.
    AnswerAndClose(Vec<u8>),
    /// Sends these bytes and then nothing, with the connection open.
    AnswerAndStall(Vec<u8>),
    /// Sends these bytes after a while.
    AnswerAfter(Duration, Vec<u8>),
    /// Closes the connection the hard way.
    Reset,
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A server that does as it is told.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Answers every request by `does`.
    pub(crate) async fn start(does: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), does)
    }

    /// The same, where somebody knows it already.
    pub(crate) fn at(listener: TcpListener, does: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let does: Arc<dyn Fn(&Seen) -> Does + Send + Sync> = Arc::new(does);
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&does), Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    /// Answers every request with the same bytes as a SyncML message.
    pub(crate) async fn echoing() -> Self {
        Self::start(|seen| Does::Answer(ok("application/vnd.syncml.dm+xml", &seen.body))).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Whether an independent program is there. Without it the test is skipped, unless
/// `PROTOVER_REQUIRE_ORACLES` is set.
pub(crate) fn oracle(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder: PathBuf| folder.join(program).is_file()));
    let required = std::env::var_os("PROTOVER_REQUIRE_ORACLES").is_some_and(|value| value == "1");
    assert!(found || !required, "{program} is required and not installed");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn converse(mut stream: TcpStream, does: Arc<dyn Fn(&Seen) -> Does + Send + Sync>, all: Arc<Mutex<Vec<Seen>>>) {
    let mut raw = Vec::new();
    loop {
        let seen = loop {
            if let Some((seen, used)) = request(&raw) {
                raw.drain(..used);
                break seen;
            }
            let mut buffer = [0; 16 * 1024];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => raw.extend_from_slice(&buffer[..read]),
            }
        };
        all.lock().unwrap().push(seen.clone());
        match does(&seen) {
            Does::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Does::AnswerAfter(pause, bytes) => {
                tokio::time::sleep(pause).await;
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Does::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Does::AnswerAndStall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
            Does::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// A whole request at the beginning of `raw`, and how long it is.
fn request(raw: &[u8]) -> Option<(Seen, usize)> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut seen = Seen { head, body: Vec::new() };
    let rest = &raw[end + 4..];
    if seen.header("transfer-encoding").is_some() {
        let chunks = rest.windows(5).position(|window| window == b"0\r\n\r\n")?;
        seen.body = rest[..chunks].to_vec();
        return Some((seen, end + 4 + chunks + 5));
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = rest.get(..length)?.to_vec();
    Some((seen, end + 4 + length))
}

/// An answer with status 200.
pub(crate) fn ok(content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut raw =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    raw.extend_from_slice(body);
    raw
}

/// A request with a SyncML message in XML. `more` are header lines, each with its end.
pub(crate) fn post(more: &str, body: &[u8]) -> Vec<u8> {
    let mut head = String::new();
    let _ = write!(
        head,
        "POST /dm?x=%20y HTTP/1.1\r\nHost: dm.example\r\nContent-Type: application/vnd.syncml.dm+xml\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The first message of a session.
pub(crate) fn message(ver_dtd: &str, ver_proto: &str) -> String {
    numbered(ver_dtd, ver_proto, 1, "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>")
}

/// A message with a body.
pub(crate) fn numbered(ver_dtd: &str, ver_proto: &str, msg_id: u32, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<SyncML xmlns=\"SYNCML:SYNCML{ver_dtd}\"><SyncHdr><VerDTD>{ver_dtd}</VerDTD><VerProto>{ver_proto}</VerProto>\
         <SessionID>0A</SessionID><MsgID>{msg_id}</MsgID><Target><LocURI>http://dm.example/dm</LocURI></Target>\
         <Source><LocURI>IMEI:493005100592800</LocURI></Source></SyncHdr><SyncBody>{body}<Final/></SyncBody></SyncML>"
    )
}

/// A server's answer to the first message: a Status for the SyncHdr, and commands.
pub(crate) fn answer(ver_dtd: &str, ver_proto: &str, commands: &str) -> String {
    let status = "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>212</Data></Status>";
    let (server, device) = ("<LocURI>http://dm.example/dm</LocURI>", "<LocURI>IMEI:493005100592800</LocURI>");
    numbered(ver_dtd, ver_proto, 1, &[status, commands].concat())
        .replace(server, "~")
        .replace(device, server)
        .replace('~', device)
}
