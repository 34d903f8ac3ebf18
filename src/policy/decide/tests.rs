use std::borrow::Cow;

use super::*;
use crate::{
    policy::{Source, compile, matching::bucket, site::Policies},
    syncml::header::Encoding,
};

fn policies(site: &str) -> Policies {
    let sources = [
        Source { name: "proxy.toml".into(), text: "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".into() },
        Source { name: "a.toml".into(), text: format!("[site]\nname = \"a\"\nhosts = [\"*\"]\n{site}") },
    ];
    let compiled = compile(&sources);
    compiled.policies.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>()))
}

const SERVERS: &str = "[[server]]\nname = \"new\"\nurl = \"http://a\"\nspeaks = [\"1.2\", \"1.3\"]\n\
    [[server]]\nname = \"old\"\nurl = \"http://b\"\nspeaks = [\"1.1\"]\nencodings = [\"xml\"]\n";
const NEW: &str = "[[server]]\nname = \"new\"\nurl = \"http://a\"\nspeaks = [\"1.2\", \"1.3\"]\n";

fn message(ver_proto: &str) -> Message<'static> {
    Message {
        encoding: Encoding::Xml,
        declared: VersionTable::default().recognise(ver_proto),
        dtd: Dtd::Agrees,
        media_type_agrees: true,
        device: Cow::Borrowed("IMEI:493005100592800"),
        first: true,
        started_by: None,
        integrity: Integrity::None,
    }
}

fn facts(content: Content<'_>) -> Facts<'_> {
    Facts {
        path: "/dm",
        user_agent: Some("Client/1.0"),
        client_certificate: None,
        client_fingerprint: None,
        content,
        notified: None,
        learnt: &[],
    }
}

/// A decision in short: verdict, reason, server, version used, version recommended, status of a refusal.
fn short(site: &str, content: Content<'_>) -> String {
    let policies = policies(site);
    let decision = decide(&policies.sites[0], &policies.versions, &facts(content));
    let version = |version: Option<Version>| version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    let server = match decision.verdict() {
        Verdict::Refuse => decision.status().0.to_string(),
        _ => policies.sites[0].servers[decision.server()].name.to_string(),
    };
    let rule = decision.rule().map(|rule| format!(" by {rule}")).unwrap_or_default();
    let (used, recommended) = (version(decision.used()), version(decision.recommended()));
    let requirement = decision.requirement().map_or("-", Requirement::code);
    format!("{} {} {server} {used} {recommended} {requirement}{rule}", decision.verdict(), decision.reason())
}

fn of(site: &str, ver_proto: &str) -> String {
    short(site, Content::Message(message(ver_proto)))
}

#[test]
fn accounts_learn_only_what_their_device_does_not_use_yet() {
    let site = format!(
        "{SERVERS}[unsupported]\nthen = \"bridge\"\n[hint]\ncarriers = [\"account\"]\n[account]\nserver_id = \"a\"\n\
         [[rule]]\nname = \"first\"\nwhen = {{ share = \"50%\" }}\nthen = {{ account = true }}\n\
         [[rule]]\nname = \"not yet\"\nwhen = {{}}\nthen = {{ account = false }}\n"
    );
    let policies = policies(&site);
    let told = |ver_proto: &'static str, device: &'static str| {
        let message = Message { device: Cow::Borrowed(device), ..message(ver_proto) };
        decide(&policies.sites[0], &policies.versions, &facts(Content::Message(message))).account()
    };
    let devices = ["IMEI:1", "IMEI:2", "IMEI:3", "IMEI:4", "IMEI:5", "IMEI:6", "IMEI:7", "IMEI:8"];
    let (within, without): (Vec<&str>, Vec<&str>) = devices.iter().partition(|device| bucket(device) < 5000);
    assert!(!within.is_empty() && !without.is_empty());
    for device in within {
        assert!(told("DM/1.2", device) && told("DM/1.1", device), "{device}");
        assert!(!told("DM/1.3", device), "it uses the recommended one");
        assert!(!told("DM/9.9", device) && !told("SyncML/1.2", device));
    }
    assert!(without.iter().all(|device| !told("DM/1.2", device)));
}

#[test]
fn the_default_decision() {
    let unsupported = |then: &str| format!("{NEW}[unsupported]\nthen = \"{then}\"\n");
    let bridge = unsupported("bridge");
    let low = bridge.replace("\"1.2\", \"1.3\"", "\"1.1\"");
    for (site, declared, expected) in [
        (SERVERS, "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        (SERVERS, "DM/1.2", "advise supported-not-recommended new DM/1.2 DM/1.3 Server-2"),
        (SERVERS, "DM/1.1", "advise supported-not-recommended old DM/1.1 DM/1.3 Server-2"),
        (NEW, "DM/1.1", "refuse unsupported-version 513 - DM/1.3 Server-3"),
        (&unsupported("refuse"), "DM/1.1", "refuse unsupported-version 513 - DM/1.3 Server-3"),
        (&unsupported("pass"), "DM/1.1", "pass unsupported-version new DM/1.1 DM/1.3 -"),
        // None below: the lowest above.
        (&bridge, "DM/1.1", "bridge bridged new DM/1.2 DM/1.3 -"),
        // The highest below.
        (&low, "DM/1.3", "bridge bridged new DM/1.1 DM/1.1 -"),
        // Families are never crossed, and nothing of one is said to the other.
        (&bridge, "SyncML/1.2", "refuse unsupported-version 513 - - Server-3"),
        (&bridge, "DM/9.9", "refuse unrecognised-version 513 - DM/1.3 Server-3"),
        (&bridge, "SyncML/9.9", "refuse unrecognised-version 513 - - Server-3"),
        (SERVERS, " DM/1.2 ", "refuse unrecognised-version 513 - DM/1.3 Server-3"),
        (SERVERS, "", "refuse unrecognised-version 513 - DM/1.3 Server-3"),
    ] {
        assert_eq!(of(site, declared), expected, "{declared} at {site}");
    }
}

#[test]
fn what_is_no_message() {
    assert_eq!(short(SERVERS, Content::NotSyncMl), "pass not-syncml new - - -");
    assert_eq!(short(SERVERS, Content::Malformed), "refuse malformed 513 - - -");
    assert_eq!(short(&format!("{SERVERS}[malformed]\nthen = \"pass\"\n"), Content::Malformed), "pass malformed new - - -");
    assert_eq!(short(SERVERS, Content::Dm2), "refuse unrecognised-version 513 - DM/1.3 Server-3");
    let rule = format!(
        "{SERVERS}[[rule]]\nname = \"r\"\nwhen = {{ path = \"/dm\" }}\nthen = {{ verdict = \"pass\", server = \"old\" }}\n"
    );
    assert_eq!(short(&rule, Content::NotSyncMl), "pass rule old - - - by r");
    // Conditions on messages do not hold for what is none.
    for when in ["version = \">=1.1\"", "device = \"*\"", "encoding = \"xml\"", "share = \"100%\""] {
        let rule = rule.replace("path = \"/dm\"", when);
        assert_eq!(short(&rule, Content::NotSyncMl), "pass not-syncml new - - -", "{when}");
    }
}

#[test]
fn what_contradicts_itself() {
    let strict = SERVERS.replacen("[[server]]", "strict = true\n[[server]]", 1);
    let with = |dtd, media_type_agrees| Content::Message(Message { dtd, media_type_agrees, ..message("DM/1.3") });
    assert_eq!(short(SERVERS, with(Dtd::Unknown, true)), "refuse dtd-mismatch 505 - DM/1.3 Server-3");
    assert_eq!(short(SERVERS, with(Dtd::Contradicts, false)), "pass recommended new DM/1.3 DM/1.3 -");
    assert_eq!(short(&strict, with(Dtd::Contradicts, true)), "refuse dtd-mismatch 505 - DM/1.3 Server-3");
    assert_eq!(short(&strict, with(Dtd::Agrees, false)), "refuse media-type-mismatch 415 - DM/1.3 -");
    assert_eq!(short(&strict, with(Dtd::Agrees, true)), "pass recommended new DM/1.3 DM/1.3 -");
}

#[test]
fn an_encoding_that_the_server_lacks() {
    let wbxml = |ver_proto| Content::Message(Message { encoding: Encoding::Wbxml, ..message(ver_proto) });
    assert_eq!(short(SERVERS, wbxml("DM/1.1")), "refuse unsupported-encoding 415 - DM/1.3 -");
    assert_eq!(short(SERVERS, wbxml("DM/1.2")), "advise supported-not-recommended new DM/1.2 DM/1.3 Server-2");
    // The next server that takes it.
    let third = format!("{SERVERS}[[server]]\nname = \"third\"\nurl = \"http://c\"\nspeaks = [\"1.1\"]\n");
    assert_eq!(short(&third, wbxml("DM/1.1")), "advise supported-not-recommended third DM/1.1 DM/1.3 Server-2");
    // A bridge looks for the encoding as well.
    let bridge = "[[server]]\nname = \"x\"\nurl = \"http://a\"\nspeaks = [\"1.2\"]\nencodings = [\"xml\"]\n\
        [[server]]\nname = \"w\"\nurl = \"http://b\"\nspeaks = [\"1.1\"]\nencodings = [\"wbxml\"]\n[unsupported]\nthen = \"bridge\"\n";
    assert_eq!(short(bridge, wbxml("DM/1.3")), "bridge bridged w DM/1.1 DM/1.2 -");
    assert_eq!(of(bridge, "DM/1.3"), "bridge bridged x DM/1.2 DM/1.2 -");
    let no_wbxml = bridge.replace("\"wbxml\"", "\"xml\"");
    assert_eq!(short(&no_wbxml, wbxml("DM/1.3")), "refuse unsupported-encoding 415 - DM/1.2 -");
}

#[test]
fn a_protected_message_is_never_edited() {
    let bridge = format!("{NEW}[unsupported]\nthen = \"bridge\"\n");
    let carriers = |list: &str| format!("{NEW}[hint]\ncarriers = [{list}]\n");
    for integrity in [Integrity::Hmac, Integrity::Signed] {
        let with = |ver_proto| Content::Message(Message { integrity, ..message(ver_proto) });
        assert_eq!(short(&bridge, with("DM/1.1")), "refuse integrity-protected 513 - DM/1.3 Server-3");
        let rule = format!("{NEW}[[rule]]\nname = \"r\"\nwhen = {{}}\nthen = {{ verdict = \"bridge\", to = \"1.3\" }}\n");
        assert_eq!(short(&rule, with("DM/1.1")), "refuse integrity-protected 513 - DM/1.3 Server-3 by r");
        let fallen = short(&carriers("\"status-item\""), with("DM/1.2"));
        assert_eq!(fallen, "advise integrity-protected new DM/1.2 DM/1.3 Server-2");
        let nothing_fell = short(&carriers("\"http-header\""), with("DM/1.2"));
        assert_eq!(nothing_fell, "advise supported-not-recommended new DM/1.2 DM/1.3 Server-2");
        let policies = policies(&carriers("\"status-item\""));
        let body = |content| decide(&policies.sites[0], &policies.versions, &facts(content)).body_hints();
        assert!(!body(with("DM/1.2")) && body(Content::Message(message("DM/1.2"))));
    }
}

#[test]
fn rules() {
    let rule = |when: &str, then: &str| format!("{SERVERS}[[rule]]\nname = \"r\"\nwhen = {{ {when} }}\nthen = {{ {then} }}\n");
    for (when, then, declared, expected) in [
        ("", "verdict = \"pass\"", "DM/1.1", "pass rule old DM/1.1 DM/1.3 - by r"),
        ("", "verdict = \"pass\", server = \"new\"", "DM/1.1", "pass rule new DM/1.1 DM/1.3 - by r"),
        ("", "verdict = \"pass\"", "DM/9.9", "pass rule new - DM/1.3 - by r"),
        ("", "verdict = \"advise\", recommend = \"1.1\"", "DM/1.1", "advise rule old DM/1.1 DM/1.1 Server-2 by r"),
        ("", "verdict = \"refuse\"", "DM/1.3", "refuse rule 513 - DM/1.3 Server-3 by r"),
        ("", "verdict = \"bridge\", to = \"1.1\"", "DM/1.3", "bridge rule old DM/1.1 DM/1.3 - by r"),
        // A rule cannot do what cannot be done; then the default decides.
        ("", "verdict = \"bridge\", to = \"1.1\"", "DM/1.1", "advise supported-not-recommended old DM/1.1 DM/1.3 Server-2 by r"),
        ("", "verdict = \"bridge\", to = \"1.1\"", "SyncML/1.1", "refuse unsupported-version 513 - - Server-3 by r"),
        ("", "verdict = \"bridge\", to = \"1.1\"", "DM/9.9", "refuse unrecognised-version 513 - DM/1.3 Server-3 by r"),
        ("", "verdict = \"bridge\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 - by r"),
        ("", "verdict = \"bridge\", server = \"new\"", "DM/1.1", "bridge rule new DM/1.2 DM/1.3 - by r"),
        // What a rule leaves open is decided as without it, by the server that it names.
        ("", "server = \"new\"", "DM/1.1", "refuse unsupported-version 513 - DM/1.3 Server-3 by r"),
        ("", "server = \"new\"", "DM/1.2", "advise supported-not-recommended new DM/1.2 DM/1.3 Server-2 by r"),
        ("", "recommend = \"1.2\"", "DM/1.2", "pass recommended new DM/1.2 DM/1.2 - by r"),
        ("", "recommend = \"1.2\"", "SyncML/9.9", "refuse unrecognised-version 513 - - Server-3 by r"),
        // Conditions.
        ("version = \"<1.3\"", "verdict = \"refuse\"", "DM/1.2", "refuse rule 513 - DM/1.3 Server-3 by r"),
        ("version = \"<1.3\"", "verdict = \"refuse\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        ("device = \"IMEI:49*\"", "verdict = \"refuse\"", "DM/1.3", "refuse rule 513 - DM/1.3 Server-3 by r"),
        ("device = \"IMEI:50*\"", "verdict = \"refuse\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        ("user_agent = \"Client/?.?\"", "verdict = \"refuse\"", "DM/1.3", "refuse rule 513 - DM/1.3 Server-3 by r"),
        ("client_certificate = \"*\"", "verdict = \"refuse\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        ("started_by = \"client\"", "verdict = \"refuse\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        ("encoding = \"wbxml\"", "verdict = \"refuse\"", "DM/1.3", "pass recommended new DM/1.3 DM/1.3 -"),
        ("path = \"/d?\"", "verdict = \"refuse\"", "DM/1.3", "refuse rule 513 - DM/1.3 Server-3 by r"),
    ] {
        assert_eq!(of(&rule(when, then), declared), expected, "{when} / {then} / {declared}");
    }
}

#[test]
fn a_certificate_is_known_by_its_fingerprint() {
    let (one, other) = ("AB:".repeat(31) + "AB", "cd".repeat(32));
    let when = format!("client_fingerprint = [{one:?}, {other:?}]");
    let rule = format!("{SERVERS}[[rule]]\nname = \"r\"\nwhen = {{ {when} }}\nthen = {{ verdict = \"refuse\" }}\n");
    let policies = policies(&rule);
    for (shown, matches) in [(Some("ab".repeat(32)), true), (Some(other), true), (Some("ef".repeat(32)), false), (None, false)] {
        let facts = Facts { client_fingerprint: shown.as_deref(), ..facts(Content::Message(message("DM/1.3"))) };
        let decision = decide(&policies.sites[0], &policies.versions, &facts);
        assert_eq!(decision.rule().is_some(), matches, "{shown:?}");
    }
}

#[test]
fn a_bridge_stands_for_the_account_of_a_client_that_starts() {
    let bridge = format!("{NEW}[unsupported]\nthen = \"bridge\"\n");
    let started = |by| Content::Message(Message { started_by: Some(by), ..message("DM/1.1") });
    assert_eq!(short(&bridge, started(StartedBy::Client)), "bridge bridged new DM/1.2 DM/1.3 Client-4");
    assert_eq!(short(&bridge, started(StartedBy::Server)), "bridge bridged new DM/1.2 DM/1.3 -");
}

#[test]
fn observing_decides_as_enforcing_does() {
    let observed = NEW.replacen("[[server]]", "mode = \"observe\"\n[[server]]", 1);
    assert_eq!(of(&observed, "DM/1.1"), of(NEW, "DM/1.1"));
}

#[test]
fn a_share_is_a_share_and_stays_the_same() {
    // Numbers in a row, as devices of one delivery have them.
    let devices: Vec<String> = (0..20_000).map(|n| format!("IMEI:{}", 353_879_010_000_000_u64 + n)).collect();
    let part = devices.iter().filter(|device| bucket(device) < 1_000).count();
    assert!((1_850..2_150).contains(&part), "{part} of 20000 are not 10%");
    // Pinned: another release must not move devices.
    assert_eq!(["", "IMEI:493005100592800", "IMEI:353879010000000"].map(bucket), [4_342, 6_717, 4_726]);
}

mod properties;
mod remembered;
