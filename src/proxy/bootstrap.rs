//! Bootstrap documents on their way to devices: the recommended version goes into the DM accounts of this
//! site that they bring (Tree-1). Everything else in them stays as it is.

use http::{HeaderMap, Response, StatusCode, header};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::{
    account::{note, server_id},
    annotate::{self, Return},
    body::Answer,
    exchange::{Carried, Ruled},
    gather::gather,
    headers,
    live::LiveSite,
    media::Packing,
    refuse,
};
use crate::{
    account::{Inline, provisioning, stamp_inline},
    decisions::Kind,
    policy::{
        reason::{Reason, Requirement},
        site::{Account, Mode},
    },
    syncml::{
        self,
        edit::Edits,
        header::Encoding,
        media_type::{self, MediaType},
        version::{Family, Version},
    },
    upstream::Incoming,
};

/// What a document is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    /// `application/vnd.wap.connectivity-xml`, `…-wbxml`.
    Provisioning,
    /// A message of the DM profile.
    Message(Encoding),
}

impl Document {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &&str| essence.eq_ignore_ascii_case(name);
        const PROVISIONING: [&str; 3] =
            ["application/vnd.wap.connectivity-xml", "application/vnd.wap.connectivity-wbxml", "text/vnd.wap.connectivity-xml"];
        if PROVISIONING.iter().any(is) {
            return Some(Self::Provisioning);
        }
        match MediaType::parse(content_type)?.kind {
            media_type::Kind::Dm(encoding) => Some(Self::Message(encoding)),
            media_type::Kind::Ds(_) | media_type::Kind::Dm2Json | media_type::Kind::Other => None,
        }
    }
}

/// Whether an answer may bring an account that is to say the version. One that is known to be larger than
/// what protover reads goes through.
pub(super) fn is_bootstrap(site: &LiveSite, response: &Response<Incoming>, limit: usize) -> bool {
    let wanted = site.site.account.as_ref().is_some_and(|account| account.bootstrap);
    let fits = response.body().size_hint().lower() <= limit as u64;
    wanted && fits && response.status() == StatusCode::OK && Document::of(response.headers()).is_some()
}

/// An answer with a bootstrap document.
pub(super) async fn annotate(response: Response<Incoming>, returns: &Return, mut carried: Carried) -> Box<Ruled> {
    let (head, incoming) = response.into_parts();
    let mut head = annotate::towards_device(head, returns, &mut carried);
    let limits = *carried.live.limits();
    let raw = match gather(incoming, limits.body, Instant::now() + limits.upstream_timeout).await {
        Ok(raw) => raw,
        Err(gone) => return refuse::broke_off(gone, carried),
    };
    carried.open.kind = Kind::Account;
    let plain = Packing::of(&head.headers).and_then(|packing| packing.unpack(&raw, limits.body).ok());
    let stamped = match (&plain, Document::of(&head.headers)) {
        _ if is_sealed(&head.headers) => Err(Reason::IntegrityProtected.code().to_owned()),
        (Some(plain), Some(document)) => stamp(plain, document, &returns.site, &mut carried),
        _ => Err("the document cannot be unpacked".to_owned()),
    };
    let (edits, name) = match stamped {
        Ok(edited) => edited,
        Err(why) => {
            note(&mut carried, &why);
            return annotate::whole(head, raw, carried);
        }
    };
    match plain {
        Some(plain) if !edits.is_empty() && returns.site.site.mode == Mode::Enforce => {
            let bytes = edits.apply(&plain);
            headers::describe_new_body(&mut head.headers, bytes.len());
            carried.edited([name.into()]);
            carried.open.hints.push("account");
            Ruled::answered(Response::from_parts(head, Answer::whole(bytes)), carried)
        }
        _ => annotate::whole(head, raw, carried),
    }
}

/// Whether the document carries a MAC of its own (OMA-TS-DM_Bootstrap-V1_2_1, section 5.7): it depends on
/// secrets of the device.
fn is_sealed(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let names = content_type.split(';').skip(1).filter_map(|parameter| parameter.split('=').next());
    let covers = |name: &str| ["sec", "mac"].iter().any(|known| name.trim().eq_ignore_ascii_case(known));
    names.into_iter().any(covers)
        || ["ms-signature", "mdm-signature", "x-syncml-hmac"].iter().any(|name| headers.contains_key(*name))
}

/// The edits for a document, and what they are called; or why there are none.
fn stamp(plain: &[u8], document: Document, site: &LiveSite, carried: &mut Carried) -> Result<(Edits, &'static str), String> {
    let Some(account) = &site.site.account else { return Err("no [account]".to_owned()) };
    let supported = site.site.supported(Family::Dm);
    let recommended = site.site.recommended(Family::Dm).or_else(|| supported.first().copied());
    let id = server_id(account, site);
    let is_ours = |server_id: &str, addresses: &[String]| {
        (!id.is_empty() && server_id == id) || addresses.iter().any(|address| site.site.is_at(host(address)))
    };
    let (edits, changed, name, version) = match document {
        Document::Provisioning => {
            let document = provisioning::Document::read(plain).map_err(|why| why.to_string())?;
            let version = provisioning::highest(recommended, supported).ok_or("no version of this site can stand there")?;
            let (edits, changed) =
                provisioning::stamp(plain, &document, version, |found| is_ours(&found.provider_id, &found.addresses));
            (edits, changed, "PROTOVER", version)
        }
        Document::Message(encoding) => {
            let index = syncml::scan(encoding, plain).map_err(|why| why.to_string())?;
            let (version, value) = value(account, recommended).ok_or("no version of this site can stand there")?;
            let ours = |found: &Inline| is_ours(&found.server_id, &found.addresses);
            let (edits, changed) = stamp_inline(plain, &index, account.below(), &value, ours).map_err(|why| why.to_string())?;
            (edits, changed, "account", version)
        }
    };
    carried.open.recommended = Some(version);
    if changed == 0 {
        return Err("no account of this site that does not say so".to_owned());
    }
    carried.open.requirement = Some(Requirement::Tree1);
    Ok((edits, name))
}

fn value(account: &Account, recommended: Option<Version>) -> Option<(Version, String)> {
    let version = recommended?;
    Some((version, account.value(version)?))
}

/// The host in an address. Some accounts have no scheme in front.
fn host(address: &str) -> &str {
    let address = address.trim();
    let behind = address.split_once("://").map_or(address, |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}
