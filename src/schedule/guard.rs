//! The abuse guard: whether what a list asks at one domain looks like guesses (HOSTILE P9, P12).
//!
//! Guessing shows itself by its refusals: most names that somebody made up do not exist, while an old list still knows most of
//! its people. Pure; who is exempt is its caller's business.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A domain with fewer refusals is not written down: it is far from any threshold.
const WORTH_KEEPING: u32 = 10;
/// Domains written down for one group of mail hosts.
const MOST_KEPT: usize = 1000;
/// A domain that was left alone for so long begins anew.
const FORGOTTEN: Duration = Duration::from_hours(30 * 24);
/// A free-mail provider holds a hundred thousand times the mailboxes of a company: old lists have many dead ones there.
const FREE_FACTOR: u32 = 10;

/// When the guard stops the asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// Refused recipients of one domain from which on the share counts; ten times as many at a free-mail provider.
    pub refusals: u32,
    /// More than this share, in percent, of those that were accepted or refused.
    pub percent: u32,
}

impl GuardLimits {
    /// Old company lists lose a fifth to a third of their people in a year and are seldom longer than a few hundred addresses;
    /// of guessed names (five patterns for each person, or first names) three quarters and more do not exist. Fifty refusals
    /// are what a list of eighty has to show before it is stopped, and two and a half hours of asking at the polite pace.
    pub const DEFAULT: Self = Self {
        refusals: 50,
        percent: 60,
    };
}

/// What was answered at one domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) accepted: u32,
    /// As unknown or dead, not for other reasons.
    pub(super) refused: u32,
}

impl Tally {
    /// Whether the answers look like those to guesses.
    pub(super) fn looks_guessed(self, limits: GuardLimits, free: bool) -> bool {
        let least = limits.refusals.saturating_mul(if free { FREE_FACTOR } else { 1 });
        let all = u64::from(self.accepted) + u64::from(self.refused);
        self.refused >= least && u64::from(self.refused) * 100 > all * u64::from(limits.percent)
    }
}

/// One domain as it is written down; by a number, so that no name outlives its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) domain: i64,
    pub(super) tally: Tally,
    /// When the last answer came, in milliseconds since 1970.
    pub(super) at: u64,
}

/// The domains of a group that have refused many.
#[derive(Debug, Default)]
pub(super) struct Counts(Vec<Counted>);

impl Counts {
    /// What an earlier run wrote down and is not forgotten yet.
    pub(super) fn recall(mut kept: Vec<Counted>, now: u64) -> Self {
        let oldest = now.saturating_sub(u64::try_from(FORGOTTEN.as_millis()).unwrap_or(u64::MAX));
        kept.retain(|counted| counted.at >= oldest);
        kept.truncate(MOST_KEPT);
        Self(kept)
    }

    /// What was answered at a domain before.
    pub(super) fn of(&self, domain: i64) -> Tally {
        let mine = self.0.iter().find(|counted| counted.domain == domain);
        mine.map(|counted| counted.tally).unwrap_or_default()
    }

    /// Notes what is known now.
    pub(super) fn note(&mut self, domain: i64, tally: Tally, at: u64) {
        if tally.refused < WORTH_KEEPING {
            return;
        }
        let counted = Counted { domain, tally, at };
        if let Some(mine) = self.0.iter_mut().find(|counted| counted.domain == domain) {
            *mine = counted;
        } else if self.0.len() < MOST_KEPT {
            self.0.push(counted);
        } else if let Some(least) = self.0.iter_mut().min_by_key(|counted| counted.tally.refused) {
            *least = counted;
        }
    }

    pub(super) fn to_kept(&self) -> Vec<Counted> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_lists_are_told_from_guesses() {
        let looks = |accepted, refused, free| Tally { accepted, refused }.looks_guessed(GuardLimits::DEFAULT, free);
        for (accepted, refused, free, guessed, what) in [
            (160, 40, false, false, "a company's list of 200, a fifth dead"),
            (1_400, 600, false, false, "a large company's, a third dead"),
            (40, 45, false, false, "a small list, half dead"),
            (2_850, 150, true, false, "3,000 customers at a free provider"),
            (300, 450, true, false, "a very old list at a free provider"),
            (6_000, 4_000, true, false, "a large old one"),
            (0, 49, false, false, "too few to tell"),
            (33, 50, false, true, "the first eighty names of a guessed list"),
            (34, 50, false, false, "just under the share"),
            (10, 190, false, true, "patterns of names"),
            (300, 700, true, true, "names at a free provider"),
            (0, 499, true, false, "too few to tell there"),
            (u32::MAX, u32::MAX, false, false, "no overflow"),
        ] {
            assert_eq!(looks(accepted, refused, free), guessed, "{what}");
        }
        let strict = GuardLimits {
            refusals: 5,
            percent: 20,
        };
        assert!(
            Tally {
                accepted: 15,
                refused: 5
            }
            .looks_guessed(strict, false)
        );
    }

    #[test]
    fn counts_are_bounded_and_forgotten() {
        let tally = |refused| Tally { accepted: 0, refused };
        let mut counts = Counts::default();
        counts.note(1, tally(9), 0);
        assert_eq!(counts.to_kept(), []);
        for domain in 0..2_000 {
            counts.note(domain, tally(10 + u32::from(domain == 7)), 1_000);
        }
        assert_eq!(counts.to_kept().len(), MOST_KEPT);
        assert_eq!(counts.of(7), tally(11), "the largest stay");
        let day = 24 * 3_600_000;
        assert_eq!(Counts::recall(counts.to_kept(), 29 * day).of(7), tally(11));
        assert_eq!(Counts::recall(counts.to_kept(), 31 * day).of(7), Tally::default());
    }
}
