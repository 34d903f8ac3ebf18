//! `protover check`: are the policies right, and what will they do?

use std::{borrow::Cow, io::Write, path::PathBuf};

use super::{Failure, colour, print, table::table};
use crate::{
    config,
    decisions::clock,
    policy::{
        decide::decide,
        decision::Decision,
        diagnostic,
        facts::{Content, Dtd, Facts, Integrity, Message},
        reason::Verdict,
        site::{Mode, Policies, Rule, Site, When},
    },
    server,
    syncml::{
        header::Encoding,
        version::{Declared, Version, VersionTable},
    },
};

/// Validates the policies, and prints what each site will do with each version.
///
/// Everything that is wrong or doubtful goes to stderr, each with its place. The table on stdout shows
/// an ordinary first message of each version; the rules that may decide otherwise stand beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  protover check\n  protover check --policies /etc/protover/policies")]
pub(super) struct Check {
    /// The folder with proxy.toml and one file for each site
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (policies, warnings) = config::load(&self.policies).map_err(|error| Failure::Usage(error.render(colour())))?;
        if !warnings.is_empty() {
            // A closed stderr is no reason to fail.
            let _ = write!(std::io::stderr(), "{}", diagnostic::render(&warnings, colour()));
        }
        // What the listeners' files hold is part of whether this can be served.
        let expiries = server::expiries(&policies.settings.listeners).map_err(|error| Failure::Failed(error.to_string()))?;
        let overdue = server::tls::overdue(&expiries, clock::now().wall);
        for overdue in &overdue {
            let _ = writeln!(std::io::stderr(), "warning: {overdue}");
        }
        let count = match warnings.len() + overdue.len() {
            0 => "no warnings".to_owned(),
            1 => "1 warning".to_owned(),
            more => format!("{more} warnings"),
        };
        print(format!("{}\nThe policies are valid: {count}.\n", outlook(&policies)))
    }
}

/// What each site will do with each version.
fn outlook(policies: &Policies) -> String {
    let mut rows =
        vec![["site", "declared", "verdict", "reason", "server", "as", "recommended", "unless"].map(str::to_owned).to_vec()];
    for site in &policies.sites {
        let known = policies.versions.versions().into_iter().map(|version| (Declared::Known(version), version.to_string()));
        for (declared, name) in known.chain([(Declared::Unrecognised("".into()), "any other".to_owned())]) {
            let of = |encoding| row(site, &policies.versions, &declared, encoding);
            let (xml, wbxml) = (of(Encoding::Xml), of(Encoding::Wbxml));
            let site_name = match site.mode {
                Mode::Enforce => site.name.to_string(),
                Mode::Observe => format!("{} (observe)", site.name),
            };
            let mut add = |name: String, rest: Vec<String>| rows.push([vec![site_name.clone(), name], rest].concat());
            if xml == wbxml {
                add(name, xml);
            } else {
                add(format!("{name} xml"), xml);
                add(format!("{name} wbxml"), wbxml);
            }
        }
    }
    table(&rows)
}

fn row(site: &Site, versions: &VersionTable, declared: &Declared, encoding: Encoding) -> Vec<String> {
    let message = Message {
        encoding,
        declared: declared.clone(),
        dtd: Dtd::Agrees,
        media_type_agrees: true,
        device: Cow::Borrowed(""),
        first: true,
        started_by: None,
        integrity: Integrity::None,
    };
    let content = Content::Message(message);
    let facts = Facts {
        path: &site.path,
        user_agent: None,
        client_certificate: None,
        client_fingerprint: None,
        content,
        notified: None,
        learnt: &[],
    };
    let decision = decide(site, versions, &facts);
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let server = site.servers.get(decision.server()).filter(|_| decision.verdict() != Verdict::Refuse);
    let verdict = match decision.verdict() {
        Verdict::Refuse => format!("refuse {}", decision.status().0),
        other => other.to_string(),
    };
    vec![
        verdict,
        reason(&decision),
        dash(server.map(|server| server.name.to_string())),
        dash(decision.used().map(|version| version.to_string())),
        dash(decision.recommended().map(|version| version.to_string())),
        unless(site, declared.known(), encoding, &decision),
    ]
}

fn reason(decision: &Decision) -> String {
    match decision.rule() {
        Some(rule) => format!("{} ({rule})", decision.reason()),
        None => decision.reason().to_string(),
    }
}

/// The rules that may decide otherwise: those in front of the one that matched, with conditions that a
/// message of this version may meet.
fn unless(site: &Site, version: Option<Version>, encoding: Encoding, decision: &Decision) -> String {
    let may = |rule: &&Rule| {
        let When { version: versions, encoding: wanted, .. } = &rule.when;
        let versions = versions.as_ref().is_none_or(|any| version.is_some_and(|version| any.contains(&version)));
        versions && wanted.is_none_or(|wanted| wanted == encoding)
    };
    let before = site.rules.iter().take_while(|rule| Some(&rule.name) != decision.rule());
    before.filter(may).map(|rule| rule.name.to_string()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::outlook;
    use crate::config;

    #[test]
    fn the_table_says_what_happens_with_each_version() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let (policies, warnings) = config::load(&folder).expect("the policies of the repository");
        assert!(warnings.is_empty());
        insta::assert_snapshot!(outlook(&policies));
    }
}
