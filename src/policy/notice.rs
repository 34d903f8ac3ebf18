//! What becomes of a notification: whether it is made to say the recommended version (Server-1).

use super::{
    decide::ruling,
    decision::Decision,
    reason::{Reason, Requirement, Verdict},
    site::Site,
};
use crate::syncml::version::{Family, Version};

/// What is known of a notification.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Whether the digest is the server's.
    pub verifies: bool,
    /// The version that it recommends already.
    pub says: Option<Version>,
    /// Whom it goes to.
    pub addresses: &'a [String],
}

/// A push message that holds no notification, or one of a server that no site knows.
#[must_use]
pub fn unknown(readable: bool) -> Decision {
    ruling(Verdict::Pass, if readable { Reason::NoSecret } else { Reason::NoNotification })
}

/// Decides about a notification of a site's server. It is changed only where everything speaks for it:
/// clients that stumble over one do not come at all.
#[must_use]
pub fn notice(site: &Site, notice: &Notice<'_>) -> Decision {
    let recommended = site.recommended(Family::Dm).or_else(|| site.supported(Family::Dm).first().copied());
    let policy = site.notification.clone().unwrap_or_default();
    let listed = !notice.addresses.is_empty()
        && notice.addresses.iter().all(|address| policy.devices.iter().any(|device| device.matches(address)));
    let reason = match recommended {
        Some(recommended) if notice.says == Some(recommended) => Reason::Recommended,
        _ if !notice.verifies => Reason::DigestMismatch,
        None => Reason::NotificationKept,
        Some(_) if !policy.recommend => Reason::NotificationKept,
        Some(_) if !listed => Reason::NotListed,
        Some(_) => Reason::Notified,
    };
    let says = matches!(reason, Reason::Recommended | Reason::Notified);
    let verdict = if reason == Reason::Notified { Verdict::Advise } else { Verdict::Pass };
    let requirement = says.then_some(Requirement::Server1);
    Decision { requirement, recommended, ..ruling(verdict, reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Source, compile};

    #[test]
    fn a_notification_is_changed_only_where_everything_speaks_for_it() {
        let site = |notification: &str| {
            let site = format!(
                "[site]\nname = \"a\"\nhosts = [\"*\"]\n[[server]]\nname = \"s\"\nurl = \"http://a\"\nspeaks = [\"1.1\", \"1.2\"]\n{notification}"
            );
            let proxy = "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned();
            let sources = [("proxy.toml", proxy), ("a.toml", site)].map(|(name, text)| Source { name: name.into(), text });
            compile(&sources).policies.expect("a policy").sites.remove(0)
        };
        let listed = "[notification]\nversion = \"recommended\"\ndevices = [\"WAPPUSH=+1*\"]\n";
        let (ours, other) = ("WAPPUSH=+1555/TYPE=PLMN@ppg", "WAPPUSH=+49/TYPE=PLMN@ppg");
        for (policy, verifies, says, addresses, expected) in [
            ("", true, None, vec![ours], "pass notification-kept -"),
            ("[notification]\nhigher = \"bridge\"\n", true, None, vec![ours], "pass notification-kept -"),
            ("[notification]\nversion = \"recommended\"\n", true, None, vec![ours], "pass not-listed -"),
            (listed, true, None, vec![ours], "advise notified Server-1"),
            (listed, true, Some(Version::DM_1_1), vec![ours], "advise notified Server-1"),
            (listed, true, Some(Version::DM_1_2), vec![ours], "pass recommended Server-1"),
            (listed, false, None, vec![ours], "pass digest-mismatch -"),
            (listed, true, None, vec![other], "pass not-listed -"),
            (listed, true, None, vec![ours, other], "pass not-listed -"),
            (listed, true, None, vec![], "pass not-listed -"),
        ] {
            let addresses: Vec<String> = addresses.into_iter().map(str::to_owned).collect();
            let decision = notice(&site(policy), &Notice { verifies, says, addresses: &addresses });
            let requirement = decision.requirement().map_or("-", Requirement::code);
            assert_eq!(format!("{} {} {requirement}", decision.verdict(), decision.reason()), expected, "{policy} {addresses:?}");
            assert_eq!(decision.recommended(), Some(Version::DM_1_2));
        }
    }
}
