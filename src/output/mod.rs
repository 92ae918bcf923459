//! Results out: the schema `presend/1` and the formats around it, written in input order with the original columns kept.
//!
//! Owns the one serialiser, spreadsheet and terminal safety, filters, splitting and atomic files. Must not decide anything
//! about an address. Rendering ([`Renderer`]) is pure and may run on many threads; writing ([`Output`]) is one thread's.

mod clean;
mod columns;
mod csv;
mod facts;
mod json;
mod pack;
mod reading;
mod reasons;
mod redact;
mod schema;
mod table;
mod target;
mod workbook;
mod writer;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub(crate) use clean::grouped;
pub use clean::{clean, cut_to_width, width};
pub use columns::{COLUMNS, FILE_COLUMN};
pub(crate) use csv::is_formula;
pub use facts::{MailHost, control, did_you_mean, mail_host, said};
pub use reading::ReplyReading;
pub(crate) use reasons::{Entry, classes, reasons};
pub use redact::Privacy;
pub use schema::{Detail, SCHEMA, write_result};
pub(crate) use table::style as label_style;
pub use target::{Target, TargetError};
pub use writer::{Chunk, Output, Render, Renderer};

use crate::verdict::{Action, Label};

/// Formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The original columns and `presend_*` after them.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON array.
    Json,
    /// Aligned columns for people.
    Table,
    /// A workbook with the columns of CSV, as text that nothing runs.
    Xlsx,
}

impl Format {
    /// The stable name, which is also the file extension.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Table => "table",
            Self::Xlsx => "xlsx",
        }
    }
}

/// How rows are rendered.
#[derive(Debug, Clone)]
pub struct Options {
    /// The format.
    pub format: Format,
    /// Only these rows; empty means all.
    pub only: Vec<Only>,
    /// Cells as they are, even those a spreadsheet would run as a formula.
    pub raw: bool,
    /// Dialogues in JSON results, and local-parts everywhere.
    pub detail: Detail,
    /// For [`Format::Table`].
    pub terminal: Terminal,
}

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Columns.
    pub width: usize,
    /// ANSI colours.
    pub color: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self {
            width: 120,
            color: false,
        }
    }
}

/// One choice of `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Only {
    /// Rows with this label.
    Label(Label),
    /// Rows with this action.
    Action(Action),
    /// Rows with both.
    Both(Label, Action),
}

impl Only {
    fn takes(self, label: Label, action: Action) -> bool {
        match self {
            Self::Label(wanted) => wanted == label,
            Self::Action(wanted) => wanted == action,
            Self::Both(one, other) => (one, other) == (label, action),
        }
    }
}

/// Every action, in the order of [`Chunk`]'s parts.
pub(crate) const ACTIONS: [Action; 3] = [Action::Send, Action::Hold, Action::Drop];

impl FromStr for Only {
    type Err = UnknownOnly;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let action = ACTIONS
            .into_iter()
            .find(|action| action.name() == text)
            .map(Self::Action);
        let label = || {
            Label::ALL
                .into_iter()
                .find(|label| label.name() == text)
                .map(Self::Label)
        };
        action.or_else(label).ok_or(UnknownOnly)
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => f.write_str(label.name()),
            Self::Action(action) => f.write_str(action.name()),
            Self::Both(label, action) => write!(f, "{}, {}", label.name(), action.name()),
        }
    }
}

/// The text is neither an action nor a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use an action (`send`, `hold`, `drop`) or a label (`valid`, `catch-all`, `unknown`, `invalid`)")]
pub struct UnknownOnly;
