//! What a list may have of what: counts, limits, and whether a run failed, was incomplete, or passed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Counts, Finding, Rule, RuleSet, Severity};

/// A number of rows, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many rows.
    Rows(u64),
    /// Parts of a million.
    Share(u64),
}

const WHOLE: u64 = 1_000_000;

/// The text is no threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use a number of rows, `10`, or a percentage from 0 to 100, `2%` or `0.5%`")]
pub struct NoThreshold;

impl FromStr for Threshold {
    type Err = NoThreshold;

    fn from_str(text: &str) -> Result<Self, NoThreshold> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let Some(percent) = text.trim().strip_suffix('%') else {
            let text = text.trim();
            return text
                .parse()
                .map(Self::Rows)
                .ok()
                .filter(|_| digits(text))
                .ok_or(NoThreshold);
        };
        let (whole, part) = percent.trim().split_once('.').unwrap_or((percent.trim(), "0"));
        if !digits(whole) || !digits(part) || part.len() > 4 {
            return Err(NoThreshold);
        }
        let whole: u64 = whole.parse().map_err(|_| NoThreshold)?;
        let part: u64 = format!("{part:0<4}").parse().map_err(|_| NoThreshold)?;
        let share = whole.checked_mul(10_000).and_then(|whole| whole.checked_add(part));
        share
            .filter(|share| *share <= WHOLE)
            .map(Self::Share)
            .ok_or(NoThreshold)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::Share(share) => {
                let (whole, part) = (share / 10_000, format!("{:04}", share % 10_000));
                match part.trim_end_matches('0') {
                    "" => write!(f, "{whole}%"),
                    part => write!(f, "{whole}.{part}%"),
                }
            }
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl de::Visitor<'_> for Read {
            type Value = Threshold;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{NoThreshold}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Threshold, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, rows: u64) -> Result<Threshold, E> {
                Ok(Threshold::Rows(rows))
            }
            fn visit_i64<E: de::Error>(self, rows: i64) -> Result<Threshold, E> {
                u64::try_from(rows)
                    .map(Threshold::Rows)
                    .map_err(|_| E::custom(NoThreshold))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl Threshold {
    /// Whether `count` of `rows` is over it.
    #[must_use]
    pub fn is_passed_by(self, count: u64, rows: u64) -> bool {
        match self {
            Self::Rows(limit) => count > limit,
            Self::Share(share) => u128::from(count) * u128::from(WHOLE) > u128::from(share) * u128::from(rows),
        }
    }

    /// Whether `count` of `rows` is at it or over.
    fn is_reached_by(self, count: u64, rows: u64) -> bool {
        count > 0
            && match self {
                Self::Rows(limit) => count >= limit,
                Self::Share(share) => u128::from(count) * u128::from(WHOLE) >= u128::from(share) * u128::from(rows),
            }
    }
}

/// What ends a run with another code than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// Findings of these rules fail.
    pub rules: RuleSet,
    /// Findings of these severities fail, unless a threshold counts them.
    pub severities: Vec<Severity>,
    /// Rows that are invalid.
    pub invalid: Option<Threshold>,
    /// Rows that stand there already.
    pub duplicates: Option<Threshold>,
    /// Rows of domains that take everything.
    pub catch_all: Option<Threshold>,
    /// Rows nobody could tell about; over it the run is incomplete.
    pub unknown: Threshold,
    /// Fewer rows fail.
    pub least_rows: u64,
    /// From this share of hard bounces on people are warned.
    pub warn_bounces: Threshold,
    /// From this share of hard bounces on the run fails.
    pub fail_bounces: Threshold,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            rules: RuleSet::default(),
            severities: vec![Severity::Error],
            invalid: None,
            duplicates: None,
            catch_all: None,
            unknown: Threshold::Share(100_000),
            least_rows: 0,
            warn_bounces: Threshold::Share(10_000),
            fail_bounces: Threshold::Share(20_000),
        }
    }
}

/// What was counted. Rows that a baseline knows count as rows and as nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were checked.
    pub files: u64,
    /// Rows that were checked.
    pub rows: u64,
    /// Different addresses in all rows.
    pub distinct: u64,
    /// Findings of each rule, in the order of [`Rule::ALL`].
    pub by_rule: Vec<u64>,
    /// Findings of each severity, in the order of [`Severity::ALL`].
    pub by_severity: [u64; 3],
    /// Findings that fail the run by their rule or severity.
    pub failing: u64,
    /// Findings that the baseline knows.
    pub known: u64,
    /// Entries of the baseline that nothing was found for.
    pub stale: u64,
    /// Entries of the baseline that have expired.
    pub expired: u64,
    /// Rows that are invalid.
    pub invalid: u64,
    /// Rows that stand there already.
    pub duplicates: u64,
    /// Rows of domains that take everything.
    pub catch_all: u64,
    /// Rows nobody could tell about.
    pub unknown: u64,
    /// Rows that would bounce hard.
    pub hard: u64,
    /// Files that could not be checked.
    pub unreadable_files: u64,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            by_rule: vec![0; Rule::ALL.len()],
            ..Self::default()
        }
    }

    /// All findings.
    #[must_use]
    pub fn findings(&self) -> u64 {
        self.by_severity.iter().sum()
    }

    /// Counts one finding.
    pub(super) fn count(&mut self, rule: Rule, severity: Severity, gates: &Gates) {
        if let Some(count) = self.by_rule.get_mut(rule as usize) {
            *count += 1;
        }
        if let Some(count) = self.by_severity.get_mut(severity as usize) {
            *count += 1;
        }
        self.failing += u64::from(gates.fails(rule, severity));
    }
}

/// A limit that was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The setting.
    pub setting: &'static str,
    /// One sentence.
    pub message: String,
    /// The code that the run ends with: 1 it failed, 3 it is incomplete; 0 is a warning.
    pub code: u8,
}

impl Gates {
    /// Whether a finding fails the run by itself.
    #[must_use]
    pub fn is_failed_by(&self, finding: &Finding) -> bool {
        self.fails(finding.rule, finding.severity)
    }

    fn fails(&self, rule: Rule, severity: Severity) -> bool {
        let counted = match rule.counts() {
            Counts::Invalid => self.invalid.is_some(),
            Counts::Duplicate => self.duplicates.is_some(),
            Counts::CatchAll => self.catch_all.is_some(),
            // Too much of it is another code.
            Counts::Unknown => true,
            Counts::Nothing => false,
        };
        self.rules.has(rule) || (self.severities.contains(&severity) && !counted)
    }

    /// The limits that were passed, in a fixed order.
    #[must_use]
    pub fn breaches(&self, tally: &Tally) -> Vec<Breach> {
        let mut found = Vec::new();
        let mut add = |setting, message, code| found.push(Breach { setting, message, code });
        if tally.failing > 0 {
            let are = if tally.failing == 1 {
                "finding fails"
            } else {
                "findings fail"
            };
            add("fail_on", format!("{} {are} the run", tally.failing), 1);
        }
        let counted = [
            ("max_invalid", self.invalid, tally.invalid, "invalid"),
            ("max_duplicates", self.duplicates, tally.duplicates, "duplicates"),
            ("max_catch_all", self.catch_all, tally.catch_all, "catch-all"),
        ];
        for (setting, limit, count, what) in counted {
            if let Some(limit) = limit.filter(|limit| limit.is_passed_by(count, tally.rows)) {
                let share = share(count, tally.rows);
                add(
                    setting,
                    format!("{count} of {} rows ({share}) are {what}, more than {limit}", tally.rows),
                    1,
                );
            }
        }
        if tally.rows < self.least_rows {
            add(
                "min_rows",
                format!("fewer rows than {}: {}", self.least_rows, tally.rows),
                1,
            );
        }
        let bounces = share(tally.hard, tally.rows);
        if self.fail_bounces.is_reached_by(tally.hard, tally.rows) {
            let limit = self.fail_bounces;
            add(
                "max_bounces",
                format!("{bounces} of the rows would bounce hard; the limit is {limit}"),
                1,
            );
        } else if self.warn_bounces.is_reached_by(tally.hard, tally.rows) {
            let limit = self.warn_bounces;
            add(
                "warn_bounces",
                format!("{bounces} of the rows would bounce hard; healthy is under {limit}"),
                0,
            );
        }
        if self.unknown.is_passed_by(tally.unknown, tally.rows) {
            let (count, rows, limit) = (tally.unknown, tally.rows, self.unknown);
            let share = share(count, rows);
            add(
                "max_unknown",
                format!("nobody could tell about {count} of {rows} rows ({share}), more than {limit}"),
                3,
            );
        }
        found
    }
}

/// `1.25 %`, rounded down.
pub(super) fn share(count: u64, of: u64) -> String {
    let parts = u128::from(count) * 10_000 / u128::from(of.max(1));
    format!("{}.{:02} %", parts / 100, parts % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_and_shown() {
        for (text, threshold, shown) in [
            ("10", Threshold::Rows(10), "10"),
            ("0", Threshold::Rows(0), "0"),
            ("2%", Threshold::Share(20_000), "2%"),
            ("0.5 %", Threshold::Share(5_000), "0.5%"),
            ("100%", Threshold::Share(1_000_000), "100%"),
            ("0.0125%", Threshold::Share(125), "0.0125%"),
        ] {
            assert_eq!(text.parse(), Ok(threshold), "{text}");
            assert_eq!(threshold.to_string(), shown);
        }
        for text in [
            "",
            "%",
            "-1",
            "101%",
            "2.5",
            "1.%",
            ".5%",
            "1e3",
            "+1",
            "two",
            "99999999999999999999",
            "0.00001%",
        ] {
            assert_eq!(text.parse::<Threshold>(), Err(NoThreshold), "{text}");
        }
    }

    #[test]
    fn a_limit_is_passed_above_it() {
        for (threshold, count, rows, passed) in [
            ("2%", 2, 100, false),
            ("2%", 3, 100, true),
            ("2%", 2, 99, true),
            ("0%", 0, 0, false),
            ("0", 1, 10, true),
            ("5", 5, 5, false),
        ] {
            let limit: Threshold = threshold.parse().unwrap();
            assert_eq!(limit.is_passed_by(count, rows), passed, "{threshold} {count}/{rows}");
        }
    }

    fn tally(rows: u64, set: impl Fn(&mut Tally)) -> Tally {
        let mut tally = Tally { rows, ..Tally::new() };
        set(&mut tally);
        tally
    }

    #[test]
    fn a_threshold_takes_the_place_of_the_severity() {
        let mut gates = Gates::default();
        let failing = |gates: &Gates| {
            let mut tally = Tally::new();
            tally.count(Rule::NoSuchDomain, Severity::Error, gates);
            tally.failing
        };
        assert_eq!(failing(&gates), 1);
        gates.invalid = Some(Threshold::Share(20_000));
        assert_eq!(failing(&gates), 0);
        gates.rules.add(Rule::NoSuchDomain);
        assert_eq!(failing(&gates), 1);
    }

    #[test]
    fn every_limit_has_its_code() {
        let gates = Gates {
            invalid: Some(Threshold::Rows(1)),
            duplicates: Some(Threshold::Rows(1)),
            catch_all: Some(Threshold::Rows(1)),
            least_rows: 10,
            ..Gates::default()
        };
        for (tally, expected) in [
            (tally(100, |_| {}), vec![]),
            (tally(1000, |t| t.invalid = 2), vec![("max_invalid", 1)]),
            (tally(1000, |t| t.duplicates = 2), vec![("max_duplicates", 1)]),
            (tally(1000, |t| t.catch_all = 2), vec![("max_catch_all", 1)]),
            (tally(9, |_| {}), vec![("min_rows", 1)]),
            (tally(1000, |t| t.hard = 9), vec![]),
            (tally(1000, |t| t.hard = 10), vec![("warn_bounces", 0)]),
            (tally(1000, |t| t.hard = 20), vec![("max_bounces", 1)]),
            (tally(100, |t| t.unknown = 10), vec![]),
            (tally(100, |t| t.unknown = 11), vec![("max_unknown", 3)]),
            (tally(100, |t| t.failing = 1), vec![("fail_on", 1)]),
        ] {
            let found = gates.breaches(&tally);
            let found: Vec<_> = found.iter().map(|breach| (breach.setting, breach.code)).collect();
            assert_eq!(found, expected, "{tally:?}");
        }
    }
}
