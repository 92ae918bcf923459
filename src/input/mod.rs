//! Lists in: plain text, CSV, TSV and NDJSON in the encodings people have. Yields rows one at a time, bounded, with line
//! and column; a row that cannot be read is a row with a fault, not an error.
//!
//! Must not know what an address is beyond an `@`: that is `address`.

mod delimited;
mod encoding;
mod error;
mod ndjson;
mod sniff;
mod spool;
mod stored;
mod window;

use std::{borrow::Cow, fmt, fs::File, io, path::Path, sync::Arc, time::SystemTime};

pub use error::InputError;
pub use stored::BrokenRow;

use delimited::Step;
use window::{Line, Window};

/// Longest cell, in bytes; a longer one makes the row faulty.
const CELL_LIMIT: usize = 64 << 10;
/// Longest row, in bytes; a longer one is faulty and its line is skipped.
const ROW_LIMIT: usize = 1 << 20;

/// What the user said about the input.
#[derive(Debug, Clone, Default)]
pub struct InputOptions {
    /// `--column`: a header name, or a number from 1. `None` guesses.
    pub column: Option<String>,
    /// `--input-format`; `None` guesses from the name and the content.
    pub format: Option<InputFormat>,
    /// `--header` / `--no-header`; `None` guesses.
    pub header: Option<bool>,
}

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFormat {
    /// One address a line; blank lines and `#` comments are skipped.
    Text,
    /// Delimited text; the delimiter is sniffed.
    Csv,
    /// One JSON object or string a line.
    Ndjson,
}

/// How the input was understood; shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// The format.
    pub format: InputFormat,
    /// `,`, `;`, tab or `|`, for [`InputFormat::Csv`]; `None` when there is only one column.
    pub delimiter: Option<u8>,
    /// The encoding's name, as in the WHATWG Encoding Standard.
    pub encoding: Cow<'static, str>,
    /// Column names: from the header, or `column_1` ...; `address` alone for text; empty for NDJSON.
    pub columns: Vec<String>,
    /// Whether the first row is a header.
    pub header: bool,
    /// Index of the address column; for NDJSON the key is in `address_key`.
    pub address_column: usize,
    /// The JSON key that holds the address.
    pub address_key: Option<String>,
    /// The address column was guessed.
    pub guessed: bool,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Line where it starts, from 1.
    pub line: u64,
    /// The original cells.
    pub cells: Cells,
    /// Why the row cannot be read, with the column (from 1) where that shows.
    pub fault: Option<RowFault>,
}

/// The original content of a row.
#[derive(Debug, Clone)]
pub enum Cells {
    /// Delimited or plain text.
    Record {
        /// The cells; none when the row was too long to keep.
        record: csv::StringRecord,
        /// Which one holds the address.
        address: usize,
    },
    /// A JSON object, with the address found in it.
    Object {
        /// The object as it was read; a bare string becomes `{"address": ...}`, any other line `{"line": ...}`; empty when it was
        /// too long to keep.
        object: serde_json::Map<String, serde_json::Value>,
        /// The address.
        address: Box<str>,
    },
}

impl Default for Cells {
    fn default() -> Self {
        Self::Record {
            record: csv::StringRecord::new(),
            address: 0,
        }
    }
}

impl Row {
    /// The address as typed; empty when the cell is missing.
    #[must_use]
    pub fn address(&self) -> &str {
        match &self.cells {
            Cells::Record { record, address } => record.get(*address).unwrap_or_default(),
            Cells::Object { address, .. } => address,
        }
    }

    fn clear(&mut self, layout: &Layout) {
        if layout.format == InputFormat::Ndjson {
            self.fault = None;
            self.cells = Cells::Object {
                object: serde_json::Map::new(),
                address: Box::default(),
            };
        } else {
            self.record(layout.address_column);
        }
    }

    /// Empties the row for delimited or plain text, keeping its memory.
    fn record(&mut self, address_column: usize) -> &mut csv::StringRecord {
        if !matches!(self.cells, Cells::Record { .. }) {
            self.cells = Cells::default();
        }
        self.fault = None;
        match &mut self.cells {
            Cells::Record { record, address } => {
                *address = address_column;
                record.clear();
                record
            }
            Cells::Object { .. } => unreachable!("replaced above"),
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Column, from 1, when it is known: a cell for delimited text, a character for NDJSON.
    pub column: Option<usize>,
    /// One sentence.
    pub message: Box<str>,
}

impl RowFault {
    fn new(column: Option<usize>, message: impl Into<Box<str>>) -> Self {
        Self {
            column,
            message: message.into(),
        }
    }
}

/// An opened list. Reading it twice gives the same rows: see [`Table::rewind`].
pub struct Table {
    name: String,
    layout: Arc<Layout>,
    window: Window,
    /// Line of the window's start, from 1.
    line: u64,
    /// The first line is `sep=;`.
    separator_line: bool,
    stamp: Stamp,
    cells: delimited::CellBuffer,
}

/// What tells that a file was changed: size and time of the last change.
type Stamp = (u64, Option<SystemTime>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .field("layout", &self.layout)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Opens a file, or standard input for `-` (spooled to an unlinked temporary file).
    ///
    /// # Errors
    /// The input is unreadable or empty, the column is missing, or no column holds addresses.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Self, InputError> {
        if path.as_os_str() == "-" {
            return Self::from_reader(&mut io::stdin().lock(), "standard input", options);
        }
        let name = path.display().to_string();
        let read = |source| InputError::Read {
            name: name.clone(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if metadata.is_dir() {
            return Err(InputError::Directory { name });
        }
        if !metadata.is_file() {
            // A pipe: it can be read only once.
            return Self::from_reader(&mut file, &name, options);
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        Self::from_file(file, &name, extension.unwrap_or_default(), options)
    }

    /// Reads a stream to its end into an unlinked temporary file and opens that; `name` is for messages.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn from_reader(reader: &mut dyn io::Read, name: &str, options: &InputOptions) -> Result<Self, InputError> {
        let file = spool::spool(reader).map_err(|source| InputError::Read {
            name: name.into(),
            source,
        })?;
        Self::from_file(file, name, "", options)
    }

    fn from_file(mut file: File, name: &str, extension: &str, options: &InputOptions) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        let stamp = stamp(&file).map_err(read)?;
        let encoding = encoding::detect(&mut file).map_err(read)?;
        let mut window = Window::new(file, encoding).map_err(read)?;
        window.sample(sniff::SAMPLE).map_err(read)?;
        let sample = sniff::Sample {
            name,
            extension,
            bytes: window.bytes(),
            whole: window.at_end(),
            encoding: encoding.encoding.name(),
        };
        let sniff::Sniffed { layout, separator_line } = sniff::sniff(&sample, options)?;
        let mut table = Self {
            name: name.into(),
            layout: Arc::new(layout),
            window,
            line: 1,
            separator_line,
            stamp,
            cells: delimited::CellBuffer::default(),
        };
        table.skip_head()?;
        Ok(table)
    }

    /// What the input is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the input was understood.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        let mut row = Row::default();
        Ok(self.read_row(&mut row)?.then_some(row))
    }

    /// Reads the next row into `row`, whose memory is used again; `false` at the end.
    ///
    /// Measured in a release build: 37 million rows a second of plain text, 16 of three columns, 11 of quoted cells, 4.5 of NDJSON;
    /// [`Table::next_row`] reads 8, 5, 4 and 3.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read_row(&mut self, row: &mut Row) -> Result<bool, InputError> {
        let read = match self.layout.format {
            InputFormat::Text => self.read_text(row),
            InputFormat::Csv => self.read_record(row),
            InputFormat::Ndjson => self.read_object(row),
        };
        read.map_err(|source| InputError::Read {
            name: self.name.clone(),
            source,
        })
    }

    /// Starts again at the first row.
    ///
    /// # Errors
    /// Seeking failed, or the file changed since it was opened.
    pub fn rewind(&mut self) -> Result<(), InputError> {
        let read = |source| InputError::Read {
            name: self.name.clone(),
            source,
        };
        if stamp(self.window.file()).map_err(read)? != self.stamp {
            return Err(InputError::Changed {
                name: self.name.clone(),
            });
        }
        self.window.rewind().map_err(read)?;
        self.line = 1;
        self.cells = delimited::CellBuffer::default();
        self.skip_head()
    }

    /// Skips `sep=` and the header.
    fn skip_head(&mut self) -> Result<(), InputError> {
        let read = |name: &str, source| InputError::Read {
            name: name.into(),
            source,
        };
        if self.separator_line {
            match self.window.line(ROW_LIMIT) {
                Ok(Line::Whole { total, .. }) => self.take_line(total),
                Ok(Line::TooLong | Line::End) => {}
                Err(source) => return Err(read(&self.name, source)),
            }
        }
        if self.layout.header {
            self.read_row(&mut Row::default())?;
        }
        Ok(())
    }

    fn take_line(&mut self, total: usize) {
        self.window.consume(total);
        self.line += 1;
    }

    /// The next line that is not blank: its length without and with the line end, already counted in `row.line`. Lines over the
    /// limit are skipped and leave a fault.
    fn line(&mut self, row: &mut Row, limit: usize) -> io::Result<Option<Found>> {
        loop {
            row.line = self.line;
            match self.window.line(limit)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    row.clear(&self.layout);
                    row.fault = Some(too_long(limit));
                    self.window.skip_line()?;
                    self.line += 1;
                    return Ok(Some(Found::Fault));
                }
                Line::Whole { len, total } => {
                    let line = self.window.bytes().get(..len).unwrap_or_default();
                    if line.iter().all(|&b| b == b' ') {
                        self.take_line(total);
                        continue;
                    }
                    return Ok(Some(Found::Line { len, total }));
                }
            }
        }
    }

    fn read_text(&mut self, row: &mut Row) -> io::Result<bool> {
        loop {
            let (len, total) = match self.line(row, CELL_LIMIT)? {
                None => return Ok(false),
                Some(Found::Fault) => return Ok(true),
                Some(Found::Line { len, total }) => (len, total),
            };
            let line = self.window.bytes().get(..len).unwrap_or_default();
            let text = line.trim_ascii_start();
            if text.is_empty() || text.starts_with(b"#") {
                self.take_line(total);
                continue;
            }
            let record = row.record(0);
            if let Ok(text) = str::from_utf8(line) {
                record.push_field(text);
            } else {
                record.push_field(&String::from_utf8_lossy(line));
                row.fault = Some(not_utf8(Some(1)));
            }
            self.take_line(total);
            return Ok(true);
        }
    }

    fn read_record(&mut self, row: &mut Row) -> io::Result<bool> {
        let (len, total) = match self.line(row, ROW_LIMIT)? {
            None => return Ok(false),
            Some(Found::Fault) => return Ok(true),
            Some(Found::Line { len, total }) => (len, total),
        };
        let line = self.window.bytes().get(..len).unwrap_or_default();
        if memchr::memchr(b'"', line).is_some() {
            self.read_quoted(row, len, total)?;
        } else {
            let record = row.record(self.layout.address_column);
            row.fault = delimited::plain(line, self.layout.delimiter, record);
            self.take_line(total);
        }
        self.check_width(row);
        Ok(true)
    }

    /// A row with quotes; it may span lines. `len` and `first` are the lengths of its first line, without and with the line end.
    fn read_quoted(&mut self, row: &mut Row, len: usize, first: usize) -> io::Result<()> {
        let record = row.record(self.layout.address_column);
        let step = loop {
            let bytes = self.window.bytes();
            let step = self.cells.split(bytes, self.layout.delimiter, self.window.at_end());
            if step != Step::More || bytes.len() > ROW_LIMIT {
                break step;
            }
            self.window.more()?;
        };
        let (fault, scanned) = match step {
            Step::Record { total, lines } if total <= ROW_LIMIT => {
                row.fault = self.cells.copy_to(record);
                self.window.consume(total);
                self.line += lines;
                return Ok(());
            }
            Step::Record { total, .. } => (too_long(ROW_LIMIT), total),
            Step::More => (too_long(ROW_LIMIT), self.window.bytes().len()),
            Step::Unclosed { scanned } => {
                let message = "a quote is opened and not closed where a cell can end";
                (RowFault::new(Some(self.cells.column()), message), scanned)
            }
            Step::TooLong { scanned } => {
                let message = "a quoted cell is longer than 64 KiB, or its quote is not closed";
                (RowFault::new(Some(self.cells.column()), message), scanned)
            }
        };
        // What the line holds stays with the row, quotes and all.
        let line = self.window.bytes().get(..len).unwrap_or_default();
        delimited::plain(line, self.layout.delimiter, record);
        row.fault = Some(fault);
        if self.cells.may_rescan(scanned, self.window.consumed()) {
            // The lines below are most likely rows of their own.
            self.take_line(first);
        } else {
            let bytes = self.window.bytes().get(..scanned).unwrap_or_default();
            let (total, lines) = delimited::whole_lines(bytes);
            self.window.consume(total.max(first));
            self.line += lines.max(1);
        }
        Ok(())
    }

    fn check_width(&self, row: &mut Row) {
        let want = self.layout.columns.len();
        if let (None, Cells::Record { record, .. }) = (&row.fault, &row.cells) {
            let got = record.len();
            if want > 0 && got != want {
                let cells = if got == 1 { "cell" } else { "cells" };
                let message = format!("the row has {got} {cells}, expected {want}");
                row.fault = Some(RowFault::new(Some(got.min(want) + 1), message));
            }
        }
    }

    fn read_object(&mut self, row: &mut Row) -> io::Result<bool> {
        let (len, total) = match self.line(row, ROW_LIMIT)? {
            None => return Ok(false),
            Some(Found::Fault) => return Ok(true),
            Some(Found::Line { len, total }) => (len, total),
        };
        let line = self.window.bytes().get(..len).unwrap_or_default();
        let key = self.layout.address_key.as_deref().unwrap_or_default();
        (row.cells, row.fault) = ndjson::row(line, key);
        self.take_line(total);
        Ok(true)
    }
}

enum Found {
    /// Content and whole length of a line in the window.
    Line { len: usize, total: usize },
    /// The row is filled with a fault.
    Fault,
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

fn too_long(limit: usize) -> RowFault {
    let what = if limit == ROW_LIMIT {
        "the row is longer than 1 MiB"
    } else {
        "a cell is longer than 64 KiB"
    };
    RowFault::new(None, what)
}

fn not_utf8(column: Option<usize>) -> RowFault {
    RowFault::new(column, "the text is not valid UTF-8, unlike the rest of the file")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Whatever the line holds, memory stays at a few rows.
    #[test]
    fn p5_memory_is_bounded() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"email\na@x.org\n", b"x"),
            (b"name,email\nn,a@x.org\n\"", b"x"),
            (b"name,email\nn,a@x.org\n", b"x\",\"\n"),
            (b"name,email\nn,a@x.org\n", b",\"\"\"\""),
            (b"\xFF\xFEa\0@\0b\0\n\0", b"\x20\xAC"),
        ];
        for (head, unit) in cases {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(head).unwrap();
            let chunk = unit.repeat((1 << 20) / unit.len());
            for _ in 0..6 {
                file.write_all(&chunk).unwrap();
            }
            let mut table = Table::from_file(file, "x", "csv", &InputOptions::default()).unwrap();
            let mut row = Row::default();
            while table.read_row(&mut row).unwrap() {
                assert!(table.window.memory() <= 3 << 20, "{unit:?}: {}", table.window.memory());
                assert!(table.cells.memory() <= 8 << 20, "{unit:?}: {}", table.cells.memory());
            }
        }
    }

    /// Not an assertion: prints rows a second.
    #[test]
    #[ignore = "a measurement; run it alone and in release"]
    fn measure() {
        type Make = fn(u32) -> Vec<u8>;
        let cases: [(&str, &str, Make); 6] = [
            ("text", "txt", |n| format!("user{n}@company{}.com\n", n % 5000).into()),
            ("one column", "csv", |n| {
                format!("user{n}@company{}.com\n", n % 5000).into()
            }),
            ("three columns", "csv", |n| {
                format!("{n},Jane Doe,user{n}@company.com\n").into()
            }),
            ("quoted", "csv", |n| {
                format!("\"{n}\",\"Doe, Jane\",\"user{n}@company.com\"\n").into()
            }),
            ("objects", "ndjson", |n| {
                format!("{{\"id\":{n},\"email\":\"user{n}@company.com\"}}\n").into()
            }),
            ("UTF-16", "txt", |n| {
                let line = format!("user{n}@company.com\n");
                line.encode_utf16().flat_map(u16::to_le_bytes).collect()
            }),
        ];
        for (name, extension, make) in cases {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&(0..1_000_000).flat_map(make).collect::<Vec<u8>>())
                .unwrap();
            let start = std::time::Instant::now();
            let mut table = Table::from_file(file, "x", extension, &InputOptions::default()).unwrap();
            let opened = start.elapsed();
            let (mut row, mut length) = (Row::default(), 0);
            let start = std::time::Instant::now();
            while table.read_row(&mut row).unwrap() {
                length += row.address().len();
            }
            let reused = start.elapsed();
            table.rewind().unwrap();
            let start = std::time::Instant::now();
            while let Some(row) = table.next_row().unwrap() {
                length += row.address().len();
            }
            println!(
                "{name}: open {opened:?}, 1 M rows by read_row {reused:?}, by next_row {:?} ({length})",
                start.elapsed()
            );
        }
    }
}
