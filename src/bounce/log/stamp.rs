//! When a line was written. Syslog leaves the year out, and most logs the zone: both are the operator's to say, or guessed.

use std::time::{Duration, SystemTime};

use crate::bounce::report;

/// What the lines of a log do not say of their dates.
///
/// Without a year a line is of the last year in which it is not later than the log itself: the file was last changed when its
/// last line was written. A day more is allowed for zones and clocks.
#[derive(Debug, Clone, Copy)]
pub struct Calendar {
    /// When the log was last changed.
    pub written: SystemTime,
    /// The year of every line, when the operator says it.
    pub year: Option<i64>,
    /// Seconds that local time is ahead of UTC.
    pub offset: i64,
}

impl Calendar {
    /// Reads the date at the start of a line; returns the rest.
    pub(super) fn split<'l>(&self, line: &'l str) -> Option<(SystemTime, &'l str)> {
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            self.full(line)
        } else {
            self.syslog(line)
        }
    }

    /// `2026-11-22T10:00:00.123456+01:00 `, `2026-11-22 10:00:00 `, `2026-11-22 10:00:00.123 +0100 `
    fn full<'l>(&self, line: &'l str) -> Option<(SystemTime, &'l str)> {
        let date = line.get(..10)?;
        let mut parts = date.split('-').map(str::parse::<i64>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let after = line.get(11..)?;
        let (clock, mut rest) = after.split_once(' ')?;
        let cut = clock.find(['+', '-', 'Z']).unwrap_or(clock.len());
        let (clock, zone) = clock.split_at(cut);
        let mut offset = match zone {
            "" => self.offset,
            "Z" => 0,
            zone => report::offset_seconds(zone)?,
        };
        if let Some((zone, after)) = rest.split_once(' ')
            && let Some(told) = report::offset_seconds(zone)
        {
            (offset, rest) = (told, after);
        }
        let days = report::days_since_1970(year, month, day)?;
        Some((moment(days, clock, offset)?, rest))
    }

    /// `Nov 22 10:00:00 `, and `Nov  2 10:00:00 `
    fn syslog<'l>(&self, line: &'l str) -> Option<(SystemTime, &'l str)> {
        let month = report::month_named(line.get(..3)?)?;
        let day: i64 = line.get(3..6)?.trim().parse().ok()?;
        let rest = line.get(6..)?.trim_start();
        let (first, after) = rest.split_once(' ')?;
        // Some daemons write the year after all.
        if let Ok(year @ 1970..2200) = first.parse::<i64>() {
            let (clock, after) = after.split_once(' ')?;
            return Some((
                moment(report::days_since_1970(year, month, day)?, clock, self.offset)?,
                after,
            ));
        }
        let of = |year| moment(report::days_since_1970(year, month, day)?, first, self.offset);
        if let Some(year) = self.year {
            return Some((of(year)?, after));
        }
        let latest = self.written + Duration::from_hours(24);
        let year = year_of(latest);
        let last = (year - 8..=year).rev();
        // A 29 February is of a year that had one.
        let leap = |year: i64| month != 2 || day != 29 || year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let at = last
            .filter(|year| leap(*year))
            .filter_map(of)
            .find(|at| *at <= latest)?;
        Some((at, after))
    }
}

fn moment(days: i64, clock: &str, offset: i64) -> Option<SystemTime> {
    let seconds = report::seconds_of_day(clock)?;
    let fraction = clock.split_once('.').map_or("", |(_, fraction)| fraction);
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let at = report::moment(days * 86_400 + seconds - offset)?;
    Some(at + Duration::from_millis(millis.parse().unwrap_or(0)))
}

fn year_of(at: SystemTime) -> i64 {
    let days = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    let days = i64::try_from(days).unwrap_or_default();
    (1970..2200)
        .rev()
        .find(|year| report::days_since_1970(*year, 1, 1).is_some_and(|first| first <= days))
        .unwrap_or(1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_found_for_lines_without_one() {
        let calendar = |written: &str, year| Calendar {
            written: humantime::parse_rfc3339(written).unwrap(),
            year,
            offset: 3600,
        };
        let new_year = "2026-01-03T06:00:00Z";
        for (line, written, year, expected) in [
            ("Jan  3 06:00:01 mx", new_year, None, "2026-01-03T05:00:01Z"),
            ("Dec 31 23:59:59 mx", new_year, None, "2025-12-31T22:59:59Z"),
            ("Jan  4 06:30:00 mx", new_year, None, "2026-01-04T05:30:00Z"),
            ("Jan  5 06:00:00 mx", new_year, None, "2025-01-05T05:00:00Z"),
            ("Feb 29 10:00:00 mx", new_year, None, "2024-02-29T09:00:00Z"),
            ("Dec 31 23:59:59 mx", new_year, Some(2021), "2021-12-31T22:59:59Z"),
            (
                "2020-05-01T10:00:00.250+02:00 mx",
                new_year,
                None,
                "2020-05-01T08:00:00.250Z",
            ),
            ("2020-05-01 10:00:00 mx", new_year, None, "2020-05-01T09:00:00Z"),
            ("2020-05-01 10:00:00 -0500 mx", new_year, None, "2020-05-01T15:00:00Z"),
        ] {
            let (at, rest) = calendar(written, year).split(line).unwrap();
            assert_eq!(
                (at, rest),
                (humantime::parse_rfc3339(expected).unwrap(), "mx"),
                "{line}"
            );
        }
        assert!(calendar(new_year, None).split("nonsense").is_none());
        assert!(calendar(new_year, None).split("2020-13-01 10:00:00 mx").is_none());
    }
}
