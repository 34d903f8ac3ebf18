//! Protocol versions: what a message may declare, and the forms each version takes on the wire.
//!
//! A version is named by its VerProto string (`DM/1.2`). Patch releases of the specification do not
//! change the strings: DM 1.1, 1.1.1 and 1.1.2 are all `DM/1.1` on the wire, DM 1.2 and 1.2.1 are
//! `DM/1.2` (OMA-TS-DM_Protocol-V1_2_1, section 6, "VerProto").

use std::{borrow::Cow, cmp::Ordering, fmt};

/// A protocol family. Families are never crossed: a DS client is never sent to, or recommended,
/// a DM version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Device management, `DM/…`.
    Dm,
    /// Data synchronisation, `SyncML/…`.
    SyncMl,
}

impl Family {
    /// Both families, in the order of tables and diagnostics.
    pub const ALL: [Self; 2] = [Self::Dm, Self::SyncMl];

    /// The part of VerProto before the slash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dm => "DM",
            Self::SyncMl => "SyncML",
        }
    }

    /// The family that a VerProto text claims, however strange the rest of it is. Text that claims
    /// none is taken for device management, which is what this proxy stands in front of.
    #[must_use]
    pub fn claimed_by(ver_proto: &str) -> Self {
        let claims_sync = ver_proto.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("SyncML/"));
        if claims_sync { Self::SyncMl } else { Self::Dm }
    }
}

/// A well-formed protocol version, such as `DM/1.2`. Ordered within its family only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    family: Family,
    major: u8,
    minor: u8,
}

impl Version {
    /// `DM/1.1`: DM 1.1, 1.1.1 and 1.1.2.
    pub const DM_1_1: Self = Self::new(Family::Dm, 1, 1);
    /// `DM/1.2`: DM 1.2 and 1.2.1.
    pub const DM_1_2: Self = Self::new(Family::Dm, 1, 2);
    /// `DM/1.3`.
    pub const DM_1_3: Self = Self::new(Family::Dm, 1, 3);
    /// `SyncML/1.0`.
    pub const SYNCML_1_0: Self = Self::new(Family::SyncMl, 1, 0);
    /// `SyncML/1.1`.
    pub const SYNCML_1_1: Self = Self::new(Family::SyncMl, 1, 1);
    /// `SyncML/1.2`.
    pub const SYNCML_1_2: Self = Self::new(Family::SyncMl, 1, 2);

    /// A version by its parts.
    #[must_use]
    pub const fn new(family: Family, major: u8, minor: u8) -> Self {
        Self { family, major, minor }
    }

    /// Reads a VerProto text by the grammar of the media type registration,
    /// `"DM/" 1*DIGIT "." 1*DIGIT`, and the same with `SyncML/`. Exact: no spaces, no other case,
    /// no leading zeros.
    #[must_use]
    pub fn parse(ver_proto: &str) -> Option<Self> {
        let (family, number) = ver_proto.split_once('/')?;
        let family = Family::ALL.into_iter().find(|known| known.name() == family)?;
        let (major, minor) = number.split_once('.')?;
        Some(Self::new(family, part(major)?, part(minor)?))
    }

    /// Reads a version as operators write it: a VerProto string, or the number of a DM
    /// specification (`1.1.2` is `DM/1.1`).
    #[must_use]
    pub fn from_spec(text: &str) -> Option<Self> {
        if text.contains('/') {
            return Self::parse(text);
        }
        let mut parts = text.splitn(3, '.');
        let (major, minor) = (part(parts.next()?)?, part(parts.next()?)?);
        if let Some(patch) = parts.next() {
            part(patch)?;
        }
        Some(Self::new(Family::Dm, major, minor))
    }

    /// The family it belongs to.
    #[must_use]
    pub const fn family(self) -> Family {
        self.family
    }

    /// The text of a version that has a specification. They are in every log line and every hint, and
    /// formatting a number costs more than looking at it.
    const fn known(self) -> Option<&'static str> {
        match (self.family, self.major, self.minor) {
            (Family::Dm, 1, 1) => Some("DM/1.1"),
            (Family::Dm, 1, 2) => Some("DM/1.2"),
            (Family::Dm, 1, 3) => Some("DM/1.3"),
            (Family::SyncMl, 1, 0) => Some("SyncML/1.0"),
            (Family::SyncMl, 1, 1) => Some("SyncML/1.1"),
            (Family::SyncMl, 1, 2) => Some("SyncML/1.2"),
            _ => None,
        }
    }

    /// The text of VerProto.
    #[must_use]
    pub fn text(self) -> Cow<'static, str> {
        self.known().map_or_else(|| Cow::Owned(format!("{self}")), Cow::Borrowed)
    }

    /// The parts of the number.
    #[must_use]
    pub const fn parts(self) -> (u8, u8) {
        (self.major, self.minor)
    }

    /// The number alone, `1.2`: as in a sentence, or in a DM account.
    #[must_use]
    pub fn number(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

/// One to three digits without a leading zero.
fn part(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.family == other.family).then(|| (self.major, self.minor).cmp(&(other.major, other.minor)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(known) => f.write_str(known),
            None => write!(f, "{}/{}.{}", self.family.name(), self.major, self.minor),
        }
    }
}

/// What a message declares in VerProto: a version of the table, or anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Declared {
    /// A version of the table.
    Known(Version),
    /// Any other text, as it was sent.
    Unrecognised(Box<str>),
}

impl Declared {
    /// The version, when it is one of the table.
    #[must_use]
    pub fn known(&self) -> Option<Version> {
        match self {
            Self::Known(version) => Some(*version),
            Self::Unrecognised(_) => None,
        }
    }

    /// The family it belongs to, or claims.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Known(version) => version.family(),
            Self::Unrecognised(text) => Family::claimed_by(text),
        }
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(version) => version.fmt(f),
            Self::Unrecognised(text) => f.write_str(text),
        }
    }
}

/// The forms that a version takes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// The version itself; its text is VerProto.
    pub version: Version,
    /// VerDTD.
    pub dtd: Cow<'static, str>,
    /// The namespace of the root element.
    pub xmlns: Cow<'static, str>,
    /// The formal public identifier in a DOCTYPE or a WBXML string table.
    pub fpi: Cow<'static, str>,
    /// The address of the DTD in a DOCTYPE.
    pub dtd_url: Cow<'static, str>,
    /// The public identifier of a WBXML document.
    pub public_id: u32,
}

const URL_1_0: &str = "http://www.syncml.org/docs/syncml_represent_v10_20001207.dtd";
const URL_1_1: &str = "http://www.syncml.org/docs/syncml_represent_v11_20020213.dtd";
const URL_1_2: &str = "http://www.openmobilealliance.org/tech/DTD/OMA-TS-SyncML_RepPro_DTD-V1_2.dtd";

/// `(version, dtd, xmlns, fpi, dtd_url, public_id)`. DM 1.3 with the forms of DTD 1.2 is an
/// assumption that no public text confirms; `[[version]]` in `proxy.toml` overrides it.
type Row = (Version, &'static str, &'static str, &'static str, &'static str, u32);
const BUILT_IN: [Row; 6] = [
    (Version::DM_1_1, "1.1", "SYNCML:SYNCML1.1", "-//SYNCML//DTD SyncML 1.1//EN", URL_1_1, 0x0FD3),
    (Version::DM_1_2, "1.2", "SYNCML:SYNCML1.2", "-//SYNCML//DTD SyncML 1.2//EN", URL_1_2, 0x1201),
    (Version::DM_1_3, "1.2", "SYNCML:SYNCML1.2", "-//SYNCML//DTD SyncML 1.2//EN", URL_1_2, 0x1201),
    (Version::SYNCML_1_0, "1.0", "SYNCML:SYNCML1.0", "-//SYNCML//DTD SyncML 1.0//EN", URL_1_0, 0x0FD1),
    (Version::SYNCML_1_1, "1.1", "SYNCML:SYNCML1.1", "-//SYNCML//DTD SyncML 1.1//EN", URL_1_1, 0x0FD3),
    (Version::SYNCML_1_2, "1.2", "SYNCML:SYNCML1.2", "-//SYNCML//DTD SyncML 1.2//EN", URL_1_2, 0x1201),
];

/// The versions that protover knows, built in or added by `[[version]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionTable {
    forms: Vec<Forms>,
}

impl Default for VersionTable {
    fn default() -> Self {
        let forms = BUILT_IN.map(|(version, dtd, xmlns, fpi, dtd_url, public_id)| Forms {
            version,
            dtd: dtd.into(),
            xmlns: xmlns.into(),
            fpi: fpi.into(),
            dtd_url: dtd_url.into(),
            public_id,
        });
        Self { forms: forms.into() }
    }
}

impl VersionTable {
    /// Adds a version, or replaces the forms of one that is there.
    pub fn set(&mut self, forms: Forms) {
        match self.forms.iter_mut().find(|known| known.version == forms.version) {
            Some(known) => *known = forms,
            None => self.forms.push(forms),
        }
    }

    /// The forms of a version.
    #[must_use]
    pub fn get(&self, version: Version) -> Option<&Forms> {
        self.forms.iter().find(|forms| forms.version == version)
    }

    /// What a VerProto text declares.
    #[must_use]
    pub fn recognise(&self, ver_proto: &str) -> Declared {
        match Version::parse(ver_proto).filter(|version| self.get(*version).is_some()) {
            Some(version) => Declared::Known(version),
            None => Declared::Unrecognised(ver_proto.into()),
        }
    }

    /// Whether some version of the table uses this VerDTD: whether protover can write it.
    #[must_use]
    pub fn knows_dtd(&self, ver_dtd: &str) -> bool {
        self.forms.iter().any(|forms| forms.dtd == ver_dtd)
    }

    /// Every version, family by family, ascending.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let mut all: Vec<Version> = self.forms.iter().map(|forms| forms.version).collect();
        all.sort_by_key(|version| (version.family == Family::SyncMl, version.major, version.minor));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_text_is_a_version() {
        for text in [
            "", "DM", "DM/", "DM/1", "DM/1.", "dm/1.2", " DM/1.2", "DM/1.2 ", "DM/01.2", "DM/1.02", "DM/1.2.1", "DM/1.+2",
            "DM/1.999", "HTTP/1.1",
        ] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
        assert_eq!(Version::parse("DM/1.2"), Some(Version::DM_1_2));
        assert_eq!(Version::parse("SyncML/1.0"), Some(Version::SYNCML_1_0));
        assert_eq!(Version::parse("DM/9.9"), Some(Version::new(Family::Dm, 9, 9)));
    }

    #[test]
    fn specification_numbers_name_the_version_on_the_wire() {
        for (text, version) in
            [("1.1", "DM/1.1"), ("1.1.2", "DM/1.1"), ("1.2.1", "DM/1.2"), ("1.3", "DM/1.3"), ("SyncML/1.1", "SyncML/1.1")]
        {
            assert_eq!(Version::from_spec(text).map(|v| v.to_string()).as_deref(), Some(version));
        }
        for text in ["", "1", "1.x", "1.2.x", "1.2.1.1", "v1.2"] {
            assert_eq!(Version::from_spec(text), None, "{text:?}");
        }
    }

    #[test]
    fn families_do_not_compare() {
        assert!(Version::DM_1_1 < Version::DM_1_2);
        assert_eq!(Version::DM_1_2.partial_cmp(&Version::SYNCML_1_2), None);
        assert_eq!(Family::claimed_by("syncml/7.0"), Family::SyncMl);
        assert_eq!(Family::claimed_by("nonsense"), Family::Dm);
    }

    #[test]
    fn the_table_recognises_and_can_be_extended() {
        let mut table = VersionTable::default();
        let next = Version::new(Family::Dm, 1, 4);
        assert_eq!(table.recognise("DM/1.4"), Declared::Unrecognised("DM/1.4".into()));
        let forms = table.get(Version::DM_1_2).cloned().map(|forms| Forms { version: next, ..forms });
        table.set(forms.unwrap());
        assert_eq!(table.recognise("DM/1.4"), Declared::Known(next));
        assert_eq!(table.versions().len(), 7);
        assert!(table.knows_dtd("1.0") && !table.knows_dtd("7.0"));
    }
}
