//! Files from their first row to their last: rows are looked at on every core, duplicates are found and findings reported in order.
//!
//! Memory stays the same however long a file is, but for 16 bytes for each different address.

use std::{io, mem, num::NonZeroUsize, sync::Arc, thread};

use super::{
    Answers, Baseline, Changed, Counts, Finding, Gates, Place, Policy, Rule, Showing, Tally,
    baseline::{Fingerprint, Fingerprints},
    duplicate::{Register, Seen},
    examine::{Exam, Lens, examine},
    format::Report,
};
use crate::{
    address::Rules,
    input::{Cells, InputError, Layout, Row, Table},
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

/// Rows on their way through a thread.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    used: usize,
    exams: Vec<Exam>,
    found: Vec<Finding>,
}

impl Batch {
    /// Reads rows into place; false at the end of the table.
    fn fill(&mut self, table: &mut Table) -> Result<bool, CheckError> {
        let mut bytes = 0;
        self.used = 0;
        while self.used < BATCH && bytes < BATCH_BYTES {
            if self.rows.len() == self.used {
                self.rows.push(Row::default());
            }
            let Some(row) = self.rows.get_mut(self.used) else { break };
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

    fn work(&mut self, lens: &Lens<'_>) {
        self.exams.clear();
        self.found.clear();
        for row in self.rows.iter().take(self.used) {
            self.exams.push(examine(lens, row, &mut self.found));
        }
    }
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
        let lens = Lens {
            file: number,
            layout: &layout,
            policy,
            rules: self.lists.rules,
            user_lists: self.lists.user_lists,
            answers: self.lists.answers,
            lookup: self.lists.lookup,
        };
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
                batch.fill(table)
            },
            |batch| batch.work(&lens),
            |batch| {
                let last = batch.rows.get(batch.used.saturating_sub(1));
                last_line = last.map_or(last_line, |row| row.line);
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
        let mut found = mem::take(&mut batch.found);
        let mut own = Vec::new();
        {
            let mut all = found.drain(..);
            for (row, exam) in batch.rows.iter().zip(&mut batch.exams) {
                if let Some(error) = exam.failed.take() {
                    return Err(error.into());
                }
                own.extend(all.by_ref().take(exam.findings));
                if let Some(before) = self.look_back(row, exam, policy) {
                    own.push(before);
                    own.sort_by_key(|finding| finding.rule);
                }
                if changed.is_none_or(|changed| changed.has(row)) {
                    self.row(row, exam, &own)?;
                }
                own.clear();
            }
        }
        batch.found = found;
        for report in &mut *self.reports {
            report.flush()?;
        }
        Ok(())
    }

    /// The finding that the address stood in an earlier row.
    fn look_back(&mut self, row: &Row, exam: &Exam, policy: &Policy) -> Option<Finding> {
        let seen = self.register.see(exam.key?, row.line);
        let equivalent = exam.equivalent.map(|key| self.equivalents.see(key, row.line));
        let (rule, first, message) = match (seen, equivalent) {
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
        if !policy.active().has(rule) || exam.ignored.has(rule) {
            return None;
        }
        let file = self.file;
        Some(Finding {
            rule,
            severity: policy.severity(rule),
            place: Place { file, line: row.line },
            column: exam.column,
            subject: row.address().into(),
            message: message.into(),
            suggestion: None,
            reason: None,
            first: Some(first),
        })
    }

    /// Counts a row and reports what was found in it.
    fn row(&mut self, row: &Row, exam: &Exam, findings: &[Finding]) -> Result<(), CheckError> {
        self.tally.rows += 1;
        // A list has few of them, or is none.
        if exam.bad_directive && self.bad_directives.len() < 100 {
            let place = Place {
                file: self.file,
                line: row.line,
            };
            self.bad_directives.push(place);
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
        if let Some(rows) = &mut self.rows {
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
