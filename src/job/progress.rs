//! What a run shows while it runs and when it is done.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::View;
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
    waiting: Mutex<Waiting>,
    view: OnceLock<Arc<View>>,
    first_open: watch::Sender<usize>,
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
    pub waiting: Waiting,
}

/// What a run waits for: mail hosts that may not be asked yet, and the one that will be done last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Groups of mail hosts that may not be asked yet.
    pub groups: usize,
    /// When the first of them may be.
    pub until: Option<SystemTime>,
    /// The group that will be done last, and with it the run.
    pub last: Option<Critical>,
}

impl Waiting {
    /// In words; empty when nothing is waited for.
    #[must_use]
    pub fn text(&self) -> String {
        let mut texts = Vec::new();
        texts.extend(self.until.map(|until| {
            let hosts = if self.groups == 1 {
                "mail host waits"
            } else {
                "mail hosts wait"
            };
            format!("{} {hosts}; next at {}", self.groups, clock_time(until))
        }));
        texts.extend(self.last.as_ref().map(|last| format!("last: {}", last.text())));
        texts.join("; ")
    }
}

impl Progress {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows_read: self.rows_read.load(Ordering::Relaxed),
            rows_done: self.rows_done.load(Ordering::Relaxed),
            input_read: self.input_read.load(Ordering::Relaxed) > 0,
            labels: self.labels.each_ref().map(|count| count.load(Ordering::Relaxed)),
            waiting: self.waiting(),
        }
    }

    /// What the run waits for now.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows, once the run has them.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.get()
    }

    /// The first row whose answer may still be another: all before it are final.
    #[must_use]
    pub fn first_open(&self) -> watch::Receiver<usize> {
        self.first_open.subscribe()
    }

    /// The rows can be looked at.
    pub(super) fn shows(&self, view: &Arc<View>) {
        // A progress is of one run.
        let _ = self.view.set(Arc::clone(view));
    }

    pub(super) fn is_final(&self, first_open: impl FnOnce(usize) -> usize) {
        self.first_open.send_if_modified(|first| {
            let now = first_open(*first);
            std::mem::replace(first, now) != now
        });
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

    /// The run waits for something else now.
    pub(super) fn waits(&self, waiting: Waiting) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
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
    /// What the run waits for, while it runs.
    pub waiting: Waiting,
    /// Nobody that is left may be asked before, when the job is not complete.
    pub retry_at: Option<SystemTime>,
    /// The job's name, for lists whose mail hosts or DNS were asked.
    pub job: Option<String>,
    /// SMTP connections opened.
    pub connections: u64,
    /// SMTP commands sent.
    pub commands: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// When what a run leaves may be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Later {
    /// Nothing is left.
    #[default]
    Never,
    /// Nothing of it before.
    From(SystemTime),
    /// Something of it need not wait.
    AtOnce,
}

impl Later {
    /// Something is left, which may be asked then.
    pub(super) fn add(&mut self, at: Option<SystemTime>) {
        *self = match (*self, at) {
            (Self::AtOnce, _) | (_, None) => Self::AtOnce,
            (Self::Never, Some(at)) => Self::From(at),
            (Self::From(first), Some(at)) => Self::From(first.min(at)),
        };
    }

    /// More is left.
    pub(super) fn join(&mut self, other: Self) {
        match other {
            Self::Never => {}
            Self::From(at) => self.add(Some(at)),
            Self::AtOnce => self.add(None),
        }
    }

    pub(super) fn time(self) -> Option<SystemTime> {
        match self {
            Self::From(at) => Some(at),
            Self::Never | Self::AtOnce => None,
        }
    }
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
        let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        let last = self.waiting.last.as_ref();
        serde_json::json!({
            "unique": self.unique,
            "duplicates": self.duplicates,
            "answered": self.rows,
            "by_label": names(self.by_label.iter().map(|(label, count)| (label.name(), *count)).collect()),
            "by_reason": names(self.by_reason.iter().map(|(reason, count)| (reason.name(), *count)).collect()),
            "by_action": names(self.by_action.iter().map(|(action, count)| (action.name(), *count)).collect()),
            "hard_bounces": self.hard_bounces,
            "hard_bounces_sent": self.hard_bounces_sent,
            "waiting_hosts": self.waiting.groups,
            "eta": last.map(|last| time(last.done_at)),
            "last_group": last.map(Critical::text),
            "retry_at": self.retry_at.map(time),
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
