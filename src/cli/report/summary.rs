//! What is gathered from decision lines, in bounded memory.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::Deserialize;

use crate::syncml::version::Version;

const DEVICES: usize = 1_000_000;
const VERSIONS: usize = 64;
const DAYS: usize = 3_660;
const REFUSALS: usize = 4_096;
/// Stands for whatever goes beyond a bound.
pub(super) const OTHER: &str = "other";
/// Stands for a message that declares no version that could be read.
pub(super) const NONE: &str = "none";

/// What the report needs of a line; other keys may come and go.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    kind: Cow<'a, str>,
    verdict: Cow<'a, str>,
    reason: Cow<'a, str>,
    site: Option<Cow<'a, str>>,
    device: Option<Cow<'a, str>>,
    declared: Option<Cow<'a, str>>,
    recommended: Option<Cow<'a, str>>,
}

/// An index into [`Summary::versions`].
pub(super) type Name = usize;

/// What the newest line of a device says.
#[derive(Debug)]
pub(super) struct Device {
    /// As in the line; sorts by time.
    pub(super) seen: Box<str>,
    pub(super) declared: Name,
    pub(super) recommended: Option<Name>,
}

/// What was not answered as the device wished.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Refusal {
    pub(super) site: Box<str>,
    pub(super) verdict: Box<str>,
    pub(super) reason: Box<str>,
    pub(super) declared: Name,
}

/// What decision logs say.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) lines: u64,
    pub(super) unreadable: u64,
    /// The first and the last moment.
    pub(super) span: Option<(Box<str>, Box<str>)>,
    /// Declared versions, each once; the last may be [`OTHER`].
    pub(super) versions: Vec<Box<str>>,
    /// Messages by day and declared version.
    pub(super) days: BTreeMap<Box<str>, BTreeMap<Name, u64>>,
    pub(super) devices: HashMap<Box<str>, Device>,
    /// Lines of devices beyond the bound.
    pub(super) devices_left_out: u64,
    pub(super) refusals: HashMap<Refusal, u64>,
    /// Refusals beyond the bound.
    pub(super) refusals_left_out: u64,
}

impl Summary {
    /// Takes in a line.
    pub(super) fn add(&mut self, line: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            self.unreadable += 1;
            return;
        };
        let Some(day) = day(&line.ts) else {
            self.unreadable += 1;
            return;
        };
        self.lines += 1;
        self.widen(&line.ts);
        let declared = self.name(line.declared.as_deref().unwrap_or(NONE));
        if line.kind == "message" && line.declared.is_some() {
            let known = self.days.contains_key(day);
            let day = if known || self.days.len() < DAYS { day } else { OTHER };
            *self.days.entry(day.into()).or_default().entry(declared).or_default() += 1;
            self.device(&line, declared);
        }
        if matches!(&*line.verdict, "refuse" | "fail" | "abandon") {
            self.refusal(&line, declared);
        }
    }

    fn widen(&mut self, ts: &str) {
        match &mut self.span {
            None => self.span = Some((ts.into(), ts.into())),
            Some((first, _)) if ts < &**first => *first = ts.into(),
            Some((_, last)) if ts > &**last => *last = ts.into(),
            Some(_) => {}
        }
    }

    fn name(&mut self, version: &str) -> Name {
        if let Some(known) = self.versions.iter().position(|known| **known == *version) {
            return known;
        }
        if self.versions.len() < VERSIONS {
            self.versions.push(version.into());
        } else if self.versions.len() == VERSIONS {
            self.versions.push(OTHER.into());
        }
        self.versions.len() - 1
    }

    fn device(&mut self, line: &Line<'_>, declared: Name) {
        let Some(device) = line.device.as_deref() else { return };
        let recommended = line.recommended.as_deref().map(|version| self.name(version));
        let room = self.devices.len() < DEVICES;
        match self.devices.get_mut(device) {
            Some(known) if *known.seen > *line.ts => {}
            Some(known) => *known = Device { seen: (&*line.ts).into(), declared, recommended },
            None if room => {
                self.devices.insert(device.into(), Device { seen: (&*line.ts).into(), declared, recommended });
            }
            None => self.devices_left_out += 1,
        }
    }

    fn refusal(&mut self, line: &Line<'_>, declared: Name) {
        let site = line.site.as_deref().unwrap_or("-").into();
        let refusal = Refusal { site, verdict: (&*line.verdict).into(), reason: (&*line.reason).into(), declared };
        if self.refusals.len() < REFUSALS || self.refusals.contains_key(&refusal) {
            *self.refusals.entry(refusal).or_default() += 1;
        } else {
            self.refusals_left_out += 1;
        }
    }

    /// Whether a device is left on a version below the one that was recommended to it.
    pub(super) fn is_left(&self, device: &Device) -> bool {
        let version = |name: Name| self.versions.get(name).and_then(|name| Version::parse(name));
        let recommended = device.recommended.and_then(version);
        version(device.declared).zip(recommended).is_some_and(|(declared, recommended)| declared < recommended)
    }

    /// The versions in the order of tables: known ones ascending within their families, then others.
    pub(super) fn in_order(&self) -> Vec<Name> {
        let mut names: Vec<Name> = (0..self.versions.len()).collect();
        names.sort_by_cached_key(|name| {
            let text = &self.versions[*name];
            let version = Version::parse(text);
            let number =
                text.rsplit('/').next().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect();
            (version.is_none(), version.map(|version| version.family().name()), number, text.clone()) as (_, _, Vec<u32>, _)
        });
        names
    }
}

/// The day of an RFC 3339 moment.
fn day(ts: &str) -> Option<&str> {
    humantime::parse_rfc3339(ts).ok()?;
    ts.get(..10)
}
