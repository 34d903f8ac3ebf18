//! The device: a DM client with a few accounts.

use std::net::SocketAddr;

use http::Uri;
use rustls::RootCertStore;

use super::{
    auth::{self, Auth, Credentials, NONCE},
    client::{HMAC, Http, resolve},
    document::{Document, Header, Node},
    outcome::{Carried, Exchange, Outcome, Refused},
    tree::{self, Manners, Tree},
};
use crate::syncml::{
    alert::StartedBy,
    header::Encoding,
    version::{Family, Version, VersionTable},
};

/// How exactly a device looks at what it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Takes whatever can be read.
    #[default]
    Lenient,
    /// As a Motorola phone: VerDTD, VerProto and xmlns exactly its own, a Status for the SyncHdr, and
    /// nothing in the XML that its reader does not know.
    Motorola,
    /// As Windows 8.1: no white space between tags.
    Windows,
}

/// A device, and the account it uses for a session.
#[derive(Clone, Debug)]
pub struct Device {
    /// Source/LocURI.
    pub id: String,
    /// The version it speaks.
    pub version: Version,
    /// The encoding it speaks.
    pub encoding: Encoding,
    /// What it takes.
    pub strictness: Strictness,
    /// Who it is, when a server asks.
    pub credentials: Option<Credentials>,
    /// Who started the session.
    pub started_by: StartedBy,
    /// SessionID.
    pub session: String,
    /// MaxMsgSize to tell.
    pub max_msg_size: Option<u32>,
    /// Whether it begins anew in the next lower version when its own is refused, as libsynthesis does.
    pub step_down: bool,
    /// Whether it repeats a RespURI as the Target of its next message, as Android does.
    pub echoes_resp_uri: bool,
    /// Where its other connections go, one after another, when they do not all go to one place.
    pub other_ways: Vec<SocketAddr>,
    /// The server's identifier and password: each of its messages must have a MAC then.
    pub server: Option<Credentials>,
    /// Its management tree.
    pub tree: Tree,
    /// How it takes to commands on its accounts.
    pub manners: Manners,
    pub(super) http: Http,
}

/// What makes a device step down: the errors of version, and those that some servers use for them.
const STEPS_DOWN_ON: [&str; 4] = ["513", "505", "501", "400"];

/// No session of the reference servers is longer.
const MESSAGES: u32 = 20;

impl Device {
    /// A lenient device in XML, without credentials.
    #[must_use]
    pub fn new(id: &str, version: Version) -> Self {
        let tree =
            [("./DevInfo/DevId", id), ("./DevInfo/Man", "protover"), ("./DevInfo/Mod", "reference"), ("./DevInfo/Lang", "en")];
        let mut tree: Tree = tree.into_iter().map(|(uri, value)| (uri.to_owned(), value.to_owned())).collect();
        tree.insert("./DevInfo/DmV".to_owned(), version.number());
        Self {
            id: id.to_owned(),
            version,
            encoding: Encoding::Xml,
            strictness: Strictness::Lenient,
            credentials: None,
            started_by: StartedBy::Client,
            session: "1".to_owned(),
            max_msg_size: None,
            step_down: false,
            echoes_resp_uri: false,
            other_ways: Vec::new(),
            server: None,
            tree,
            manners: Manners::default(),
            http: Http::new(RootCertStore::empty()),
        }
    }

    /// The same, believing certificates of these authorities.
    #[must_use]
    pub fn with_roots(mut self, roots: RootCertStore) -> Self {
        self.http = Http::new(roots);
        self
    }

    /// Runs one session with a server, or, for a device that steps down, as many as it takes. With
    /// `through`, connections go there, whatever the address says.
    pub async fn run(&mut self, url: &Uri, through: Option<SocketAddr>) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            outcome.versions.push(self.version);
            let before = outcome.exchanges.len();
            if let Err(why) = self.session(url, through, &mut outcome).await {
                outcome.gave_up = Some(why);
            }
            let of_package_1 = outcome.exchanges.len() == before + 1;
            let by_version = outcome.refused.as_ref().is_some_and(|refused| STEPS_DOWN_ON.contains(&&*refused.status));
            let Some(lower) = self.lower().filter(|_| self.step_down && of_package_1 && by_version) else { return outcome };
            // The Items are not looked at: neither does libsynthesis.
            outcome.refused = None;
            self.version = lower;
            self.session = format!("{}-{}", self.session, outcome.versions.len());
        }
    }

    /// The next version below its own.
    fn lower(&self) -> Option<Version> {
        let below = VersionTable::default().versions().into_iter().filter(|version| *version < self.version);
        below.reduce(|highest, version| if version > highest { version } else { highest })
    }

    /// Where its connection for a message goes.
    fn way(&self, message: u32, through: Option<SocketAddr>) -> Option<SocketAddr> {
        let ways: Vec<SocketAddr> = through.into_iter().chain(self.other_ways.iter().copied()).collect();
        let number = usize::try_from(message).unwrap_or(0);
        ways.get(number.saturating_sub(1) % ways.len().max(1)).copied()
    }

    async fn session(&mut self, url: &Uri, through: Option<SocketAddr>, outcome: &mut Outcome) -> Result<(), String> {
        let mut target = url.to_string();
        let (mut address, mut cred, mut tried) = (url.clone(), None, false);
        // The nonces of MACs: of its own, once the server asks for them, and of the server's.
        let (mut own_nonce, mut server_nonce): (Option<Vec<u8>>, Vec<u8>) = (None, NONCE.to_vec());
        let mut commands = self.package_1();
        for message in 1..=MESSAGES {
            let header = Header {
                session: &self.session,
                message,
                target: &target,
                source: &self.id,
                cred: cred.as_ref(),
                max_msg_size: self.max_msg_size.filter(|_| message == 1),
                ..Header::default()
            };
            let sent = Document::new(self.version, &header, commands.clone()).write(self.encoding);
            let hmac = own_nonce.as_ref().zip(self.credentials.as_ref()).map(|(nonce, who)| who.hmac(nonce, &sent));
            let response = self
                .http
                .post(&address, self.way(message, through), (self.version.family(), self.encoding), hmac, sent.clone())
                .await?;
            let recommended =
                response.headers.get("dm-recommended-version").and_then(|value| Version::parse(value.to_str().ok()?));
            outcome.exchanges.push(Exchange {
                sent,
                http_status: response.status,
                got: response.body.to_vec(),
                version: None,
                recommended,
                items: Vec::new(),
            });
            if response.status != 200 {
                return Err(format!("HTTP {}", response.status));
            }
            if let Some(server) = &self.server {
                let hmac = response.headers.get(HMAC).and_then(|value| value.to_str().ok());
                if hmac != Some(server.hmac(&server_nonce, &response.body).as_str()) {
                    return Err("the server's MAC is wrong".to_owned());
                }
                server_nonce = format!("for the server {message}").into_bytes();
            }
            let answer = Document::read(self.encoding, &response.body)?;
            if own_nonce.is_some() {
                own_nonce = auth::handed(answer.commands()).or(own_nonce);
            }
            let status = header_status(&answer, message);
            if let Some(exchange) = outcome.exchanges.last_mut() {
                exchange.version = Some(answer.field(&["VerProto"]).to_owned());
                exchange.items = status.map(items).unwrap_or_default();
            }
            self.inspect(&answer, status)?;
            let resp_uri = answer.field(&["RespURI"]);
            if !resp_uri.is_empty() {
                address = resolve(&address, resp_uri)?;
                if self.echoes_resp_uri {
                    resp_uri.clone_into(&mut target);
                }
            }
            if let Some(status) = status {
                match status.text_at(&["Data"]) {
                    "200" | "212" => {}
                    "401" | "407" if !tried && status.child("Chal").is_some() => {
                        tried = true;
                        let asked = status.child("Chal").and_then(auth::asked);
                        let (Some(credentials), Some((auth, nonce))) = (&self.credentials, asked) else {
                            outcome.refused = Some(refused(status));
                            return Ok(());
                        };
                        if auth == Auth::Mac {
                            own_nonce = Some(nonce);
                        } else {
                            cred = Some(credentials.cred(auth, &nonce));
                        }
                        commands = self.package_1();
                        if self.server.is_some() {
                            commands.insert(0, handing(&answer, &server_nonce, "3"));
                        }
                        continue;
                    }
                    // Real phones stop here, and so does this one.
                    _ => {
                        outcome.refused = Some(refused(status));
                        return Ok(());
                    }
                }
            }
            if answer
                .commands()
                .iter()
                .flat_map(|command| command.all("Item"))
                .any(|item| tree::breaks_off(self.manners, item.text_at(&["Target", "LocURI"])))
            {
                return Err("it did not survive a command on its account".to_owned());
            }
            match self.follow(&answer, outcome) {
                Some(mut answers) => {
                    if let Some(first) = answers.first_mut().filter(|_| self.server.is_some()) {
                        *first = handing(&answer, &server_nonce, "1");
                    }
                    commands = answers;
                }
                None => return Ok(()),
            }
        }
        Err("the session does not end".to_owned())
    }

    /// DevInfo, and who started the session (OMA-TS-DM_Protocol-V1_2_1, section 8.3); of a DS client, what
    /// it wants synchronised (OMA-TS-DS_Protocol-V1_2_2, section 9).
    fn package_1(&self) -> Vec<Node> {
        if self.version.family() == Family::SyncMl {
            let anchor = Node::new("Anchor", vec![Node::leaf("Next", "1")]);
            let item = vec![
                Node::location("Target", "./contacts"),
                Node::location("Source", "./contacts"),
                Node::new("Meta", vec![anchor]),
            ];
            let alert = vec![Node::leaf("CmdID", "1"), Node::leaf("Data", "201"), Node::new("Item", item)];
            return vec![Node::new("Alert", alert)];
        }
        let code = match self.started_by {
            StartedBy::Server => "1200",
            StartedBy::Client => "1201",
        };
        let mut replace = vec![Node::leaf("CmdID", "2")];
        replace.extend(
            self.tree
                .iter()
                .filter(|(uri, _)| uri.starts_with("./DevInfo/"))
                .map(|(uri, value)| Node::new("Item", vec![Node::location("Source", uri), Node::leaf("Data", value)])),
        );
        vec![Node::new("Alert", vec![Node::leaf("CmdID", "1"), Node::leaf("Data", code)]), Node::new("Replace", replace)]
    }

    /// Looks at an answer as strictly as the device is.
    fn inspect(&self, answer: &Document, status: Option<&Node>) -> Result<(), String> {
        let own = Document::new(self.version, &Header::default(), Vec::new());
        let quirks = answer.quirks;
        let complaints: Vec<(bool, &str)> = match self.strictness {
            Strictness::Lenient => Vec::new(),
            Strictness::Windows => vec![(quirks.space, "white space between tags")],
            Strictness::Motorola => {
                const KNOWN: [&str; 11] =
                    ["VerDTD", "VerProto", "SessionID", "MsgID", "Target", "Source", "RespURI", "NoResp", "Cred", "Meta", "Chal"];
                let strange =
                    answer.header().is_some_and(|header| header.children.iter().any(|child| !KNOWN.contains(&&*child.name)));
                vec![
                    (answer.field(&["VerDTD"]) != own.field(&["VerDTD"]), "VerDTD is not mine"),
                    (answer.field(&["VerProto"]) != own.field(&["VerProto"]), "VerProto is not mine"),
                    (self.encoding == Encoding::Xml && answer.xmlns != own.xmlns, "xmlns is not mine"),
                    (self.encoding == Encoding::Wbxml && answer.public_id != own.public_id, "the public identifier is not mine"),
                    (answer.field(&["SessionID"]) != self.session, "SessionID is not mine"),
                    (answer.field(&["Target", "LocURI"]) != self.id, "I am not the Target"),
                    (status.is_none(), "no Status for the SyncHdr"),
                    (quirks.mark, "a byte-order mark"),
                    (quirks.prefix, "element prefixes"),
                    (quirks.references, "references in VerProto"),
                    (strange, "unknown elements in SyncHdr"),
                ]
            }
        };
        match complaints.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(what.to_owned()),
            None => Ok(()),
        }
    }

    /// Carries out the server's commands; gives the answers to them, or `None` when there are none.
    fn follow(&mut self, answer: &Document, outcome: &mut Outcome) -> Option<Vec<Node>> {
        let msg_ref = answer.field(&["MsgID"]).to_owned();
        let status = |id: usize, reference: &str, name: &str, data: &str| {
            Node::new(
                "Status",
                vec![
                    Node::leaf("CmdID", id.to_string()),
                    Node::leaf("MsgRef", msg_ref.clone()),
                    Node::leaf("CmdRef", reference),
                    Node::leaf("Cmd", name),
                    Node::leaf("Data", data),
                ],
            )
        };
        let mut answers = vec![status(1, "0", "SyncHdr", "200")];
        let mut any = false;
        for command in answer.commands() {
            let name = command.name.as_str();
            if matches!(name, "Status" | "Results" | "Final") {
                continue;
            }
            any = true;
            let reference = command.text_at(&["CmdID"]);
            let mut results = Vec::new();
            let mut code = if matches!(name, "Get" | "Replace" | "Add" | "Delete" | "Exec" | "Alert") { "200" } else { "406" };
            for item in command.all("Item") {
                let target = item.text_at(&["Target", "LocURI"]);
                match tree::act(&mut self.tree, self.manners, name, target, item.text_at(&["Data"])) {
                    Ok(Some(value)) => {
                        let children = vec![Node::location("Source", target), Node::leaf("Data", value)];
                        results.push(Node::new("Item", children));
                    }
                    Ok(None) => {}
                    Err(status) => code = status,
                }
                if code == "200" {
                    outcome.carried_out.push(Carried { name: name.to_owned(), target: target.to_owned() });
                }
            }
            answers.push(status(answers.len() + 1, reference, name, code));
            if !results.is_empty() {
                let mut children = vec![
                    Node::leaf("CmdID", (answers.len() + 1).to_string()),
                    Node::leaf("MsgRef", msg_ref.clone()),
                    Node::leaf("CmdRef", reference),
                ];
                children.extend(results);
                answers.push(Node::new("Results", children));
            }
        }
        any.then_some(answers)
    }
}

/// The Status for the SyncHdr of a server's message, with the nonce for its next one.
fn handing(answer: &Document, nonce: &[u8], cmd_id: &str) -> Node {
    let children = vec![
        Node::leaf("CmdID", cmd_id),
        Node::leaf("MsgRef", answer.field(&["MsgID"])),
        Node::leaf("CmdRef", "0"),
        Node::leaf("Cmd", "SyncHdr"),
        auth::challenge(Auth::Mac, nonce),
        Node::leaf("Data", "200"),
    ];
    Node::new("Status", children)
}

/// The Status that answers the SyncHdr of a message.
fn header_status(answer: &Document, message: u32) -> Option<&Node> {
    answer.commands().iter().find(|command| {
        command.name == "Status"
            && command.text_at(&["CmdRef"]) == "0"
            && command.text_at(&["Cmd"]) == "SyncHdr"
            && command.text_at(&["MsgRef"]) == message.to_string()
    })
}

fn items(status: &Node) -> Vec<String> {
    status.all("Item").map(|item| item.text_at(&["Data"]).to_owned()).collect()
}

fn refused(status: &Node) -> Refused {
    Refused { status: status.text_at(&["Data"]).to_owned(), items: items(status) }
}
