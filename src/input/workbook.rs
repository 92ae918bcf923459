//! XLSX workbooks: checked part by part within a [`Budget`], then one sheet is copied to an unnamed file of CSV rows, one for
//! each row of the sheet, so that everything behind it reads rows and nothing reads cells.
//!
//! `calamine` parses, but it keeps the shared strings in memory, reserves what a part claims to hold, and panics on some damage.
//! So nothing reaches it before [`part::check`] has read it (511 KB made it take 521 MB, measured), and a panic ends as an error.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufReader, BufWriter, Seek, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use super::{
    CELL_LIMIT, InputError, ROW_LIMIT,
    budget::{Budget, spent},
    part, spool,
};

/// Rows a sheet can have, by Excel's specification.
const ROWS: u32 = 1_048_576;
/// Columns a sheet can have.
const COLUMNS: u32 = 16_384;

/// A sheet as CSV.
pub(super) struct Sheet {
    pub(super) file: File,
    /// Cells of the widest row.
    pub(super) width: usize,
    pub(super) name: String,
    /// Every sheet of the workbook that can be named.
    pub(super) all: Vec<String>,
}

/// Whether the first four bytes are those of a ZIP archive.
pub(super) fn is_workbook(magic: [u8; 4]) -> bool {
    magic == *b"PK\x03\x04"
}

/// Copies the wanted sheet: a name, a number from 1, or `None` for the first that is not hidden.
pub(super) fn extract(file: &File, name: &str, wanted: Option<&str>) -> Result<Sheet, InputError> {
    let failed = |reason: Failure| match reason {
        Failure::TooLarge(limit) => InputError::TooLarge {
            name: name.into(),
            limit,
        },
        Failure::MissingSheet(sheets) => InputError::MissingSheet {
            name: name.into(),
            sheet: super::error::cut(wanted.unwrap_or_default()),
            sheets,
        },
        Failure::Read(source) => InputError::Read {
            name: name.into(),
            source,
        },
        Failure::Workbook(reason) => InputError::Workbook {
            name: name.into(),
            reason: super::error::cut_to(&reason, 200),
        },
    };
    part::check(file).map_err(failed)?;
    // The sheet can be larger than its parts: one string may stand in every cell.
    let budget = Budget::of(file.metadata().map_err(Failure::Read).map_err(failed)?.len());
    let copied = catch_unwind(AssertUnwindSafe(|| copy(file, wanted, budget)));
    copied
        .unwrap_or_else(|_| Err(Failure::Workbook("it is damaged".into())))
        .map_err(failed)
}

/// Why a workbook cannot be read.
pub(super) enum Failure {
    /// The budget in bytes is spent.
    TooLarge(u64),
    MissingSheet(Vec<String>),
    Read(io::Error),
    Workbook(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match spent(&error) {
            Some(spent) => Self::TooLarge(spent.limit),
            None => Self::Read(error),
        }
    }
}

impl From<XlsxError> for Failure {
    fn from(error: XlsxError) -> Self {
        let no_workbook = matches!(error, XlsxError::RelationshipNotFound | XlsxError::FileNotFound(_));
        Self::Workbook(if matches!(error, XlsxError::Password) {
            "it is protected by a password".into()
        } else if no_workbook {
            "it is another kind of ZIP archive".into()
        } else {
            error.to_string()
        })
    }
}

fn copy(file: &File, wanted: Option<&str>, budget: Budget) -> Result<Sheet, Failure> {
    let mut workbook = Xlsx::new(BufReader::new(file))?;
    let sheets = workbook.sheets_metadata().iter();
    let all: Vec<(String, bool)> = sheets
        .filter(|sheet| sheet.typ == SheetType::WorkSheet)
        .map(|sheet| (sheet.name.clone(), sheet.visible == SheetVisible::Visible))
        .collect();
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let Some(name) = choose(&all, wanted) else {
        return Err(if names.is_empty() {
            Failure::Workbook("it has no sheet".into())
        } else {
            Failure::MissingSheet(names)
        });
    };
    let mut cells = workbook.worksheet_cells_reader(&name)?;
    let mut writer = RowWriter::new(budget)?;
    while let Some(cell) = cells.next_cell()? {
        let (row, column) = cell.get_position();
        if row >= ROWS || column >= COLUMNS || row < writer.row {
            return Err(Failure::Workbook(format!("a cell is out of place in `{name}`")));
        }
        writer.cell(row, column, cell.get_value())?;
    }
    let (file, width) = writer.finish()?;
    Ok(Sheet {
        file,
        width,
        name,
        all: names,
    })
}

/// A name first, then a number from 1 among the sheets that show.
fn choose(all: &[(String, bool)], wanted: Option<&str>) -> Option<String> {
    let mut visible = all.iter().filter(|(_, visible)| *visible);
    let found = match wanted {
        None => visible.next().or(all.first()),
        Some(wanted) => {
            let exact = all.iter().find(|(name, _)| name == wanted);
            let alike = || {
                let lower = wanted.trim().to_lowercase();
                all.iter().find(|(name, _)| name.trim().to_lowercase() == lower)
            };
            let number = wanted.trim().parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            exact.or_else(alike).or_else(|| visible.nth(number?))
        }
    };
    found.map(|(name, _)| name.clone())
}

/// Writes a sheet's cells as CSV rows; a row that the sheet leaves out is a blank line, so that lines count as rows do.
struct RowWriter {
    to: BufWriter<File>,
    budget: Budget,
    /// The row that is gathered, from 0.
    row: u32,
    cells: Vec<String>,
    used: usize,
    width: usize,
    line: String,
}

impl RowWriter {
    fn new(budget: Budget) -> io::Result<Self> {
        Ok(Self {
            to: BufWriter::with_capacity(128 << 10, spool::unnamed()?),
            budget,
            row: 0,
            cells: Vec::new(),
            used: 0,
            width: 0,
            line: String::new(),
        })
    }

    fn cell(&mut self, row: u32, column: u32, value: &DataRef<'_>) -> io::Result<()> {
        while self.row < row {
            self.end_row()?;
        }
        if *value == DataRef::Empty {
            return Ok(());
        }
        let column = column as usize;
        if column >= self.cells.len() {
            self.cells.resize_with(column + 1, String::new);
        }
        if let Some(cell) = self.cells.get_mut(column) {
            cell.clear();
            // Writing to memory cannot fail.
            let _ = write!(cell, "{}", Shown(value));
            if !cell.is_empty() {
                self.used = self.used.max(column + 1);
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> io::Result<()> {
        let cells = self.cells.get_mut(..self.used).unwrap_or_default();
        let whole: usize = cells.iter().map(|cell| cell.len() + 3).sum();
        // Left as one line without quotes, the row reader reports it as too long, like any other.
        let too_long = whole > ROW_LIMIT || cells.iter().any(|cell| cell.len() > CELL_LIMIT);
        self.line.clear();
        for (index, cell) in cells.iter_mut().enumerate() {
            if index > 0 {
                self.line.push(',');
            }
            if !cell.contains([',', '"', '\r', '\n']) {
                self.line.push_str(cell);
            } else if too_long {
                self.line.push_str(&cell.replace([',', '"', '\r', '\n'], " "));
            } else {
                self.line.push('"');
                self.line.push_str(&cell.replace('"', "\"\""));
                self.line.push('"');
            }
            cell.clear();
        }
        self.line.push('\n');
        self.budget.spend(self.line.len())?;
        self.to.write_all(self.line.as_bytes())?;
        self.width = self.width.max(self.used);
        self.used = 0;
        self.row += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<(File, usize)> {
        self.end_row()?;
        let mut file = self.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok((file, self.width))
    }
}

/// A cell as text: what the sheet shows, with dates as in ISO 8601.
struct Shown<'a>(&'a DataRef<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DataRef::Empty => Ok(()),
            DataRef::Int(number) => number.fmt(f),
            DataRef::Float(number) => number.fmt(f),
            DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => f.write_str(text),
            DataRef::SharedString(text) => f.write_str(text),
            DataRef::Bool(true) => f.write_str("TRUE"),
            DataRef::Bool(false) => f.write_str("FALSE"),
            DataRef::Error(error) => error.fmt(f),
            DataRef::DateTime(time) if time.is_duration() || !(0.0..2_958_466.0).contains(&time.as_f64()) => {
                time.as_f64().fmt(f)
            }
            DataRef::DateTime(time) => {
                let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
                let has_date = time.as_f64() >= 1.0;
                let has_time = (hour, minute, second) != (0, 0, 0) || !has_date;
                if has_date {
                    write!(f, "{year:04}-{month:02}-{day:02}")?;
                }
                match (has_date, has_time) {
                    (true, true) => write!(f, " {hour:02}:{minute:02}:{second:02}"),
                    (false, _) => write!(f, "{hour:02}:{minute:02}:{second:02}"),
                    (true, false) => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use calamine::{CellErrorType, ExcelDateTime, ExcelDateTimeType};

    use super::*;

    #[test]
    fn cells_are_shown_as_text() {
        let date = |value| DataRef::DateTime(ExcelDateTime::new(value, ExcelDateTimeType::DateTime, false));
        let cases = [
            (DataRef::Float(42.0), "42"),
            (DataRef::Float(-0.5), "-0.5"),
            (DataRef::Float(491_701_234_567.0), "491701234567"),
            (DataRef::Int(7), "7"),
            (DataRef::Bool(true), "TRUE"),
            (DataRef::String("=1+1".into()), "=1+1"),
            (DataRef::Error(CellErrorType::NA), "#N/A"),
            (date(45_943.5), "2025-10-13 12:00:00"),
            (date(45_943.0), "2025-10-13"),
            (date(0.25), "06:00:00"),
            (date(-1.0), "-1"),
            (date(f64::INFINITY), "inf"),
            (date(f64::NAN), "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(Shown(&value).to_string(), expected, "{value:?}");
        }
    }

    #[test]
    fn sheets_are_chosen_by_name_and_then_by_number() {
        let sheets = [("Cover", false), ("Leads", true), ("2", true), ("More", true)];
        let sheets: Vec<(String, bool)> = sheets.map(|(name, visible)| (name.to_owned(), visible)).to_vec();
        for (wanted, expected) in [
            (None, Some("Leads")),
            (Some("Cover"), Some("Cover")),
            (Some("leads "), Some("Leads")),
            (Some("1"), Some("Leads")),
            (Some("2"), Some("2")),
            (Some("3"), Some("More")),
            (Some("4"), None),
            (Some("0"), None),
            (Some("None"), None),
        ] {
            assert_eq!(choose(&sheets, wanted).as_deref(), expected, "{wanted:?}");
        }
        let hidden = [("A".to_owned(), false)];
        assert_eq!(choose(&hidden, None).as_deref(), Some("A"));
    }

    #[test]
    fn rows_are_written_as_they_stand_in_the_sheet() {
        let mut writer = RowWriter::new(Budget::of(0)).unwrap();
        let text = |text: &str| DataRef::String(text.into());
        writer.cell(1, 1, &text("a,b")).unwrap();
        writer.cell(1, 4, &text("")).unwrap();
        writer.cell(3, 0, &text("say \"hi\"\nthere")).unwrap();
        writer
            .cell(4, 0, &text(&format!("\"\n,{}", "x".repeat(CELL_LIMIT))))
            .unwrap();
        let (mut file, width) = writer.finish().unwrap();
        let mut got = String::new();
        io::Read::read_to_string(&mut file, &mut got).unwrap();
        let (head, long) = got.split_at(got.find("   x").unwrap());
        assert_eq!((head, width), ("\n,\"a,b\"\n\n\"say \"\"hi\"\"\nthere\"\n", 2));
        assert_eq!(long.len(), CELL_LIMIT + 4);
    }
}
