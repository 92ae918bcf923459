//! One finding: what, where, and how it is shown. Owns the masking of what reports show.

use std::borrow::Cow;

use serde::Serialize;

use super::{Rule, Severity};
use crate::output::{Privacy, clean};

/// Characters of an address that are shown; the longest has 254 octets (RFC 5321).
const SHOWN: usize = 320;

/// A file and a line in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Number of the file among those that are checked.
    pub file: usize,
    /// From 1; of a sheet the row.
    pub line: u64,
}

/// What was found in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// As the settings have it.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// From 1: a character of a text list, a cell of a table; none where it is the whole row.
    pub column: Option<usize>,
    /// The address as typed; empty where there is none.
    pub subject: Box<str>,
    /// One sentence, without a local-part.
    pub message: Box<str>,
    /// The address that was probably meant.
    pub suggestion: Option<Box<str>>,
    /// A reason of `presend reasons`.
    pub reason: Option<&'static str>,
    /// The earlier row, for duplicates.
    pub first: Option<Place>,
}

/// How much of an address reports show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Masking {
    /// All of it.
    None,
    /// `j***@example.com`
    #[default]
    Local,
    /// Nothing.
    All,
}

impl Masking {
    fn privacy(self) -> Privacy {
        match self {
            Self::None => Privacy::Open,
            Self::Local | Self::All => Privacy::Redacted,
        }
    }

    /// An address, or the text in its place, as reports show it.
    #[must_use]
    pub fn shown(self, text: &str) -> String {
        self.address(text)
    }

    /// An address, or the text in its place.
    fn address(self, text: &str) -> String {
        let text = text.trim();
        match self {
            Self::All if text.is_empty() => String::new(),
            Self::All => "***".to_owned(),
            Self::None | Self::Local => clean(&self.privacy().typed(text), SHOWN).into_owned(),
        }
    }
}

/// A finding as every report shows it: masked, with nothing that acts on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The rule's code.
    pub code: &'static str,
    /// The rule's name.
    pub rule: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1: a character of a text list, a cell of a table.
    pub column: Option<usize>,
    /// The address, masked; empty where there is none.
    pub address: String,
    /// One sentence.
    pub message: String,
    /// The address that was probably meant, masked.
    pub suggestion: Option<String>,
    /// A reason of `presend reasons`.
    pub reason: Option<&'static str>,
    /// File and line of the earlier row.
    pub first: Option<String>,
    /// What tells the finding from others wherever it moves in its file.
    pub fingerprint: String,
    /// The column counts characters of the line, as viewers of code count.
    #[serde(skip)]
    pub by_character: bool,
    /// The rule.
    #[serde(skip)]
    pub of: Rule,
}

impl Shown {
    /// `message`, with the suggestion and the earlier row.
    #[must_use]
    pub fn sentence(&self) -> Cow<'_, str> {
        let mut text = Cow::Borrowed(self.message.as_str());
        if let Some(meant) = &self.suggestion {
            text = format!("{text} Was `{meant}` meant?").into();
        }
        if let Some(first) = &self.first {
            text = format!("{text} First: {first}.").into();
        }
        text
    }

    /// `file:line:column`
    #[must_use]
    pub fn location(&self) -> String {
        match self.column {
            Some(column) => format!("{}:{}:{column}", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        }
    }
}

/// What is needed to show findings.
#[derive(Debug, Clone)]
pub struct Showing {
    /// How much of an address.
    pub masking: Masking,
    /// The files, by number: name, and whether columns are characters.
    pub files: Vec<(String, bool)>,
}

impl Showing {
    /// Name of a file, harmless for people.
    #[must_use]
    pub fn file(&self, number: usize) -> &str {
        self.files.get(number).map_or("", |(name, _)| name)
    }

    /// The finding as reports show it.
    #[must_use]
    pub fn show(&self, finding: &Finding, fingerprint: String) -> Shown {
        let Place { file, line } = finding.place;
        let place = |place: Place| format!("{}:{}", self.file(place.file), place.line);
        Shown {
            code: finding.rule.code(),
            rule: finding.rule.name(),
            severity: finding.severity,
            file: self.file(file).to_owned(),
            line,
            column: finding.column,
            address: self.masking.address(&finding.subject),
            message: clean(&finding.message, SHOWN).into_owned(),
            suggestion: finding.suggestion.as_ref().map(|meant| self.masking.address(meant)),
            reason: finding.reason,
            first: finding.first.map(place),
            fingerprint,
            by_character: self.files.get(file).is_some_and(|(_, by_character)| *by_character),
            of: finding.rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_as_asked() {
        for (masking, text, shown) in [
            (Masking::None, " jane@x.org", "jane@x.org"),
            (Masking::Local, "jane@x.org", "j***@x.org"),
            (Masking::Local, "jane.x.org", "j***"),
            (Masking::Local, "jane\u{1b}[31m@x.org", "j***"),
            (Masking::All, "jane@x.org", "***"),
            (Masking::All, " ", ""),
            (Masking::None, "ja\u{202e}ne@x.org", "ja ne@x.org"),
        ] {
            assert_eq!(masking.address(text), shown, "{text:?}");
        }
    }
}
