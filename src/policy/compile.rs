//! From files to [`Policies`]: everything that is wrong in them at once.

use std::sync::Arc;

use super::{
    diagnostic::{Code, Diagnostic, Source},
    document::File,
    lint,
    routing::Routes,
    site::Policies,
};

mod account;
mod admin;
mod listener;
mod rule;
mod server;
mod settings;
mod site;
mod store;
mod value;
mod version;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;

pub(super) use site::Read;

/// The file that says how the process runs; every other one is a site.
pub const PROXY: &str = "proxy.toml";

/// What came of some files.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policies, unless there is an error.
    pub policies: Option<Policies>,
    /// Errors and warnings, in the order of the files and of the places in them.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles the files of a folder. Paths in them stay as they are written.
#[must_use]
pub fn compile(sources: &[Source]) -> Compiled {
    let mut sources: Vec<Arc<Source>> = sources.iter().cloned().map(Arc::new).collect();
    // The process first: it says which versions there are.
    sources.sort_by(|a, b| (a.name != PROXY, &a.name).cmp(&(b.name != PROXY, &b.name)));
    let mut diagnostics = Vec::new();
    let mut process = None;
    let mut sites: Vec<Read> = Vec::new();
    let mut versions = crate::syncml::version::VersionTable::default();
    let (mut proxies, mut files) = (0, 0);
    for source in sources {
        let file = File::new(Arc::clone(&source));
        if source.name == PROXY {
            proxies += 1;
            process = file.read(PROXY, |root| settings::read(root, &mut versions));
        } else {
            files += 1;
            sites.extend(file.read("a site's file", |root| site::read(root, &versions)));
        }
        diagnostics.extend(file.into_found());
    }
    if proxies == 0 {
        let title = format!("there is no `{PROXY}`");
        let help = "it says where devices connect:\n[[listener]]\nname = \"devices\"\naddress = \"127.0.0.1:8080\"";
        diagnostics.push(Diagnostic::new(Code::NoProxy, title).help(help));
    }
    if files == 0 {
        let help = format!("every `*.toml` beside `{PROXY}` is a site, with `[site]` and at least one `[[server]]`");
        diagnostics.push(Diagnostic::new(Code::NoSite, "there is no site").help(help));
    }
    diagnostics.extend(lint::across(&sites, process.as_ref()));
    for site in &sites {
        diagnostics.extend(lint::site(site));
    }
    // Stable: diagnostics without a place come first, then file by file, line by line.
    diagnostics.sort_by_key(|diagnostic| {
        let place = diagnostic.places.first();
        place.map(|place| (place.source.name != PROXY, place.source.name.clone(), place.span.start))
    });
    let policies = match process {
        Some(settings) if !diagnostics.iter().any(Diagnostic::is_error) => {
            let sites: Vec<_> = sites.into_iter().map(|read| Arc::new(read.site)).collect();
            let routes = Routes::of(&sites);
            Some(Policies { settings, versions, sites, routes })
        }
        _ => None,
    };
    Compiled { policies, diagnostics }
}
