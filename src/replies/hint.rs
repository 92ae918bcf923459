//! How long a reply asks us to wait. Needs no clock: a time of day ("after 12:30") gives nothing.

use std::time::Duration;

use crate::smtp::Reply;

/// No reply makes us wait longer.
const LONGEST: u64 = 24 * 60 * 60;

/// The span of time named in the text, bounded to a day: "in 300 seconds", "5 minutes", "00:05:00", "4 to 8 hours".
pub(super) fn retry_after(reply: &Reply) -> Option<Duration> {
    reply
        .lines()
        .iter()
        .find_map(|line| in_line(line))
        .map(|seconds| Duration::from_secs(seconds.min(LONGEST)))
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

/// `00:05:00` is a span; `12:30` is a time of day and gives nothing.
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
            ("450 try again after 12:30", None),
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
            assert_eq!(retry_after(&reply).map(|d| d.as_secs()), seconds, "{text}");
        }
    }
}
