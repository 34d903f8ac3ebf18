//! Rules behind other rules: the first match wins, so a rule whose every message an earlier one takes
//! can never match.

use crate::{
    policy::{
        compile::Read,
        diagnostic::{Code, Diagnostic},
        glob::Glob,
        site::{Rule, When},
    },
    syncml::version::Version,
};

/// Whether a rule can be reached, and whether with everything that it names.
pub(super) fn rule(read: &Read, at: usize, found: &mut Vec<Diagnostic>) {
    let (Some(rule), Some(places)) = (read.site.rules.get(at), read.rules.get(at)) else { return };
    let never = |label: &str, span| {
        Diagnostic::new(Code::Unreachable, format!("the rule \"{}\" can never match", rule.name)).at(&read.source, span, label)
    };
    if rule.when.version.as_ref().is_some_and(Vec::is_empty) {
        found.push(never("no known version is meant by this", places.when.clone()));
        return;
    }
    if rule.when.share == Some(0) {
        found.push(never("a share of nothing", places.when.clone()));
        return;
    }
    let earlier = || read.site.rules.iter().zip(&read.rules).take(at);
    let taker = |version: Option<Version>| earlier().find(|(earlier, _)| covers(earlier, &rule.when, version));
    let Some(versions) = &rule.when.version else {
        if let Some((by, place)) = taker(None) {
            let label = format!("\"{}\" takes all of it", by.name);
            found.push(never("every request that this matches is taken before", places.when.clone()).at(
                &read.source,
                place.when.clone(),
                label,
            ));
        }
        return;
    };
    let taken: Vec<_> = versions.iter().filter_map(|version| Some((*version, taker(Some(*version))?))).collect();
    let (code, title) = match (taken.len(), versions.len()) {
        (0, _) => return,
        (some, all) if some == all => (Code::Unreachable, format!("the rule \"{}\" can never match", rule.name)),
        _ => {
            let names: Vec<String> = taken.iter().map(|(version, _)| version.to_string()).collect();
            (Code::Shadowed, format!("the rule \"{}\" never sees {}", rule.name, names.join(", ")))
        }
    };
    let label = if code == Code::Unreachable {
        "every request that this matches is taken before"
    } else {
        "some of this is taken before"
    };
    let mut diagnostic = Diagnostic::new(code, title).at(&read.source, places.when.clone(), label);
    let mut shown = Vec::new();
    for (_, (by, place)) in &taken {
        if !shown.contains(&&by.name) {
            shown.push(&by.name);
            diagnostic = diagnostic.at(&read.source, place.when.clone(), format!("by \"{}\"", by.name));
        }
    }
    found.push(diagnostic.help("the first rule that matches wins: put the narrower rule first"));
}

/// Whether an earlier rule takes everything of one version (`None`: of any, and what is no message)
/// that meets other conditions. False when in doubt.
pub(in crate::policy) fn covers(earlier: &Rule, when: &When, version: Option<Version>) -> bool {
    let When { version: versions, device, user_agent, encoding, client_certificate, client_fingerprint, path, started_by, share } =
        &earlier.when;
    let by_version = match (versions, version) {
        (None, _) => true,
        (Some(taken), Some(version)) => taken.contains(&version),
        (Some(_), None) => false,
    };
    let glob = |earlier: &Option<Glob>, later: &Option<Glob>| match (earlier, later) {
        (None, _) => true,
        (Some(earlier), Some(later)) => earlier.includes(later),
        (Some(_), None) => false,
    };
    let message = when.version.is_some()
        || when.device.is_some()
        || when.encoding.is_some()
        || when.started_by.is_some()
        || when.share.is_some();
    by_version
        && glob(device, &when.device)
        && glob(user_agent, &when.user_agent)
        && glob(client_certificate, &when.client_certificate)
        && client_fingerprint.as_ref().is_none_or(|taken| {
            when.client_fingerprint.as_ref().is_some_and(|later| later.iter().all(|print| taken.contains(print)))
        })
        && glob(path, &when.path)
        && (encoding.is_none() || *encoding == when.encoding)
        && (started_by.is_none() || *started_by == when.started_by)
        && share.is_none_or(|share| message && when.share.unwrap_or(10_000) <= share)
}
