//! Lists in: plain text, CSV, TSV, NDJSON and XLSX, compressed or not, in the encodings people have; one file or several. Yields
//! rows one at a time, bounded, with line and column; a row that cannot be read is a row with a fault, not an error.
//!
//! Must not know what an address is beyond an `@`: that is `address`.

mod array;
mod block;
mod budget;
mod comment;
mod delimited;
mod encoding;
mod error;
mod list;
mod ndjson;
mod part;
mod sniff;
pub(crate) mod spool;
mod stored;
mod table;
mod unpack;
mod window;
mod workbook;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

pub use block::Block;
pub use error::InputError;
pub(crate) use spool::unnamed;
pub use stored::BrokenRow;
pub use table::Table;
pub use unpack::Packing;
pub(crate) use unpack::unpack;

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
    /// `--sheet`: a sheet's name, or its number from 1. `None` takes the first that is not hidden.
    pub sheet: Option<String>,
    /// Rows of plain text get a second cell with what `# presend: ...` says beside the address or right above it.
    pub comments: bool,
}

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFormat {
    /// One address a line; blank lines and `#` comments are skipped.
    Text,
    /// Delimited text; the delimiter is sniffed.
    #[default]
    Csv,
    /// One JSON object or string a line.
    Ndjson,
    /// One sheet of a workbook; never told, always seen by the content.
    Xlsx,
}

/// How the input was understood; shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// Columns that hold an address when the address column is empty, in this order; only of a known export.
    pub fallback_columns: Vec<usize>,
    /// The program whose export this is, when its header is known.
    pub export: Option<Cow<'static, str>>,
    /// What the file was wrapped in.
    pub packing: Option<Packing>,
    /// The sheet, for [`InputFormat::Xlsx`].
    pub sheet: Option<String>,
    /// These are the columns of several files; each row says which one it is from.
    pub several: bool,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The file, when the input is several: as it was named.
    pub file: Option<Arc<str>>,
    /// Line where it starts, from 1; for a sheet the number of the row.
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

/// Kinds of faults of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFaultKind {
    /// It has more or fewer cells than the header.
    Width,
    /// Its bytes are not text in the encoding of the file.
    Encoding,
    /// It cannot be taken apart: too long, a quote without its partner, no JSON.
    Unreadable,
}

const NOT_UTF8: &str = "the text is not valid UTF-8, unlike the rest of the file";
/// How the message about the width begins.
const WIDTH: &str = "the row has ";

impl RowFault {
    /// What kind of fault it is. Faults are kept as their messages, so these tell it.
    #[must_use]
    pub fn kind(&self) -> RowFaultKind {
        if &*self.message == NOT_UTF8 {
            RowFaultKind::Encoding
        } else if self.message.starts_with(WIDTH) {
            RowFaultKind::Width
        } else {
            RowFaultKind::Unreadable
        }
    }

    fn new(column: Option<usize>, message: impl Into<Box<str>>) -> Self {
        Self {
            column,
            message: message.into(),
        }
    }
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
    RowFault::new(column, NOT_UTF8)
}
