//! How long a reply asks us to wait: a span of time, or a time of day that only a clock can turn into one.

use std::time::{Duration, SystemTime};

use crate::smtp::Reply;

/// No reply makes us wait longer.
const LONGEST: u64 = 24 * 60 * 60;

/// A time of day further ahead than this has more likely just passed, in the host's own time zone.
const AHEAD: u64 = 12 * 60 * 60;

/// When a reply asks us to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHint {
    /// After this span, at most a day.
    After(Duration),
    /// At this time of day, in seconds after midnight; UTC, because a reply hardly ever names its zone.
    At(u32),
}

impl RetryHint {
    /// How long to wait from `now` on; `None` when a time of day lies more than twelve hours ahead.
    #[must_use]
    pub fn wait(self, now: SystemTime) -> Option<Duration> {
        match self {
            Self::After(span) => Some(span),
            Self::At(time) => {
                let today = now
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs() % LONGEST);
                let ahead = (u64::from(time) + LONGEST - today) % LONGEST;
                (ahead <= AHEAD).then(|| Duration::from_secs(ahead))
            }
        }
    }
}

/// What the text asks for: "in 300 seconds", "5 minutes", "00:05:00", "4 to 8 hours", "after 12:30".
pub(super) fn retry_after(reply: &Reply) -> Option<RetryHint> {
    let span = |line: &str| in_line(line).map(|seconds| RetryHint::After(Duration::from_secs(seconds.min(LONGEST))));
    let lines = reply.lines();
    lines
        .iter()
        .find_map(|line| span(line))
        .or_else(|| lines.iter().find_map(|line| time_of_day(line)).map(RetryHint::At))
}

/// `12:30` or `12:30:00` behind "after", "until", "at" or "from".
fn time_of_day(line: &str) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    let mut before = words.next()?;
    for word in words {
        let asked = ["after", "until", "till", "at", "from"]
            .iter()
            .any(|lead| lead.eq_ignore_ascii_case(before));
        before = word;
        let word = word.trim_matches(['.', ',', ';', ')', 'Z']);
        let mut parts = word
            .split(':')
            .map(|part| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten());
        let (Some(Some(hours)), Some(Some(minutes))) = (parts.next(), parts.next()) else {
            continue;
        };
        let seconds = parts.next().unwrap_or(Some(0));
        if let Some(seconds) = seconds.filter(|seconds| asked && hours < 24 && minutes < 60 && *seconds < 60)
            && parts.next().is_none()
        {
            return Some(hours * 3600 + minutes * 60 + seconds);
        }
    }
    None
}

fn in_line(line: &str) -> Option<u64> {
    let mut number = None;
    let mut before = "";
    for token in
        line.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | '"' | '-' | '='))
    {
        let token = token.trim_matches(['.', '!', '?', '<', '>', ':', '\'']);
        if token.is_empty() {
            continue;
        }
        if let Some(seconds) = clock_span(token) {
            return Some(seconds);
        }
        let digits = token.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = token.split_at_checked(digits)?;
        if let Ok(value) = digits.parse::<u64>() {
            if let Some(scale) = scale(unit) {
                return Some(value.saturating_mul(scale)).filter(|_| !is_rate(before));
            }
            number = unit.is_empty().then_some((value, is_rate(before)));
        } else if let Some(((value, rate), scale)) = number.take().zip(scale(token)) {
            if !rate && value > 0 {
                return Some(value.saturating_mul(scale));
            }
        } else if ["an", "one", "a"].contains(&before)
            && ["hour", "minute"].iter().any(|unit| unit.eq_ignore_ascii_case(token))
        {
            return scale(token);
        }
        before = token;
    }
    None
}

/// "100 messages per 60 minutes" is a limit, not a wish.
fn is_rate(before: &str) -> bool {
    ["per", "every", "each", "last", "past"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(before))
}

fn scale(unit: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 14] = [
        ("s", 1),
        ("sec", 1),
        ("secs", 1),
        ("second", 1),
        ("seconds", 1),
        ("m", 60),
        ("min", 60),
        ("mins", 60),
        ("minute", 60),
        ("minutes", 60),
        ("h", 3600),
        ("hr", 3600),
        ("hour", 3600),
        ("hours", 3600),
    ];
    UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, seconds)| *seconds)
}

/// `00:05:00` is a span; `12:30` and `12:30:00` are times of day.
fn clock_span(token: &str) -> Option<u64> {
    let mut parts = token
        .split(':')
        .map(|part| (part.len() == 2).then(|| part.parse::<u64>().ok()).flatten());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60)
        .then_some(hours * 3600 + minutes * 60 + seconds)
        .filter(|span| *span > 0 && hours < 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_limits_are_not() {
        for (text, seconds) in [
            ("451 4.7.1 Greylisted for 300 seconds", Some(300)),
            ("450 try again in 5 minutes", Some(300)),
            ("450 Greylisted, retry in 00:05:00", Some(300)),
            ("450 come back in 60s please", Some(60)),
            ("450 try again in an hour", Some(3600)),
            ("421 will persist for 4 to 8 hours.", Some(8 * 3600)),
            ("421 retry in 48 hours", Some(24 * 3600)),
            ("421 retry in 99999999999999999999 hours", None),
            ("421 retry in 18446744073709551615 hours", Some(24 * 3600)),
            ("450 limit of 100 messages per 60 minutes, try again", None),
            ("450 4.2.0 <a@b.example>: Greylisted, see http://x/300/seconds", None),
            ("450-no\n450 (wait 90 sec)", Some(90)),
            ("450 please wait 0 seconds", None),
        ] {
            let reply = Reply::parse(text).unwrap();
            let expected = seconds.map(|seconds| RetryHint::After(Duration::from_secs(seconds)));
            assert_eq!(retry_after(&reply), expected, "{text}");
        }
    }

    #[test]
    fn times_of_day_wait_for_a_clock() {
        for (text, time) in [
            ("450 try again after 12:30", Some(45_000)),
            ("450 4.7.1 Greylisted until 23:59:59 UTC.", Some(86_399)),
            ("450 come back at 12:61", None),
            ("450 fd00:12:30 is listed", None),
            ("450 received 12:30 ago", None),
        ] {
            let hint = retry_after(&Reply::parse(text).unwrap());
            assert_eq!(hint, time.map(RetryHint::At), "{text}");
        }
        let at = |hour: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000 + hour);
        let half_past_twelve = RetryHint::At(45_000);
        assert_eq!(half_past_twelve.wait(at(12)), Some(Duration::from_mins(30)));
        assert_eq!(half_past_twelve.wait(at(13)), None, "just passed");
        assert_eq!(
            RetryHint::At(0).wait(at(23)),
            Some(Duration::from_hours(1)),
            "over midnight"
        );
    }
}
