//! CSV: the input's delimiter (a comma for an unusual one), every original column, and `presend_*` after them.
//!
//! A cell that a spreadsheet would run as a formula gets a `'` in front (CWE-1236), original cells included: lists come from
//! web forms, and the labelled file is the one that gets opened. Plain numbers with a sign (`-12.5`, `+49 170 1234567`) are
//! left alone: they call nothing. `--raw` turns this off.

use super::{
    Render,
    columns::{Columns, Line},
    redact::Privacy,
};
use crate::{
    input::{Layout, Row},
    job::Outcome,
};

/// Delimiters that are in none of the words, numbers and dates of a result.
const DELIMITERS: [u8; 4] = *b",;\t|";

#[derive(Debug)]
pub(super) struct Csv {
    columns: Columns,
    delimiter: u8,
    raw: bool,
    /// Bytes that force quotes: delimiter, quote, CR, LF.
    special: [bool; 256],
}

impl Csv {
    pub(super) fn new(layout: &Layout, raw: bool, privacy: Privacy) -> Self {
        // `sep=` can name any punctuation mark, but dates, numbers and reasons are written without quotes.
        let delimiter = layout
            .delimiter
            .filter(|mark| DELIMITERS.contains(mark))
            .unwrap_or(b',');
        let mut special = [false; 256];
        for byte in [delimiter, b'"', b'\r', b'\n'] {
            if let Some(slot) = special.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
        Self {
            columns: Columns::new(layout, privacy),
            delimiter,
            raw,
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
}

/// One line being written.
struct Writing<'a> {
    csv: &'a Csv,
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Writing<'_> {
    fn next(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(self.csv.delimiter);
        }
    }
}

impl Line for Writing<'_> {
    fn text(&mut self, text: &str) {
        self.next();
        self.csv.cell(text.as_bytes(), self.out);
    }

    fn word(&mut self, word: &str) {
        self.next();
        self.out.extend_from_slice(word.as_bytes());
    }

    fn number(&mut self, number: u16) {
        self.next();
        // Writing to memory cannot fail.
        let _ = std::io::Write::write_fmt(self.out, format_args!("{number}"));
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.word(flag.map_or("", |flag| if flag { "true" } else { "false" }));
    }
}

impl Csv {
    fn line<'a>(&'a self, out: &'a mut Vec<u8>) -> Writing<'a> {
        Writing {
            csv: self,
            out,
            first: true,
        }
    }
}

impl Render for Csv {
    fn header(&self, out: &mut Vec<u8>) {
        self.columns.header(&mut self.line(out));
        out.push(b'\n');
    }

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        self.columns.row(row, outcome, &mut self.line(out));
        out.push(b'\n');
    }
}

/// Would a spreadsheet take the cell for a formula (OWASP, "CSV injection")?
pub(crate) fn is_formula(cell: &[u8]) -> bool {
    match cell {
        // Last, the full-width forms of = + - @, which some locales take for the ASCII ones.
        [b'=' | b'@' | b'\t' | b'\r' | b'\n' | 0, ..] | [0xEF, 0xBC, 0x9D | 0x8B | 0x8D | 0xA0, ..] => true,
        [b'+' | b'-', rest @ ..] => !rest.iter().all(|b| b.is_ascii_digit() || b" .,()/-".contains(b)),
        _ => false,
    }
}
