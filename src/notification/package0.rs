//! The general notification, field by field. All numbers are big endian.
//!
//! `digest 128 | version 10 | ui-mode 2 | initiator 1 | future-use 27 | session-id 16 | length 8 | server-id | vendor`

use std::fmt;

use super::{HINT, digest};
use crate::syncml::{integrity::Key, version::Version};

/// Bytes in front of the server's identifier.
const FIXED: usize = DIGEST + 8;
const DIGEST: usize = 16;
/// The largest that ten bits hold.
const LARGEST: u16 = (1 << 10) - 1;

/// How the device may meet its user before the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UiMode {
    /// Not said.
    #[default]
    NotSpecified,
    /// Not at all.
    Background,
    /// By telling.
    Informative,
    /// By asking.
    UserInteraction,
}

impl UiMode {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::NotSpecified, Self::Background, Self::Informative, Self::UserInteraction];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSpecified => "not-specified",
            Self::Background => "background",
            Self::Informative => "informative",
            Self::UserInteraction => "user-interaction",
        }
    }
}

/// Who wants the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initiator {
    /// The device.
    Client,
    /// The server.
    #[default]
    Server,
}

impl Initiator {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package0 {
    /// Proves that the server sent it; see [`digest()`].
    pub digest: [u8; 16],
    /// The version of the notification, ten times: 11 for 1.1, the only value that some clients take.
    pub version: u16,
    /// How the device may meet its user.
    pub ui_mode: UiMode,
    /// Who wants the session.
    pub initiator: Initiator,
    /// The session that shall answer it, 1 to FFFF.
    pub session_id: u16,
    /// The server's identifier.
    pub server_id: String,
    /// What the vendor adds.
    pub vendor: Vec<u8>,
}

/// Why bytes are no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// They end before the server's identifier does; so many are needed.
    Short(usize),
    /// The bits for future use are not zero.
    FutureUse,
    /// The session id is zero.
    SessionId,
    /// There is no server identifier.
    NoServerId,
    /// The server's identifier is not UTF-8.
    ServerId,
    /// To write: the version needs more than ten bits.
    Version,
    /// To write: the identifier is longer than 255 bytes.
    LongServerId,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(needed) => write!(f, "truncated: {needed} bytes are needed"),
            Self::FutureUse => f.write_str("future-use is not zero (bytes 17 to 20)"),
            Self::SessionId => f.write_str("session-id is zero (byte 21)"),
            Self::NoServerId => f.write_str("no server-identifier (byte 23)"),
            Self::ServerId => f.write_str("server-identifier is not UTF-8 (byte 24)"),
            Self::Version => f.write_str("a version field of more than 1023"),
            Self::LongServerId => f.write_str("a server-identifier of more than 255 bytes"),
        }
    }
}

impl std::error::Error for Broken {}

impl Package0 {
    /// Reads a notification. Everything behind the server's identifier is the vendor's.
    ///
    /// # Errors
    /// [`Broken`]: what is wrong, and where.
    pub fn read(raw: &[u8]) -> Result<Self, Broken> {
        let (digest, rest) = raw.split_first_chunk::<DIGEST>().ok_or(Broken::Short(FIXED))?;
        let (fixed, rest) = rest.split_first_chunk::<8>().ok_or(Broken::Short(FIXED))?;
        let bits = u64::from_be_bytes(*fixed);
        let field = |shift: u32, width: u32| u16::try_from(bits >> shift & ((1 << width) - 1)).unwrap_or_default();
        if bits >> 24 & 0x07FF_FFFF != 0 {
            return Err(Broken::FutureUse);
        }
        let len = usize::from(field(0, 8));
        let (server_id, vendor) = rest.split_at_checked(len).ok_or(Broken::Short(FIXED + len))?;
        let package0 = Self {
            digest: *digest,
            version: field(54, 10),
            ui_mode: UiMode::ALL.get(usize::from(field(52, 2))).copied().unwrap_or_default(),
            initiator: if field(51, 1) == 1 { Initiator::Server } else { Initiator::Client },
            session_id: field(8, 16),
            server_id: std::str::from_utf8(server_id).map_err(|_| Broken::ServerId)?.to_owned(),
            vendor: vendor.to_vec(),
        };
        match (package0.session_id, len) {
            (0, _) => Err(Broken::SessionId),
            (_, 0) => Err(Broken::NoServerId),
            _ => Ok(package0),
        }
    }

    /// What the digest covers: everything behind it.
    ///
    /// # Errors
    /// When a field does not fit.
    pub fn trigger(&self) -> Result<Vec<u8>, Broken> {
        let len = u8::try_from(self.server_id.len()).map_err(|_| Broken::LongServerId)?;
        if self.version > LARGEST {
            return Err(Broken::Version);
        }
        match (self.session_id, len) {
            (0, _) => return Err(Broken::SessionId),
            (_, 0) => return Err(Broken::NoServerId),
            _ => {}
        }
        let ui_mode = UiMode::ALL.iter().position(|mode| *mode == self.ui_mode).unwrap_or_default() as u64;
        let initiator = u64::from(self.initiator == Initiator::Server);
        let bits =
            u64::from(self.version) << 54 | ui_mode << 52 | initiator << 51 | u64::from(self.session_id) << 8 | u64::from(len);
        Ok([&bits.to_be_bytes()[..], self.server_id.as_bytes(), &self.vendor].concat())
    }

    /// The whole notification, with the digest that it has.
    ///
    /// # Errors
    /// When a field does not fit.
    pub fn write(&self) -> Result<Vec<u8>, Broken> {
        Ok([&self.digest[..], &self.trigger()?].concat())
    }

    /// Makes the digest anew. `key.user` is the server's identifier.
    ///
    /// # Errors
    /// When a field does not fit.
    pub fn sign(&mut self, key: &Key<'_>) -> Result<(), Broken> {
        self.digest = digest(key, &self.trigger()?);
        Ok(())
    }

    /// Whether the digest is that of this key.
    #[must_use]
    pub fn verifies(&self, key: &Key<'_>) -> bool {
        let made = self.trigger().map(|trigger| digest(key, &trigger));
        // Compared without a short cut.
        made.is_ok_and(|made| made.iter().zip(&self.digest).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0)
    }

    /// The SessionID of the session that answers it: upper-case hexadecimal digits, no zeros in front.
    #[must_use]
    pub fn session(&self) -> String {
        format!("{:X}", self.session_id)
    }

    /// Says a version in the version field: 12 for DM 1.2. No length changes.
    pub fn recommend_in_version_field(&mut self, version: Version) {
        let (major, minor) = version.parts();
        self.version = u16::from(major) * 10 + u16::from(minor);
    }

    /// Says a version in front of the vendor's body, in place of one that is there already.
    pub fn recommend_in_vendor_body(&mut self, version: Version) {
        let rest = match self.vendor.strip_prefix(HINT) {
            Some(rest) => rest.iter().position(|byte| *byte == b';').and_then(|end| rest.get(end + 1..)).unwrap_or_default(),
            None => &self.vendor,
        };
        self.vendor = [HINT, version.to_string().as_bytes(), b";", rest].concat();
    }

    /// The version that the notification recommends, wherever it says one. The value 11 says none: it is
    /// what every notification has (OMA-TS-DM_Notification-V1_2_1, section 6.2.1).
    #[must_use]
    pub fn recommended(&self) -> Option<Version> {
        const ORDINARY: u16 = 11;
        if let Some(rest) = self.vendor.strip_prefix(HINT) {
            let text = rest.split(|byte| *byte == b';').next().unwrap_or_default();
            return Version::parse(std::str::from_utf8(text).ok()?);
        }
        (self.version > ORDINARY).then(|| Version::parse(&format!("DM/{}.{}", self.version / 10, self.version % 10))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Digests computed with the function that Motorola's client has for them.
    const VECTORS: [(&str, u16); 4] = [
        ("43509e84bd7bf8388c31595b368be7c7 02d8000000000107 6d676d74737276", 11),
        ("e5a19c0e2f19c06e919be86ddf704d1d 0318000000000107 6d676d74737276", 12),
        ("af738f6c90a685196f95c5be25aac957 0358000000000107 6d676d74737276", 13),
        ("e9f3f5000caefc981921b7805222ecab 0298000000000107 6d676d74737276", 10),
    ];
    const MGMTSRV: Key<'static> = Key { user: "mgmtsrv", password: "secret", nonce: b"nonce" };

    #[test]
    fn the_vectors_both_ways() {
        for (hex, version) in VECTORS {
            let raw = unhex(hex);
            let mut read = Package0::read(&raw).unwrap();
            assert_eq!((read.version, read.ui_mode, read.initiator), (version, UiMode::Background, Initiator::Server));
            assert_eq!((read.session().as_str(), &*read.server_id, read.vendor.len()), ("1", "mgmtsrv", 0));
            assert!(read.verifies(&MGMTSRV), "{hex}");
            assert!(!read.verifies(&Key { password: "wrong", ..MGMTSRV }) && !read.verifies(&Key { nonce: b"", ..MGMTSRV }));
            read.digest = [0; 16];
            read.sign(&MGMTSRV).unwrap();
            assert_eq!(read.write().unwrap(), raw);
        }
        let raw = unhex("8bd166c83a8ea41d61e35528aaf272f0 02f0000000abcd0e 636f6d2e6578616d706c652e646d deadbeef");
        let read = Package0::read(&raw).unwrap();
        assert!(read.verifies(&Key { user: "com.example.dm", password: "srvpw", nonce: &super::super::RESYNC }));
        assert_eq!((read.ui_mode, read.initiator, read.session()), (UiMode::UserInteraction, Initiator::Client, "ABCD".into()));
        assert_eq!(read.vendor, unhex("deadbeef"));
    }

    #[test]
    fn a_recommended_version_in_the_version_field_is_the_next_vector() {
        let mut package0 = Package0::read(&unhex(VECTORS[0].0)).unwrap();
        assert_eq!(package0.recommended(), None);
        for (version, vector) in [(Version::DM_1_2, 1), (Version::DM_1_3, 2)] {
            package0.recommend_in_version_field(version);
            package0.sign(&MGMTSRV).unwrap();
            assert_eq!(package0.write().unwrap(), unhex(VECTORS[vector].0));
            assert_eq!(package0.recommended(), Some(version));
        }
        package0.recommend_in_version_field(Version::DM_1_1);
        package0.sign(&MGMTSRV).unwrap();
        assert_eq!(package0.write().unwrap(), unhex(VECTORS[0].0), "and back");
    }

    #[test]
    fn a_recommended_version_in_the_vendor_body_stands_in_front() {
        let mut package0 = Package0::read(&unhex(VECTORS[0].0)).unwrap();
        package0.vendor = b"theirs".to_vec();
        package0.recommend_in_vendor_body(Version::DM_1_2);
        package0.recommend_in_vendor_body(Version::DM_1_3);
        assert_eq!(package0.vendor, b"DM-Recommended-Version=DM/1.3;theirs");
        assert_eq!((package0.recommended(), package0.version), (Some(Version::DM_1_3), 11));
    }

    #[test]
    fn what_is_no_notification_says_why() {
        let good = unhex(VECTORS[0].0);
        let with = |at: usize, byte: u8| {
            let mut raw = good.clone();
            raw[at] = byte;
            Package0::read(&raw).unwrap_err()
        };
        assert_eq!(Package0::read(b""), Err(Broken::Short(24)));
        for len in 0..good.len() {
            assert!(matches!(Package0::read(&good[..len]), Err(Broken::Short(_))), "{len}");
        }
        assert_eq!((with(20, 1), with(17, 0xFF)), (Broken::FutureUse, Broken::FutureUse));
        assert_eq!((with(22, 0), with(23, 0), with(24, 0xFF)), (Broken::SessionId, Broken::NoServerId, Broken::ServerId));
        assert_eq!(with(23, 200), Broken::Short(224));
        let mut long = Package0::read(&good).unwrap();
        long.server_id = "x".repeat(256);
        assert_eq!(long.write(), Err(Broken::LongServerId));
        long.version = 1024;
        long.server_id.truncate(1);
        assert_eq!(long.write(), Err(Broken::Version));
    }

    proptest! {
        #[test]
        fn what_can_be_read_is_written_the_same(raw in proptest::collection::vec(any::<u8>(), 0..80), fits in any::<bool>()) {
            let mut raw = raw;
            if fits && raw.len() > 30 {
                // Let most of them be notifications.
                raw[18..21].fill(0);
                raw[17] &= 0xF8;
                raw[23] = 4;
            }
            if let Ok(read) = Package0::read(&raw) {
                prop_assert_eq!(read.write().unwrap(), raw);
            }
        }
    }
}
