//! Why an input cannot be used at all.

use std::io;

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
    const LONGEST: usize = 40;
    let short: String = text.chars().take(LONGEST).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
