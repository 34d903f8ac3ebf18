//! What samples are told apart by. Looking one up asks for no memory: names are shared with the policies, and
//! the rest is one of few words.

use std::{fmt, fmt::Write as _, sync::Arc};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::syncml::version::{self, Version};

/// The name of a site; `none` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site(pub(super) Option<Arc<str>>);

impl EncodeLabelValue for Site {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(self.0.as_deref().unwrap_or("none"))
    }
}

/// What a device declares: a version of the table, or else one of two words, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Declared {
    Known(Version),
    Unrecognised,
    None,
}

impl From<Option<&version::Declared>> for Declared {
    fn from(declared: Option<&version::Declared>) -> Self {
        declared.map_or(Self::None, |declared| declared.known().map_or(Self::Unrecognised, Self::Known))
    }
}

impl EncodeLabelValue for Declared {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Known(version) => write!(encoder, "{version}"),
            Self::Unrecognised => encoder.write_str("unrecognised"),
            Self::None => encoder.write_str("none"),
        }
    }
}

/// What a decision is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Decision {
    pub(super) site: Site,
    pub(super) kind: &'static str,
    pub(super) declared: Declared,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BySite {
    pub(super) site: Site,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByServer {
    pub(super) site: Site,
    pub(super) server: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByAddress {
    pub(super) site: Site,
    pub(super) server: Arc<str>,
    pub(super) address: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByFailure {
    pub(super) site: Site,
    pub(super) server: Arc<str>,
    pub(super) address: Arc<str>,
    pub(super) failure: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByStatus {
    pub(super) site: Site,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByListener {
    pub(super) listener: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByFailedConnection {
    pub(super) listener: Arc<str>,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByResult {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByCertificate {
    pub(super) listener: Arc<str>,
    pub(super) certificate: String,
}

/// A status of SyncML; `other` where protover has no use for it of its own.
pub(super) const fn status(code: u16) -> &'static str {
    match code {
        200 => "200",
        400 => "400",
        401 => "401",
        404 => "404",
        406 => "406",
        407 => "407",
        415 => "415",
        500 => "500",
        501 => "501",
        502 => "502",
        505 => "505",
        513 => "513",
        _ => "other",
    }
}
