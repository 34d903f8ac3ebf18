//! The folder of policies: read, compiled, and watched by its fingerprint.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use crate::policy::{
    self, Diagnostic, Source, diagnostic,
    site::{DecisionsTo, Policies, Server, Site, Store},
};

#[cfg(test)]
mod tests;

/// A file larger than this is no policy.
const LARGEST: u64 = 1 << 20;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be listed.
    #[error("cannot read the policies in `{}`: {error}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Files of it cannot be read: every one of them, with why.
    #[error("cannot read {}", join(.0))]
    Files(Vec<(PathBuf, String)>),
    /// The policies are invalid; warnings are among the diagnostics.
    #[error("{}", invalid(.0, false))]
    Invalid(Vec<Diagnostic>),
}

fn join(files: &[(PathBuf, String)]) -> String {
    let files: Vec<String> = files.iter().map(|(path, why)| format!("`{}`: {why}", path.display())).collect();
    files.join("\ncannot read ")
}

fn invalid(diagnostics: &[Diagnostic], colour: bool) -> String {
    let (count, diagnostics) = (diagnostic::count(diagnostics), diagnostic::render(diagnostics, colour));
    format!("the policies are invalid: {count}\n\n{}", diagnostics.trim_end())
}

impl LoadError {
    /// What is wrong, as it is displayed, but in colour where wanted.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Invalid(diagnostics) => invalid(diagnostics, colour),
            Self::Folder { .. } | Self::Files(_) => self.to_string(),
        }
    }
}

/// Reads and compiles the `*.toml` files of a folder. Relative paths in them are meant from the folder
/// that holds it, so that `certs/server.pem` stands beside `policies/`.
///
/// # Errors
/// [`LoadError`], with everything that is wrong. Otherwise the warnings come with the policies.
pub fn load(folder: &Path) -> Result<(Policies, Vec<Diagnostic>), LoadError> {
    let (mut policies, diagnostics) = compiled(folder)?;
    for site in &mut policies.sites {
        for server in &mut Arc::make_mut(site).servers {
            let server = Arc::make_mut(server);
            server.pem = digest(server);
        }
    }
    Ok((policies, diagnostics))
}

/// The digest of what a server's PEM files hold. What cannot be read says so when it is used.
fn digest(server: &Server) -> [u8; 32] {
    let identity = server.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    let mut digest = Sha256::new();
    for path in server.ca.iter().chain(identity) {
        digest.update(Sha256::digest(fs::read(path).unwrap_or_default()));
    }
    digest.finalize().into()
}

fn compiled(folder: &Path) -> Result<(Policies, Vec<Diagnostic>), LoadError> {
    let paths = files(folder).map_err(|error| LoadError::Folder { folder: folder.to_owned(), error })?;
    let mut sources = Vec::new();
    let mut unreadable = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(source) => sources.push(source),
            Err(why) => unreadable.push((path, why)),
        }
    }
    if !unreadable.is_empty() {
        return Err(LoadError::Files(unreadable));
    }
    let compiled = policy::compile(&sources);
    match compiled.policies {
        Some(mut policies) => {
            resolve(&mut policies, &beside(folder));
            Ok((policies, compiled.diagnostics))
        }
        None => Err(LoadError::Invalid(compiled.diagnostics)),
    }
}

/// The policies of a folder, in the order of their names. Hidden files are not policies: editors leave
/// such behind.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Source, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    if metadata.len() > LARGEST {
        return Err("larger than 1 MiB".to_owned());
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("not UTF-8 (line {line})")
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Editors on Windows put a mark in front; spans are counted without it.
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    Ok(Source { name, text })
}

/// The folder that holds a folder.
fn beside(folder: &Path) -> PathBuf {
    match (folder.file_name(), folder.parent()) {
        (Some(_), Some(parent)) => parent.to_owned(),
        // `.` and `..` have no name of their own.
        _ => folder.join(".."),
    }
}

/// Makes the paths in policies independent of where they are written.
fn resolve(policies: &mut Policies, base: &Path) {
    each_path(policies, &mut |path| *path = base.join(&*path));
    if let DecisionsTo::File(path) = &mut policies.settings.decisions.to {
        *path = base.join(&*path);
    }
}

/// Every file that policies refer to and that is read.
fn each_path(policies: &mut Policies, with: &mut dyn FnMut(&mut PathBuf)) {
    for tls in policies.settings.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
        for identity in &mut tls.certificates {
            with(&mut identity.certificate);
            with(&mut identity.key);
        }
        tls.client_ca.iter_mut().chain(&mut tls.client_crl).chain(&mut tls.ticket_keys).for_each(&mut *with);
    }
    policies.settings.decisions.key_file.as_mut().map(&mut *with);
    policies.settings.admin.as_mut().and_then(|admin| admin.token_file.as_mut()).map(&mut *with);
    if let Store::Redis(redis) = &mut policies.settings.store {
        redis.password_file.as_mut().map(&mut *with);
        redis.ca.as_mut().map(&mut *with);
    }
    for site in &mut policies.sites {
        let site: &mut Site = Arc::make_mut(site);
        site.secrets.as_mut().map(&mut *with);
        for server in &mut site.servers {
            let server = Arc::make_mut(server);
            server.ca.as_mut().map(&mut *with);
            if let Some((certificate, key)) = &mut server.identity {
                with(certificate);
                with(key);
            }
        }
    }
}

/// What a folder looks like from outside, and the files that its policies refer to: equal as long as nothing in it
/// changed. New certificates are a change too, also where a link leads to others than before. What cannot be looked
/// at counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    policies: Vec<(PathBuf, Seen)>,
    /// `None` while the policies cannot be read, which may pass without a change of their files.
    refers: Option<Vec<PathBuf>>,
    others: Vec<(PathBuf, Seen)>,
}

/// Which file it is, its size, and when it was last changed; the last by a clock that nobody can set back.
type Seen = (u64, u64, u64, i64, i64, i64, i64);

impl Fingerprint {
    /// Looks at a folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self::default().again(folder)
    }

    /// Looks at it again. Policies are read only where their files changed: this is done every second, by a thread
    /// that answers requests as well.
    #[must_use]
    pub fn again(&self, folder: &Path) -> Self {
        let policies = seen(files(folder).unwrap_or_default());
        let known = self.refers.as_ref().filter(|_| policies == self.policies).cloned();
        let refers = known.or_else(|| {
            let (mut policies, _) = compiled(folder).ok()?;
            let mut paths = Vec::new();
            each_path(&mut policies, &mut |path| paths.push(path.clone()));
            Some(paths)
        });
        let others = seen(refers.clone().unwrap_or_default());
        Self { policies, refers, others }
    }
}

fn seen(paths: Vec<PathBuf>) -> Vec<(PathBuf, Seen)> {
    let look = |path: PathBuf| {
        let seen = fs::metadata(&path).ok()?;
        let times = (seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec());
        Some((path, (seen.dev(), seen.ino(), seen.len(), times.0, times.1, times.2, times.3)))
    };
    paths.into_iter().filter_map(look).collect()
}
