//! One case for every code, as it is printed.

use proptest::prelude::*;

use super::*;
use crate::{
    policy::{
        diagnostic::{self, Severity},
        site::Node,
    },
    syncml::version::Version,
};

const LISTENER: &str = "[[listener]]\nname = \"devices\"\naddress = \"127.0.0.1:8080\"\n";
const SITE: &str = "[site]\nname = \"a\"\nhosts = [\"a.example\"]\n[[server]]\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\nspeaks = [\"DM/1.1\", \"DM/1.2\"]\n";

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn printed(sources: &[Source]) -> String {
    diagnostic::render(&compile(sources).diagnostics, false).trim_end().to_owned()
}

/// A process with something added, and an ordinary site.
fn proxy(added: &str) -> String {
    printed(&[source(PROXY, &format!("{LISTENER}{added}")), source("a.toml", SITE)])
}

/// An ordinary process, and a site with something added.
fn site(added: &str) -> String {
    printed(&[source(PROXY, LISTENER), source("a.toml", &format!("{SITE}{added}"))])
}

/// An ordinary process, and a site in which something is written differently.
fn changed(from: &str, to: &str) -> String {
    assert!(SITE.contains(from), "{from}");
    printed(&[source(PROXY, LISTENER), source("a.toml", &SITE.replace(from, to))])
}

/// Codes of all diagnostics.
fn codes(sources: &[Source]) -> Vec<&'static str> {
    compile(sources).diagnostics.iter().map(|diagnostic| diagnostic.code.code()).collect()
}

/// `(the code, what is printed)`: one case for each code.
fn cases() -> Vec<(Code, String)> {
    let rule = |when: &str, then: &str| format!("[[rule]]\nname = \"r\"\nwhen = {{ {when} }}\nthen = {{ {then} }}\n");
    let two = |first: &str, second: &str| {
        let rule = |name, when| format!("[[rule]]\nname = \"{name}\"\nwhen = {{ {when} }}\nthen = {{ verdict = \"refuse\" }}\n");
        site(&format!("{}{}", rule("r", first), rule("r2", second)))
    };
    vec![
        (Code::Syntax, site("[hint\n")),
        (Code::UnknownKey, changed("speaks", "encoding = [\"xml\"]\nspeaks")),
        (Code::WrongType, proxy("[limits]\nconnections = \"many\"\n")),
        (Code::Missing, changed("url = \"http://127.0.0.1:1\"\n", "")),
        (Code::UnknownChoice, site("[unsupported]\nthen = \"translate\"\n")),
        (Code::AdminExposed, proxy("[admin]\naddress = \"0.0.0.0:9900\"\n")),
        (Code::Empty, changed("[\"DM/1.1\", \"DM/1.2\"]", "[]")),
        (Code::NoProxy, printed(&[source("a.toml", SITE)])),
        (Code::NoSite, printed(&[source(PROXY, LISTENER)])),
        (Code::UnknownVersion, changed("DM/1.2", "DM/9.9")),
        (Code::IncompleteVersion, proxy("[[version]]\nname = \"DM/2.0\"\ndtd = \"2.0\"\n")),
        (Code::TwoOfAFamily, changed("hosts", "recommend = [\"DM/1.1\", \"1.2.1\"]\nhosts")),
        (Code::RecommendsUnspoken, changed("hosts", "recommend = \"DM/1.3\"\nhosts")),
        (Code::BadSize, proxy("[limits]\nbody = \"big\"\n")),
        (Code::BadDuration, proxy("[limits]\nbody_timeout = \"30\"\n")),
        (Code::BadAddress, printed(&[source(PROXY, &LISTENER.replace("127.0.0.1", "localhost")), source("a.toml", SITE)])),
        (Code::BadUrl, changed("http://", "ftp://")),
        (Code::BadUrl, changed("url = \"http://127.0.0.1:1\"", "urls = [\"http://a\", \"http://a\"]")),
        (Code::BadUrl, changed("url = \"http://127.0.0.1:1\"", "urls = [\"http://a\", \"https://b\"]")),
        (Code::BadUrl, changed("url = \"http://127.0.0.1:1\"", "urls = [\"http://a\", \"http://b/dm\"]")),
        (Code::Empty, changed("url = \"http://127.0.0.1:1\"", "urls = []")),
        (Code::Contradiction, changed("url =", "urls = [\"http://a\"]\nurl =")),
        (Code::OutOfRange, changed("url =", "max_pending = 0\nurl =")),
        (Code::OutOfRange, changed("url =", "eject_after = 0\nurl =")),
        (Code::BadDuration, changed("url =", "connect_timeout = \"0s\"\nurl =")),
        (Code::Missing, changed("url =", "health = { interval = \"1s\" }\nurl =")),
        (Code::BadPath, changed("url =", "health = { path = \"x\" }\nurl =")),
        (Code::UrlCredentials, changed("http://", "http://me:secret@")),
        (Code::OutOfRange, proxy("[limits]\nconnections = 0\n")),
        (Code::BadShare, site(&rule("share = \"1/3\"", "verdict = \"pass\""))),
        (Code::BadHost, changed("a.example", "http://a.example/")),
        (Code::BadPath, changed("hosts", "path = \"dm\"\nhosts")),
        (Code::BadNodeUri, site("[account]\nbootstrap = true\nuri = \"./DMAcc/Ext/ProtoVer\"\n")),
        (Code::BadNetwork, proxy("trusted_proxies = [\"10.0.0.0/33\"]\n")),
        (
            Code::BadFingerprint,
            printed(&[
                source(PROXY, &format!("{LISTENER}trusted_proxies = [\"::1\"]\n")),
                source("a.toml", &format!("{SITE}{}", rule("client_fingerprint = \"AB:CD\"", "verdict = \"pass\""))),
            ]),
        ),
        (Code::DuplicateName, site("[[server]]\nname = \"s\"\nurl = \"http://127.0.0.1:2\"\nspeaks = [\"DM/1.3\"]\n")),
        (
            Code::HostClash,
            printed(&[
                source(PROXY, LISTENER),
                source("a.toml", SITE),
                source("b.toml", &SITE.replace("name = \"a\"", "name = \"b\"")),
            ]),
        ),
        (Code::NoSuchServer, site(&rule("", "server = \"t\""))),
        (Code::AddressClash, proxy(&LISTENER.replace("devices", "others"))),
        (Code::TlsIncomplete, proxy("tls = { certificate = \"c\", key = \"k\", client_auth = \"required\" }\n")),
        (Code::TlsUnused, proxy("tls = { certificate = \"c\", key = \"k\", client_ca = \"a\" }\n")),
        (Code::Unreachable, two("user_agent = \"A*\"", "user_agent = \"AB*\", version = \"DM/1.1\"")),
        (Code::Shadowed, two("version = \"DM/1.1\"", "version = \"<=DM/1.2\", encoding = \"xml\"")),
        (Code::IdleServer, site("[[server]]\nname = \"t\"\nurl = \"http://127.0.0.1:2\"\nspeaks = [\"DM/1.2\"]\n")),
        (Code::PassesUnspoken, site(&rule("version = \"DM/1.3\"", "verdict = \"pass\""))),
        (Code::Contradiction, site(&rule("", "verdict = \"refuse\", to = \"DM/1.2\""))),
        (Code::SaysNothing, site(&rule("", ""))),
        (Code::BridgesToUnspoken, site(&rule("", "verdict = \"bridge\", to = \"DM/1.3\""))),
        (Code::NoClientCertificates, site(&rule("client_certificate = \"CN=*\"", "verdict = \"pass\""))),
        (Code::NoServerId, site("[hint]\ncarriers = [\"account\"]\n")),
        (
            Code::NotInAccounts,
            changed(
                "\"DM/1.2\"]",
                "\"DM/1.3\"]\n[hint]\ncarriers = [\"account\"]\n[account]\npreset = \"windows\"\nserver_id = \"a\"",
            ),
        ),
        (Code::NoEffect, proxy("[decisions]\nkey_file = \"k\"\n")),
    ]
}

#[test]
fn every_code_has_a_case_that_gives_it_and_nothing_else() {
    let cases = cases();
    for code in Code::ALL {
        assert!(cases.iter().any(|(of, _)| of == code), "{code:?} has no case");
    }
    for (code, printed) in &cases {
        let level = if code.severity() == Severity::Error { "error" } else { "warning" };
        let heads = printed.lines().filter(|line| line.starts_with("error[") || line.starts_with("warning["));
        let heads: Vec<&str> = heads.collect();
        let expected = format!("{level}[{code}]:");
        assert!(heads.len() == 1 && heads[0].starts_with(&expected), "{code:?}: {heads:?}");
    }
}

#[test]
fn diagnostics_as_they_are_printed() {
    let all: Vec<String> = cases().into_iter().map(|(_, printed)| printed).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let proxy = "[[listener]]\nname = 1\naddress = \"x\"\nproxy_protocol = true\n[limits]\nbody = \"x\"\nhops = 1\n[push]\n[store]\nkind = \"redis\"\nurl = \"http://a\"\n";
    let site = "[site]\nhosts = [\"a:1\", \"\"]\npath = \"x\"\nmode = \"no\"\n[[server]]\nname = \"s\"\nurl = \"x\"\nspeaks = \"discover\"\n[hint]\ncarriers = [\"account\", \"pigeon\"]\n[[rule]]\nname = \"r\"\nwhen = { version = \"7\", colour = 1 }\nthen = { verdict = \"fail\", server = \"t\" }\n";
    let other = "[site\n";
    let mut found = codes(&[source(PROXY, proxy), source("a.toml", site), source("b.toml", other)]);
    found.sort_unstable();
    let mut expected = vec![
        "P0103", "P0303", "P0104", "P0301", "P0102", "P0102", "P0304", // the process
        "P0104", "P0308", "P0107", "P0309", "P0105", "P0304", "P0105", "P0201", "P0102", "P0105", "P0403", "P0101",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_policy_becomes_what_it_says() {
    let text = format!(
        "{}{}",
        SITE.replace("hosts", "path = \"/dm/\"\nmode = \"observe\"\nstrict = true\nrecommend = \"1.1.2\"\nhosts")
            .replace("a.example", "A.Example."),
        "[[server]]\nname = \"t\"\nurl = \"https://t.example/x\"\nspeaks = [\"SyncML/1.2\", \"1.3\"]\nencodings = [\"wbxml\"]\nhost = \"rewrite\"\nca = \"ca.pem\"\n\
         [[rule]]\nname = \"r\"\nwhen = { version = \">=1.2\", share = \"12.5%\" }\nthen = { verdict = \"bridge\", to = \"1.1\", lossy = true }\n"
    );
    let process = "[[listener]]\nname = \"d\"\naddress = \"[::1]:0\"\n[limits]\nbody = \"64KiB\"\ndrain_timeout = \"1m 30s\"\n[[version]]\nname = \"DM/1.4\"\ndtd = \"1.2\"\n[decisions]\nto = \"log.json\"\n[store]\nkind = \"memory\"\n";
    let compiled = compile(&[source("a.toml", &text), source(PROXY, process)]);
    assert!(compiled.diagnostics.is_empty(), "{}", diagnostic::render(&compiled.diagnostics, false));
    let policies = compiled.policies.unwrap();
    assert_eq!(policies.settings.limits.body, 65_536);
    assert_eq!(policies.settings.limits.drain_timeout.as_secs(), 90);
    assert_eq!(policies.versions.get(Version::parse("DM/1.4").unwrap()).unwrap().public_id, 0x1201);
    let site = &policies.sites[0];
    assert_eq!((&*site.hosts[0], &*site.path, site.strict), ("a.example", "/dm", true));
    let supported: Vec<String> = site.supported.iter().flat_map(|of| of.iter()).map(Version::to_string).collect();
    assert_eq!(supported, ["DM/1.3", "DM/1.2", "DM/1.1", "SyncML/1.2"]);
    assert_eq!(site.recommend, [Some(Version::DM_1_1), None]);
    let when = &site.rules[0].when;
    let versions: Vec<String> = when.version.iter().flatten().map(Version::to_string).collect();
    assert_eq!((versions.join(" ").as_str(), when.share), ("DM/1.2 DM/1.3 DM/1.4", Some(1250)));
    assert_eq!((site.digest.len(), site.rules[0].then.to), (16, Some(Version::DM_1_1)));
}

#[test]
fn what_is_written_into_accounts() {
    let with = |text: &str| {
        let text = format!("{SITE}[hint]\ncarriers = [\"account\"]\n[account]\nserver_id = \"a\"\n{text}");
        let compiled = compile(&[source(PROXY, LISTENER), source("a.toml", &text)]);
        assert!(compiled.diagnostics.is_empty(), "{}", diagnostic::render(&compiled.diagnostics, false));
        compiled.policies.unwrap().sites[0].account.clone().unwrap()
    };
    let plain = with("");
    assert_eq!((plain.root(), plain.below(), &plain.node), ("./DMAcc", "Ext/Protover/ProtoVer", &Node::Discover));
    assert_eq!(plain.value(Version::DM_1_3).as_deref(), Some("1.3"));
    assert_eq!(plain.value(Version::SYNCML_1_2), None);
    let windows = with("preset = \"windows\"");
    let leaf = ("./SyncML/DMAcc", "Ext/Microsoft/ProtoVer", &Node::Sha256);
    assert_eq!((windows.root(), windows.below(), &windows.node), leaf);
    assert_eq!((windows.value(Version::DM_1_2).as_deref(), windows.value(Version::DM_1_3)), (Some("1.2"), None));
    let own = with(
        "uri = \"./Vendor/{account}/{vendor}/V\"\nvendor = \"Acme\"\naccount = \"name\"\nname = \"x1\"\nvalue = \"verproto\"",
    );
    assert_eq!((own.root(), own.below(), own.node.clone()), ("./Vendor", "Acme/V", Node::Named("x1".into())));
    assert_eq!(own.value(Version::DM_1_3).as_deref(), Some("DM/1.3"));
}

#[test]
fn paths_that_are_none_of_a_leaf_in_an_account() {
    for uri in [
        "DMAcc/{account}/V",
        "./{account}/V",
        "./DMAcc/{account}",
        "./DMAcc/{account}/{account}/V",
        "./DMAcc/x{account}/V",
        "./DMAcc//{account}/V",
        "./DMAcc/{account}/{user}",
    ] {
        let text = format!("{SITE}[account]\nbootstrap = true\nuri = \"{uri}\"\n");
        assert_eq!(codes(&[source(PROXY, LISTENER), source("a.toml", &text)]), ["P0310"], "{uri}");
    }
}

#[test]
fn the_digest_is_that_of_the_file() {
    let of = |text: &str| compile(&[source(PROXY, LISTENER), source("a.toml", text)]).policies.unwrap().sites[0].digest.clone();
    assert_eq!(of(SITE), of(SITE));
    assert_ne!(of(SITE), of(&format!("{SITE}\n# another\n")));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(proxy in ".{0,200}", site in "\\PC{0,200}") {
        for diagnostic in compile(&[source(PROXY, &proxy), source("a.toml", &site)]).diagnostics {
            assert!(!diagnostic.render(true).is_empty());
        }
    }

    #[test]
    fn no_damage_makes_it_panic(cut in 0usize..2000, len in 0usize..40, put in "[\\[\\]{}=\"',.#\nα0-9a-z_-]{0,12}") {
        for text in [include_str!("../../../policies/proxy.toml"), include_str!("../../../policies/operator.toml")] {
            // With the examples in comments as well.
            let text = text.replace("\n# ", "\n");
            let floor = |index: usize| (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap();
            let (start, end) = (floor(cut), floor(cut + len));
            let damaged = format!("{}{put}{}", &text[..start], &text[end..]);
            for name in [PROXY, "a.toml"] {
                for diagnostic in compile(&[source(name, &damaged), source("b.toml", SITE)]).diagnostics {
                    assert!(!diagnostic.render(false).is_empty());
                }
            }
        }
    }
}
