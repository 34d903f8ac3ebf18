//! What the demo tells, and how many of its expectations held.

use std::io::{self, IsTerminal};

use super::super::print;

/// What is told.
pub(super) struct Story {
    pub(super) held: u32,
    pub(super) failed: u32,
    colour: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            held: 0,
            failed: 0,
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

impl Story {
    #[allow(clippy::unused_self, reason = "the story is what is told, in this order")]
    pub(super) fn say(&self, text: &str) {
        // A reader that has seen enough does not change whether the expectations hold.
        let _ = print(format!("{text}\n"));
    }

    pub(super) fn flow(&self, section: &str, title: &str) {
        let heading = format!("Flow {section}: {title}");
        self.say(&format!("\n{}\n{}", self.paint("1", &heading), "-".repeat(heading.len())));
    }

    pub(super) fn line(&self, line: &str) {
        self.say(&self.paint("2", &format!("  {line}")));
    }

    pub(super) fn expect(&mut self, holds: bool, what: &str) {
        if holds {
            self.held += 1;
            self.say(&format!("  {} {what}", self.paint("32", "ok  ")));
        } else {
            self.failed += 1;
            self.say(&format!("  {} {what}", self.paint("1;31", "FAIL")));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
