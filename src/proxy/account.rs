//! The carrier `account`: the recommended version is written into the DM account of the device, by a command
//! of protover's own in a message of the server. The device's answer to it is taken out of its next message.
//!
//! Nothing is put anywhere before it is stored what was put where: an answer that is not known for what it
//! is would reach the server. Each step is tried once, on each device.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    annotate::{Changed, Read, Return},
    exchange::{Carried, Exchange, Known, Ruled},
    live::LiveSite,
    refuse,
    remembered::{Remembered, seconds},
};
use crate::{
    account::{self, ROOTS, Stripped, windows_node},
    policy::{
        self,
        decision::Decision,
        reason::Reason,
        site::{Mode, Node},
    },
    session::{Account, Injected, Injection, Wanted, key},
    syncml::{
        edit::Edits,
        header::Field,
        reply,
        version::{Family, Version},
    },
};

/// For how long it is known what a device answered. Then it is asked again: devices are updated, and change
/// hands.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// What the carrier has to do in a session.
#[derive(Debug)]
pub(super) struct Accounting {
    keys: Keys,
    injected: Injected,
    /// MsgID of the device's message, and a digest of it.
    request: String,
    digest: String,
    /// The message without what answers a command of protover's own.
    pub(super) stripped: Option<Bytes>,
    /// Whether a command may follow in the answer to it.
    may_follow: Result<(), String>,
}

/// Where things are kept.
#[derive(Debug)]
struct Keys {
    session: String,
    device: String,
}

/// What is left of a message for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    Something,
    /// The server is not to see it: without what was taken out, the device would not have sent it.
    Nothing,
}

/// What the policy wants, with what it borrows.
struct Plan<'s> {
    roots: Vec<&'s str>,
    name: Option<String>,
    below: &'s str,
    server_id: &'s str,
    value: String,
}

impl<'s> Plan<'s> {
    /// `None` when nothing is to be written there.
    fn of(site: &'s LiveSite, recommended: Option<Version>) -> Option<Self> {
        let policy = site.site.account.as_ref()?;
        let server_id = server_id(policy, site);
        let others = || ROOTS.into_iter().filter(|root| ROOTS.contains(&policy.root()) && *root != policy.root());
        let (name, roots) = match &policy.node {
            Node::Named(name) => (Some(name.to_string()), vec![policy.root()]),
            Node::Sha256 => (Some(windows_node(server_id)), vec![policy.root()]),
            Node::Discover => (None, std::iter::once(policy.root()).chain(others()).collect()),
        };
        Some(Self { roots, name, below: policy.below(), server_id, value: policy.value(recommended?)? })
    }

    fn wanted(&self) -> Wanted<'_> {
        let Self { roots, name, below, server_id, value } = self;
        Wanted { roots, name: name.as_deref(), below, server_id, value }
    }
}

/// The server's identifier, as accounts have it: that of the policy, or of the secrets. Empty without.
pub(super) fn server_id<'s>(policy: &'s policy::site::Account, site: &'s LiveSite) -> &'s str {
    let secret = || Some(&*site.secrets.as_ref()?.server.as_ref()?.id);
    policy.server_id.as_deref().or_else(secret).unwrap_or_default()
}

/// Adds a remark on the account to the record.
pub(super) fn note(carried: &mut Carried, what: &dyn Display) {
    let said = carried.open.detail.take().map(|said| format!("{said}; ")).unwrap_or_default();
    carried.open.detail = Some(format!("{said}account: {what}").into());
}

/// Sees to a message of a device: what was put into the session before, whether something is still to be
/// put, and what the message answers to it.
pub(super) async fn recall(exchange: &mut Exchange, decision: &Decision, remembered: &mut Remembered) -> Remains {
    let site = exchange.collected.site.clone();
    let Some(known) = &exchange.message else { return Remains::Something };
    let dm = known.declared.family() == Family::Dm;
    if !(dm && site.site.carriers.account && site.site.mode == Mode::Enforce) {
        return Remains::Something;
    }
    let raw = exchange.plain().clone();
    let text = |field: Field| known.index.text(&raw, field).trim().to_owned();
    let (device, session) = (text(known.index.source), text(known.index.session_id));
    let keys = Keys {
        session: key("injected", &site.site.name, &device, &session),
        device: key("account", &site.site.name, &device, ""),
    };
    let request = text(known.index.msg_id);
    let digest: String = Sha256::digest(&raw).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let value = remembered.recall(&keys.session, remembered.idle()).await;
    let mut injected = value.and_then(|value| Injected::read(&value));
    let carried = &mut exchange.collected.carried;
    if known.first && injected.as_ref().is_none_or(|injected| injected.again(&request, &digest, seconds()).is_none()) {
        // A session that begins, whatever is still known of another under its name.
        injected = begin(&site, known, &raw, decision, &keys, remembered, carried).await;
    }
    let Some(mut injected) = injected else { return Remains::Something };
    let before = injected.clone();
    let stripped = take_out(&raw, known, &mut injected, carried);
    hear(&site, decision, &mut injected, &keys, remembered, carried).await;
    let was_open = std::mem::replace(&mut injected.open, stripped.as_ref().is_some_and(|stripped| !stripped.last));
    if injected != before {
        remembered.keep(&keys.session, injected.write(), remembered.idle()).await;
    }
    let may_follow = match exchange.may_edit() {
        // Its answer could not be taken out.
        false => Err(Reason::IntegrityProtected.code().to_owned()),
        true => account::may_follow(&raw, &known.index).map_err(|hindrance| hindrance.to_string()),
    };
    let (mut bytes, mut empty) = (None, false);
    if let Some(Stripped { edits, empty: nothing, last }) = stripped.filter(|stripped| !stripped.edits.is_empty()) {
        if exchange.may_edit() {
            bytes = Some(edits.apply(&raw));
            // A package that began in another message has to end for the server too.
            empty = nothing && last && !was_open;
        } else {
            note(&mut exchange.collected.carried, &"the answer cannot be taken out: integrity-protected");
        }
    }
    exchange.account = Some(Box::new(Accounting { keys, injected, request, digest, stripped: bytes, may_follow }));
    if empty { Remains::Nothing } else { Remains::Something }
}

/// Begins to keep account of a session, when there is something to ask of the device.
async fn begin(
    site: &LiveSite,
    known: &Known,
    raw: &[u8],
    decision: &Decision,
    keys: &Keys,
    remembered: &mut Remembered,
    carried: &mut Carried,
) -> Option<Injected> {
    if !decision.account() {
        return None;
    }
    let Some(plan) = Plan::of(site, decision.recommended()) else {
        note(carried, &"the recommended version cannot stand there");
        return None;
    };
    let value = remembered.recall(&keys.device, KEPT).await;
    if remembered.is_degraded() {
        return None;
    }
    let token = format!("{:x}", fastrand::u64(..));
    let account = value.and_then(|value| Account::read(&value)).unwrap_or_default();
    if let Err(left) = account.next(&plan.wanted(), &token) {
        note(carried, &left);
        return None;
    }
    let room = known.index.max_msg_size.and_then(|field| known.index.text(raw, field).trim().parse().ok());
    let injected = Injected::new(token, room);
    remembered.keep(&keys.session, injected.write(), remembered.idle()).await.then_some(injected)
}

/// Finds what answers a command of protover's own.
fn take_out(raw: &Bytes, known: &Known, injected: &mut Injected, carried: &mut Carried) -> Option<Stripped> {
    if injected.list.is_empty() {
        return None;
    }
    match account::strip(raw, &known.index, injected) {
        Ok(stripped) => Some(stripped),
        // The server says what is wrong with it.
        Err(malformed) => {
            note(carried, &format_args!("the message cannot be read: {malformed}"));
            None
        }
    }
}

/// Takes down what the device answered.
async fn hear(
    site: &LiveSite,
    decision: &Decision,
    injected: &mut Injected,
    keys: &Keys,
    remembered: &mut Remembered,
    carried: &mut Carried,
) {
    let new: Vec<&mut Injection> = injected.list.iter_mut().filter(|one| !one.heard && one.is_complete()).collect();
    if new.is_empty() {
        return;
    }
    let (Some(plan), Some(value)) = (Plan::of(site, decision.recommended()), remembered.recall(&keys.device, KEPT).await) else {
        return;
    };
    let mut account = Account::read(&value).unwrap_or_default();
    for one in new {
        let status = one.status.unwrap_or_default();
        account.hear(&one.step, status, one.data.as_deref(), &plan.wanted());
        one.heard = true;
        note(carried, &format_args!("the device answered {} {} with {status}", one.step.verb(), one.step.uri()));
    }
    remembered.keep(&keys.device, account.write(), KEPT).await;
}

/// Answers a message that the server is not to see: the session ends with it, as it would have before.
pub(super) async fn answered_here(exchange: Exchange, mut remembered: Remembered) -> Box<Ruled> {
    remembered.store_nonces(None).await;
    remembered.end().await;
    let plain = exchange.plain().clone();
    let Exchange { collected, message, account, .. } = exchange;
    let mut carried = collected.carried;
    note(&mut carried, &"the message held nothing else, and was answered here");
    carried.open.server = None;
    let last = account.and_then(|account| account.injected.list.last().map(|one| one.answer.clone())).unwrap_or_default();
    let Some(known) = message else { return refuse::http_400("", carried) };
    let message = reply::nothing_more(&plain, &known.index, &last);
    let content_type = collected.parts.headers.get(http::header::CONTENT_TYPE);
    Ruled::answered(refuse::syncml(message, content_type, &known, &collected.site, None), carried)
}

/// Puts the next step into an answer, or the one that was put there before when the device asks again.
pub(super) async fn put_in(
    accounting: Accounting,
    returns: &Return,
    answer: &Read,
    changed: &mut Changed,
    carried: &mut Carried,
) {
    let Accounting { keys, mut injected, request, digest, may_follow, .. } = accounting;
    let (raw, index) = (&answer.plain, &answer.index);
    let msg_id = index.text(raw, index.msg_id).trim().to_owned();
    if let Some(one) = injected.again(&request, &digest, seconds()) {
        // A retransmission of the server's, with what was in it the first time.
        let again = account::append(raw, index, &one.step, Some(&one.ids)).ok();
        if let Some((edits, _)) = again.filter(|_| one.answer == msg_id && may_follow.is_ok() && !answer.protected) {
            put(&edits, changed, carried);
        }
        return;
    }
    let mut remembered = Remembered::new(&carried.store, carried.live.settings().sessions, "", "", "");
    let plan = Plan::of(&returns.site, returns.decision.recommended()).filter(|_| returns.decision.account());
    let Some(plan) = plan else { return };
    let value = remembered.recall(&keys.device, KEPT).await;
    let mut account = value.and_then(|value| Account::read(&value)).unwrap_or_default();
    let Ok(step) = account.next(&plan.wanted(), &injected.token) else { return };
    let appended = match may_follow {
        _ if answer.protected => Err(Reason::IntegrityProtected.code().to_owned()),
        Err(hindrance) => Err(hindrance),
        Ok(()) => account::append(raw, index, &step, None).map_err(|hindrance| hindrance.to_string()),
    };
    let fits = |edits: &Edits| injected.room.is_none_or(|room| edits.len_after(changed.edits.len_after(raw.len())) <= room);
    let (edits, ids) = match appended {
        Ok((edits, ids)) if fits(&edits) => (edits, ids),
        Ok(_) => return note(carried, &"not now: MaxMsgSize"),
        Err(hindrance) => return note(carried, &format_args!("not now: {hindrance}")),
    };
    account.ask(step.clone(), &injected.token);
    let (at, answer) = (seconds(), msg_id);
    injected.list.push(Injection { request, digest, at, answer, ids, step, status: None, data: None, heard: false });
    let kept = !remembered.is_degraded()
        && remembered.keep(&keys.session, injected.write(), remembered.idle()).await
        && remembered.keep(&keys.device, account.write(), KEPT).await;
    carried.open.store = Some(remembered.name());
    if kept {
        put(&edits, changed, carried);
    } else {
        note(carried, &"not now: the store does not answer");
    }
}

fn put(edits: &Edits, changed: &mut Changed, carried: &mut Carried) {
    for edit in edits.iter() {
        changed.edits.replace(edit.span, edit.with.clone());
    }
    changed.names.push("account".into());
    carried.open.hints.push("account");
}
