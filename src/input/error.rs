//! Why an input cannot be used at all.

use std::io;

use super::budget::megabytes;

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
    /// A folder was named.
    #[error("`{name}` is a directory; name a file in it")]
    Directory {
        /// The folder.
        name: String,
    },
    /// There is no row.
    #[error("`{name}` is empty: {what}")]
    Empty {
        /// The file.
        name: String,
        /// What it does hold.
        what: &'static str,
    },
    /// `--column` names a column that does not exist.
    #[error("`{name}` has no column `{column}`; `--column` can be {}", list(columns))]
    MissingColumn {
        /// The file.
        name: String,
        /// As given.
        column: String,
        /// The columns, or JSON keys, there are.
        columns: Vec<String>,
    },
    /// `--column` is a number beyond the last column.
    #[error("`{name}` has {} column(s), `--column {column}` is out of range; they are {}", columns.len(), list(columns))]
    ColumnOutOfRange {
        /// The file.
        name: String,
        /// As given.
        column: usize,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// No column holds addresses in most of the first rows.
    #[error(
        "`{name}` has no column that holds addresses ({seen}); name it with `--column`, or the format with `--input-format`"
    )]
    NoAddressColumn {
        /// The file.
        name: String,
        /// What was seen instead.
        seen: String,
    },
    /// The content is none of the formats that can be read.
    #[error("`{name}` is {what}")]
    Unsupported {
        /// The file.
        name: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A compressed file or a workbook would unpack to more than lists do.
    #[error(
        "`{name}` unpacks to more than {}, which no list of its size does; if it is meant to, unpack it and check what it holds first", megabytes(*limit)
    )]
    TooLarge {
        /// The file.
        name: String,
        /// Bytes: 200 times its size, at least 64 MiB and at most 32 GiB.
        limit: u64,
    },
    /// It is no JSON array, though it was said to be one.
    #[error("`{name}` is no JSON array: {reason}")]
    NotAnArray {
        /// The file.
        name: String,
        /// The element, from 0.
        element: Option<u64>,
        /// It is nested too deeply.
        deep: bool,
        /// What is wrong, and where.
        reason: String,
    },
    /// A compressed file cannot be unpacked.
    #[error("`{name}` cannot be unpacked as {what}: {source}; it is damaged or cut off")]
    Damaged {
        /// The file.
        name: String,
        /// The format.
        what: &'static str,
        /// The unpacker's reason.
        source: io::Error,
    },
    /// A spreadsheet cannot be read.
    #[error("`{name}` cannot be read as an XLSX workbook: {reason}; save the sheet as CSV")]
    Workbook {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// `--sheet` names a sheet that does not exist.
    #[error("`{name}` has no sheet `{sheet}`; `--sheet` can be {}", list(sheets))]
    MissingSheet {
        /// The file.
        name: String,
        /// As given.
        sheet: String,
        /// The sheets there are.
        sheets: Vec<String>,
    },
    /// A sheet holds no list; another one may.
    #[error(
        "{source} (this is the sheet `{}` of {}; `--sheet` names another)",
        cut(sheet),
        list(sheets)
    )]
    WrongSheet {
        /// The sheet that was read.
        sheet: String,
        /// The sheets there are.
        sheets: Vec<String>,
        /// What is wrong with it.
        source: Box<InputError>,
    },
    /// `--sheet` was given and no input is a workbook.
    #[error("`{name}` is no workbook, so `--sheet` says nothing; leave it out")]
    NotAWorkbook {
        /// The file.
        name: String,
    },
    /// `-` was named twice, or more files than can be open.
    #[error("{0}")]
    Several(&'static str),
    /// The file was written to between two passes.
    #[error("`{name}` changed while it was being read; start again when nothing writes to it")]
    Changed {
        /// The file.
        name: String,
    },
}

/// At most twenty names, each cut and escaped: they come from the file.
pub(super) fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let mut text: Vec<String> = names.iter().take(MOST).map(|name| format!("`{}`", cut(name))).collect();
    if names.len() > MOST {
        text.push(format!("and {} more", names.len() - MOST));
    }
    text.join(", ")
}

/// Forty characters of untrusted text, escaped.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, 40)
}

/// The first `most` characters of untrusted text, escaped.
pub(super) fn cut_to(text: &str, most: usize) -> String {
    let short: String = text.chars().take(most).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
