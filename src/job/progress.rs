//! What a run shows while it runs and when it is done.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{
    schedule::Critical,
    smtp::Tally,
    verdict::{Action, BounceKind, Label, Reason, Verdict},
};

/// Counters that a run moves and a display reads.
#[derive(Debug, Default)]
pub struct Progress {
    rows_read: AtomicU64,
    rows_done: AtomicU64,
    input_read: AtomicU64,
    labels: [AtomicU64; 4],
    waiting: Mutex<(Option<String>, Option<Duration>)>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Rows read from the input so far.
    pub rows_read: u64,
    /// Rows answered.
    pub rows_done: u64,
    /// The input was read to its end, so `rows_read` is the total.
    pub input_read: bool,
    /// Rows by label, in the order of [`Label::ALL`].
    pub labels: [u64; 4],
    /// What the run waits for.
    pub waiting_for: Option<String>,
    /// When the slowest group will be done.
    pub eta: Option<Duration>,
}

impl Progress {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (waiting_for, eta) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot {
            rows_read: self.rows_read.load(Ordering::Relaxed),
            rows_done: self.rows_done.load(Ordering::Relaxed),
            input_read: self.input_read.load(Ordering::Relaxed) > 0,
            labels: self.labels.each_ref().map(|count| count.load(Ordering::Relaxed)),
            waiting_for,
            eta,
        }
    }

    pub(super) fn row_read(&self) {
        self.rows_read.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn input_ended(&self) {
        self.input_read.store(1, Ordering::Relaxed);
    }

    /// Rows that are judged without asking anybody.
    pub(super) fn rows_need_nobody(&self, rows: usize) {
        self.rows_done.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// An address that stands in `rows` rows was settled by an earlier run.
    pub(super) fn restored(&self, rows: u64) {
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
    }

    /// An address that stands in `rows` rows is settled.
    pub(super) fn settled(&self, label: Label, rows: u64) {
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        for (count, of) in self.labels.iter().zip(Label::ALL) {
            if of == label {
                count.fetch_add(rows, Ordering::Relaxed);
            }
        }
    }

    /// Some groups of mail hosts wait: until when the first does, how many there are, and which will be done last.
    pub(super) fn waits(&self, waiting: Option<(SystemTime, usize)>, critical: Option<Critical>) {
        let mut texts = Vec::new();
        texts.extend(waiting.map(|(until, groups)| {
            let hosts = if groups == 1 {
                "mail host waits"
            } else {
                "mail hosts wait"
            };
            format!("{groups} {hosts}; next at {}", clock_time(until))
        }));
        texts.extend(critical.as_ref().map(|critical| {
            let (group, what) = (&critical.group, critical.waits_for.text());
            format!("last: {group}, waits for {what}")
        }));
        let eta = critical.and_then(|critical| critical.done_at.duration_since(SystemTime::now()).ok());
        let text = Some(texts.join("; ")).filter(|text| !text.is_empty());
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = (text, eta);
    }
}

/// `10:06:30Z`
fn clock_time(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.split_once('T')
        .map_or_else(String::new, |(_, time)| time.to_owned())
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows answered.
    pub rows: u64,
    /// Different addresses among them.
    pub unique: u64,
    /// Rows that repeat an earlier address.
    pub duplicates: u64,
    /// Rows that could not be read.
    pub row_errors: u64,
    /// Rows by label.
    pub by_label: BTreeMap<Label, u64>,
    /// Rows by reason.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Rows by action.
    pub by_action: BTreeMap<Action, u64>,
    /// Rows whose mail would bounce hard.
    pub hard_bounces: u64,
    /// Those among them with the action `send`.
    pub hard_bounces_sent: u64,
    /// The run was asked to stop before it was done.
    pub interrupted: bool,
    /// The time that it was given is up.
    pub out_of_time: bool,
    /// Nothing is left for a later run of the job.
    pub complete: bool,
    /// The job's name, for lists whose mail hosts or DNS were asked.
    pub job: Option<String>,
    /// SMTP connections opened.
    pub connections: u64,
    /// SMTP commands sent.
    pub commands: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// What the run cost.
    pub(super) fn cost(&mut self, tally: &Tally) {
        self.connections = tally.connections.load(Ordering::Relaxed);
        self.commands = tally.commands.load(Ordering::Relaxed);
    }

    /// Adds the rows of another summary.
    pub(super) fn add(&mut self, rows: &Self) {
        self.rows += rows.rows;
        self.row_errors += rows.row_errors;
        self.hard_bounces += rows.hard_bounces;
        self.hard_bounces_sent += rows.hard_bounces_sent;
        for (label, count) in &rows.by_label {
            *self.by_label.entry(*label).or_default() += count;
        }
        for (reason, count) in &rows.by_reason {
            *self.by_reason.entry(*reason).or_default() += count;
        }
        for (action, count) in &rows.by_action {
            *self.by_action.entry(*action).or_default() += count;
        }
    }

    /// The counts as they are kept with a job.
    pub(super) fn to_json(&self) -> String {
        let names = |counts: Vec<(&'static str, u64)>| -> serde_json::Map<String, serde_json::Value> {
            counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count.into()))
                .collect()
        };
        serde_json::json!({
            "unique": self.unique,
            "duplicates": self.duplicates,
            "answered": self.rows,
            "by_label": names(self.by_label.iter().map(|(label, count)| (label.name(), *count)).collect()),
            "by_reason": names(self.by_reason.iter().map(|(reason, count)| (reason.name(), *count)).collect()),
        })
        .to_string()
    }

    /// Counts one answered row.
    pub fn count(&mut self, verdict: &Verdict) {
        self.rows += 1;
        *self.by_label.entry(verdict.label).or_default() += 1;
        *self.by_reason.entry(verdict.reason).or_default() += 1;
        *self.by_action.entry(verdict.action).or_default() += 1;
        if verdict.bounce.kind == BounceKind::Hard {
            self.hard_bounces += 1;
            self.hard_bounces_sent += u64::from(verdict.action == Action::Send);
        }
    }
}
