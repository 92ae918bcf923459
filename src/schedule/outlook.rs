//! When a group will be done, and what it waits for: from its budget, its pace, what is left to ask and what the host did so far.
//!
//! An estimate for people. Must not decide when anybody is asked.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{budget::Budget, limits::Limits};

/// Refusals expected of a host that has not answered yet, in percent: mailing lists have between 2 and 24.
pub(super) const REFUSED: usize = 15;
/// Answers that the expectation weighs as much as.
const WEIGHT: usize = 5;

/// What a group waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The host's answers.
    Answers,
    /// The pause between two sessions.
    Session,
    /// The time to ask again about addresses that were put off.
    Retry,
    /// Refusals to leave their minute or hour.
    Refusals,
    /// The end of the pause after a block.
    Block,
    /// Another process, which asks the same hosts.
    OtherProcess,
}

impl WaitsFor {
    /// In words, after "waits for".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Session => "its next session",
            Self::Retry => "the time to ask again",
            Self::Refusals => "its budget of refusals",
            Self::Block => "the end of the pause after a block",
            Self::OtherProcess => "another process that asks it",
        }
    }
}

/// The group that will be done last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Critical {
    /// Its name: a provider, a network or a host.
    pub group: Arc<str>,
    /// What it waits for now.
    pub waits_for: WaitsFor,
    /// When it will be done, by what is known.
    pub done_at: SystemTime,
}

impl Critical {
    /// The group and what it waits for, in words.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}, waits for {}", self.group, self.waits_for.text())
    }
}

/// A group's state as it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Nothing happens before.
    pub(super) until: Option<Instant>,
    pub(super) waits_for: WaitsFor,
    pub(super) done_at: Instant,
    /// Targets without an answer.
    pub(super) targets: usize,
    /// Those among them that wait for another question.
    pub(super) delayed: usize,
    /// Refusals that may be caused now; `None` where they are not counted.
    pub(super) refusals_left: Option<u32>,
}

/// What a host did so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    answers: usize,
    refused: usize,
    /// Targets that had to be asked about again after the first question.
    pub(super) put_off: u32,
    /// Targets that the first question settled.
    pub(super) told: u32,
}

/// What is left to do.
pub(super) struct Ahead {
    /// Targets without an answer.
    pub(super) targets: usize,
    /// Those among them that wait for another question.
    pub(super) delayed: usize,
    /// When the last of those may be asked about.
    pub(super) last_due: Option<Instant>,
    /// The first delay of greylisted targets.
    pub(super) step: Duration,
    /// No session before.
    pub(super) connect_after: Instant,
}

impl Pace {
    pub(super) fn answered(&mut self, answers: &[bool]) {
        self.answers += answers.len();
        self.refused += answers.iter().filter(|refused| **refused).count();
    }

    /// Most first questions bring nothing: the host greylists.
    pub(super) fn puts_off(&self) -> bool {
        self.put_off > self.told
    }

    /// When everything will be asked.
    pub(super) fn done_at(&self, ahead: &Ahead, (limits, budget): (&Limits, &Budget), now: Instant) -> Instant {
        let fresh = ahead.targets.saturating_sub(ahead.delayed);
        let repeated = if self.puts_off() { fresh } else { 0 };
        let expected = self.refused * 100 + WEIGHT * REFUSED;
        let refusals = (ahead.targets * expected).div_ceil((self.answers + WEIGHT) * 100);
        let start = ahead.connect_after.max(now);
        let mut asked = start + limits.least_time(ahead.targets + repeated, 0);
        if repeated > 0 {
            asked = asked.max(start + limits.least_time(fresh, 0) + ahead.step);
        }
        let last_due = ahead.last_due.unwrap_or(now);
        asked.max(last_due).max(budget.refused_by(refusals, now))
    }
}

impl Limits {
    /// The least time for so many questions with so many refusals among them, when nothing was spent yet.
    #[must_use]
    pub fn least_time(&self, questions: usize, refusals: usize) -> Duration {
        let times = |pause: Duration, count: usize| pause.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        let in_session = (self.recipients_per_session as usize).max(1);
        let last = questions.saturating_sub(1);
        let sessions = times(self.reconnect, last / in_session) + times(self.gap, last % in_session);
        let last = refusals.saturating_sub(1);
        let [(hour, an_hour), (minute, a_minute)] = self
            .refusal_windows()
            .map(|(window, most)| (window, (most as usize).max(1)));
        let windows = times(hour, last / an_hour) + times(minute, last % an_hour / a_minute);
        let breaks = times(self.reconnect, last / (self.refusals_per_session as usize).max(1));
        let gaps = times(self.gap, questions.saturating_sub(1));
        sessions.max(gaps).max(windows).max(breaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_time_is_what_the_budgets_demand() {
        let seconds = |questions, refusals| Limits::POLITE.least_time(questions, refusals).as_secs();
        for (questions, refusals, expected) in [
            (0, 0, 0),
            (1, 1, 0),
            (10, 0, 9),
            (11, 0, 30),
            (25, 0, 64),
            (10, 3, 60),
            (40, 20, 540),
            (40, 21, 3600),
            (100, 45, 2 * 3600 + 120),
        ] {
            assert_eq!(seconds(questions, refusals), expected, "{questions} {refusals}");
        }
        assert_eq!(Limits::TRUSTED.least_time(1_000_000, 1_000_000), Duration::ZERO);
    }
}
