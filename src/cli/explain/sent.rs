//! The message as it would be sent: on to a server, or back to the device.

use std::borrow::Cow;

use bytes::Bytes;
use http::header;

use super::Request;
use crate::{
    policy::{
        decision::Decision,
        reason::{Reason, Verdict},
        site::{Mode, Site},
    },
    proxy::exchange::Known,
    syncml::{
        bridge::{Crossing, Obstacle, Own, bridge},
        malformed::Malformed,
        media_type, reply,
        status::Status,
        version::{Version, VersionTable},
    },
};

/// What leaves protover.
pub(super) struct Sent {
    /// The server that gets it; `None` for the device.
    pub(super) server: Option<usize>,
    /// The HTTP status of an answer.
    pub(super) http_status: Option<u16>,
    /// The SyncML status of an answer.
    pub(super) syncml_status: Option<u16>,
    /// What stopped a bridge, and what it is called.
    pub(super) obstacle: Option<(Reason, String)>,
    /// What was changed.
    pub(super) edits: Vec<Cow<'static, str>>,
    /// The Content-Type.
    pub(super) content_type: String,
    /// The body.
    pub(super) body: Bytes,
}

/// The one place of this command that knows what becomes of a decision.
pub(super) fn as_sent(
    request: &Request,
    site: &Site,
    versions: &VersionTable,
    message: Option<&Result<Box<Known>, Malformed>>,
    decision: &Decision,
) -> Sent {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let on = Sent {
        server: Some(decision.server()),
        http_status: None,
        syncml_status: None,
        obstacle: None,
        edits: Vec::new(),
        content_type: content_type.to_owned(),
        body: request.body.clone(),
    };
    let http = |status: u16, text: String| Sent {
        server: None,
        http_status: Some(status),
        content_type: "text/plain; charset=utf-8".to_owned(),
        body: text.into(),
        obstacle: None,
        edits: Vec::new(),
        syncml_status: None,
    };
    let raw = &request.body;
    let answer = |body: Vec<u8>, status: Status| {
        let scanned = crate::syncml::scan(crate::proxy::exchange::sniff(&body), &body);
        let content_type = scanned.map_or_else(
            |_| content_type.to_owned(),
            |index| media_type::rewrite(content_type, &index.text(&body, index.ver_proto), &index.text(&body, index.ver_dtd)),
        );
        Sent { content_type, body: body.into(), syncml_status: Some(status.0), ..http(200, String::new()) }
    };
    let refusal = |known: &Known, status| {
        let recommended = decision.recommended();
        let refusal = reply::Refusal { status, supported: decision.supported(), recommended, table: versions };
        answer(reply::refusal(raw, &known.index, &refusal), status)
    };
    if site.mode == Mode::Observe {
        return on;
    }
    match (decision.verdict(), message) {
        (Verdict::Refuse, Some(Ok(known))) => refusal(known, decision.status()),
        (Verdict::Refuse, Some(Err(malformed))) => http(400, format!("400 malformed: {malformed}\n")),
        (Verdict::Refuse, None) if decision.reason() == Reason::UnrecognisedVersion => {
            let recommended = decision.recommended().map(|version| version.to_string());
            let error = serde_json::json!({ "error": "unsupported DM protocol version", "recommended": recommended });
            Sent { content_type: "application/json".to_owned(), ..http(415, format!("{error}\n")) }
        }
        (Verdict::Refuse, None) => http(403, format!("403 {}\n", decision.reason())),
        (Verdict::Bridge, Some(Ok(known))) => {
            let forms = |version: Option<Version>| version.and_then(|version| versions.get(version));
            let (Some(from), Some(to)) = (forms(known.declared.known()), forms(decision.used())) else { return on };
            let crossing = Crossing { from, to, lossy: decision.lossy(), own: Own::default() };
            match bridge(raw, &known.index, &crossing) {
                Ok(bridged) => Sent {
                    body: bridged.edits.apply(raw),
                    content_type: media_type::rewrite(content_type, &to.version.to_string(), &to.dtd),
                    edits: bridged.names,
                    ..on
                },
                Err(Obstacle::Malformed(malformed)) => Sent {
                    obstacle: Some((Reason::Malformed, malformed.to_string())),
                    ..http(400, format!("400 malformed: {malformed}\n"))
                },
                Err(obstacle @ Obstacle::Element { name, status, .. }) => {
                    let sent = if known.first {
                        refusal(known, Status::PROTOCOL_VERSION_NOT_SUPPORTED)
                    } else {
                        answer(reply::cannot_go(raw, &known.index, &obstacle), status)
                    };
                    Sent { obstacle: Some((Reason::CannotBridge, name.to_owned())), ..sent }
                }
            }
        }
        _ => on,
    }
}
