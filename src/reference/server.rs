//! The server: a DM server with a range of versions and a list of commands.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    auth::{Auth, NONCE, challenge, handed},
    client::{HMAC, media_type},
    document::{Document, Header, Node},
    settings::{Refusal, Saw, Settings},
};
use crate::syncml::{
    header::Encoding,
    version::{Declared, Family, Version, VersionTable},
};

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    saw: Mutex<Vec<Saw>>,
    sessions: Mutex<BTreeMap<String, Session>>,
    nonces: Mutex<BTreeMap<String, Nonces>>,
}

/// What was handed out for a device's MACs, and by it for the server's.
#[derive(Clone, Debug)]
struct Nonces {
    device: Vec<u8>,
    server: Vec<u8>,
    count: u32,
}

/// A session of a device.
#[derive(Clone, Debug, Default)]
struct Session {
    /// How many messages of the script were sent.
    sent: usize,
    authenticated: bool,
    results: Vec<(String, String)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Starts a server at an address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn start(address: SocketAddr, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { settings, saw: Mutex::default(), sessions: Mutex::default(), nonces: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every message that it got.
    #[must_use]
    pub fn saw(&self) -> Vec<Saw> {
        lock(&self.state.saw).clone()
    }

    /// Every version that it got a message in, each once.
    #[must_use]
    pub fn versions_seen(&self) -> Vec<String> {
        let mut versions: Vec<String> = self.saw().into_iter().map(|saw| saw.version).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// What devices told it, as `(uri, value)`.
    #[must_use]
    pub fn results(&self) -> Vec<(String, String)> {
        lock(&self.state.sessions).values().flat_map(|session| session.results.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Nonces {
    fn new() -> Self {
        Self { device: NONCE.to_vec(), server: NONCE.to_vec(), count: 0 }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(raw) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return plain(StatusCode::BAD_REQUEST, "");
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default();
        let encoding = [Encoding::Xml, Encoding::Wbxml]
            .into_iter()
            .find(|encoding| Family::ALL.into_iter().any(|family| media_type(family, *encoding) == essence));
        let document = encoding.and_then(|encoding| Document::read(encoding, &raw).ok());
        let version = document.as_ref().map(|document| document.field(&["VerProto"]).to_owned()).unwrap_or_default();
        let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let target = document.as_ref().map(|document| document.field(&["Target", "LocURI"]).to_owned()).unwrap_or_default();
        lock(&self.saw).push(Saw { version, encoding, path, target, raw: raw.clone() });
        match (document, encoding) {
            (_, Some(encoding)) if !self.settings.encodings.contains(&encoding) => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, ""),
            (Some(document), Some(encoding)) => {
                let host = head.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let hmac = head.headers.get(HMAC).and_then(|value| value.to_str().ok());
                let response = self.message(&document, encoding, host, hmac.map(|hmac| (hmac, &raw)));
                self.sealed(&document, response).await
            }
            _ => plain(StatusCode::BAD_REQUEST, "not a message"),
        }
    }

    /// A MAC over an answer, when this server makes them.
    async fn sealed(&self, document: &Document, response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        let Some(own) = &self.settings.own else { return response };
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut nonces = lock(&self.nonces);
        let nonces = nonces.entry(document.field(&["Source", "LocURI"]).to_owned()).or_insert_with(Nonces::new);
        if let Some(nonce) = handed(document.commands()) {
            nonces.server = nonce;
        }
        if let Ok(value) = header::HeaderValue::try_from(own.hmac(&nonces.server, &body)) {
            head.headers.insert(HMAC, value);
        }
        Response::from_parts(head, Full::from(body))
    }

    fn message(
        &self,
        document: &Document,
        encoding: Encoding,
        host: &str,
        hmac: Option<(&str, &Bytes)>,
    ) -> Response<Full<Bytes>> {
        let table = VersionTable::default();
        let declared = table.recognise(document.field(&["VerProto"]));
        let known = declared.known().filter(|version| self.settings.versions.contains(version));
        let dtd = known.and_then(|version| table.get(version)).map(|forms| forms.dtd.to_string());
        let (version, status) = match (known, dtd) {
            (None, _) => return self.refuse(document, encoding, &declared, "513"),
            (Some(version), Some(dtd)) if self.settings.strict && document.field(&["VerDTD"]) != dtd => {
                let _ = version;
                return self.refuse(document, encoding, &declared, "505");
            }
            (Some(version), _) => self.admit(version, document, hmac),
        };
        let mut commands = statuses(document, status.0, status.1);
        let session = document.field(&["SessionID"]).to_owned();
        if matches!(status.0, "200" | "212") && version.family() == Family::Dm {
            commands.extend(self.next(document, &session, commands.len()));
        }
        let resp_uri = self.settings.resp_uri.as_ref();
        let resp_uri = resp_uri.map(|template| template.replace("{host}", host).replace("{session}", &session));
        reply(version, document, encoding, resp_uri.as_deref(), commands)
    }

    /// The status of SyncHdr, with a challenge when the device has to say who it is.
    fn admit(
        &self,
        version: Version,
        document: &Document,
        hmac: Option<(&str, &Bytes)>,
    ) -> (Version, (&'static str, Option<Node>)) {
        let Some((auth, credentials)) = &self.settings.credentials else { return (version, ("200", None)) };
        if *auth == Auth::Mac {
            let mut nonces = lock(&self.nonces);
            let nonces = nonces.entry(document.field(&["Source", "LocURI"]).to_owned()).or_insert_with(Nonces::new);
            let code = match hmac {
                Some((hmac, raw)) if hmac == credentials.hmac(&nonces.device, raw) => "200",
                Some(_) => "401",
                None => "407",
            };
            // A new nonce with every message.
            nonces.count += 1;
            nonces.device = format!("for the device {}", nonces.count).into_bytes();
            return (version, (code, Some(challenge(*auth, &nonces.device))));
        }
        let key = document.field(&["SessionID"]).to_owned();
        let mut sessions = lock(&self.sessions);
        let session = sessions.entry(key).or_default();
        let status = match document.header().and_then(|header| header.child("Cred")) {
            _ if session.authenticated => ("200", None),
            Some(cred) if cred.text_at(&["Data"]) == credentials.data(*auth, NONCE) => {
                session.authenticated = true;
                ("212", None)
            }
            Some(_) => ("401", Some(challenge(*auth, NONCE))),
            None => ("407", Some(challenge(*auth, NONCE))),
        };
        (version, status)
    }

    /// The next commands of the script, and what the device said to the last ones.
    fn next(&self, document: &Document, session: &str, before: usize) -> Vec<Node> {
        let mut sessions = lock(&self.sessions);
        let session = sessions.entry(session.to_owned()).or_default();
        for item in document.commands().iter().filter(|command| command.name == "Results").flat_map(|results| results.all("Item"))
        {
            session.results.push((item.text_at(&["Source", "LocURI"]).to_owned(), item.text_at(&["Data"]).to_owned()));
        }
        let commands = self.settings.script.get(session.sent).map_or(&[][..], Vec::as_slice);
        session.sent += 1;
        let command = |(number, (name, target, data)): (usize, &(&str, &str, &str))| {
            let mut item = vec![Node::location("Target", target)];
            if !data.is_empty() {
                item.push(Node::leaf("Data", *data));
            }
            Node::new(name, vec![Node::leaf("CmdID", (before + number + 1).to_string()), Node::new("Item", item)])
        };
        commands.iter().enumerate().map(command).collect()
    }

    /// Refuses, in the server's own highest version.
    fn refuse(&self, document: &Document, encoding: Encoding, declared: &Declared, code: &'static str) -> Response<Full<Bytes>> {
        match self.settings.refusal {
            Refusal::Http400 => return plain(StatusCode::BAD_REQUEST, "Protocol version not supported"),
            Refusal::Http500 => return plain(StatusCode::INTERNAL_SERVER_ERROR, ""),
            Refusal::Status | Refusal::Dtd => {}
        }
        let code = if self.settings.refusal == Refusal::Dtd { "505" } else { code };
        let own = declared.known().filter(|version| self.settings.versions.contains(version));
        let highest = |family| self.settings.versions.iter().rev().copied().find(|version| version.family() == family);
        let Some(version) = own.or_else(|| highest(declared.family())).or_else(|| self.settings.versions.last().copied()) else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        let mut status = header_status(document, code, None);
        let of_family = self.settings.versions.iter().rev().filter(|other| other.family() == version.family());
        let items = of_family.map(|version| Node::new("Item", vec![Node::leaf("Data", version.to_string())]));
        status.children.extend(items);
        reply(version, document, encoding, None, vec![status])
    }
}

/// The Status of SyncHdr.
fn header_status(document: &Document, code: &str, chal: Option<Node>) -> Node {
    let mut children = vec![
        Node::leaf("CmdID", "1"),
        Node::leaf("MsgRef", document.field(&["MsgID"])),
        Node::leaf("CmdRef", "0"),
        Node::leaf("Cmd", "SyncHdr"),
        Node::leaf("TargetRef", document.field(&["Target", "LocURI"])),
        Node::leaf("SourceRef", document.field(&["Source", "LocURI"])),
    ];
    children.extend(chal);
    children.push(Node::leaf("Data", code));
    Node::new("Status", children)
}

/// A Status for SyncHdr and for every command of a message.
fn statuses(document: &Document, code: &str, chal: Option<Node>) -> Vec<Node> {
    let mut all = vec![header_status(document, code, chal)];
    let of_commands = if matches!(code, "200" | "212") { "200" } else { code };
    for command in document.commands().iter().filter(|command| !matches!(&*command.name, "Status" | "Final" | "Results")) {
        let children = vec![
            Node::leaf("CmdID", (all.len() + 1).to_string()),
            Node::leaf("MsgRef", document.field(&["MsgID"])),
            Node::leaf("CmdRef", command.text_at(&["CmdID"])),
            Node::leaf("Cmd", command.name.clone()),
            Node::leaf("Data", of_commands),
        ];
        all.push(Node::new("Status", children));
    }
    all
}

fn reply(
    version: Version,
    document: &Document,
    encoding: Encoding,
    resp_uri: Option<&str>,
    commands: Vec<Node>,
) -> Response<Full<Bytes>> {
    let message = document.field(&["MsgID"]).trim().parse().unwrap_or(1);
    let header = Header {
        session: document.field(&["SessionID"]),
        message,
        target: document.field(&["Source", "LocURI"]),
        source: document.field(&["Target", "LocURI"]),
        resp_uri,
        ..Header::default()
    };
    let body = Document::new(version, &header, commands).write(encoding);
    let mut response = Response::new(Full::from(body));
    let charset = if encoding == Encoding::Xml { "; charset=utf-8" } else { "" };
    if let Ok(kind) = header::HeaderValue::try_from(media_type(version.family(), encoding) + charset) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
