//! Lists of suppressed addresses in and out.

use std::{
    io::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{ExportFormat, How, SHOWN, already, date, target};
use crate::{
    address::{Address, Rules},
    cli::{
        Exit,
        fault::note,
        paint::{DIM, counted, paint},
        verify::say_understood,
    },
    input::{Cells, InputOptions, Row, Table},
    output,
    store::{Added, Author, NewSuppression, SqliteStore, Suppressions},
    suppress::{SuppressionReason, SuppressionRecord},
};

/// Entries written together.
const TOGETHER: usize = 5_000;
/// Faults that are told one by one.
const TOLD: u64 = 20;

/// How lists are read.
pub(super) struct Import<'a> {
    pub(super) column: Option<String>,
    pub(super) reason: SuppressionReason,
    pub(super) how: &'a How,
}

impl Import<'_> {
    pub(super) fn run(&self, store: &SqliteStore, inputs: &[PathBuf]) -> anyhow::Result<Exit> {
        let options = InputOptions {
            column: self.column.clone(),
            ..InputOptions::default()
        };
        let mut table = Table::open_all(inputs, &options)?;
        say_understood(&table);
        let columns = table.layout().columns.clone();
        let now = SystemTime::now();
        let (mut row, mut new, mut added, mut faults) = (Row::default(), Vec::new(), Added::default(), 0);
        let mut write = |new: &mut Vec<NewSuppression>| -> anyhow::Result<()> {
            let written = store.suppress(std::mem::take(new))?;
            added.new += written.new;
            added.known += written.known;
            Ok(())
        };
        while table.read_row(&mut row)? {
            match self.entry(&row, &columns, now) {
                Ok(entry) => new.push(entry),
                Err(said) => {
                    faults += 1;
                    if faults <= TOLD {
                        let file = row.file.as_deref().map(|file| format!("{file}, ")).unwrap_or_default();
                        note(&format!("{file}line {}: {said}", row.line));
                    }
                }
            }
            if new.len() == TOGETHER {
                write(&mut new)?;
            }
        }
        write(&mut new)?;
        note(&format!(
            "suppressed {}{}",
            counted(added.new, "address", "addresses"),
            already(added.known)
        ));
        if faults > 0 {
            note(&format!(
                "{} could not be read and were skipped",
                counted(faults, "row", "rows")
            ));
            return Ok(Exit::Failed);
        }
        Ok(Exit::Done)
    }

    fn entry(&self, row: &Row, columns: &[String], now: SystemTime) -> Result<NewSuppression, String> {
        if let Some(fault) = &row.fault {
            return Err(fault.message.to_string());
        }
        let rules = Rules {
            allow_special_use: true,
        };
        let address = Address::parse(row.address(), rules).map_err(|error| {
            let typed = output::clean(row.address(), SHOWN);
            format!("`{typed}` is not an address: {}", error.fault.sentence())
        })?;
        let cell = |name| cell(row, columns, name);
        let reason = match cell("reason") {
            None => self.reason,
            Some(name) => SuppressionReason::named(name).ok_or_else(|| {
                let names: Vec<_> = SuppressionReason::ALL.iter().map(|reason| reason.name()).collect();
                format!(
                    "no reason is called `{}`: {}",
                    output::clean(name, SHOWN),
                    names.join(", ")
                )
            })?,
        };
        let time = |name| match cell(name) {
            None => Ok(None),
            Some(text) => date(text).map(Some).ok_or_else(|| {
                format!(
                    "`{}` in column `{name}` is no date: write 2026-11-21T10:00:00Z",
                    output::clean(text, SHOWN)
                )
            }),
        };
        let mut scope = self.how.scope();
        scope.list = cell("list").map(Into::into).or(scope.list);
        Ok(NewSuppression {
            mailbox: address.mailbox().into(),
            scope,
            reason,
            source: Author::File,
            note: cell("note").or(self.how.note.as_deref()).map(Into::into),
            happened_at: time("happened_at")?.unwrap_or(now),
            expires_at: time("expires_at")?.or_else(|| self.how.expires_at(now)),
        })
    }
}

/// What a row says in a column, if it has one and says anything there.
fn cell<'a>(row: &'a Row, columns: &[String], name: &str) -> Option<&'a str> {
    let text = match &row.cells {
        Cells::Record { record, .. } => {
            let index = columns
                .iter()
                .position(|column| column.trim().eq_ignore_ascii_case(name))?;
            record.get(index)?
        }
        Cells::Object { object, .. } => object.get(name)?.as_str()?,
    };
    Some(text.trim()).filter(|text| !text.is_empty())
}

pub(super) fn export(
    store: &SqliteStore,
    wanted: &Suppressions,
    (path, format): (Option<&Path>, Option<ExportFormat>),
) -> anyhow::Result<()> {
    let by_name = || match path?.extension()?.to_str()? {
        "ndjson" | "jsonl" => Some(ExportFormat::Ndjson),
        "txt" => Some(ExportFormat::Text),
        _ => Some(ExportFormat::Csv),
    };
    let format = format.or_else(by_name).unwrap_or(ExportFormat::Csv);
    let mut out = target(path)?;
    let mut count = 0_u64;
    if format == ExportFormat::Csv {
        writeln!(out, "{}", SuppressionRecord::COLUMNS.join(","))?;
    }
    store.each_suppression(wanted, |kept| {
        count += 1;
        let record = SuppressionRecord::from(kept);
        match format {
            ExportFormat::Csv => {
                let cells = record.cells().map(quoted);
                writeln!(out, "{}", cells.join(","))?;
            }
            ExportFormat::Ndjson => {
                serde_json::to_writer(&mut out, &record)?;
                writeln!(out)?;
            }
            ExportFormat::Text => writeln!(out, "{}", record.address)?,
        }
        anyhow::Ok(ControlFlow::Continue(()))
    })?;
    out.flush()?;
    note(&paint(DIM, format!("wrote {}", counted(count, "entry", "entries"))));
    Ok(())
}

/// A cell of CSV; one that a spreadsheet would run gets a `'` in front.
pub(in crate::cli) fn quoted(cell: &str) -> String {
    let text = output::clean(cell, 2_000);
    let armed = text.starts_with(['=', '+', '-', '@', '\t']);
    let text = if armed { format!("'{text}") } else { text.into_owned() };
    if text.contains([',', '"', '\n', ';']) || armed {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}
