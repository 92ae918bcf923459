//! Dates as exports write them: seconds or milliseconds since 1970, RFC 3339, RFC 5322, or parts that a person could read.

use std::time::{Duration, SystemTime};

use super::report;

/// The date in `text`; one without a zone is UTC.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let digits = text.strip_suffix('Z').is_none() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits && text.matches('.').count() <= 1 {
        return number(text);
    }
    report::time(text)
}

/// Seconds, or milliseconds when there are so many, since 1970.
fn number(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let (seconds, millis) = if whole >= 100_000_000_000 {
        (whole / 1000, whole % 1000)
    } else {
        let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
        (whole, padded.parse().ok()?)
    };
    Some(report::moment(seconds)? + Duration::from_millis(u64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_exports_are_read() {
        for (text, expected) in [
            ("1493508840", Some(1_493_508_840_000)),
            ("1493508840.25", Some(1_493_508_840_250)),
            ("1493508840123", Some(1_493_508_840_123)),
            ("2017-04-29T23:34:00Z", Some(1_493_508_840_000)),
            ("2017-04-29T23:34:00+02:00", Some(1_493_501_640_000)),
            ("2017-04-29T23:34:00.123-0500", Some(1_493_526_840_000)),
            ("2017-04-29 23:34", Some(1_493_508_840_000)),
            ("04/29/2017 11:34 PM", Some(1_493_508_840_000)),
            ("29.04.2017", Some(1_493_424_000_000)),
            ("Sat, 29 Apr 2017 23:34:00 +0000", Some(1_493_508_840_000)),
            ("7", None),
            ("never", None),
            ("", None),
        ] {
            let millis = parse(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
            assert_eq!(millis, expected, "{text}");
        }
    }
}
