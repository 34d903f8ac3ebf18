//! The names behind the codes, for reading a document out as XML.
//!
//! The code pages of SyncML are those of [`Element`]; what stands in nested documents is never
//! touched, so their names are needed here only. DDF: OMA-TS-DM_TNDS-V1_2, DevInf:
//! OMA-TS-DS_DevInf-V1_2, provisioning: OMA-WAP-TS-ProvCont-V1_1.

use super::head::Head;
use crate::syncml::{element::Element, header::PublicId};

/// The first code that a code page assigns.
const FIRST: u8 = 0x05;

/// A document type, as far as its codes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codebook {
    /// SyncML with MetInf and DDF on its other pages.
    SyncMl,
    /// MetInf as a document of its own.
    MetInf,
    /// DevInf.
    DevInf,
    /// A management tree or a device description.
    Ddf,
    /// Client provisioning.
    Prov,
}

/// By number and by text: the public identifiers of each document type. The versions of a type share
/// their codes.
const PUBLIC: &[(Codebook, &[u32], &str)] = &[
    (Codebook::SyncMl, &[0x0FD1, 0x0FD3, 0x1201], "DTD SyncML "),
    (Codebook::DevInf, &[0x0FD2, 0x0FD4, 0x1203], "DTD DevInf "),
    (Codebook::MetInf, &[0x1202], "DTD MetInf "),
    (Codebook::Prov, &[0x0B], "DTD PROV "),
    (Codebook::Ddf, &[], "DTD-DM-DDF "),
    (Codebook::Ddf, &[], "DTD-DM-TNDS "),
];

impl Codebook {
    /// What a document of this type is called.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::SyncMl => "SyncML",
            Self::MetInf => "MetInf",
            Self::DevInf => "DevInf",
            Self::Ddf => "management tree",
            Self::Prov => "provisioning",
        }
    }

    /// The document type that a WBXML header names.
    pub(super) fn of(raw: &[u8], head: &Head) -> Option<Self> {
        match head.public_id {
            PublicId::Number { value, .. } => Self::by_number(value),
            PublicId::Text { fpi } => Self::by_text(&String::from_utf8_lossy(fpi.of(raw))),
        }
    }

    /// The document type of a public identifier by number.
    fn by_number(number: u32) -> Option<Self> {
        PUBLIC.iter().find(|(_, numbers, _)| numbers.contains(&number)).map(|(book, ..)| *book)
    }

    /// The document type of a formal public identifier.
    fn by_text(fpi: &str) -> Option<Self> {
        let fpi = fpi.to_ascii_uppercase();
        PUBLIC.iter().find(|(.., part)| fpi.contains(&part.to_ascii_uppercase())).map(|(book, ..)| *book)
    }

    /// The name of a tag.
    pub(super) fn name(self, page: u8, code: u8) -> Option<&'static str> {
        let names = match (self, page) {
            (Self::SyncMl, 0 | 1) => {
                let name = Element::from_token(page, code).name();
                return (!name.is_empty()).then_some(name);
            }
            (Self::MetInf, _) | (Self::Ddf, 1) => {
                let name = Element::from_token(1, code).name();
                return (!name.is_empty()).then_some(name);
            }
            (Self::SyncMl, 2) | (Self::Ddf, 0 | 2) => DDF,
            (Self::DevInf, 0) => DEVINF,
            (Self::Prov, 0 | 1) => PROV,
            _ => return None,
        };
        names.get(usize::from(code.checked_sub(FIRST)?)).copied().filter(|name| !name.is_empty())
    }

    /// The namespace of a code page; empty when it has none.
    pub(super) fn namespace(self, page: u8) -> &'static str {
        match (self, page) {
            (Self::SyncMl | Self::Ddf, 1) | (Self::MetInf, _) => "syncml:metinf",
            (Self::SyncMl, 2) | (Self::Ddf, _) => "syncml:dmddf1.2",
            (Self::DevInf, _) => "syncml:devinf",
            (Self::SyncMl | Self::Prov, _) => "",
        }
    }
}

/// Code page 2: the device description framework and TNDS.
#[rustfmt::skip]
const DDF: &[&str] = &[
    "AccessType", "ACL", "Add", "b64", "bin", "bool", "chr", "CaseSense", "CIS", "Copy", "CS", "date", "DDFName",
    "DefaultValue", "Delete", "Description", "DFFormat", "DFProperties", "DFTitle", "DFType", "Dynamic", "Exec",
    "float", "Format", "Get", "int", "Man", "MgmtTree", "MIME", "Mod", "Name", "Node", "node", "NodeName", "null",
    "Occurrence", "One", "OneOrMore", "OneOrN", "Path", "Permanent", "Replace", "RTProperties", "Scope", "Size", "time",
    "Title", "TStamp", "Type", "Value", "VerDTD", "VerNo", "xml", "ZeroOrMore", "ZeroOrN", "ZeroOrOne",
];

/// DevInf 1.2. DevInf 1.1 ends at `2A` and calls `1C` Size.
#[rustfmt::skip]
const DEVINF: &[&str] = &[
    "CTCap", "CTType", "DataStore", "DataType", "DevID", "DevInf", "DevTyp", "DisplayName", "DSMem", "Ext", "FwV",
    "HwV", "Man", "MaxGUIDSize", "MaxID", "MaxMem", "Mod", "OEM", "ParamName", "PropName", "Rx", "Rx-Pref", "SharedMem",
    "MaxSize", "SourceRef", "SwV", "SyncCap", "SyncType", "Tx", "Tx-Pref", "ValEnum", "VerCT", "VerDTD", "XNam", "XVal",
    "UTC", "SupportNumberOfChanges", "SupportLargeObjs", "Property", "PropParam", "MaxOccur", "NoTruncate", "",
    "Filter-Rx", "FilterCap", "FilterKeyword", "FieldLevel", "SupportHierarchicalSync",
];

/// Client provisioning.
const PROV: &[&str] = &["wap-provisioningdoc", "characteristic", "parm"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_where_the_specifications_put_them() {
        for (book, page, code, name) in [
            (Codebook::SyncMl, 0, 0x31, "VerDTD"),
            (Codebook::SyncMl, 1, 0x0C, "MaxMsgSize"),
            (Codebook::SyncMl, 2, 0x20, "MgmtTree"),
            (Codebook::SyncMl, 2, 0x37, "VerDTD"),
            (Codebook::SyncMl, 2, 0x3C, "ZeroOrOne"),
            (Codebook::DevInf, 0, 0x25, "VerDTD"),
            (Codebook::DevInf, 0, 0x34, "SupportHierarchicalSync"),
            (Codebook::MetInf, 0, 0x0C, "MaxMsgSize"),
            (Codebook::Ddf, 0, 0x20, "MgmtTree"),
            (Codebook::Prov, 1, 0x07, "parm"),
        ] {
            assert_eq!(book.name(page, code), Some(name));
        }
        for (page, code) in [(0, 0x00), (0, 0x04), (0, 0x30), (0, 0x3D), (1, 0x17), (3, 0x05), (255, 0x3F)] {
            assert_eq!(Codebook::SyncMl.name(page, code), None);
        }
    }

    #[test]
    fn public_identifiers_name_the_type() {
        assert_eq!(Codebook::by_number(0x1203), Some(Codebook::DevInf));
        assert_eq!(Codebook::by_number(0x01), None);
        assert_eq!(Codebook::by_text("-//SYNCML//DTD SYNCML 1.2//EN"), Some(Codebook::SyncMl));
        assert_eq!(Codebook::by_text("-//OMA//DTD-DM-DDF 1.2//EN"), Some(Codebook::Ddf));
        assert_eq!(Codebook::by_text("-//WAPFORUM//DTD WML 1.3//EN"), None);
    }
}
