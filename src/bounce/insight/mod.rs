//! What all events together say: rates, trends, spikes with their likely cause, alerts for the sender, and how often what
//! presend called valid bounced.
//!
//! Reads events as a stream and counts; what it keeps is bounded by `KEYS` for each kind of key. Must not decide about anybody.

mod calibrate;
mod collect;
mod page;
mod spike;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

pub use calibrate::{Calibrated, calibrate};
pub use collect::report;
pub use page::page;
pub use spike::{Cause, Spike};

use crate::replies::Class;

/// Keys of one kind that are counted for themselves; the others are counted together.
const KEYS: usize = 20_000;
/// What those are called.
const OTHERS: &str = "(others)";
/// What has no name.
const NAMELESS: &str = "(other)";
/// Rates from which providers look closer, and act.
pub const LIMITS: [f64; 2] = [0.01, 0.02];

const DAY: Duration = Duration::from_hours(24);

/// What is counted for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The recipient's domain.
    Domain,
    /// Whoever runs its mail hosts.
    Provider,
    /// Why it bounced.
    Class,
    /// The list or campaign.
    List,
    /// The week.
    Week,
}

/// What is asked of a report.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The first instant of it.
    pub since: SystemTime,
    /// The end of it.
    pub until: SystemTime,
    /// What is counted for itself.
    pub by: By,
    /// Messages that were sent, when deliveries are not reported.
    pub sent: Option<u64>,
    /// The tenant whose events count.
    pub tenant: &'static str,
}

/// What happened to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Messages that arrived.
    pub delivered: u64,
    /// That bounced hard.
    pub hard: u64,
    /// That bounced softly.
    pub soft: u64,
    /// That were or are on their way.
    pub pending: u64,
    /// That were reported as spam.
    pub complained: u64,
    /// Whose recipient unsubscribed.
    pub unsubscribed: u64,
}

impl Counts {
    /// Messages whose end is known.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.delivered + self.bounced()
    }

    /// Messages that bounced.
    #[must_use]
    pub fn bounced(&self) -> u64 {
        self.hard + self.soft
    }

    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.hard += other.hard;
        self.soft += other.soft;
        self.pending += other.pending;
        self.complained += other.complained;
        self.unsubscribed += other.unsubscribed;
    }
}

/// How a rate stands against [`LIMITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Under 1 %.
    Good,
    /// From 1 % on.
    Watch,
    /// From 2 % on.
    Over,
    /// Without deliveries there is no rate.
    Unknown,
}

/// A share, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// From 0 to 1.
    pub share: Option<f64>,
    /// Against 1 % and 2 %.
    pub standing: Standing,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
    fn of(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self {
                share: None,
                standing: Standing::Unknown,
            };
        }
        let share = part as f64 / whole as f64;
        let [watch, over] = LIMITS;
        let standing = match share {
            share if share >= over => Standing::Over,
            share if share >= watch => Standing::Watch,
            _ => Standing::Good,
        };
        Self {
            share: Some(share),
            standing,
        }
    }

    /// `1.25 %`
    #[must_use]
    pub fn shown(&self) -> String {
        self.share
            .map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
    }
}

/// Counts under a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The domain, provider, class, list or week.
    pub name: String,
    /// What happened.
    pub counts: Counts,
    /// Hard bounces of what ended.
    pub hard: Rate,
    /// Soft bounces of what ended.
    pub soft: Rate,
}

impl Group {
    fn new(name: String, counts: Counts, sent: u64) -> Self {
        Self {
            name,
            hard: Rate::of(counts.hard, sent),
            soft: Rate::of(counts.soft, sent),
            counts,
        }
    }
}

/// Bounces that say something about the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What they say.
    pub class: Class,
    /// Who says it.
    pub provider: String,
    /// How often.
    pub count: u64,
    /// First and last day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// One of the replies.
    pub example: Option<Box<str>>,
    /// What to do.
    pub advice: &'static str,
}

/// Somebody on the way to being suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near {
    /// The address.
    pub address: String,
    /// Failures in a row.
    pub failures: usize,
    /// So many are needed.
    pub needed: usize,
    /// Since when.
    pub since: String,
    /// Not before.
    pub until: String,
}

/// Suppressions of the time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Suppressed {
    /// Made within it and still there, by reason.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Waiting for a person.
    pub review: u64,
    /// Somebody had been let go before.
    pub again: u64,
}

/// Where rates are going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// The second half bounced clearly more.
    Rising,
    /// Clearly less.
    Falling,
    /// Neither.
    Steady,
    /// Too little happened.
    Unknown,
}

impl Trend {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Steady => "steady",
            Self::Unknown => "unknown",
        }
    }
}

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The first day.
    pub since: String,
    /// When it ends.
    pub until: String,
    /// Everything together.
    pub total: Group,
    /// Where it is going.
    pub trend: Trend,
    /// What is counted for itself.
    pub by: By,
    /// Most bounces first; weeks in order.
    pub groups: Vec<Group>,
    /// Each day, in order.
    pub days: Vec<Group>,
    /// Bounces by class, most first.
    pub classes: Vec<Group>,
    /// By provider, most first.
    pub providers: Vec<Group>,
    /// Days that stand out.
    pub spikes: Vec<Spike>,
    /// What says something about the sender.
    pub alerts: Vec<Alert>,
    /// Suppressions of the time.
    pub suppressed: Suppressed,
    /// How many are on the way to it.
    pub near: u64,
    /// Those who come first.
    pub nearest: Vec<Near>,
    /// Events about people who were never mailed, which decide nothing.
    pub kept_apart: u64,
    /// Events whose date has not come.
    pub in_the_future: u64,
    /// How often what presend called valid bounced, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Vec<Calibrated>>,
}

/// `2026-11-21`
fn day(number: u64) -> String {
    crate::suppress::day(SystemTime::UNIX_EPOCH + DAY * u32::try_from(number).unwrap_or(u32::MAX))
}

/// Midnight before, in UTC: a report is about whole days.
#[must_use]
pub fn start_of_day(at: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * u32::try_from(number(at)).unwrap_or(u32::MAX)
}

/// Days since 1970.
fn number(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}
