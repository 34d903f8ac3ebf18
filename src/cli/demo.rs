//! `protover demo`: Dolly's phone, her employer's server and her operator's, and protover between them, on
//! real sockets. The flows are those of the contribution that protover answers, sections 5.1.5 to 5.1.8.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use http::Uri;
use serde_json::Value;

use super::Failure;
use crate::{
    decisions::Log,
    notification::{Initiator, Package0, Push, UiMode},
    policy::{self, Source},
    reference::{
        Accounts, Device, Gateway, Outcome, Server, Settings, Strictness, Tree, account_version, add_account, submission, submit,
    },
    server::Proxy,
    syncml::{alert::StartedBy, header::Encoding, integrity::Key, version::Version},
    telemetry,
};
use story::Story;

mod story;

/// Plays the flows of Dolly's phone over real sockets, and checks every step.
///
/// Starts two DM servers (one speaks DM 1.1, one DM 1.2 and 1.3), protover between, and a device, all on
/// free ports of this machine. The policies are those of the folder `policies`, built in. Under each step
/// stands its line of the decision log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover demo\n\nExit status 0 only if every expectation held.")]
pub(super) struct Demo {}

/// The policies of the repository, with the ports that they name.
const POLICIES: [(&str, &str); 3] = [
    ("proxy.toml", include_str!("../../policies/proxy.toml")),
    ("operator.toml", include_str!("../../policies/operator.toml")),
    ("it-department.toml", include_str!("../../policies/it-department.toml")),
];
const PORTS: [&str; 3] = ["127.0.0.1:8080", "127.0.0.1:9011", "127.0.0.1:9013"];

const IT: &str = "http://dm.it.example/dm";
const OPERATOR: &str = "http://dm.operator.example/dm";
const IMEI: &str = "IMEI:490154203237518";
/// What the DM client on Dolly's phone speaks.
const SPEAKS: [Version; 3] = [Version::DM_1_1, Version::DM_1_2, Version::DM_1_3];

impl Demo {
    #[allow(clippy::unused_self, reason = "as every command")]
    pub(super) fn run(self) -> Result<(), Failure> {
        telemetry::start();
        let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::doing("runtime", error))?;
        runtime.block_on(play())
    }
}

async fn play() -> Result<(), Failure> {
    let mut stage = Stage::set().await.map_err(|error| Failure::doing("demo", error))?;
    let mut story = Story::default();
    story.say(&format!(
        "Dolly's phone speaks DM 1.1, 1.2 and 1.3. Her employer's server speaks DM 1.1 only, her operator's DM 1.2\n\
         and 1.3. Between them stands protover, on {}. Nobody asks Dolly anything.\n",
        stage.proxy.address("devices").map(|address| address.to_string()).unwrap_or_default()
    ));
    let played = flows(&mut stage, &mut story).await;
    let failed = story.failed;
    story.say(&match (&played, failed) {
        (Ok(()), 0) => format!("\nAll {} expectations held.\n", story.held),
        _ => format!("\n{} expectations held, {failed} DID NOT HOLD.\n", story.held),
    });
    stage.proxy.drain().await;
    played?;
    if failed > 0 { Err(Failure::Failed(format!("demo: {failed} expectations did not hold"))) } else { Ok(()) }
}

async fn flows(stage: &mut Stage, story: &mut Story) -> Result<(), Failure> {
    let mut accounts = Accounts::default();
    let (it_11, operator_13) = (Version::DM_1_1, Version::DM_1_3);

    story.flow("5.1.5", "The device starts a session with the IT department");
    accounts.store(IT, it_11);
    let version = select(&accounts, IT, None)?;
    story.say(&format!("Dolly's work application needs care. Her account says that the IT department's server speaks {it_11}."));
    let outcome = stage.session(story, IT, version, StartedBy::Client, Encoding::Xml).await?;
    story.expect(version == it_11, "the phone chose DM/1.1, the version of the account (Client-4)");
    story.expect(done(&outcome), "the work application was managed: every command was carried out");
    story.expect(stage.it.versions_seen() == ["DM/1.1"], "the IT department's server saw DM/1.1 only");

    story.say("\nA colleague's older phone speaks nothing but DM 1.2 (in WBXML), and cannot be updated.");
    let outcome = stage.session(story, IT, Version::DM_1_2, StartedBy::Client, Encoding::Wbxml).await?;
    story.expect(done(&outcome), "bridged: it was managed all the same");
    story.expect(stage.it.versions_seen() == ["DM/1.1"], "the server still saw DM/1.1 only");
    story.expect(own_only(&outcome, Version::DM_1_2), "the phone saw DM/1.2 only");

    story.flow("5.1.6", "The server starts a session by a notification");
    story.say("The IT department's server invites the phone. It is an old server: its notification says nothing of versions.");
    let package0 = stage.notify(story, 0x5E7).await?;
    let notified = package0.as_ref().and_then(Package0::recommended);
    story.expect(notified == Some(it_11), "the notification that reached the phone recommends DM/1.1 (Server-1)");
    story.expect(
        package0.is_some_and(|package0| package0.verifies(&IT_KEY)),
        "its digest is right: it was made anew with the server's secret",
    );
    let version = select(&accounts, IT, notified)?;
    let outcome = stage.session_as(story, IT, version, StartedBy::Server, Encoding::Xml, "5E7").await?;
    story.expect(version == it_11, "the phone used the version of the notification (Client-1), not its highest (Client-3)");
    story.expect(done(&outcome), "the session was completed");
    story.expect(stage.requirement == "Client-1", "and protover knew that it answered the notification");

    story.flow("5.1.7", "The server responds with the recommended version");
    story.say("Dolly's account with the operator is an old one: it says DM/1.2.");
    add_account(&mut stage.tree, "./DMAcc/operator", OPERATOR_ID, Some(Version::DM_1_2));
    accounts.store(OPERATOR, Version::DM_1_2);
    let version = select(&accounts, OPERATOR, None)?;
    let outcome = stage.session(story, OPERATOR, version, StartedBy::Client, Encoding::Xml).await?;
    story.expect(done(&outcome), "the session was completed in DM/1.2");
    story.expect(outcome.recommended() == Some(operator_13), "the answer said that DM/1.3 is recommended (Server-2)");
    let in_body = outcome.exchanges.first().is_some_and(|exchange| exchange.items.iter().any(|item| item == "DM/1.3"));
    story.expect(in_body, "also inside the message, in the Status of the SyncHdr");
    let stored = account_version(&stage.tree, OPERATOR_ID);
    story.expect(stored == Some(operator_13), "and Dolly's account says DM/1.3 now (Tree-1)");
    let unseen = stage.operator.saw().iter().all(|saw| !String::from_utf8_lossy(&saw.raw).contains("ProtoVer"));
    story.expect(unseen, "of which the operator's server saw nothing");
    if let Some(version) = stored {
        accounts.store(OPERATOR, version);
    }
    let version = select(&accounts, OPERATOR, None)?;
    story.say(&format!("\nNext time the phone uses what its account says: {version} (Client-4)."));
    let outcome = stage.session(story, OPERATOR, version, StartedBy::Client, Encoding::Xml).await?;
    story.expect(version == operator_13 && done(&outcome), "the session was completed in DM/1.3");
    story.expect(outcome.recommended().is_none(), "there was nothing left to recommend");

    story.flow("5.1.8", "Future compatibility");
    story.say("A phone of the future starts a session with DM/2.0, which nobody here knows.");
    let before = stage.operator.saw().len();
    let future = Version::parse("DM/2.0").ok_or_else(|| Failure::Failed("demo: DM/2.0 is no version".into()))?;
    let outcome = stage.session(story, OPERATOR, future, StartedBy::Client, Encoding::Xml).await?;
    let refused = outcome.refused.as_ref();
    story.expect(refused.is_some_and(|refused| refused.status == "513"), "the answer was the error 513 (Server-3)");
    let said = refused.and_then(|refused| refused.items.last()).map_or("", String::as_str);
    story.expect(said == "Error - unsupported DM protocol version. Recommended version is 1.3", &format!("it said: {said:?}"));
    story.expect(stage.operator.saw().len() == before, "the operator's server saw nothing of it");
    Ok(())
}

fn select(accounts: &Accounts, server: &str, notified: Option<Version>) -> Result<Version, Failure> {
    accounts.select(server, &SPEAKS, notified).ok_or_else(|| Failure::Failed("demo: no version to use".into()))
}

/// What a line says under a key.
fn text_of(line: &str, key: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    line[key].as_str().unwrap_or("?").to_owned()
}

/// How the IT department's server proves that it is the one.
const IT_KEY: Key<'static> = Key { user: "dm.it.example", password: "demo", nonce: b"demo" };
const IT_SECRETS: &str = "[server]\nid = \"dm.it.example\"\npassword = \"demo\"\nnonce = \"ZGVtbw==\"\n";

/// The operator's server, as accounts have it.
const OPERATOR_ID: &str = "dm.operator.example";

/// What the demo adds to the policies of the repository: a listener for notifications, that those of the IT
/// department are to say the recommended version, and that accounts with the operator are to say it. Old
/// clients take only one value of a notification's version field, so it goes into the vendor's body.
fn additions(file: &str, gateway: &Gateway) -> String {
    match file {
        "proxy.toml" => format!(
            "\n[[listener]]\nname = \"push\"\nkind = \"push\"\naddress = \"127.0.0.1:0\"\ngateway = \"http://{}\"\n",
            gateway.address()
        ),
        "it-department.toml" => {
            "\n[notification]\nversion = \"recommended\"\ndevices = [\"WAPPUSH=+1555*\"]\ncarrier = \"vendor-body\"\n".to_owned()
        }
        "operator.toml" => {
            format!("\n[account]\nserver_id = \"{OPERATOR_ID}\"\naccount = \"name\"\nname = \"operator\"\n")
        }
        _ => String::new(),
    }
}

/// Whether all five commands of a reference server were carried out, whatever else was.
fn done(outcome: &Outcome) -> bool {
    let theirs = outcome.carried_out.iter().filter(|carried| !carried.target.starts_with("./DMAcc/"));
    outcome.is_complete() && theirs.count() == 5
}

fn own_only(outcome: &Outcome, version: Version) -> bool {
    outcome.exchanges.iter().all(|exchange| exchange.version.as_deref() == Some(&version.to_string()))
}

/// Servers, protover, and its log.
struct Stage {
    it: Server,
    operator: Server,
    proxy: Proxy,
    log: Log,
    folder: Folder,
    gateway: Gateway,
    /// What there is in the phone besides DevInfo.
    tree: Tree,
    /// How many lines have been shown.
    shown: usize,
    sessions: u32,
    /// What the first line of the last session said that it fulfils.
    requirement: String,
}

/// A folder for the log, gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    async fn set() -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let it = Server::start(any, Settings { versions: vec![Version::DM_1_1], ..Settings::default() }).await?;
        let both = vec![Version::DM_1_2, Version::DM_1_3];
        let operator = Server::start(
            any,
            Settings { versions: both, resp_uri: Some("http://{host}/session/{session}".into()), ..Settings::default() },
        )
        .await?;
        let folder = Folder(std::env::temp_dir().join(format!("protover-demo-{}", std::process::id())));
        fs::create_dir(&folder.0)?;
        let gateway = Gateway::start(any).await?;
        let secrets = folder.0.join("secrets.toml");
        fs::write(&secrets, IT_SECRETS)?;
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600))?;
        let ports = [any.to_string(), it.address().to_string(), operator.address().to_string()];
        let sources: Vec<Source> = POLICIES
            .iter()
            .map(|(name, text)| {
                let text = text.replace("\"status-item\"]", "\"status-item\", \"account\"]");
                let text = text.replace(
                    "hosts = [\"dm.it.example\"]",
                    &format!("hosts = [\"dm.it.example\"]\nsecrets = {:?}", secrets.display().to_string()),
                );
                let text = PORTS.iter().zip(&ports).fold(text, |text, (named, free)| text.replace(named, free));
                Source { name: (*name).into(), text: text + &additions(name, &gateway) }
            })
            .collect();
        let compiled = policy::compile(&sources);
        let mut policies =
            compiled.policies.ok_or_else(|| io::Error::other(policy::diagnostic::render(&compiled.diagnostics, false)))?;
        policies.settings.decisions.to = policy::site::DecisionsTo::File(folder.0.join("decisions.log"));
        let log = Log::start(&policies.settings.decisions)?;
        let proxy = Proxy::start(policies, log.clone()).await?;
        Ok(Self {
            it,
            operator,
            proxy,
            log,
            folder,
            gateway,
            tree: Tree::new(),
            shown: 0,
            sessions: 0,
            requirement: String::new(),
        })
    }

    /// Sends a notification of the IT department's server by way of protover, as a server does that knows
    /// nothing of versions; and what reaches the phone.
    async fn notify(&mut self, story: &mut Story, session_id: u16) -> Result<Option<Package0>, Failure> {
        let mut package0 = Package0 {
            digest: [0; 16],
            version: 11,
            ui_mode: UiMode::Background,
            initiator: Initiator::Server,
            session_id,
            server_id: IT_KEY.user.to_owned(),
            vendor: Vec::new(),
        };
        let signed = package0.sign(&IT_KEY).and_then(|()| package0.write());
        let notification = signed.map_err(|error| Failure::doing("notification", error))?;
        let push = self.proxy.address("push").map(|address| address.to_string()).unwrap_or_default();
        let url: Uri = format!("http://{push}/pap").parse().map_err(|error| Failure::doing("push", error))?;
        let submission = submission("WAPPUSH=+15551234567/TYPE=PLMN@ppg.example", &notification);
        let status = submit(&url, &submission).await.map_err(|error| Failure::doing("push", error))?;
        for line in self.lines(1).await.map_err(|error| Failure::doing("decision log", error))? {
            story.line(&line);
        }
        story.expect(status == 202, "the push gateway took it");
        let Some(got) = self.gateway.last() else { return Ok(None) };
        let push = Push::read(&got.content_type, &got.body).ok();
        Ok(push.and_then(|push| Package0::read(&push.notification).ok()))
    }

    /// Runs a session, and shows what the log says about its first message.
    async fn session(
        &mut self,
        story: &mut Story,
        server: &str,
        version: Version,
        started_by: StartedBy,
        encoding: Encoding,
    ) -> Result<Outcome, Failure> {
        self.sessions += 1;
        let session = self.sessions.to_string();
        self.session_as(story, server, version, started_by, encoding, &session).await
    }

    /// The same, with a SessionID.
    async fn session_as(
        &mut self,
        story: &mut Story,
        server: &str,
        version: Version,
        started_by: StartedBy,
        encoding: Encoding,
        session: &str,
    ) -> Result<Outcome, Failure> {
        let url: Uri = server.parse().map_err(|error| Failure::doing(server, error))?;
        let mut device = Device::new(IMEI, version);
        // Phones of today stop at anything that is not their own. One of the future has to read an error in
        // a version that its server can write.
        device.strictness = if SPEAKS.contains(&version) { Strictness::Motorola } else { Strictness::Lenient };
        device.started_by = started_by;
        device.encoding = encoding;
        session.clone_into(&mut device.session);
        device.max_msg_size = Some(16_384);
        device.tree.extend(self.tree.clone());
        story.say(&format!("The phone connects to {} with {version}.", url.host().unwrap_or_default()));
        let outcome = device.run(&url, self.proxy.address("devices")).await;
        self.tree = device.tree.into_iter().filter(|(uri, _)| uri.starts_with("./DMAcc/")).collect();
        if let Some(why) = &outcome.gave_up {
            story.say(&format!("The phone gave up: {why}."));
        }
        let lines = self.lines(outcome.exchanges.len()).await.map_err(|error| Failure::doing("decision log", error))?;
        if let Some((first, more)) = lines.split_first() {
            story.line(first);
            self.requirement = text_of(first, "requirement");
            let verdicts: Vec<String> = more.iter().map(|line| text_of(line, "verdict")).collect();
            if !verdicts.is_empty() {
                story.say(&format!("  and {} more lines for this session: {}", verdicts.len(), verdicts.join(", ")));
            }
        }
        story.expect(lines.len() == outcome.exchanges.len(), "one decision line for every message");
        Ok(outcome)
    }

    /// The next lines of the log, when there are so many, or after a while.
    async fn lines(&mut self, count: usize) -> io::Result<Vec<String>> {
        let began = Instant::now();
        loop {
            let _ = self.log.flush_within(Duration::from_secs(1));
            let text = fs::read_to_string(self.folder.0.join("decisions.log"))?;
            let new: Vec<String> = text.lines().skip(self.shown).map(str::to_owned).collect();
            if new.len() >= count || began.elapsed() > Duration::from_secs(2) {
                self.shown += new.len();
                return Ok(new);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
