//! `[[version]]`: versions beyond those built in, or other forms for one of them.

use std::ops::Range;

use crate::{
    policy::{
        diagnostic::Code,
        document::{Table, Value},
    },
    syncml::version::{Forms, Version, VersionTable},
};

pub(super) fn read(tables: Vec<Table<'_>>, versions: &mut VersionTable) {
    let mut names: Vec<(String, Range<usize>)> = Vec::new();
    for table in tables {
        let name = table.require("name", "such as name = \"DM/1.4\"");
        let version = name.as_ref().and_then(version);
        let text = |key| table.get(key).and_then(|value: Value<'_>| value.text()).map(str::to_owned);
        let (dtd, xmlns, fpi, dtd_url) = (text("dtd"), text("xmlns"), text("fpi"), text("dtd_url"));
        let public_id = table.get("public_id").and_then(|value| value.integer(1..=0x0FFF_FFFF));
        let public_id = public_id.and_then(|number| u32::try_from(number).ok());
        let (span, file) = (table.span.clone(), table.file);
        table.finish();
        let (Some(name), Some(version)) = (name, version) else { continue };
        super::site::once(file, "version", &version.to_string(), name.span(), &mut names);
        // What is left out is as in the version itself, or in one with the same DTD.
        let like = versions.get(version).filter(|forms| dtd.as_ref().is_none_or(|dtd| *dtd == forms.dtd)).or_else(|| {
            let same = versions.versions().into_iter().filter(|known| known.family() == version.family());
            same.filter_map(|known| versions.get(known)).find(|forms| dtd.as_ref().is_some_and(|dtd| *dtd == forms.dtd))
        });
        let forms = match like {
            Some(like) => Some(Forms {
                version,
                dtd: dtd.map_or_else(|| like.dtd.clone(), Into::into),
                xmlns: xmlns.map_or_else(|| like.xmlns.clone(), Into::into),
                fpi: fpi.map_or_else(|| like.fpi.clone(), Into::into),
                dtd_url: dtd_url.map_or_else(|| like.dtd_url.clone(), Into::into),
                public_id: public_id.unwrap_or(like.public_id),
            }),
            None => all(version, dtd, xmlns, fpi, dtd_url, public_id),
        };
        match forms {
            Some(forms) => versions.set(forms),
            None => {
                let title = format!("how {version} is written is not known");
                let help = "without a `dtd` that protover knows, give all of dtd, xmlns, fpi, dtd_url and public_id";
                file.report(Code::IncompleteVersion, span, title, "something is missing here", Some(help));
            }
        }
    }
}

fn all(
    version: Version,
    dtd: Option<String>,
    xmlns: Option<String>,
    fpi: Option<String>,
    dtd_url: Option<String>,
    public_id: Option<u32>,
) -> Option<Forms> {
    Some(Forms {
        version,
        dtd: dtd?.into(),
        xmlns: xmlns?.into(),
        fpi: fpi?.into(),
        dtd_url: dtd_url?.into(),
        public_id: public_id?,
    })
}

/// A version that need not be known yet, by its VerProto text only.
fn version(value: &Value<'_>) -> Option<Version> {
    let text = value.text()?;
    let version = Version::parse(text);
    if version.is_none() {
        let help = "the VerProto text, such as \"DM/1.4\" or \"SyncML/1.3\"";
        value.report(Code::UnknownVersion, format!("\"{text}\" is not a version"), "not in the form of VerProto", help);
    }
    version
}
