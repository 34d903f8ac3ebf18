//! TOML as it is written. Every value knows where it stands and every table which of its keys were
//! asked for, so that one reading finds all mistakes of a file: a deserialiser would stop at the first.

use std::{cell::RefCell, ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::diagnostic::{Code, Diagnostic, Source};

/// A file that is being read, and what was found wrong in it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) source: Arc<Source>,
    found: RefCell<Vec<Diagnostic>>,
}

impl File {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source, found: RefCell::default() }
    }

    /// Reads the file with `reader`; not when it is no TOML, since guesses would bury the real mistake.
    pub(super) fn read<T>(&self, name: &'static str, reader: impl FnOnce(Table<'_>) -> Option<T>) -> Option<T> {
        let (root, errors) = DeTable::parse_recoverable(&self.source.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            self.report(Code::Syntax, span, "this is not TOML", error.message(), None);
        }
        if errors.is_empty() { reader(Table::new(self, root.get_ref(), 0..0, name)) } else { None }
    }

    pub(super) fn report(
        &self,
        code: Code,
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<&str>,
    ) {
        let diagnostic = Diagnostic::new(code, title).at(&self.source, span, label);
        self.add(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    pub(super) fn add(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'d> {
    pub(super) file: &'d File,
    table: &'d DeTable<'d>,
    pub(super) span: Range<usize>,
    /// As it is written: `[site]`.
    name: &'static str,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    fn new(file: &'d File, table: &'d DeTable<'d>, span: Range<usize>, name: &'static str) -> Self {
        Self { file, table, span, name, asked: RefCell::default() }
    }

    /// The value of a key, when it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value { file: self.file, value, key })
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &'static str, help: &str) -> Option<Value<'d>> {
        let value = self.get(key);
        if value.is_none() {
            let title = format!("`{key}` is missing in {}", self.name);
            self.file.report(Code::Missing, self.span.clone(), title, "it belongs here", Some(help));
        }
        value
    }

    /// The table of a key, when it is there.
    pub(super) fn table(&self, key: &'static str, name: &'static str) -> Option<Table<'d>> {
        self.get(key)?.table(name)
    }

    /// The tables of a key: `[[server]]`.
    pub(super) fn tables(&self, key: &'static str, name: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.value.get_ref() {
            DeValue::Array(_) => value.list().into_iter().filter_map(|item| item.table(name)).collect(),
            _ => {
                value.wrong_type("a list of tables", &format!("write `{name}`, with two brackets on each side"));
                Vec::new()
            }
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let near = asked.iter().map(|known| (strsim::jaro_winkler(known, name), *known)).max_by(|a, b| a.0.total_cmp(&b.0));
            let help = match near {
                Some((likeness, known)) if likeness > 0.8 => format!("did you mean `{known}`?"),
                _ => format!("{} takes: {}", self.name, asked.join(", ")),
            };
            let title = format!("unknown key `{name}` in {}", self.name);
            self.file.report(Code::UnknownKey, key.span(), title, "not known here", Some(&help));
        }
    }
}

/// A value that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'d> {
    pub(super) file: &'d File,
    value: &'d Spanned<DeValue<'d>>,
    key: &'static str,
}

impl<'d> Value<'d> {
    pub(super) const fn key(&self) -> &'static str {
        self.key
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(super) fn report(&self, code: Code, title: impl Into<String>, label: impl Into<String>, help: &str) {
        self.file.report(code, self.span(), title, label, Some(help).filter(|help| !help.is_empty()));
    }

    /// Reports without showing the value: what is printed may end up in a ticket.
    pub(super) fn report_hidden(&self, code: Code, title: &str, label: &str, help: &str) {
        let Source { name, text } = &*self.file.source;
        let Range { start, end } = self.span();
        let parts = (text.get(..start), text.get(start..end), text.get(end..));
        let (Some(before), Some(hidden), Some(after)) = parts else { return };
        let text = format!("{before}{}{after}", "*".repeat(hidden.len()));
        let source = Arc::new(Source { name: name.clone(), text });
        self.file.add(Diagnostic::new(code, title).at(&source, start..end, label).help(help));
    }

    pub(super) fn wrong_type(&self, expected: &str, help: &str) {
        let is = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(Code::WrongType, format!("`{}` must be {expected}", self.key), format!("this is {is}"), help);
    }

    /// The string, quietly.
    pub(super) fn as_str(&self) -> Option<&'d str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&self) -> Option<&'d str> {
        match self.as_str() {
            None => self.wrong_type("a string", &format!("write it in quotes: {} = \"…\"", self.key)),
            Some(text) if text.trim().is_empty() => {
                self.report(Code::Empty, format!("`{}` may not be empty", self.key), "nothing in it", "");
                return None;
            }
            Some(_) => {}
        }
        self.as_str()
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        if let DeValue::Boolean(value) = self.value.get_ref() {
            return Some(*value);
        }
        self.wrong_type("true or false", &format!("write it without quotes: {} = true", self.key));
        None
    }

    /// The whole number, quietly; too large ones are the largest.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self.value.get_ref() {
            DeValue::Integer(number) => Some(match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number,
                Err(_) if number.as_str().starts_with('-') => i64::MIN,
                Err(_) => i64::MAX,
            }),
            _ => None,
        }
    }

    /// A whole number within limits.
    pub(super) fn integer(&self, limits: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let Some(number) = self.as_integer() else {
            self.wrong_type("a whole number", &format!("such as {} = {}", self.key, limits.start()));
            return None;
        };
        if limits.contains(&number) {
            return Some(number);
        }
        let title = format!("`{}` must be between {} and {}", self.key, limits.start(), limits.end());
        self.report(Code::OutOfRange, title, "out of range", "");
        None
    }

    /// A table.
    pub(super) fn table(&self, name: &'static str) -> Option<Table<'d>> {
        if let DeValue::Table(table) = self.value.get_ref() {
            return Some(Table::new(self.file, table, self.span(), name));
        }
        self.wrong_type("a table", "");
        None
    }

    /// The items of a list; anything else is reported.
    pub(super) fn list(&self) -> Vec<Value<'d>> {
        if let Some(items) = self.items() {
            return items;
        }
        self.wrong_type("a list", &format!("write it in brackets: {} = [\"…\"]", self.key));
        Vec::new()
    }

    /// The items of a list, or the value itself.
    pub(super) fn one_or_more(&self) -> Vec<Value<'d>> {
        self.items().unwrap_or_else(|| vec![*self])
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    fn items(&self) -> Option<Vec<Value<'d>>> {
        let DeValue::Array(items) = self.value.get_ref() else { return None };
        Some(items.iter().map(|value| Value { value, ..*self }).collect())
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let title = format!("`{}` cannot be \"{text}\"", self.key);
            self.report(Code::UnknownChoice, title, "none of the choices", &format!("one of {}", words.join(", ")));
        }
        chosen
    }
}
