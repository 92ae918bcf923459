//! Reports: one file for each format, each within the limits of whoever reads it.
//!
//! Everything shown comes as [`Shown`] and is masked already; a format owns the escaping of its own. Same findings, same bytes: no
//! times, no durations, no names of machines.

mod csv;
mod github;
mod gitlab;
mod json;
mod junit;
mod kept;
mod markdown;
mod sarif;
mod text;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use serde::Serialize;

use super::{Breach, Rule, Shown, Tally};
use crate::output::Target;

/// Bytes that are gathered before a write.
const GATHER: usize = 64 << 10;
/// Findings that a report keeps: GitHub takes no more of a SARIF file, and nobody reads more of any.
pub const MOST: usize = 25_000;

/// Formats of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people at a terminal.
    Text,
    /// One object.
    Json,
    /// One object a line.
    Jsonl,
    /// JUnit XML: a suite for each file, a case for each rule.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
    /// GitLab Code Quality.
    Gitlab,
    /// A page for people.
    Markdown,
    /// For spreadsheets.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::Text,
        Self::Json,
        Self::Jsonl,
        Self::Junit,
        Self::Sarif,
        Self::Github,
        Self::Gitlab,
        Self::Markdown,
        Self::Csv,
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Junit => "junit",
            Self::Sarif => "sarif",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Markdown => "markdown",
            Self::Csv => "csv",
        }
    }
}

/// What is said when all is done.
#[derive(Debug, Clone)]
pub struct Summary<'a> {
    /// The counts.
    pub tally: &'a Tally,
    /// Limits that were passed.
    pub breaches: &'a [Breach],
    /// What could not be done, a sentence each.
    pub problems: &'a [String],
    /// The files, as they were named.
    pub files: &'a [String],
    /// The run's exit code.
    pub exit_code: u8,
}

/// The counts as JSON reports have them.
#[derive(Serialize)]
struct Counts<'a> {
    files: u64,
    rows: u64,
    distinct: u64,
    findings: u64,
    errors: u64,
    warnings: u64,
    notes: u64,
    known: u64,
    stale: u64,
    expired: u64,
    invalid: u64,
    duplicates: u64,
    catch_all: u64,
    unknown: u64,
    hard_bounces: u64,
    by_rule: serde_json::Map<String, serde_json::Value>,
    breaches: &'a [Breach],
    problems: &'a [String],
    exit_code: u8,
}

impl<'a> Summary<'a> {
    fn counts(&self) -> Counts<'a> {
        let tally = self.tally;
        let [errors, warnings, notes] = tally.by_severity;
        Counts {
            files: tally.files,
            rows: tally.rows,
            distinct: tally.distinct,
            findings: tally.findings(),
            errors,
            warnings,
            notes,
            known: tally.known,
            stale: tally.stale,
            expired: tally.expired,
            invalid: tally.invalid,
            duplicates: tally.duplicates,
            catch_all: tally.catch_all,
            unknown: tally.unknown,
            hard_bounces: tally.hard,
            by_rule: self
                .by_rule()
                .map(|(rule, count)| (rule.name().to_owned(), count.into()))
                .collect(),
            breaches: self.breaches,
            problems: self.problems,
            exit_code: self.exit_code,
        }
    }

    /// Rules of which something was found.
    fn by_rule(&self) -> impl Iterator<Item = (Rule, u64)> {
        let counts = self.tally.by_rule.iter().copied();
        Rule::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// `3 findings in 20 rows: 1 error, 2 warnings, 0 notes`
    fn headline(&self) -> String {
        let [errors, warnings, notes] = self.tally.by_severity;
        let known = match self.tally.known {
            0 => String::new(),
            known => format!(", {known} known to the baseline"),
        };
        format!(
            "{} in {} of {}: {}, {}, {}{known}",
            counted(self.tally.findings(), "finding"),
            counted(self.tally.rows, "row"),
            counted(self.tally.files, "file"),
            counted(errors, "error"),
            counted(warnings, "warning"),
            counted(notes, "note"),
        )
    }

    /// What follows from the counts, a sentence each.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let tally = self.tally;
        if tally.rows > 0 {
            let share = super::threshold::share(tally.hard, tally.rows);
            words.push(format!("forecast: {share} of the rows would bounce hard"));
        }
        if tally.stale > 0 {
            let entries = entries(tally.stale);
            words.push(format!(
                "baseline: nothing was found for {entries}; `presend lint baseline prune` removes them"
            ));
        }
        if tally.expired > 0 {
            words.push(format!("baseline: {} expired", entries(tally.expired)));
        }
        words.extend(self.breaches.iter().map(|breach| {
            let word = match breach.code {
                0 => "warning",
                1 => "failed",
                _ => "incomplete",
            };
            format!("{word}: {} (`{}`)", breach.message, breach.setting)
        }));
        words.extend(self.problems.iter().map(|problem| format!("error: {problem}")));
        words
    }
}

fn entries(count: u64) -> String {
    if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count} entries")
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Hears of every finding, in order, and of the end.
pub trait Report {
    /// One finding.
    ///
    /// # Errors
    /// Writing failed.
    fn finding(&mut self, shown: &Shown) -> io::Result<()>;

    /// No finding is ready: what was gathered may be wanted.
    ///
    /// # Errors
    /// Writing failed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// All is said; a file appears now.
    ///
    /// # Errors
    /// Writing failed.
    fn finish(self: Box<Self>, summary: &Summary<'_>) -> io::Result<()>;
}

/// Where a report goes, and how it may look.
pub struct Out {
    to: BufWriter<Target>,
    /// ANSI colours.
    color: bool,
}

impl Out {
    /// A report to `target`.
    #[must_use]
    pub fn new(target: Target, color: bool) -> Self {
        Self {
            to: BufWriter::with_capacity(GATHER, target),
            color,
        }
    }

    fn close(mut self) -> io::Result<()> {
        self.to.flush()?;
        let target = self.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        target.finish().map(drop).map_err(|error| error.source)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A report of this format. `step_summary` is the file to which GitHub Actions wants a page appended.
#[must_use]
pub fn open(format: Format, out: Out, step_summary: Option<PathBuf>) -> Box<dyn Report> {
    match format {
        Format::Text => Box::new(text::Text::new(out)),
        Format::Json => Box::new(json::Json::new(out)),
        Format::Jsonl => Box::new(json::Jsonl::new(out)),
        Format::Junit => Box::new(junit::Junit::new(out)),
        Format::Sarif => Box::new(sarif::Sarif::new(out)),
        Format::Github => Box::new(github::Github::new(out, step_summary)),
        Format::Gitlab => Box::new(gitlab::Gitlab::new(out)),
        Format::Markdown => Box::new(markdown::Markdown::new(out)),
        Format::Csv => Box::new(csv::Csv::new(out)),
    }
}
