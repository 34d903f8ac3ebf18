//! Decisions by what was learnt of servers, and by how a session began.

use super::*;
use crate::session::Learnt;

const FOUND_OUT: &str = "[[server]]\nname = \"found\"\nurl = \"http://a\"\nspeaks = \"discover\"\n";
const DOUBTED: &str = "[[server]]\nname = \"doubted\"\nurl = \"http://a\"\nspeaks = [\"1.2\"]\nstep_down = true\n";

/// A decision in short, when the first server took and refused these versions; with `?` when it may be tried.
fn with_learnt(site: &str, ver_proto: &str, accepted: &[Version], refused: &[Version]) -> String {
    let policies = policies(site);
    let site = &policies.sites[0];
    let mut learnt: Vec<Learnt> = site.servers.iter().map(|_| Learnt::nothing(0)).collect();
    for version in accepted {
        learnt[0].accept(*version);
    }
    for version in refused {
        learnt[0].refuse(*version);
    }
    let facts = Facts { learnt: &learnt, ..facts(Content::Message(message(ver_proto))) };
    let decision = decide(site, &policies.versions, &facts);
    let used = decision.used().map_or_else(|| "-".to_owned(), |version| version.to_string());
    let supported: Vec<String> = decision.supported().iter().map(Version::to_string).collect();
    let tried = if decision.trial() { "?" } else { "" };
    format!("{} {} {used}{tried} [{}]", decision.verdict(), decision.reason(), supported.join(" "))
}

#[test]
fn what_is_learnt_of_a_server_is_as_good_as_a_list() {
    let (v11, v12, v13) = (Version::DM_1_1, Version::DM_1_2, Version::DM_1_3);
    for (site, ver_proto, accepted, refused, expected) in [
        // Nobody knows: it is asked as the device asks, in either family.
        (FOUND_OUT, "DM/1.3", &[][..], &[][..], "pass discovering DM/1.3? []"),
        (FOUND_OUT, "SyncML/1.2", &[], &[], "pass discovering SyncML/1.2? []"),
        (FOUND_OUT, "DM/9.9", &[], &[], "refuse unrecognised-version - []"),
        // It took a version: that is the recommended one.
        (FOUND_OUT, "DM/1.2", &[v12], &[], "pass recommended DM/1.2? [DM/1.2]"),
        (FOUND_OUT, "DM/1.1", &[v12, v11], &[], "advise supported-not-recommended DM/1.1? [DM/1.2 DM/1.1]"),
        (FOUND_OUT, "DM/1.3", &[v12], &[], "pass discovering DM/1.3? [DM/1.2]"),
        // It refused one: the next below that it took, else one above, else one that was never tried.
        (FOUND_OUT, "DM/1.3", &[v11, v12], &[v13], "bridge bridged DM/1.2? [DM/1.2 DM/1.1]"),
        (FOUND_OUT, "DM/1.1", &[v12, v13], &[v11], "bridge bridged DM/1.2? [DM/1.3 DM/1.2]"),
        (FOUND_OUT, "DM/1.3", &[], &[v13], "bridge bridged DM/1.2? []"),
        (FOUND_OUT, "DM/1.3", &[], &[v11, v12, v13], "refuse unsupported-version - []"),
        // A list that may be wrong counts until it is proved wrong.
        (DOUBTED, "DM/1.2", &[], &[], "pass recommended DM/1.2? [DM/1.2]"),
        (DOUBTED, "DM/1.2", &[v11], &[v12], "bridge bridged DM/1.1? [DM/1.1]"),
        (DOUBTED, "DM/1.1", &[], &[], "bridge bridged DM/1.2? [DM/1.2]"),
    ] {
        assert_eq!(with_learnt(site, ver_proto, accepted, refused), expected, "{ver_proto} {accepted:?} {refused:?}");
    }
}

#[test]
fn a_server_is_not_tried_where_that_could_do_harm() {
    let policies = policies(FOUND_OUT);
    let site = &policies.sites[0];
    let trial = |message: Message<'_>| decide(site, &policies.versions, &facts(Content::Message(message))).trial();
    assert!(trial(message("DM/1.2")));
    assert!(!trial(Message { first: false, ..message("DM/1.2") }), "in the middle of a session");
    assert!(!trial(Message { integrity: Integrity::Hmac, ..message("DM/1.2") }), "what may not be edited");
    let rule = format!("{FOUND_OUT}[[rule]]\nname = \"r\"\nwhen = {{ version = \"1.2\" }}\nthen = {{ verdict = \"pass\" }}\n");
    assert_eq!(with_learnt(&rule, "DM/1.2", &[], &[]), "pass rule DM/1.2 []", "a rule said otherwise");
}

#[test]
fn a_session_goes_on_as_it_began() {
    let policies = policies(&format!("{SERVERS}[unsupported]\nthen = \"refuse\"\n"));
    let site = &policies.sites[0];
    let pin = |kept, server: &str, used| {
        let mut pin = Pin::new(kept, server, "another policy");
        (pin.declared, pin.used, pin.recommended) = (Some(Version::DM_1_2), Some(used), Some(Version::DM_1_3));
        pin.rule = Some("of old".to_owned());
        pin
    };
    let of = |message: Message<'static>, pin: &Pin| {
        let decision = pinned(site, &policies.versions, &facts(Content::Message(message)), pin)?;
        let used = decision.used().map_or_else(|| "-".to_owned(), |version| version.to_string());
        let rule = decision.rule().map(ToString::to_string).unwrap_or_default();
        Some(format!("{} {} {} {used} {rule}", decision.verdict(), decision.reason(), decision.server()))
    };
    let later = || Message { first: false, ..message("DM/1.2") };
    let (v11, v12) = (Version::DM_1_1, Version::DM_1_2);
    // By the policy it would pass to the first server.
    let bridged = pin(Kept::Bridge, "old", v11);
    assert_eq!(of(later(), &bridged).as_deref(), Some("bridge session-pinned 1 DM/1.1 of old"));
    assert_eq!(of(later(), &pin(Kept::Advise, "new", v12)).as_deref(), Some("advise session-pinned 0 DM/1.2 of old"));
    assert_eq!(of(later(), &pin(Kept::Pass, "old", v12)).as_deref(), Some("pass session-pinned 1 DM/1.2 of old"));
    // A message that may not be edited is not, whatever was before.
    let protected = Message { integrity: Integrity::Signed, ..later() };
    assert_eq!(of(protected, &bridged).as_deref(), Some("refuse integrity-protected 1 - of old"));
    // Another version, or a server that is gone: decided anew.
    assert_eq!(of(message("DM/1.1"), &bridged), None);
    assert_eq!(of(later(), &pin(Kept::Pass, "gone", v12)), None);
}
