//! XLSX: rows are rendered to a plain form on any thread and put into a workbook by one.
//!
//! Cells are always strings, flags or numbers, never formulas or links, whatever their text looks like. The workbook is written to
//! temporary files row by row, so that memory does not grow with the list.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
};

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::{
    Render,
    columns::{Columns, Line},
    redact::Privacy,
};
use crate::{
    input::{Layout, Row},
    job::Outcome,
};

/// Rows of a sheet, its header among them, by Excel's specification.
const ROWS: u32 = 1_048_576;
/// Columns of a sheet.
const COLUMNS: usize = 16_384;
/// Characters of a cell, counted in UTF-16 as Excel does.
const CHARACTERS: usize = 32_767;

const TEXT: u8 = b't';
const NUMBER: u8 = b'n';
const FLAG: u8 = b'f';
const NOTHING: u8 = b'-';
const END: u8 = b'\n';

/// Renders rows as cells with their kind and length in front: text may hold any byte.
#[derive(Debug)]
pub(super) struct Xlsx {
    columns: Columns,
}

impl Xlsx {
    pub(super) fn new(layout: &Layout, privacy: Privacy) -> Self {
        Self {
            columns: Columns::new(layout, privacy),
        }
    }
}

struct Cells<'a>(&'a mut Vec<u8>);

impl Cells<'_> {
    fn push(&mut self, kind: u8, text: &str) {
        self.0.push(kind);
        // No cell is near 4 GiB: rows end at a mebibyte.
        let len = u32::try_from(text.len()).unwrap_or_default();
        self.0.extend_from_slice(&len.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl Line for Cells<'_> {
    fn text(&mut self, text: &str) {
        self.push(if text.is_empty() { NOTHING } else { TEXT }, text);
    }

    fn word(&mut self, word: &str) {
        self.text(word);
    }

    fn number(&mut self, number: u16) {
        self.push(NUMBER, &number.to_string());
    }

    fn flag(&mut self, flag: Option<bool>) {
        match flag {
            Some(flag) => self.push(FLAG, if flag { "1" } else { "0" }),
            None => self.push(NOTHING, ""),
        }
    }
}

impl Render for Xlsx {
    fn header(&self, out: &mut Vec<u8>) {
        self.columns.header(&mut Cells(out));
        out.push(END);
    }

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        self.columns.row(row, outcome, &mut Cells(out));
        out.push(END);
    }
}

/// The next cell of rendered rows; `None` for the end of a row.
fn take<'a>(rendered: &mut &'a [u8]) -> Option<(u8, &'a str)> {
    let (&kind, rest) = rendered.split_first()?;
    *rendered = rest;
    if kind == END {
        return None;
    }
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rendered = rest;
    Some((kind, str::from_utf8(text).unwrap_or_default()))
}

/// A workbook being written: sheets `presend`, `presend 2` and so on, because a sheet ends at 1,048,576 rows.
pub(super) struct Book {
    workbook: Workbook,
    header: Vec<u8>,
    sheets: usize,
    /// The next row of the last sheet.
    row: u32,
    /// Rows of a sheet; fewer in tests.
    rows: u32,
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book")
            .field("sheets", &self.sheets)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            workbook: Workbook::new(),
            header: Vec::new(),
            sheets: 0,
            row: 0,
            rows: ROWS,
        }
    }

    /// The rendered header; it stands on top of every sheet.
    pub(super) fn begin(&mut self, header: Vec<u8>) -> io::Result<()> {
        self.header = header;
        self.add_sheet()
    }

    fn add_sheet(&mut self) -> io::Result<()> {
        self.sheets += 1;
        self.row = 0;
        let name = match self.sheets {
            1 => "presend".to_owned(),
            number => format!("presend {number}"),
        };
        let sheet = self.workbook.add_worksheet_with_constant_memory().map_err(failed)?;
        sheet.set_name(name).map_err(failed)?;
        sheet.set_freeze_panes(1, 0).map_err(failed)?;
        write_row(sheet, 0, &mut self.header.as_slice(), Some(&Format::new().set_bold()))?;
        self.row = 1;
        Ok(())
    }

    /// Puts rendered rows into the sheet.
    pub(super) fn write(&mut self, mut rendered: &[u8]) -> io::Result<()> {
        while !rendered.is_empty() {
            if self.row == self.rows {
                self.add_sheet()?;
            }
            let sheet = self.workbook.worksheet_from_index(self.sheets - 1).map_err(failed)?;
            write_row(sheet, self.row, &mut rendered, None)?;
            self.row += 1;
        }
        Ok(())
    }

    /// Writes the whole workbook.
    pub(super) fn save(mut self, to: impl Write + Send) -> io::Result<()> {
        self.workbook.save_to_writer(to).map_err(failed)
    }
}

fn write_row(sheet: &mut Worksheet, row: u32, rendered: &mut &[u8], format: Option<&Format>) -> io::Result<()> {
    let mut column = 0;
    while let Some((kind, text)) = take(rendered) {
        let at = u16::try_from(column).ok().filter(|_| column < COLUMNS);
        let at =
            at.ok_or_else(|| io::Error::other(format!("a sheet has {COLUMNS} columns and the list more; write CSV")))?;
        match (kind, format) {
            (TEXT, Some(format)) => sheet
                .write_string_with_format(row, at, cut(text), format)
                .map_err(failed)?,
            (TEXT, None) => sheet.write_string(row, at, cut(text)).map_err(failed)?,
            (NUMBER, _) => sheet
                .write_number(row, at, text.parse::<u16>().unwrap_or_default())
                .map_err(failed)?,
            (FLAG, _) => sheet.write_boolean(row, at, text == "1").map_err(failed)?,
            _ => &mut *sheet,
        };
        column += 1;
    }
    Ok(())
}

/// The most that a cell holds, with `…` where something was cut.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= CHARACTERS || text.encode_utf16().count() <= CHARACTERS {
        return Cow::Borrowed(text);
    }
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units < CHARACTERS
    };
    Cow::Owned(text.chars().take_while(fits).chain(['…']).collect())
}

fn failed(error: XlsxError) -> io::Error {
    if let XlsxError::IoError(error) = error {
        return error;
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::Reader;

    use super::*;

    fn line(texts: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for text in texts {
            Cells(&mut out).text(text);
        }
        out.push(END);
        out
    }

    #[test]
    fn a_full_sheet_is_followed_by_another_with_the_same_header() {
        let mut book = Book { rows: 3, ..Book::new() };
        book.begin(line(&["n"])).unwrap();
        for n in ["1", "2", "3", "4", "5"] {
            book.write(&line(&[n])).unwrap();
        }
        let mut bytes = Vec::new();
        book.save(&mut bytes).unwrap();
        let mut workbook = calamine::Xlsx::new(Cursor::new(bytes)).unwrap();
        let sheets: Vec<(String, Vec<String>)> = workbook
            .worksheets()
            .into_iter()
            .map(|(name, range)| (name, range.rows().map(|row| row[0].to_string()).collect()))
            .collect();
        let expected = [
            ("presend", vec!["n", "1", "2"]),
            ("presend 2", vec!["n", "3", "4"]),
            ("presend 3", vec!["n", "5"]),
        ];
        assert_eq!(sheets.len(), expected.len());
        for ((name, rows), (want, cells)) in sheets.iter().zip(&expected) {
            assert_eq!(
                (name.as_str(), rows.iter().map(String::as_str).collect::<Vec<_>>()),
                (*want, cells.clone())
            );
        }
    }

    #[test]
    fn rendered_cells_may_hold_any_byte() {
        let rendered = [line(&["a\nt\u{0}", "", "é"]), line(&[])].concat();
        let mut rest = rendered.as_slice();
        let mut got = Vec::new();
        while let Some((kind, text)) = take(&mut rest) {
            got.push((kind, text));
        }
        assert_eq!(got, [(TEXT, "a\nt\u{0}"), (NOTHING, ""), (TEXT, "é")]);
        assert_eq!((take(&mut rest), rest), (None, &[][..]));
    }

    #[test]
    fn cells_are_cut_where_excel_cuts_them() {
        assert_eq!(cut("short"), "short");
        let full = "é".repeat(CHARACTERS);
        assert_eq!(cut(&full), full);
        // Two units each.
        let cut_off = cut(&"😀".repeat(CHARACTERS)).into_owned();
        assert_eq!(cut_off.encode_utf16().count(), CHARACTERS);
        assert!(cut_off.ends_with('…'));
    }
}
