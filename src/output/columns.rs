//! The columns of table formats: the original ones that are kept, and the results after them, each named once.

use std::borrow::Cow;

use super::{
    facts::{did_you_mean, heard, mail_host},
    redact::Privacy,
    schema::rfc3339,
};
use crate::{
    address::Address,
    input::{Cells, Layout, Row},
    job::Outcome,
    replies::Class,
};

/// The columns that are added, in order.
pub const COLUMNS: [&str; 17] = [
    "presend_label",
    "presend_reason",
    "presend_action",
    "presend_bounce",
    "presend_bounce_class",
    "presend_did_you_mean",
    "presend_address",
    "presend_role",
    "presend_disposable",
    "presend_free",
    "presend_mail_host",
    "presend_provider",
    "presend_code",
    "presend_enhanced",
    "presend_text",
    "presend_retry_at",
    "presend_checked_at",
];
/// One more, after these, when the input is several files.
pub const FILE_COLUMN: &str = "presend_file";

/// Columns with this prefix are an earlier run's and are replaced.
pub(super) const PREFIX: &str = "presend_";

/// Takes the cells of a row.
pub(super) trait Line {
    /// Text from anywhere.
    fn text(&mut self, text: &str);
    /// One of our own fixed words, or nothing.
    fn word(&mut self, word: &str);
    /// A number.
    fn number(&mut self, number: u16);
    /// Yes, no, or nothing.
    fn flag(&mut self, flag: Option<bool>);
}

/// What stands in which column.
#[derive(Debug)]
pub(super) struct Columns {
    /// Names of the original columns that are kept.
    original: Vec<String>,
    /// Whether each original column is kept; empty when the input has no columns (NDJSON).
    kept: Vec<bool>,
    several: bool,
    delimiter: u8,
    privacy: Privacy,
}

impl Columns {
    pub(super) fn new(layout: &Layout, privacy: Privacy) -> Self {
        let original = match layout.columns.as_slice() {
            // An NDJSON row has no fixed columns: the object is kept whole in one.
            [] => vec!["address".to_owned(), "row".to_owned()],
            names => names.iter().filter(|name| !name.starts_with(PREFIX)).cloned().collect(),
        };
        Self {
            original,
            kept: layout.columns.iter().map(|name| !name.starts_with(PREFIX)).collect(),
            several: layout.several,
            delimiter: layout.delimiter.unwrap_or(b','),
            privacy,
        }
    }

    pub(super) fn header(&self, line: &mut impl Line) {
        for name in &self.original {
            line.text(&self.privacy.text(name));
        }
        for name in COLUMNS.into_iter().chain(self.several.then_some(FILE_COLUMN)) {
            line.word(name);
        }
    }

    pub(super) fn row(&self, row: &Row, outcome: &Outcome, line: &mut impl Line) {
        match &row.cells {
            Cells::Record { record, address } => self.record(record, *address, line),
            Cells::Object { object, address } => {
                line.text(&self.privacy.typed(address));
                let object = self.privacy.object(object, address);
                line.text(&serde_json::to_string(&object).unwrap_or_default());
            }
        }
        self.results(row, outcome, line);
        if self.several {
            line.text(row.file.as_deref().unwrap_or_default());
        }
    }

    fn record(&self, record: &csv::StringRecord, address: usize, line: &mut impl Line) {
        let mut cell = |index: usize, text: &str| match self.privacy {
            Privacy::Open => line.text(text),
            Privacy::Redacted if index == address => line.text(&self.privacy.typed(text)),
            Privacy::Redacted => line.text(&self.privacy.text(text)),
        };
        if record.len() == self.kept.len() {
            for (index, text) in record.iter().enumerate() {
                if self.kept.get(index) == Some(&true) {
                    cell(index, text);
                }
            }
            return;
        }
        // A ragged row: what is missing is empty, and what is too much joins the last cell, so that the columns of the
        // result stay where they belong and nothing is lost.
        for (index, _) in self.kept.iter().enumerate().filter(|(_, kept)| **kept) {
            if index + 1 == self.kept.len() && record.len() > self.kept.len() {
                let rest: Vec<&str> = record.iter().skip(index).collect();
                cell(index, &rest.join(char::from(self.delimiter).encode_utf8(&mut [0; 4])));
            } else {
                cell(index, record.get(index).unwrap_or_default());
            }
        }
    }

    fn results(&self, row: &Row, outcome: &Outcome, line: &mut impl Line) {
        let verdict = &outcome.verdict;
        let address = outcome.address.as_ref();
        let host = mail_host(&outcome.evidence);
        let answer = outcome.evidence.answer.known();
        line.word(verdict.label.name());
        line.word(verdict.reason.name());
        line.word(verdict.action.name());
        line.word(verdict.bounce.kind.name());
        line.word(verdict.bounce.class.map(Class::name).unwrap_or_default());
        line.text(&self.privacy.text(did_you_mean(outcome).unwrap_or_default()));
        line.text(&self.privacy.text(address.map(Address::mailbox).unwrap_or_default()));
        line.flag(address.map(|_| outcome.hits.role));
        line.flag(address.map(|_| outcome.hits.disposable));
        line.flag(address.map(|_| outcome.hits.free));
        line.text(host.map(|host| host.name).unwrap_or_default());
        line.word(host.and_then(|host| host.provider).unwrap_or_default());
        match answer {
            Some(answer) => line.number(answer.reply.code().number()),
            None => line.word(""),
        }
        match answer.and_then(|answer| answer.reply.enhanced()) {
            Some(enhanced) => line.word(&enhanced.to_string()),
            None => line.word(""),
        }
        line.text(&heard(outcome, Some(row), self.privacy).unwrap_or(Cow::Borrowed("")));
        match outcome.retry_at {
            Some(at) => line.word(str::from_utf8(&rfc3339(at)).unwrap_or_default()),
            None => line.word(""),
        }
        line.word(str::from_utf8(&rfc3339(outcome.checked_at)).unwrap_or_default());
    }
}
