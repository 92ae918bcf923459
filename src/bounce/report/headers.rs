//! The fields of a message that tell about its fate, as text.

use std::time::SystemTime;

use mail_parser::{DateTime, Header, HeaderValue};

use super::address;

/// Most fields of one message.
const FIELD_LIMIT: usize = 400;
/// Most addresses of several fields together.
const ADDRESS_LIMIT: usize = 500;
/// Longest text of one field.
const VALUE_LIMIT: usize = 4 << 10;

/// Fields in the order of the message, names in lower case.
#[derive(Debug, Default, Clone)]
pub(super) struct Headers {
    fields: Vec<(Box<str>, Box<str>)>,
}

impl Headers {
    pub(super) fn of(headers: &[Header<'_>]) -> Self {
        let fields = headers
            .iter()
            .filter_map(|header| {
                let HeaderValue::Text(text) = &header.value else {
                    return None;
                };
                let text = text.trim();
                let end = text.floor_char_boundary(VALUE_LIMIT.min(text.len()));
                Some((
                    header.name.as_str().to_ascii_lowercase().into(),
                    text.get(..end)?.into(),
                ))
            })
            .take(FIELD_LIMIT)
            .collect();
        Self { fields }
    }

    /// The first field of this name, which is given in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(known, _)| **known == *name)
            .map(|(_, value)| &**value)
    }

    /// How many fields there are.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Every address in the fields of these names.
    pub(super) fn addresses(&self, names: &[&str]) -> Vec<Box<str>> {
        names
            .iter()
            .flat_map(|name| self.all(name))
            .flat_map(address::all)
            .take(ADDRESS_LIMIT)
            .map(|found| found.text.into())
            .collect()
    }

    /// The id in `Message-ID` or a field like it, without its brackets.
    pub(super) fn id(&self, name: &str) -> Option<Box<str>> {
        let value = self.get(name)?;
        let inside = value
            .split_once('<')
            .map_or(value, |(_, rest)| rest.split('>').next().unwrap_or(rest));
        let id = inside.split_whitespace().next()?.trim_matches(['<', '>']);
        (!id.is_empty()).then(|| clean(id, 250))
    }

    /// When the message was written, or else first received.
    pub(super) fn date(&self) -> Option<SystemTime> {
        let received = || self.all("received").find_map(|value| time(value.rsplit_once(';')?.1));
        self.all("date").find_map(time).or_else(received)
    }

    /// The list, campaign or tenant that the message names.
    pub(super) fn list(&self) -> Option<Box<str>> {
        let named = |value: &str| {
            let id = value
                .rsplit_once('<')
                .map_or(value, |(_, rest)| rest.trim_end_matches('>'));
            let id = clean(id.trim(), 200);
            (!id.is_empty()).then_some(id)
        };
        [
            "list-id",
            "x-list-id",
            "x-campaign-id",
            "x-campaign",
            "x-campaignid",
            "x-mailing-id",
        ]
        .iter()
        .find_map(|name| named(self.get(name)?))
    }
}

/// Text without control characters, at most `limit` characters.
pub(in crate::bounce) fn clean(text: &str, limit: usize) -> Box<str> {
    crate::output::clean(text, limit).trim().into()
}

/// A date of RFC 5322, in the years that mail was sent; or one that a person could read.
pub(in crate::bounce) fn time(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let standard = DateTime::parse_rfc822(text).filter(DateTime::is_valid);
    let date = standard.and_then(|date| moment(date.to_timestamp()));
    date.or_else(|| loose(text))
}

/// `Thursday, April 09, 2003 9:00 AM`, `2003-04-09 09:00:00 +0200`: the parts by their form.
fn loose(text: &str) -> Option<SystemTime> {
    let (mut day, mut month, mut year, mut clock, mut zone, mut noon) = (None, None, None, None, 0, None);
    for word in text
        .split([' ', ',', 'T', '\t'])
        .filter(|word| !word.is_empty())
        .take(12)
    {
        let number = word.parse::<i64>().ok();
        if let Some(named) = month_named(word) {
            month = month.or(Some(named));
        } else if word.contains(':') {
            // `23:34:00+02:00`
            let cut = word.find(['+', '-']).unwrap_or(word.len());
            let (time, offset) = word.split_at(cut);
            zone = offset_seconds(offset).unwrap_or(zone);
            clock = clock.or_else(|| seconds_of_day(time));
        } else if let Some(offset) = offset_seconds(word) {
            zone = offset;
        } else if word.matches(['-', '/', '.']).count() == 2 {
            let parts: Vec<i64> = word
                .split(['-', '/', '.'])
                .filter_map(|part| part.parse().ok())
                .collect();
            match parts.as_slice() {
                [y, m, d] if *y >= 1970 => (year, month, day) = (Some(*y), Some(*m), Some(*d)),
                // With slashes the month comes first, unless it cannot be one.
                [m, d, y] if *y >= 1970 && word.contains('/') && *m <= 12 => {
                    (year, month, day) = (Some(*y), Some(*m), Some(*d));
                }
                [d, m, y] if *y >= 1970 => (year, month, day) = (Some(*y), Some(*m), Some(*d)),
                _ => {}
            }
        } else if let Some(number) = number {
            match number {
                1970..=2199 => year = year.or(Some(number)),
                1..=31 => day = day.or(Some(number)),
                _ => {}
            }
        } else if word.eq_ignore_ascii_case("pm") || word.eq_ignore_ascii_case("am") {
            noon = Some(word.eq_ignore_ascii_case("pm"));
        }
    }
    let mut seconds = clock.unwrap_or(0);
    match noon {
        Some(true) if seconds < 43_200 => seconds += 43_200,
        Some(false) if seconds >= 43_200 => seconds -= 43_200,
        _ => {}
    }
    moment(days_since_1970(year?, month?, day?)? * 86_400 + seconds - zone)
}

/// `+0900`, `-05:00`
pub(in crate::bounce) fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text.get(1..)?.chars().filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

pub(in crate::bounce) fn month_named(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let start = word.get(..3)?.to_ascii_lowercase();
    let letters = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let at = MONTHS.iter().position(|name| *name == start).filter(|_| letters)?;
    i64::try_from(at + 1).ok()
}

/// `23:34:45.678Z`
pub(in crate::bounce) fn seconds_of_day(word: &str) -> Option<i64> {
    let mut parts = word
        .trim_end_matches('Z')
        .split(':')
        .map(|part| part.split(['.', '+']).next().unwrap_or_default().parse::<i64>());
    let hour = parts.next()?.ok().filter(|hour| (0..24).contains(hour))?;
    let minute = parts.next()?.ok().filter(|minute| (0..60).contains(minute))?;
    let second = parts
        .next()
        .and_then(Result::ok)
        .filter(|second| (0..61).contains(second))
        .unwrap_or(0);
    Some(hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a date of the Gregorian calendar.
pub(in crate::bounce) fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, in_era) = (shifted / 400, shifted % 400);
    let in_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468)
}

/// Seconds since 1970, in the years that mail was sent.
pub(in crate::bounce) fn moment(seconds: i64) -> Option<SystemTime> {
    const FIRST: u64 = 157_766_400;
    const LAST: u64 = 4_102_444_800;
    let seconds = u64::try_from(seconds).ok()?;
    (FIRST..LAST)
        .contains(&seconds)
        .then(|| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_people_write_them() {
        for (text, expected) in [
            ("Thu, 29 Apr 2010 23:34:45 +0900", Some(1_272_551_685)),
            ("Thursday, April 09, 2003 9:00 AM", Some(1_049_878_800)),
            ("29-04-2017 23:34", Some(1_493_508_840)),
            ("2017-04-29 23:34:00 +0200", Some(1_493_501_640)),
            ("2017-04-29T23:34:00.123Z", Some(1_493_508_840)),
            ("Thu, 29 Apr 9999 23:34:45 +0000", None),
            ("yesterday", None),
            ("", None),
        ] {
            let seconds = time(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(seconds, expected, "{text}");
        }
    }
}
