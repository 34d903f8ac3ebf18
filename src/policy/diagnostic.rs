//! What is wrong, or doubtful, in a policy: a stable code, the place with a caret, and what to do.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, without the folder.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $code:literal $severity:ident,)+) => {
        /// What is wrong. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])+ $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it is printed.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// Not TOML.
    Syntax = "P0101" Error,
    /// A key that is not known there.
    UnknownKey = "P0102" Error,
    /// A value of the wrong type.
    WrongType = "P0103" Error,
    /// A key that must be there and is not.
    Missing = "P0104" Error,
    /// A word that is none of the choices.
    UnknownChoice = "P0105" Error,
    /// A value that may not be empty.
    Empty = "P0107" Error,
    /// The folder has no `proxy.toml`.
    NoProxy = "P0108" Error,
    /// The folder has no site.
    NoSite = "P0109" Error,
    /// A version that protover does not know.
    UnknownVersion = "P0201" Error,
    /// A `[[version]]` that leaves something open.
    IncompleteVersion = "P0202" Error,
    /// Two versions of one family where one is wanted.
    TwoOfAFamily = "P0203" Error,
    /// The recommended version is spoken by no server.
    RecommendsUnspoken = "P0204" Warning,
    /// Not a size.
    BadSize = "P0301" Error,
    /// Not a duration.
    BadDuration = "P0302" Error,
    /// Not an address with a port.
    BadAddress = "P0303" Error,
    /// Not a URL of a server.
    BadUrl = "P0304" Error,
    /// A URL with a user name or a password.
    UrlCredentials = "P0305" Error,
    /// A number that is too small or too large.
    OutOfRange = "P0306" Error,
    /// Not a percentage.
    BadShare = "P0307" Error,
    /// Not a host.
    BadHost = "P0308" Error,
    /// Not a path.
    BadPath = "P0309" Error,
    /// Not a path in a management tree.
    BadNodeUri = "P0310" Error,
    /// Not a network.
    BadNetwork = "P0311" Error,
    /// Not the SHA-256 of a certificate.
    BadFingerprint = "P0312" Error,
    /// The same name twice.
    DuplicateName = "P0401" Error,
    /// The same host and path twice.
    HostClash = "P0402" Error,
    /// A rule names a server that is not there.
    NoSuchServer = "P0403" Error,
    /// Two listeners on one address.
    AddressClash = "P0404" Error,
    /// TLS keys that need each other.
    TlsIncomplete = "P0405" Error,
    /// TLS keys that are not used.
    TlsUnused = "P0406" Warning,
    /// An admin listener that others can reach, without a token.
    AdminExposed = "P0407" Error,
    /// A rule that can never match.
    Unreachable = "P0501" Error,
    /// A rule that earlier rules take something from.
    Shadowed = "P0502" Warning,
    /// A server that never gets a message.
    IdleServer = "P0503" Warning,
    /// A rule that passes a version to a server that does not speak it.
    PassesUnspoken = "P0504" Warning,
    /// A rule that says two things at once.
    Contradiction = "P0505" Error,
    /// A rule that says nothing.
    SaysNothing = "P0506" Error,
    /// A rule that bridges to a version that no server speaks.
    BridgesToUnspoken = "P0507" Error,
    /// A rule on client certificates, and no listener that asks for them.
    NoClientCertificates = "P0508" Warning,
    /// A key that has no effect as things are.
    NoEffect = "P0509" Warning,
    /// Accounts cannot be found without the server's identifier.
    NoServerId = "P0510" Error,
    /// A version that cannot stand in an account.
    NotInAccounts = "P0511" Warning,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A place in a file, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// The bytes.
    pub span: Range<usize>,
    /// What to say at the caret.
    pub label: String,
}

impl Place {
    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        let before = self.source.text.as_bytes().get(..self.span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The span, held within the text and to whole characters, as the renderer needs it.
    fn drawn(&self) -> Range<usize> {
        let text = &self.source.text;
        let floor = |index: usize| (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        let start = floor(self.span.start);
        start..floor(self.span.end).max(start)
    }
}

/// Something that is wrong, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which.
    pub code: Code,
    /// In a sentence.
    pub title: String,
    /// Where. The first is the place itself, the others show what it clashes with. None when it is
    /// about a file that is not there.
    pub places: Vec<Place>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a place.
    #[must_use]
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        Self { code, title: title.into(), places: Vec::new(), help: None }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Range<usize>, label: impl Into<String>) -> Self {
        self.places.push(Place { source: Arc::clone(source), span, label: label.into() });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Whether the policy cannot be used.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity() == Severity::Error
    }

    /// The diagnostic as a compiler would print it, with the lines it is about.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.title).id(self.code.code()));
        let mut left: Vec<&Place> = self.places.iter().collect();
        let mut kind = AnnotationKind::Primary;
        while let Some(first) = left.first() {
            // Places of one file are drawn together.
            let source = Arc::clone(&first.source);
            let (here, rest): (Vec<&Place>, Vec<&Place>) = left.iter().partition(|place| place.source.name == source.name);
            let mut snippet = Snippet::source(first.source.text.as_str()).path(first.source.name.as_str());
            for place in here {
                snippet = snippet.annotation(kind.span(place.drawn()).label(place.label.as_str()));
                kind = AnnotationKind::Context;
            }
            group = group.element(snippet);
            left = rest;
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// All diagnostics, one after the other, errors first.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.severity());
    let mut out = String::new();
    for diagnostic in sorted {
        out.push_str(&diagnostic.render(colour));
        out.push_str("\n\n");
    }
    out
}

/// `2 errors, 1 warning`.
#[must_use]
pub fn count(diagnostics: &[Diagnostic]) -> String {
    let of = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity() == severity).count();
    let some = |count: usize, what| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        more => Some(format!("{more} {what}s")),
    };
    let parts = [some(of(Severity::Error), "error"), some(of(Severity::Warning), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
