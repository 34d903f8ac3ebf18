//! Provisioning documents (OMA-WAP-TS-ProvCont-V1_1), in XML and WBXML, as far as DM accounts are concerned: the
//! w7 APPLICATION characteristics in them, and the parameter PROTOVER that Microsoft's clients take there
//! (w7 APPLICATION CSP).

mod binary;
mod codes;
mod stamp;
mod text;

pub use stamp::{highest, stamp};

use crate::syncml::{
    header::{Encoding, Span},
    limits,
    malformed::{Malformed, Problem},
};

/// Why there is no provisioning document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDocument {
    /// It is something else.
    SomethingElse,
    /// It cannot be read.
    Malformed(Malformed),
}

impl From<Malformed> for NoDocument {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl std::fmt::Display for NoDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SomethingElse => f.write_str("no provisioning document"),
            Self::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

/// Which element a tag is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// `wap-provisioningdoc`
    Root,
    /// `characteristic`
    Characteristic,
    /// `parm`
    Parm,
    /// Anything else, by its name.
    Other(String),
}

impl Element {
    fn named(name: &str) -> Self {
        match name {
            codes::ROOT => Self::Root,
            codes::CHARACTERISTIC => Self::Characteristic,
            codes::PARM => Self::Parm,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Root => codes::ROOT,
            Self::Characteristic => codes::CHARACTERISTIC,
            Self::Parm => codes::PARM,
            Self::Other(name) => name,
        }
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `type`, `name`, `value`, `version`.
    pub name: String,
    /// What it says.
    pub text: String,
    /// The bytes to replace in order to replace the value.
    pub place: Span,
    /// WBXML: the code page that is switched to among these bytes, and has to be so behind them.
    page: Option<u8>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Of which element.
    pub element: Element,
    /// All of it.
    pub span: Span,
    /// Whether the element has no content.
    pub empty: bool,
    /// The attributes, in order.
    pub attributes: Vec<Attribute>,
}

impl Tag {
    /// An attribute by name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn says(&self, name: &str) -> &str {
        self.attribute(name).map_or("", |attribute| &attribute.text)
    }
}

/// A step through a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An element begins.
    Start(Tag),
    /// An element that is not empty ends, with this tag.
    End(Span),
}

/// A provisioning document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// How it is encoded.
    pub encoding: Encoding,
    /// The elements, in order.
    pub events: Vec<Event>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`NoDocument`] when it is none, or cannot be read to its end.
    pub fn read(raw: &[u8]) -> Result<Self, NoDocument> {
        let binary = matches!(raw.first(), Some(0..=3));
        let encoding = if binary { Encoding::Wbxml } else { Encoding::Xml };
        let events = if binary { binary::read(raw)? } else { text::read(raw)? };
        Ok(Self { encoding, events })
    }

    /// The DM accounts in it.
    #[must_use]
    pub fn accounts(&self) -> Vec<Application> {
        let mut open: Vec<(&Tag, Option<Application>)> = Vec::new();
        let mut accounts = Vec::new();
        for event in &self.events {
            match event {
                Event::Start(tag) => {
                    if tag.element == Element::Parm {
                        parameter(tag, &mut open);
                    }
                    if !tag.empty {
                        let begins = tag.element == Element::Characteristic && tag.says("type") == "APPLICATION";
                        open.push((tag, begins.then(Application::default)));
                    }
                }
                Event::End(span) => {
                    let Some((tag, application)) = open.pop() else { continue };
                    accounts.extend(application.map(|application| (tag.span, application)));
                    // A parameter that is not written as empty ends here.
                    let outer = open.last_mut().and_then(|(_, application)| application.as_mut());
                    if let Some(neighbour) = outer.and_then(|application| application.neighbour.as_mut())
                        && neighbour.tag.span == tag.span
                    {
                        neighbour.end = span.end;
                    }
                }
            }
        }
        accounts.sort_by_key(|(span, _)| span.start);
        accounts.into_iter().map(|(_, application)| application).filter(|application| application.app_id == "w7").collect()
    }
}

/// Takes down what a parameter says of the account that it is in.
fn parameter(tag: &Tag, open: &mut [(&Tag, Option<Application>)]) {
    let value = || tag.says("value").to_owned();
    let (last, outer) = match open {
        [.., outer, last] => (last, Some(outer)),
        [last] => (last, None),
        [] => return,
    };
    if let Some(application) = &mut last.1 {
        match tag.says("name") {
            "APPID" => application.app_id = value(),
            "PROVIDER-ID" => application.provider_id = value(),
            "NAME" => application.name = value(),
            "ADDR" => application.addresses.push(value()),
            stamp::PROTOVER => application.protover.push(tag.clone()),
            _ => {}
        }
        // Behind the identifier it reads best; without one, behind whatever comes last.
        let plain = tag.attributes.len() == 2 && tag.attribute("value").is_some();
        let best = application.neighbour.as_ref().is_some_and(|neighbour| neighbour.best);
        if !best {
            let best = tag.says("name") == "PROVIDER-ID";
            application.neighbour = Some(Neighbour { tag: tag.clone(), end: tag.span.end, plain, best });
        }
    } else if let Some((_, Some(application))) = outer
        && last.0.says("type") == "APPADDR"
        && tag.says("name") == "ADDR"
    {
        application.addresses.push(value());
    }
}

/// A DM account: an APPLICATION characteristic with the APPID `w7`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    app_id: String,
    /// PROVIDER-ID: the server's identifier.
    pub provider_id: String,
    /// NAME.
    pub name: String,
    /// ADDR, and the ADDR of each APPADDR.
    pub addresses: Vec<String>,
    /// PROTOVER, as often as it is there.
    protover: Vec<Tag>,
    /// The parameter that another is put behind.
    neighbour: Option<Neighbour>,
}

impl Application {
    /// The value of PROTOVER.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.protover.last().map(|tag| tag.says("value"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Neighbour {
    tag: Tag,
    /// Where the element ends.
    end: u32,
    /// Whether it has a name and a value, and nothing else.
    plain: bool,
    best: bool,
}

/// Counts what a document may have of elements and levels.
#[derive(Default)]
struct Bounds {
    elements: usize,
    depth: usize,
}

impl Bounds {
    fn start(&mut self, at: u32, empty: bool) -> Result<(), Malformed> {
        self.elements += 1;
        self.depth += usize::from(!empty);
        match () {
            () if self.depth > limits::DEPTH => Err(Malformed { problem: Problem::TooDeep, at }),
            () if self.elements > limits::ELEMENTS => Err(Malformed { problem: Problem::TooLarge, at }),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
