//! What holds of every decision, whatever the policy and the request.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::policy::{explain, lint::covers};

/// A site with any mix of rules.
fn any_policies() -> impl Strategy<Value = Policies> {
    let when = proptest::collection::vec(
        select(vec![
            "version = \"1.1\"",
            "version = [\"1.2\", \"SyncML/1.1\"]",
            "version = \">=1.2\"",
            "device = \"IMEI:*\"",
            "user_agent = \"C*\"",
            "encoding = \"wbxml\"",
            "client_certificate = \"CN=*\"",
            "path = \"/x*\"",
            "started_by = \"server\"",
            "share = \"30%\"",
            "share = \"70%\"",
        ]),
        0..3,
    );
    let then = select(vec![
        "verdict = \"pass\"",
        "verdict = \"advise\"",
        "verdict = \"refuse\"",
        "verdict = \"bridge\"",
        "server = \"s1\"",
        "verdict = \"bridge\", to = \"1.2\", lossy = true",
        "verdict = \"pass\", server = \"s0\"",
        "recommend = \"SyncML/1.2\"",
    ]);
    let speaks =
        select(vec!["\"1.2\"", "\"1.2\", \"1.1\"", "\"1.3\", \"1.2\"", "\"SyncML/1.2\", \"1.2\"", "\"SyncML/1.0\", \"1.2\""]);
    let encodings = select(vec!["\"xml\"", "\"wbxml\"", "\"xml\", \"wbxml\""]);
    let servers = proptest::collection::vec((speaks, encodings), 2..4);
    let words = (select(vec!["bridge", "refuse", "pass"]), select(vec!["refuse", "pass"]), any::<bool>());
    (proptest::collection::vec((when, then), 0..6), servers, words).prop_filter_map("unreachable rules", |(rules, servers, (unsupported, malformed, strict))| {
        let mut text = format!("[site]\nname = \"a\"\nhosts = [\"*\"]\nstrict = {strict}\n[unsupported]\nthen = \"{unsupported}\"\n[malformed]\nthen = \"{malformed}\"\n");
        for (at, (speaks, encodings)) in servers.iter().enumerate() {
            text += &format!("[[server]]\nname = \"s{at}\"\nurl = \"http://a\"\nspeaks = [{speaks}]\nencodings = [{encodings}]\n");
        }
        for (at, (mut when, then)) in rules.into_iter().enumerate() {
            when.sort_unstable();
            when.dedup_by_key(|condition| condition.split(' ').next());
            text += &format!("[[rule]]\nname = \"r{at}\"\nwhen = {{ {} }}\nthen = {{ {then} }}\n", when.join(", "));
        }
        let process = "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned();
        let sources = [("proxy.toml", process), ("a.toml", text)].map(|(name, text)| Source { name: name.into(), text });
        compile(&sources).policies
    })
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let declared =
        select(vec!["DM/1.1", "DM/1.2", "DM/1.3", "SyncML/1.0", "SyncML/1.1", "SyncML/1.2", "DM/9.9", "SyncML/9", "x"]);
    let header = (declared, select(vec![Dtd::Agrees, Dtd::Contradicts, Dtd::Unknown]), any::<bool>(), "IMEI:[0-9]{3}|[a-z]{0,4}");
    let rest = (
        any::<bool>(),
        select(vec![None, Some(StartedBy::Server), Some(StartedBy::Client)]),
        select(vec![Integrity::None, Integrity::Hmac, Integrity::Signed]),
        select(vec![Encoding::Xml, Encoding::Wbxml]),
    );
    (header, rest).prop_map(|((declared, dtd, media_type_agrees, device), (first, started_by, integrity, encoding))| Message {
        encoding,
        dtd,
        media_type_agrees,
        device: device.into(),
        first,
        started_by,
        integrity,
        ..message(declared)
    })
}

fn any_content() -> impl Strategy<Value = Content<'static>> {
    prop_oneof![
        8 => any_message().prop_map(Content::Message),
        1 => Just(Content::Malformed),
        1 => Just(Content::NotSyncMl),
        1 => Just(Content::Dm2),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_global_rejects: 60_000, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_makes_sense(
        policies in any_policies(),
        content in any_content(),
        path in "/[xy]{0,2}",
        user_agent in proptest::option::of("[CD][a-z]{0,2}"),
        certificate in proptest::option::of("CN=[a-z]{0,2}"),
    ) {
        let site = &policies.sites[0];
        let facts = Facts { path: &path, user_agent: user_agent.as_deref(), client_certificate: certificate.as_deref(), client_fingerprint: None, content, notified: None, learnt: &[] };
        let decision = decide(site, &policies.versions, &facts);
        prop_assert!(decision.server() < site.servers.len());
        let message = match &facts.content { Content::Message(message) => Some(message), _ => None };
        let declared = message.and_then(|message| message.declared.known());
        match decision.verdict() {
            Verdict::Bridge => {
                let (from, to) = (declared.unwrap(), decision.used().unwrap());
                prop_assert!(from != to && from.family() == to.family());
                prop_assert!(site.servers[decision.server()].takes(to, message.unwrap().encoding));
                prop_assert_eq!(message.unwrap().integrity, Integrity::None);
            }
            Verdict::Refuse => prop_assert_eq!(decision.used(), None),
            Verdict::Pass | Verdict::Advise => prop_assert_eq!(decision.used(), declared),
            Verdict::Fail | Verdict::Abandon => prop_assert!(false, "not a decision"),
        }
        if let (Some(recommended), Some(message)) = (decision.recommended(), message) {
            prop_assert_eq!(recommended.family(), message.declared.family());
        }
        prop_assert!(!decision.body_hints() || message.is_some_and(|message| message.integrity == Integrity::None));

        // The first match wins: with the rules in front taken away the decision is the same, and so it is
        // with those behind taken away; without a match, without any rule.
        let matched = decision.rule().map(|rule| site.rules.iter().position(|known| known.name == *rule).unwrap());
        let with = |rules: Vec<Rule>| decide(&Site { rules, ..(**site).clone() }, &policies.versions, &facts);
        let few = matched.map_or_else(Vec::new, |at| vec![site.rules[at].clone()]);
        prop_assert_eq!(&with(few), &decision);
        for at in 0..matched.unwrap_or(site.rules.len()) {
            let alone = with(vec![site.rules[at].clone()]);
            prop_assert_eq!(alone.rule(), None, "rule {} matches too", at);
        }

        // An explanation is of this decision.
        let explained = explain::explain(site, &policies.versions, &facts);
        prop_assert_eq!(explained.missed.len(), matched.unwrap_or(site.rules.len()));
        prop_assert_eq!(explained.decision, decision);
    }

    #[test]
    fn a_device_in_a_share_is_in_every_larger_one(device in "\\PC{0,30}", one in 0u16..10_000, other in 0u16..10_000) {
        let within = |share| bucket(&device) < share;
        prop_assert_eq!(within(one), within(one));
        prop_assert!(!within(one.min(other)) || within(one.max(other)));
        prop_assert!(within(10_000) && !within(0));
    }

    #[test]
    fn a_rule_that_the_lint_calls_covered_never_matches_alone(policies in any_policies(), content in any_content(), path in "/[xy]{0,2}") {
        let site = &policies.sites[0];
        let facts = Facts { path: &path, ..facts(content) };
        let declared = match &facts.content {
            Content::Message(message) => message.declared.known(),
            _ => None,
        };
        let subject = Subject::new(&facts);
        let matches = |rule: &Rule| subject.misses(rule).is_none();
        for (covering, covered) in site.rules.iter().flat_map(|a| site.rules.iter().map(move |b| (a, b))) {
            let version = declared.filter(|_| covered.when.version.is_some());
            if covers(covering, &covered.when, version) && matches(covered) {
                prop_assert!(matches(covering), "{:?} does not cover {:?}", covering.when, covered.when);
            }
        }
    }
}
