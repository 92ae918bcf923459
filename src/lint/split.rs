//! Rows sorted into files: `X.valid`, `X.invalid`, `X.review`; and a file of errors that names no address.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{Counts, Finding, Rows, Severity};
use crate::{
    input::{Cells, InputFormat, Layout, Row},
    output::{Target, TargetError, clean, is_formula},
};

/// What a row is sorted as, and the end of its file's name.
const ENDS: [&str; 3] = ["valid", "invalid", "review"];

/// The files of one list.
struct Sorted {
    parts: [BufWriter<Target>; 3],
    format: InputFormat,
    delimiter: u8,
}

/// Takes rows and writes them down.
#[derive(Default)]
pub struct Split {
    /// Sort rows too.
    sort: bool,
    paths: Vec<PathBuf>,
    names: Vec<String>,
    now: Option<Sorted>,
    errors: Option<BufWriter<Target>>,
    file: usize,
    row: u64,
}

impl Split {
    /// Sorts the rows of these files if `sort`, and writes errors to a file.
    ///
    /// # Errors
    /// The file of errors cannot be made.
    pub fn new(files: &[(PathBuf, String)], sort: bool, errors: Option<&Path>) -> Result<Self, TargetError> {
        let errors = errors.map(Target::file).transpose()?;
        let mut errors = errors.map(BufWriter::new);
        if let Some(errors) = &mut errors {
            // A full disk is told when the file is closed.
            let _ = errors.write_all(b"file,row,line,column,rule,message\n");
        }
        let (paths, names) = files.iter().cloned().unzip();
        Ok(Self {
            sort,
            paths,
            names,
            now: None,
            errors,
            file: 0,
            row: 0,
        })
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(sorted) = self.now.take() else { return Ok(()) };
        for part in sorted.parts {
            close(part)?;
        }
        Ok(())
    }

    /// Puts the files in their places.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<()> {
        self.close()?;
        self.errors.take().map_or(Ok(()), close)
    }
}

fn close(part: BufWriter<Target>) -> io::Result<()> {
    let target = part.into_inner().map_err(io::IntoInnerError::into_error)?;
    target.finish().map(drop).map_err(|error| error.source)
}

impl Rows for Split {
    fn begin(&mut self, file: usize, layout: &Layout) -> io::Result<()> {
        self.close()?;
        (self.file, self.row) = (file, 0);
        let Some(path) = self.paths.get(file).filter(|_| self.sort) else {
            return Ok(());
        };
        let open = |end: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{end}"));
            let target = Target::file(&path.with_file_name(name)).map_err(|error| error.source)?;
            Ok::<_, io::Error>(BufWriter::new(target))
        };
        let [valid, invalid, review] = ENDS;
        let mut sorted = Sorted {
            parts: [open(valid)?, open(invalid)?, open(review)?],
            format: layout.format,
            delimiter: layout.delimiter.unwrap_or(b','),
        };
        if layout.header {
            let header = csv::StringRecord::from(layout.columns.clone());
            for part in &mut sorted.parts {
                record(part, &header, sorted.delimiter)?;
            }
        }
        self.now = Some(sorted);
        Ok(())
    }

    fn row(&mut self, row: &Row, findings: &[Finding]) -> io::Result<()> {
        self.row += 1;
        if let Some(sorted) = &mut self.now {
            let which = sort(findings);
            if let Some(part) = sorted.parts.get_mut(which) {
                match &row.cells {
                    Cells::Record { record: cells, .. } if sorted.format == InputFormat::Text => {
                        writeln!(part, "{}", cells.get(0).unwrap_or_default())?;
                    }
                    Cells::Record { record: cells, .. } => record(part, cells, sorted.delimiter)?,
                    Cells::Object { object, .. } => {
                        serde_json::to_writer(&mut *part, object)?;
                        part.write_all(b"\n")?;
                    }
                }
            }
        }
        if let Some(errors) = &mut self.errors {
            let name = self.names.get(self.file).map_or("", String::as_str);
            for finding in findings {
                let column = finding.column.map(|column| column.to_string()).unwrap_or_default();
                let message = clean(&finding.message, 320);
                let cells = [
                    name,
                    &self.row.to_string(),
                    &row.line.to_string(),
                    &column,
                    finding.rule.name(),
                    &message,
                ];
                let cells = cells.map(|cell| {
                    if is_formula(cell.as_bytes()) {
                        format!("'{cell}")
                    } else {
                        cell.to_owned()
                    }
                });
                record(errors, &csv::StringRecord::from(cells.to_vec()), b',')?;
            }
        }
        Ok(())
    }
}

/// Which file a row belongs to.
fn sort(findings: &[Finding]) -> usize {
    let any = |of: fn(&Finding) -> bool| findings.iter().any(of);
    if any(|finding| finding.rule.counts() == Counts::Invalid || finding.severity == Severity::Error) {
        1
    } else if any(|finding| finding.severity == Severity::Warning) {
        2
    } else {
        0
    }
}

fn record(to: &mut impl Write, cells: &csv::StringRecord, delimiter: u8) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_writer(to);
    writer.write_record(cells)?;
    writer.flush()
}
