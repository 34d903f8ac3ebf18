//! A message as a tree.

use crate::syncml::{
    header::Encoding,
    version::{Version, VersionTable},
};

use super::{wbxml, xml};

/// An element with its children, or with a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The local name.
    pub name: String,
    /// The children, in order.
    pub children: Vec<Self>,
    /// The text, when there are no children.
    pub text: String,
}

impl Node {
    /// An element with children.
    #[must_use]
    pub fn new(name: &str, children: Vec<Self>) -> Self {
        Self { name: name.to_owned(), children, text: String::new() }
    }

    /// An element with a text.
    #[must_use]
    pub fn leaf(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), children: Vec::new(), text: text.into() }
    }

    /// A Target or Source.
    #[must_use]
    pub fn location(name: &str, uri: &str) -> Self {
        Self::new(name, vec![Self::leaf("LocURI", uri)])
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at a path of first children.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// The text of the element at a path; empty when there is none.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> &str {
        self.at(path).map_or("", |node| &node.text)
    }
}

/// What old phones stumble over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// It begins with a byte-order mark.
    pub mark: bool,
    /// Element names have prefixes.
    pub prefix: bool,
    /// White space between tags.
    pub space: bool,
    /// VerProto is written with references.
    pub references: bool,
}

/// A message with all that is around its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The SyncML element.
    pub root: Node,
    /// The name space of the root (XML).
    pub xmlns: Option<String>,
    /// The public identifier (WBXML).
    pub public_id: Option<u32>,
    /// What old phones stumble over.
    pub quirks: Quirks,
}

impl Document {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(encoding: Encoding, raw: &[u8]) -> Result<Self, String> {
        match encoding {
            Encoding::Xml => xml::read(raw),
            Encoding::Wbxml => wbxml::read(raw),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Xml => xml::write(self),
            Encoding::Wbxml => wbxml::write(self),
        }
    }

    /// A message in a version of the table.
    #[must_use]
    pub fn new(version: Version, header: &Header<'_>, commands: Vec<Node>) -> Self {
        let table = VersionTable::default();
        let known = table.get(version);
        let dtd = known.map_or_else(|| version.number(), |forms| forms.dtd.to_string());
        let mut fields = vec![
            Node::leaf("VerDTD", dtd.clone()),
            Node::leaf("VerProto", version.to_string()),
            Node::leaf("SessionID", header.session),
            Node::leaf("MsgID", header.message.to_string()),
            Node::location("Target", header.target),
            Node::location("Source", header.source),
        ];
        if let Some(uri) = header.resp_uri {
            fields.push(Node::leaf("RespURI", uri));
        }
        fields.extend(header.cred.cloned());
        if let Some(size) = header.max_msg_size {
            fields.push(Node::new("Meta", vec![Node::leaf("MaxMsgSize", size.to_string())]));
        }
        let mut body = commands;
        body.push(Node::leaf("Final", ""));
        Self {
            root: Node::new("SyncML", vec![Node::new("SyncHdr", fields), Node::new("SyncBody", body)]),
            xmlns: Some(known.map_or_else(|| format!("SYNCML:SYNCML{dtd}"), |forms| forms.xmlns.to_string())),
            public_id: Some(known.map_or(0x1201, |forms| forms.public_id)),
            quirks: Quirks::default(),
        }
    }

    /// SyncHdr.
    #[must_use]
    pub fn header(&self) -> Option<&Node> {
        self.root.child("SyncHdr")
    }

    /// What stands at a path in SyncHdr; empty when nothing does.
    #[must_use]
    pub fn field(&self, path: &[&str]) -> &str {
        self.header().map_or("", |header| header.text_at(path))
    }

    /// The commands.
    #[must_use]
    pub fn commands(&self) -> &[Node] {
        self.root.child("SyncBody").map_or(&[], |body| &body.children)
    }
}

/// What SyncHdr says besides the version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    /// SessionID.
    pub session: &'a str,
    /// MsgID.
    pub message: u32,
    /// Target/LocURI.
    pub target: &'a str,
    /// Source/LocURI.
    pub source: &'a str,
    /// RespURI.
    pub resp_uri: Option<&'a str>,
    /// Cred.
    pub cred: Option<&'a Node>,
    /// Meta/MaxMsgSize.
    pub max_msg_size: Option<u32>,
}
