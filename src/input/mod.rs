//! Lists in: plain text, CSV, TSV and NDJSON in the encodings people have. Yields rows one at a time, bounded, with line
//! and column; a row that cannot be read is a row with a fault, not an error.

use std::{io, path::Path, sync::Arc};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// One address a line; blank lines and `#` comments are skipped.
    Text,
    /// Delimited text; the delimiter is sniffed.
    Csv,
    /// One JSON object or string a line.
    Ndjson,
}

/// How the input was understood; shown to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The format.
    pub format: InputFormat,
    /// `,`, `;`, tab or `|`, for [`InputFormat::Csv`].
    pub delimiter: Option<u8>,
    /// The encoding's name, as in the WHATWG Encoding Standard.
    pub encoding: &'static str,
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
#[derive(Debug, Clone)]
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
        /// The cells.
        record: csv::StringRecord,
        /// Which one holds the address.
        address: usize,
    },
    /// A JSON object, with the address found in it.
    Object {
        /// The object as it was read; a bare string becomes `{"address": ...}`.
        object: serde_json::Map<String, serde_json::Value>,
        /// The address.
        address: Box<str>,
    },
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
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Column, from 1, when it is known.
    pub column: Option<usize>,
    /// One sentence.
    pub message: Box<str>,
}

/// An opened list. Reading it twice gives the same rows: see [`Table::rewind`].
#[derive(Debug)]
pub struct Table {
    layout: Arc<Layout>,
}

/// The input as a whole cannot be used; every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened or read.
    #[error("cannot read `{name}`: {source}")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Table {
    /// Opens a file, or standard input for `-` (spooled to an unlinked temporary file).
    ///
    /// # Errors
    /// The input is unreadable or empty, the column is missing, or no column holds addresses.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Self, InputError> {
        let _ = (path, options);
        unimplemented!("being written")
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
        Ok(None)
    }

    /// Starts again at the first row.
    ///
    /// # Errors
    /// Seeking failed, or the file changed since it was opened.
    pub fn rewind(&mut self) -> Result<(), InputError> {
        Ok(())
    }
}
