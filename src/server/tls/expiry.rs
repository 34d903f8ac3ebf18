//! When certificates and revocation lists end, and saying so in time.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use x509_cert::{
    Certificate,
    der::{self, Decode, Header, SliceReader, asn1::AnyRef},
    time::Time,
};

use crate::{decisions::clock, proxy::Shared, server::Phase};

/// How often it is looked whether something is about to end. Soon enough after a reload, too.
const LOOK: Duration = Duration::from_secs(60);

const DAY: u64 = 86_400;

/// When what a file holds ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expires {
    /// The PEM file.
    pub file: PathBuf,
    /// Whether it is a revocation list, which should be replaced by then, and is used on if it is not.
    pub list: bool,
    /// The first `notAfter` of the certificates, the `nextUpdate` of the list.
    pub at: SystemTime,
}

/// The same, of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The listener's name.
    pub listener: Arc<str>,
    /// What ends, and when.
    pub expires: Expires,
}

impl Expires {
    /// Of certificates that are shown together. None when none can be read.
    pub(super) fn chain(file: &Path, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let at = chain.iter().filter_map(of).min()?;
        Some(Self { file: file.to_owned(), list: false, at })
    }

    /// Of a revocation list. None when it does not say.
    pub(super) fn list(file: &Path, der: &[u8]) -> Option<Self> {
        let at = next_update(der).ok()??;
        Some(Self { file: file.to_owned(), list: true, at: moment(at) })
    }

    /// How near the end is.
    fn stage(&self, now: SystemTime) -> Option<Stage> {
        let Ok(left) = self.at.duration_since(now) else { return Some(Stage::Over) };
        if self.list {
            // Lists are short-lived; that one will end is no news.
            return None;
        }
        let days = left.as_secs() / DAY;
        [(1, Stage::Day), (7, Stage::Week), (30, Stage::Month)]
            .into_iter()
            .find(|(limit, _)| days < *limit)
            .map(|(_, stage)| stage)
    }
}

/// The `nextUpdate` of a revocation list (RFC 5280, section 5.1). What is revoked may be long, and is not read.
fn next_update(der: &[u8]) -> der::Result<Option<Time>> {
    let mut reader = SliceReader::new(der)?;
    let _list = Header::decode(&mut reader)?;
    let _to_be_signed = Header::decode(&mut reader)?;
    let _version = Option::<u8>::decode(&mut reader)?;
    let _algorithm = AnyRef::decode(&mut reader)?;
    let _issuer = AnyRef::decode(&mut reader)?;
    let _this_update = Time::decode(&mut reader)?;
    Option::<Time>::decode(&mut reader)
}

/// When a certificate ends. None when it cannot be read.
pub(super) fn of(der: &CertificateDer<'_>) -> Option<SystemTime> {
    Some(moment(Certificate::from_der(der).ok()?.tbs_certificate().validity().not_after))
}

fn moment(time: Time) -> SystemTime {
    UNIX_EPOCH + time.to_unix_duration()
}

/// How near the end is: each is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Over,
    Day,
    Week,
    Month,
}

/// What is said of it.
struct Said<'a>(&'a Expires, SystemTime);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Expires { file, list, at }, now) = self;
        let file = file.display();
        match (at.duration_since(*now), list) {
            (Err(_), true) => write!(f, "{file}: a newer revocation list was due {}; this one is used on", day(*at)),
            (Err(_), false) => write!(f, "{file}: expired {}", day(*at)),
            (Ok(left), _) => match left.as_secs() / DAY {
                0 => write!(f, "{file}: expires in less than a day, {}", day(*at)),
                1 => write!(f, "{file}: expires in 1 day, {}", day(*at)),
                days => write!(f, "{file}: expires in {days} days, {}", day(*at)),
            },
        }
    }
}

fn day(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// What there is to say now of what ends soon, or has ended.
#[must_use]
pub fn overdue(expiries: &[Expiry], now: SystemTime) -> Vec<String> {
    let due = expiries.iter().filter(|expiry| expiry.expires.stage(now).is_some());
    due.map(|expiry| format!("listener {}: {}", expiry.listener, Said(&expiry.expires, now))).collect()
}

/// What was said, of which end in which file.
type Told = HashMap<(PathBuf, SystemTime), Stage>;

/// What there is to say that was not said yet, with the listener it is about.
fn news(expiries: &[Expiry], told: &mut Told, now: SystemTime) -> Vec<(Arc<str>, String)> {
    let mut said = Vec::new();
    for Expiry { listener, expires } in expiries {
        let Some(stage) = expires.stage(now) else { continue };
        if told.insert((expires.file.clone(), expires.at), stage) != Some(stage) {
            said.push((Arc::clone(listener), Said(expires, now).to_string()));
        }
    }
    // Files are exchanged for ever.
    told.retain(|(file, at), _| expiries.iter().any(|expiry| expiry.expires.at == *at && expiry.expires.file == *file));
    said
}

/// Warns of what ends soon: 30 days before, 7, 1, and when it has. Until the drain.
pub(crate) async fn watch(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut told = Told::new();
    loop {
        for (listener, what) in news(&shared.expiries.load(), &mut told, clock::now().wall) {
            tracing::warn!(listener = &*listener, "{what}");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_said_at_30_days_7_days_1_day_and_when_it_has() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let of = |seconds: i64, list| {
            let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000_u64.saturating_add_signed(seconds));
            Expires { file: "c.pem".into(), list, at }
        };
        let day = i64::try_from(DAY).unwrap_or_default();
        for (seconds, stage, said) in [
            (31 * day, None, "c.pem: expires in 31 days, 2027-02-15T08:00:00Z"),
            (30 * day, None, "c.pem: expires in 30 days, 2027-02-14T08:00:00Z"),
            (30 * day - 1, Some(Stage::Month), "c.pem: expires in 29 days, 2027-02-14T07:59:59Z"),
            (7 * day, Some(Stage::Month), "c.pem: expires in 7 days, 2027-01-22T08:00:00Z"),
            (7 * day - 1, Some(Stage::Week), "c.pem: expires in 6 days, 2027-01-22T07:59:59Z"),
            (day, Some(Stage::Week), "c.pem: expires in 1 day, 2027-01-16T08:00:00Z"),
            (day - 1, Some(Stage::Day), "c.pem: expires in less than a day, 2027-01-16T07:59:59Z"),
            (-1, Some(Stage::Over), "c.pem: expired 2027-01-15T07:59:59Z"),
        ] {
            let expires = of(seconds, false);
            assert_eq!((expires.stage(now), &*Said(&expires, now).to_string()), (stage, said));
        }
        assert_eq!(of(60, true).stage(now), None);
        assert_eq!(of(-60, true).stage(now), Some(Stage::Over));
        let expiries = [of(60, true), of(-60, true)].map(|expires| Expiry { listener: "d".into(), expires });
        let said = "listener d: c.pem: a newer revocation list was due 2027-01-15T07:59:00Z; this one is used on";
        assert_eq!(overdue(&expiries, now), [said]);
    }

    #[test]
    fn each_is_said_once_however_many_there_are_in_a_file() {
        let day = Duration::from_secs(DAY);
        let start = UNIX_EPOCH + 20_000 * day;
        let of =
            |days, list| Expiry { listener: "d".into(), expires: Expires { file: "c.pem".into(), list, at: start + days * day } };
        // A certificate, and two lists in one file.
        let mut expiries = vec![of(10, false), of(3, true), of(5, true)];
        let mut told = Told::new();
        let mut said = Vec::new();
        for hour in 0..24 * 12 {
            let now = start + Duration::from_secs(hour * 3600 + 1);
            let news = news(&expiries, &mut told, now);
            said.extend(news.into_iter().map(|(_, what)| (hour / 24, what.split(',').next().unwrap_or_default().to_owned())));
        }
        let list = "c.pem: a newer revocation list was due ";
        let expected = [
            (0, "c.pem: expires in 9 days".to_owned()),
            (3, "c.pem: expires in 6 days".to_owned()),
            (3, format!("{list}2024-10-07T00:00:00Z; this one is used on")),
            (5, format!("{list}2024-10-09T00:00:00Z; this one is used on")),
            (9, "c.pem: expires in less than a day".to_owned()),
            (10, "c.pem: expired 2024-10-14T00:00:00Z".to_owned()),
        ];
        assert_eq!(said, expected);
        expiries.clear();
        assert!(news(&expiries, &mut told, start).is_empty() && told.is_empty());
    }
}
