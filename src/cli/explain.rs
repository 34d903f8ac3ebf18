//! `protover explain`: what would be done with one message, and why.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use self::sent::{Sent, as_sent};
use super::{Failure, inspect, print};
use crate::{
    config,
    policy::{
        explain::{Explanation, explain},
        facts::{Content, Facts, Message},
        site::{Policies, Site, Store},
    },
    proxy::{
        decode,
        exchange::{Known, sniff},
        remembered::Remembered,
    },
    server::tls::{self, ClientCertificate},
    session::Learnt,
    store,
    syncml::{
        header::Encoding,
        malformed::Malformed,
        media_type::{Kind, MediaType},
        version::{Family, VersionTable},
    },
};

mod sent;
mod text;

/// Shows the decision for one message, why each earlier rule did not match, and the message as it
/// would be sent.
///
/// Nothing is sent anywhere. What is not said is taken from the message: host and path from
/// Target/LocURI, the Content-Type from its encoding and version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  protover explain package1.xml\n  \
    protover explain --host dm.operator.example --header 'User-Agent: MSFT OMA DM Client/1.2' --json - < package1.wbxml\n  \
    protover explain --client-certificate @certs/client.pem package1.xml")]
pub(super) struct Explain {
    /// The folder with proxy.toml and one file for each site
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// The host that the device addresses
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The path that it asks for
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The Content-Type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header of the request, `Name: value`; may be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header_line)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The certificate that the client shows: a PEM file after `@`, or its subject alone
    #[arg(long, value_name = "@FILE|SUBJECT", value_parser = shown)]
    client_certificate: Option<Shown>,
    /// Writes one JSON object
    #[arg(long)]
    json: bool,
    /// Writes the message as it would be sent to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The message; `-` is stdin
    file: PathBuf,
}

fn header_line(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("a header is written `Name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// What is known of the client's certificate.
#[derive(Clone, Debug)]
struct Shown {
    subject: String,
    fingerprint: Option<String>,
}

fn shown(text: &str) -> Result<Shown, String> {
    let Some(file) = text.strip_prefix('@') else {
        return Ok(Shown { subject: text.to_owned(), fingerprint: None });
    };
    let chain = tls::certificates(Path::new(file)).map_err(|error| error.to_string())?;
    let of = chain.first().and_then(ClientCertificate::of).ok_or("cannot be read")?;
    Ok(Shown { subject: of.subject.into(), fingerprint: Some(of.fingerprint.into()) })
}

/// A request, as far as it is known.
struct Request {
    host: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What became of it.
struct Explained<'a> {
    request: &'a Request,
    certificate: Option<&'a Shown>,
    site: &'a Site,
    /// What could be read of the message, or why not. `None` when it is none.
    message: Option<Result<Box<Known>, Malformed>>,
    explanation: Explanation,
    learnt: Found,
    sent: Sent,
}

/// What was learnt of the site's servers.
#[derive(Default)]
struct Found {
    /// One for each, as far as this process can know.
    servers: Vec<Learnt>,
    /// Why it cannot know.
    unknown: Option<&'static str>,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (policies, _) = config::load(&self.policies).map_err(|error| Failure::Usage(error.render(super::colour())))?;
        let body = inspect::read(&self.file).map_err(|error| Failure::doing(self.file.display(), error))?;
        let request = self.request(body.into(), &policies.versions);
        let Some(site) = policies.site(&request.host, &request.path).and_then(|at| policies.sites.get(at)) else {
            return print(if self.json { text::no_site_json(&request) } else { text::no_site(&request, &policies) });
        };
        let learnt = learnt(&policies, site)?;
        let explained = explained(&request, site, &policies, self.client_certificate.as_ref(), learnt);
        if let Some(file) = &self.write {
            std::fs::write(file, &explained.sent.body).map_err(|error| Failure::doing(file.display(), error))?;
        }
        print(if self.json { text::json(&explained) } else { text::text(&explained) })
    }

    /// The request that the message would come in.
    fn request(&self, body: Bytes, versions: &VersionTable) -> Request {
        let mut headers: HeaderMap = self.headers.iter().cloned().collect();
        let known = decode::read(&body, false, None, versions).ok();
        let target = known.as_ref().map(|known| known.index.text(&body, known.index.target).into_owned()).unwrap_or_default();
        let target = target.trim().parse::<Uri>().unwrap_or_default();
        let said = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or_else(|| target.authority().map(http::uri::Authority::as_str));
        let host = self.host.as_deref().or(said).unwrap_or_default().to_owned();
        let path = self.path.as_deref().unwrap_or_else(|| target.path());
        let path = path.split('?').next().filter(|path| !path.is_empty()).unwrap_or("/").to_owned();
        let own = known.as_ref().map(|known| match (known.declared.family(), known.index.encoding) {
            (Family::Dm, Encoding::Xml) => "application/vnd.syncml.dm+xml",
            (Family::Dm, Encoding::Wbxml) => "application/vnd.syncml.dm+wbxml",
            (Family::SyncMl, Encoding::Xml) => "application/vnd.syncml+xml",
            (Family::SyncMl, Encoding::Wbxml) => "application/vnd.syncml+wbxml",
        });
        // A file that cannot be read is taken for a message all the same, unless told otherwise.
        let own = own.unwrap_or(match sniff(&body) {
            Encoding::Xml => "application/vnd.syncml.dm+xml",
            Encoding::Wbxml => "application/vnd.syncml.dm+wbxml",
        });
        let said = self.content_type.as_deref().or_else(|| headers.get(header::CONTENT_TYPE)?.to_str().ok()).unwrap_or(own);
        if let Ok(value) = HeaderValue::try_from(said) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        Request { host, path, headers, body }
    }
}

/// Asks the store what was learnt of a site's servers.
fn learnt(policies: &Policies, site: &Site) -> Result<Found, Failure> {
    if !site.tries() {
        return Ok(Found::default());
    }
    if matches!(policies.settings.store, Store::Memory { .. }) {
        let unknown = Some("known to the running proxy only: the store is its memory");
        return Ok(Found { unknown, ..Found::default() });
    }
    let store = store::open(&policies.settings.store).map_err(|error| Failure::doing("store", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::doing("runtime", error))?;
    let mut remembered = Remembered::new(&store, policies.settings.sessions, &site.name, "", "");
    runtime.block_on(remembered.recall_learnt(site));
    let unknown = remembered.is_degraded().then_some("the store does not answer");
    Ok(Found { servers: remembered.learnt().to_vec(), unknown })
}

/// Reads, decides, and sees what would come of it.
fn explained<'a>(
    request: &'a Request,
    site: &'a Site,
    policies: &Policies,
    certificate: Option<&'a Shown>,
    learnt: Found,
) -> Explained<'a> {
    let text = |name: HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = text(header::CONTENT_TYPE).and_then(MediaType::parse);
    let kind = media_type.as_ref().map_or(Kind::Other, |media_type| media_type.kind);
    let integrity = decode::integrity(&request.headers);
    let message = kind.encoding().map(|_| decode::read(&request.body, site.strict, media_type.as_ref(), &policies.versions));
    let content = match (&message, kind) {
        (Some(Ok(known)), _) => Content::Message(Message {
            encoding: known.index.encoding,
            declared: known.declared.clone(),
            dtd: known.dtd,
            media_type_agrees: known.media_type_agrees,
            device: known.index.text(&request.body, known.index.source),
            first: known.first,
            started_by: known.started_by,
            integrity,
        }),
        (Some(Err(_)), _) => Content::Malformed,
        (None, Kind::Dm2Json) => Content::Dm2,
        (None, _) => Content::NotSyncMl,
    };
    let facts = Facts {
        path: &request.path,
        user_agent: text(header::USER_AGENT),
        client_certificate: certificate.map(|shown| &*shown.subject),
        client_fingerprint: certificate.and_then(|shown| shown.fingerprint.as_deref()),
        content,
        notified: None,
        learnt: &learnt.servers,
    };
    let explanation = explain(site, &policies.versions, &facts);
    let sent = as_sent(request, site, &policies.versions, message.as_ref(), &explanation.decision);
    Explained { request, certificate, site, message, explanation, learnt, sent }
}
