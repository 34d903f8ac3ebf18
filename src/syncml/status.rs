//! Status codes of the SyncML representation protocol that protover writes or understands
//! (OMA-TS-SyncML-RepPro-V1_2_2, section 10, "Response status codes").

/// A status code, as in Status/Data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// Done.
    pub const OK: Self = Self(200);
    /// Bad request: not understood.
    pub const BAD_REQUEST: Self = Self(400);
    /// Optional feature not supported.
    pub const OPTIONAL_FEATURE_NOT_SUPPORTED: Self = Self(406);
    /// Unsupported media type or format.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// Command not implemented.
    pub const COMMAND_NOT_IMPLEMENTED: Self = Self(501);
    /// Bad gateway: an invalid answer came from the recipient behind a proxy.
    pub const BAD_GATEWAY: Self = Self(502);
    /// DTD version not supported; Items hold those that are.
    pub const DTD_VERSION_NOT_SUPPORTED: Self = Self(505);
    /// Protocol version not supported; Items hold those that are.
    pub const PROTOCOL_VERSION_NOT_SUPPORTED: Self = Self(513);
}
