//! Files from their first row to their last: rows are looked at on every core, duplicates are found and findings reported in order.
//!
//! Memory stays the same however long a file is, but for 16 bytes for each different address.

use std::{io, mem, num::NonZeroUsize, ops::Range, sync::Arc, thread};

use super::{
    Answers, Baseline, Changed, Counts, Finding, Gates, Place, Policy, Rule, Showing, Tally,
    baseline::{Fingerprint, Fingerprints},
    duplicate::{Keys, Register, Seen},
    examine::{Exam, Lens, examine},
    format::Report,
    ordinary::Ordinary,
};
use crate::{
    address::Rules,
    input::{Block, Cells, InputError, Layout, Row, Table},
    job::{Conveyor, Stop},
    lists::UserLists,
    store::StoreError,
    suppress::Lookup,
};

/// Rows that a thread takes at once.
const BATCH: usize = 1024;
/// Bytes of rows that a thread takes at once: with what is under way a stream is read less than a megabyte ahead.
const BATCH_BYTES: usize = 48 << 10;
/// Batches under way, all threads together.
const UNDER_WAY: usize = 8;

/// A check ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The list failed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A report or a repaired list cannot be written.
    #[error("cannot write what was found: {0}")]
    Output(#[from] io::Error),
    /// The database of suppressions cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes every row that was checked, in order, with what was found in it.
pub trait Rows {
    /// The rows of a file begin.
    ///
    /// # Errors
    /// Writing failed; the check ends.
    fn begin(&mut self, file: usize, layout: &Layout) -> io::Result<()>;

    /// One row; `findings` holds those that the baseline knows too.
    ///
    /// # Errors
    /// Writing failed; the check ends.
    fn row(&mut self, row: &Row, findings: &[Finding]) -> io::Result<()>;
}

/// How addresses are read in every file.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// How strictly names are taken.
    pub rules: Rules,
    /// The operator's allow and block lists.
    pub user_lists: &'a UserLists,
    /// What was found out; `None` below the DNS level.
    pub answers: Option<&'a Answers>,
    /// Who is suppressed; `None` if nobody is.
    pub lookup: Option<&'a Lookup>,
}

/// One file as it is to be checked.
pub struct Task<'a> {
    /// Its number among all.
    pub number: usize,
    /// Its rows.
    pub table: &'a mut Table,
    /// Which rules are looked at.
    pub policy: &'a Policy,
    /// Only rows in these lines count.
    pub changed: Option<&'a Changed>,
}

/// All files of a run, one after the other.
pub struct Check<'a> {
    lists: Lists<'a>,
    gates: &'a Gates,
    showing: &'a Showing,
    fingerprints: &'a Fingerprints,
    baseline: Option<&'a mut Baseline>,
    reports: &'a mut [Box<dyn Report>],
    rows: Option<&'a mut dyn Rows>,
    threads: usize,
    /// The file that is being checked.
    file: usize,
    keys: Keys,
    register: Register,
    equivalents: Register,
    tally: Tally,
    /// Where a list says something to presend that cannot be read.
    bad_directives: Vec<Place>,
}

/// Where findings go, and what is left out.
pub struct Desk<'a> {
    /// The limits.
    pub gates: &'a Gates,
    /// How findings are shown.
    pub showing: &'a Showing,
    /// How findings are told from one another.
    pub fingerprints: &'a Fingerprints,
    /// Findings that are known.
    pub baseline: Option<&'a mut Baseline>,
    /// Who hears of findings.
    pub reports: &'a mut [Box<dyn Report>],
    /// Who takes the rows.
    pub rows: Option<&'a mut dyn Rows>,
}

/// What was counted, and what was said in vain.
#[derive(Debug)]
pub struct Ended {
    /// The counts.
    pub tally: Tally,
    /// Lines whose directive cannot be read.
    pub bad_directives: Vec<Place>,
}

/// Rows on their way through a thread: lines that are still to be taken apart, or else rows.
#[derive(Default)]
struct Batch {
    block: Block,
    rows: Vec<Row>,
    used: usize,
    looks: Vec<Look>,
    found: Vec<Finding>,
    /// Why the check ends behind these.
    failed: Option<StoreError>,
}

/// One row, looked at.
struct Look {
    line: u64,
    at: At,
    exam: Exam,
}

/// Where a row is.
enum At {
    /// Among the rows of the batch.
    Row(usize),
    /// Nowhere; there is its address in the block.
    Block(Range<usize>),
}

impl Batch {
    /// Reads lines or rows into place; false at the end of the table.
    fn fill(&mut self, table: &mut Table, lines: bool) -> Result<bool, CheckError> {
        self.used = 0;
        self.block.clear();
        if lines && table.read_block(BATCH_BYTES, &mut self.block)? {
            return Ok(true);
        }
        let mut bytes = 0;
        while self.used < BATCH && bytes < BATCH_BYTES {
            let Some(row) = spare(&mut self.rows, self.used) else {
                break;
            };
            if !table.read_row(row)? {
                break;
            }
            bytes += match &row.cells {
                Cells::Record { record, .. } => record.as_slice().len(),
                Cells::Object { object, .. } => 64 * object.len(),
            };
            self.used += 1;
        }
        Ok(self.used > 0)
    }

    fn work(&mut self, lens: &Lens<'_>, ordinary: Option<&Ordinary>) {
        self.looks.clear();
        self.found.clear();
        self.failed = if self.block.is_empty() {
            self.rows(lens)
        } else {
            self.lines(lens, ordinary)
        }
        .err();
    }

    fn rows(&mut self, lens: &Lens<'_>) -> Result<(), StoreError> {
        for (index, row) in self.rows.iter().take(self.used).enumerate() {
            self.looks.push(Look {
                line: row.line,
                at: At::Row(index),
                exam: examine(lens, row, &mut self.found)?,
            });
        }
        Ok(())
    }

    fn lines(&mut self, lens: &Lens<'_>, ordinary: Option<&Ordinary>) -> Result<(), StoreError> {
        for line in self.block.lines(lens.layout) {
            let number = line.number;
            let short = ordinary.and_then(|ordinary| ordinary.look(lens, line.bytes));
            let (at, exam) = if let Some((address, exam)) = short {
                (At::Block(line.start + address.start..line.start + address.end), exam)
            } else {
                let Some(row) = spare(&mut self.rows, self.used) else {
                    break;
                };
                line.read(lens.layout, row);
                self.used += 1;
                (At::Row(self.used - 1), examine(lens, row, &mut self.found)?)
            };
            self.looks.push(Look { line: number, at, exam });
        }
        Ok(())
    }

    /// The row; none if it is nowhere.
    fn row(&self, look: &Look) -> Option<&Row> {
        match look.at {
            At::Row(index) => self.rows.get(index),
            At::Block(_) => None,
        }
    }

    /// The address as typed.
    fn address(&self, look: &Look) -> &str {
        match &look.at {
            At::Row(index) => self.rows.get(*index).map(Row::address),
            At::Block(address) => self
                .block
                .bytes()
                .get(address.clone())
                .and_then(|bytes| str::from_utf8(bytes).ok()),
        }
        .unwrap_or_default()
    }
}

/// A row whose memory can be used, at most the next.
fn spare(rows: &mut Vec<Row>, index: usize) -> Option<&mut Row> {
    if rows.len() <= index {
        rows.resize_with(index + 1, Row::default);
    }
    rows.get_mut(index)
}

impl<'a> Check<'a> {
    /// Nothing checked yet. `threads` is a wish; 0 takes every core.
    #[must_use]
    pub fn new(lists: Lists<'a>, desk: Desk<'a>, threads: usize) -> Self {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = if threads == 0 { cores() } else { threads };
        Self {
            lists,
            gates: desk.gates,
            showing: desk.showing,
            fingerprints: desk.fingerprints,
            baseline: desk.baseline,
            reports: desk.reports,
            rows: desk.rows,
            threads: threads.clamp(1, UNDER_WAY),
            file: 0,
            keys: Keys::default(),
            register: Register::default(),
            equivalents: Register::default(),
            tally: Tally::new(),
            bad_directives: Vec::new(),
        }
    }

    /// Checks a file.
    ///
    /// # Errors
    /// It cannot be read to its end, or a report cannot be written.
    pub fn file(&mut self, task: Task<'_>, stop: &Stop) -> Result<(), CheckError> {
        let Task {
            number,
            table,
            policy,
            changed,
        } = task;
        let layout = Arc::clone(table.layout());
        self.file = number;
        self.register.begin(number);
        self.equivalents.begin(number);
        if let Some(rows) = &mut self.rows {
            rows.begin(number, &layout)?;
        }
        let keys = self.keys.clone();
        let lens = Lens {
            file: number,
            layout: &layout,
            policy,
            rules: self.lists.rules,
            user_lists: self.lists.user_lists,
            answers: self.lists.answers,
            lookup: self.lists.lookup,
            keys: &keys,
        };
        let ordinary = Ordinary::new(&lens);
        // Who takes rows, or asks where they stand, needs each of them.
        let lines = self.rows.is_none() && changed.is_none();
        let conveyor = Conveyor {
            threads: self.threads,
            ahead: (UNDER_WAY / self.threads).clamp(1, 3),
        };
        let mut last_line = 0;
        let result = conveyor.run(
            |batch: &mut Batch| {
                if stop.is_requested() {
                    return Ok(false);
                }
                batch.fill(table, lines)
            },
            |batch| batch.work(&lens, ordinary.as_ref()),
            |batch| {
                last_line = batch.looks.last().map_or(last_line, |look| look.line);
                self.take(batch, policy, changed)
            },
        );
        self.register.end(last_line);
        self.equivalents.end(last_line);
        result?;
        self.tally.files += 1;
        Ok(())
    }

    /// Takes the rows of a batch, in order.
    fn take(&mut self, batch: &mut Batch, policy: &Policy, changed: Option<&Changed>) -> Result<(), CheckError> {
        for key in batch.looks.iter().filter_map(|look| look.exam.key) {
            self.register.touch(key);
        }
        let mut found = mem::take(&mut batch.found);
        let mut own = Vec::new();
        {
            let mut all = found.drain(..);
            for look in &batch.looks {
                own.extend(all.by_ref().take(look.exam.findings));
                if let Some((rule, first, message)) = self.look_back(look, policy) {
                    own.push(Finding {
                        rule,
                        severity: policy.severity(rule),
                        place: self.place(look.line),
                        column: look.exam.column,
                        subject: batch.address(look).into(),
                        message: message.into(),
                        suggestion: None,
                        reason: None,
                        first: Some(first),
                    });
                    own.sort_by_key(|finding| finding.rule);
                }
                let row = batch.row(look);
                if changed.is_none_or(|changed| row.is_some_and(|row| changed.has(row))) {
                    self.row(look, row, &own)?;
                }
                own.clear();
            }
        }
        batch.found = found;
        if let Some(error) = batch.failed.take() {
            return Err(error.into());
        }
        for report in &mut *self.reports {
            report.flush()?;
        }
        Ok(())
    }

    fn place(&self, line: u64) -> Place {
        Place { file: self.file, line }
    }

    /// What is found when the address stood in an earlier row, where that is, and in which words.
    fn look_back(&mut self, look: &Look, policy: &Policy) -> Option<(Rule, Place, &'static str)> {
        let exam = &look.exam;
        let seen = self.register.see(exam.key?, look.line);
        let equivalent = exam.equivalent.map(|key| self.equivalents.see(key, look.line));
        let found = match (seen, equivalent) {
            (Seen::Same(first), _) => (Rule::Duplicate, first, "The address stands in an earlier row."),
            (Seen::OtherCase(first), _) => (
                Rule::DuplicateCase,
                first,
                "The address stands in an earlier row, in other upper and lower case.",
            ),
            (Seen::New, Some(Seen::Same(first) | Seen::OtherCase(first))) => (
                Rule::DuplicateProvider,
                first,
                "The provider delivers the address to the same mailbox as an earlier row's.",
            ),
            (Seen::New, Some(Seen::New) | None) => return None,
        };
        (policy.active().has(found.0) && !exam.ignored.has(found.0)).then_some(found)
    }

    /// Counts a row and reports what was found in it.
    fn row(&mut self, look: &Look, row: Option<&Row>, findings: &[Finding]) -> Result<(), CheckError> {
        let exam = &look.exam;
        self.tally.rows += 1;
        // A list has few of them, or is none.
        if exam.bad_directive && self.bad_directives.len() < 100 {
            self.bad_directives.push(self.place(look.line));
        }
        self.tally.unknown += u64::from(exam.unknown);
        if findings.is_empty() && self.rows.is_none() {
            self.tally.hard += u64::from(exam.hard);
            return Ok(());
        }
        let (mut invalid, mut duplicate, mut catch_all, mut known_hard) = (false, false, false, false);
        for finding in findings {
            let print = self.fingerprints.of(finding, self.showing);
            if self.knows(&print) {
                self.tally.known += 1;
                known_hard |= finding.rule.counts() == Counts::Invalid;
                continue;
            }
            if let Some(baseline) = &mut self.baseline {
                baseline.learn(&print, finding, self.showing);
            }
            match finding.rule.counts() {
                Counts::Invalid => invalid = true,
                Counts::Duplicate => duplicate = true,
                Counts::CatchAll => catch_all = true,
                Counts::Unknown | Counts::Nothing => {}
            }
            self.tally.count(finding.rule, finding.severity, self.gates);
            let shown = self.showing.show(finding, print.to_string());
            for report in &mut *self.reports {
                report.finding(&shown)?;
            }
        }
        self.tally.invalid += u64::from(invalid);
        self.tally.duplicates += u64::from(duplicate);
        self.tally.catch_all += u64::from(catch_all);
        self.tally.hard += u64::from(exam.hard && (invalid || !known_hard));
        if let (Some(rows), Some(row)) = (&mut self.rows, row) {
            rows.row(row, findings)?;
        }
        Ok(())
    }

    fn knows(&mut self, print: &Fingerprint) -> bool {
        self.baseline.as_mut().is_some_and(|baseline| baseline.takes(print))
    }

    /// A file could not be read.
    pub fn unreadable(&mut self) {
        self.tally.unreadable_files += 1;
    }

    /// A finding about a file as a whole.
    ///
    /// # Errors
    /// A report cannot be written.
    pub fn about_file(&mut self, finding: &Finding) -> Result<(), CheckError> {
        let print = self.fingerprints.of(finding, self.showing);
        self.tally.count(finding.rule, finding.severity, self.gates);
        let shown = self.showing.show(finding, print.to_string());
        for report in &mut *self.reports {
            report.finding(&shown)?;
        }
        Ok(())
    }

    /// All files were checked.
    #[must_use]
    pub fn end(mut self) -> Ended {
        self.tally.distinct = self.register.distinct();
        if let Some(baseline) = &self.baseline {
            (self.tally.stale, self.tally.expired) = baseline.left();
        }
        Ended {
            tally: self.tally,
            bad_directives: self.bad_directives,
        }
    }
}
