//! CSV: the input's delimiter, every original column, and `presend_*` after them.
//!
//! A cell that a spreadsheet would run as a formula gets a `'` in front (CWE-1236), original cells included: lists come from
//! web forms, and the labelled file is the one that gets opened. Plain numbers with a sign (`-12.5`, `+49 170 1234567`) are
//! left alone: they call nothing. `--raw` turns this off.

use std::borrow::Cow;

use super::{
    Render,
    facts::{did_you_mean, mail_host, said},
    schema::rfc3339,
};
use crate::{
    address::Address,
    input::{Cells, Layout, Row},
    job::Outcome,
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

/// Columns with this prefix are an earlier run's and are replaced.
pub(super) const PREFIX: &str = "presend_";

#[derive(Debug)]
pub(super) struct Csv {
    delimiter: u8,
    raw: bool,
    /// Header of the original columns that are kept.
    header: Vec<String>,
    /// Whether each original column is kept; empty when the input has no columns (NDJSON).
    kept: Vec<bool>,
    /// Bytes that force quotes: delimiter, quote, CR, LF.
    special: [bool; 256],
}

impl Csv {
    pub(super) fn new(layout: &Layout, raw: bool) -> Self {
        let delimiter = layout.delimiter.unwrap_or(b',');
        let mut special = [false; 256];
        for byte in [delimiter, b'"', b'\r', b'\n'] {
            if let Some(slot) = special.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
        let kept: Vec<bool> = layout.columns.iter().map(|name| !name.starts_with(PREFIX)).collect();
        let header = match layout.columns.as_slice() {
            // An NDJSON row has no fixed columns: the object is kept whole in one.
            [] => vec!["address".to_owned(), "row".to_owned()],
            names => names.iter().filter(|name| !name.starts_with(PREFIX)).cloned().collect(),
        };
        Self {
            delimiter,
            raw,
            header,
            kept,
            special,
        }
    }

    fn cell(&self, text: &[u8], out: &mut Vec<u8>) {
        let guard = !self.raw && is_formula(text);
        let quote = text
            .iter()
            .any(|&b| self.special.get(usize::from(b)).copied().unwrap_or_default());
        if !guard && !quote {
            out.extend_from_slice(text);
            return;
        }
        if quote {
            out.push(b'"');
        }
        if guard {
            out.push(b'\'');
        }
        if quote {
            let mut rest = text;
            while let Some(at) = memchr::memchr(b'"', rest) {
                let (head, tail) = rest.split_at(at + 1);
                out.extend_from_slice(head);
                out.push(b'"');
                rest = tail;
            }
            out.extend_from_slice(rest);
            out.push(b'"');
        } else {
            out.extend_from_slice(text);
        }
    }

    /// A cell with the delimiter in front.
    fn next(&self, text: &str, out: &mut Vec<u8>) {
        out.push(self.delimiter);
        self.cell(text.as_bytes(), out);
    }

    /// A cell of our own fixed words, which need neither quotes nor a guard.
    fn word(&self, word: &str, out: &mut Vec<u8>) {
        out.push(self.delimiter);
        out.extend_from_slice(word.as_bytes());
    }

    fn original(&self, row: &Row, out: &mut Vec<u8>) {
        match &row.cells {
            Cells::Record { record, .. } => self.record(record, out),
            Cells::Object { object, address } => {
                self.cell(address.as_bytes(), out);
                let object = serde_json::to_string(object).unwrap_or_default();
                self.next(&object, out);
            }
        }
    }

    fn record(&self, record: &::csv::StringRecord, out: &mut Vec<u8>) {
        let mut first = true;
        let separate = |first: &mut bool, out: &mut Vec<u8>| {
            if !std::mem::take(first) {
                out.push(self.delimiter);
            }
        };
        if record.len() == self.kept.len() {
            for (cell, _) in record.iter().zip(&self.kept).filter(|(_, kept)| **kept) {
                separate(&mut first, out);
                self.cell(cell.as_bytes(), out);
            }
            return;
        }
        // A ragged row: what is missing is empty, and what is too much joins the last cell, so that the columns of the
        // result stay where they belong and nothing is lost.
        for (index, _) in self.kept.iter().enumerate().filter(|(_, kept)| **kept) {
            separate(&mut first, out);
            let cell = record.get(index).unwrap_or_default();
            if index + 1 == self.kept.len() && record.len() > self.kept.len() {
                let rest: Vec<&str> = record.iter().skip(index).collect();
                self.cell(
                    rest.join(char::from(self.delimiter).encode_utf8(&mut [0; 4]))
                        .as_bytes(),
                    out,
                );
            } else {
                self.cell(cell.as_bytes(), out);
            }
        }
    }

    fn flag(&self, flag: Option<bool>, out: &mut Vec<u8>) {
        self.word(flag.map_or("", |flag| if flag { "true" } else { "false" }), out);
    }
}

impl Render for Csv {
    fn header(&self, out: &mut Vec<u8>) {
        let names = self.header.iter().map(String::as_str).chain(COLUMNS);
        for (index, name) in names.enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            self.cell(name.as_bytes(), out);
        }
        out.push(b'\n');
    }

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        let verdict = &outcome.verdict;
        let address = outcome.address.as_ref();
        let host = mail_host(&outcome.evidence);
        let answer = outcome.evidence.answer.known();
        let start = out.len();
        self.original(row, out);
        if out.len() == start && self.header.is_empty() {
            // Every original column was an earlier run's: no empty cell may stand in front.
            self.cell(verdict.label.name().as_bytes(), out);
        } else {
            self.word(verdict.label.name(), out);
        }
        self.word(verdict.reason.name(), out);
        self.word(verdict.action.name(), out);
        self.word(verdict.bounce.kind.name(), out);
        out.push(self.delimiter);
        if let Some(class) = verdict.bounce.class {
            out.extend_from_slice(class.name().as_bytes());
        }
        self.next(did_you_mean(outcome).unwrap_or_default(), out);
        self.next(address.map(Address::mailbox).unwrap_or_default(), out);
        self.flag(address.map(|_| outcome.hits.role), out);
        self.flag(address.map(|_| outcome.hits.disposable), out);
        self.flag(address.map(|_| outcome.hits.free), out);
        self.next(host.map(|host| host.name).unwrap_or_default(), out);
        self.word(host.and_then(|host| host.provider).unwrap_or_default(), out);
        out.push(self.delimiter);
        if let Some(answer) = answer {
            show(&answer.reply.code(), out);
        }
        out.push(self.delimiter);
        if let Some(enhanced) = answer.and_then(|answer| answer.reply.enhanced()) {
            show(&enhanced, out);
        }
        let text = said(outcome, Some(row)).unwrap_or(Cow::Borrowed(""));
        self.next(&text, out);
        out.push(self.delimiter);
        if let Some(at) = outcome.retry_at {
            out.extend_from_slice(&rfc3339(at));
        }
        out.push(self.delimiter);
        out.extend_from_slice(&rfc3339(outcome.checked_at));
        out.push(b'\n');
    }
}

/// Would a spreadsheet take the cell for a formula (OWASP, "CSV injection")?
fn is_formula(cell: &[u8]) -> bool {
    match cell {
        // Last, the full-width forms of = + - @, which some locales take for the ASCII ones.
        [b'=' | b'@' | b'\t' | b'\r' | b'\n' | 0, ..] | [0xEF, 0xBC, 0x9D | 0x8B | 0x8D | 0xA0, ..] => true,
        [b'+' | b'-', rest @ ..] => !rest.iter().all(|b| b.is_ascii_digit() || b" .,()/-".contains(b)),
        _ => false,
    }
}

/// Appends what `Display` says; writing to memory cannot fail.
fn show(value: &dyn std::fmt::Display, out: &mut Vec<u8>) {
    let _ = std::io::Write::write_fmt(out, format_args!("{value}"));
}
