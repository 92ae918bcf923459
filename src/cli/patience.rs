//! When to ask again, as it is typed: a profile, and delays for single reasons.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};

use super::{config::nearest, fault::fault, values::Span};
use crate::{
    schedule::{Ladder, RetryProfile},
    verdict::Reason,
};

/// No run and no `retry_at` is planned further ahead.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// More questions than that about one address are not polite.
const MOST: usize = 20;
/// Seconds.
const DAY: u64 = 24 * 3600;

/// How long a run may ask: `2h`, `18:30Z` (the next one) or `2026-11-22T18:30:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Until(pub(super) Duration);

impl FromStr for Until {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::at(text, SystemTime::now())
    }
}

impl Until {
    fn at(text: &str, now: SystemTime) -> Result<Self, &'static str> {
        const USAGE: &str = "write how long (`2h`, `90m`) or until when, in UTC: `18:30Z` or `2026-11-22T18:30:00Z`";
        if let Ok(left) = humantime::parse_duration(text) {
            return Ok(Self(left));
        }
        if let Ok(end) = humantime::parse_rfc3339(text) {
            let left = end.duration_since(now);
            return left.map(Self).map_err(|_| "this time is over");
        }
        let (hours, minutes) = text
            .strip_suffix('Z')
            .and_then(|text| text.split_once(':'))
            .ok_or(USAGE)?;
        let (Ok(hours @ 0..24), Ok(minutes @ 0..60)) = (hours.parse::<u64>(), minutes.parse::<u64>()) else {
            return Err(USAGE);
        };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % DAY;
        Ok(Self(Duration::from_secs(
            (hours * 3600 + minutes * 60 + DAY - since) % DAY,
        )))
    }
}

/// [`RetryProfile`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProfileName {
    /// After 6 min, 31 min and 2 h 05 min.
    Default,
    /// Connection faults after 7 and 45 min, the rest as `default`.
    Mailpro,
    /// As `default`, then after 8, 24, 48 and 72 h; full mailboxes after 24, 48 and 72 h.
    Patient,
}

impl From<ProfileName> for RetryProfile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Default => Self::Default,
            ProfileName::Mailpro => Self::Mailpro,
            ProfileName::Patient => Self::Patient,
        }
    }
}

/// `[retry]` in the file, `greylisted=6m+31m,timeout=7m` on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RetryDelays {
    /// In the file only; it becomes the setting `retry_profile` when the file was read.
    pub(super) profile: Option<ProfileName>,
    own: BTreeMap<Reason, Vec<Span>>,
}

/// The ladder of a run: the profile's, with other usual delays if any, and what single reasons have of their own.
pub(super) fn ladder(
    profile: Option<ProfileName>,
    usual: Option<Vec<Span>>,
    own: Option<RetryDelays>,
) -> anyhow::Result<Ladder> {
    let ladder = match usual {
        Some(usual) => Ladder::from(delays("--retry-ladder", &usual)?),
        None => Ladder::new(profile.map(RetryProfile::from).unwrap_or_default()),
    };
    own.unwrap_or_default()
        .own
        .into_iter()
        .try_fold(ladder, |ladder, (reason, steps)| {
            let steps = delays(&format!("--retry {}", reason.name()), &steps)?;
            Ok(ladder.with(reason, steps))
        })
}

fn delays(option: &str, steps: &[Span]) -> anyhow::Result<Vec<Duration>> {
    if steps.len() > MOST || steps.iter().any(|step| step.duration() > LONGEST) {
        return Err(fault(
            format!("`{option}` asks too often or too late"),
            format!("give at most {MOST} delays, none over 30 days"),
        ));
    }
    Ok(steps.iter().map(|step| step.duration()).collect())
}

/// A key of `[retry]`.
enum Key {
    Profile,
    Reason(Reason),
}

impl FromStr for Key {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == "profile" {
            return Ok(Self::Profile);
        }
        let reasons = Ladder::reasons();
        if let Some(reason) = reasons.iter().find(|reason| reason.name() == name) {
            return Ok(Self::Reason(*reason));
        }
        if name.parse::<Reason>().is_ok() {
            return Err(format!("asking again does not change `{name}`"));
        }
        let names = reasons.iter().map(|reason| reason.name());
        Err(match nearest(&name.replace('-', "_"), names) {
            Some(meant) => format!("no reason is called `{name}`; did you mean `{meant}`?"),
            None => format!("no reason is called `{name}`; `presend reasons` lists them"),
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for RetryDelays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut delays = Self::default();
        for entry in text.split(',') {
            let (name, steps) = entry
                .split_once('=')
                .ok_or("write `REASON=DELAY+DELAY`, such as `greylisted=6m+31m`")?;
            let Key::Reason(reason) = name.trim().parse()? else {
                return Err("`--retry-profile` names the profile".to_owned());
            };
            let steps = steps.split('+').filter(|step| !step.trim().is_empty());
            let steps: Result<Vec<Span>, _> = steps.map(str::parse).collect();
            delays.own.insert(reason, steps.map_err(|error| error.to_string())?);
        }
        Ok(delays)
    }
}

impl Serialize for RetryDelays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.own.iter().map(|(reason, steps)| (reason.name(), steps)))
    }
}

impl<'de> Deserialize<'de> for RetryDelays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = RetryDelays;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of reasons, such as `greylisted = [\"6m\", \"31m\"]`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RetryDelays, A::Error> {
                let mut delays = RetryDelays::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Profile => delays.profile = Some(map.next_value()?),
                        Key::Reason(reason) => {
                            delays.own.insert(reason, map.next_value()?);
                        }
                    }
                }
                Ok(delays)
            }
        }

        deserializer.deserialize_map(Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_as_they_are_typed() {
        let read = |text: &str| {
            text.parse::<RetryDelays>()
                .map(|delays| serde_json::to_string(&delays).unwrap())
        };
        assert_eq!(
            read("greylisted=6m+31m,timeout=7m").as_deref(),
            Ok(r#"{"timeout":["7m"],"greylisted":["6m","31m"]}"#)
        );
        assert_eq!(read("rate_limited=").as_deref(), Ok(r#"{"rate_limited":[]}"#));
        for (text, said) in [
            ("greylisted", "write `REASON=DELAY+DELAY`"),
            ("greylistd=6m", "did you mean `greylisted`?"),
            ("xyzzy=6m", "`presend reasons` lists them"),
            ("no_such_domain=6m", "asking again does not change `no_such_domain`"),
            ("greylisted=soon", "expected number"),
            ("profile=patient", "`--retry-profile` names the profile"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn an_end_is_a_duration_or_a_time() {
        let now = humantime::parse_rfc3339("2026-11-22T18:00:00Z").unwrap();
        let minutes = |text: &str| Until::at(text, now).map(|until| until.0.as_secs() / 60);
        for (text, expected) in [
            ("2h", 120),
            ("18:30Z", 30),
            ("17:59Z", 24 * 60 - 1),
            ("2026-11-22T20:00:00Z", 120),
        ] {
            assert_eq!(minutes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "18:30",
            "24:00Z",
            "18:60Z",
            "-1:00Z",
            "soon",
            "2026-11-22T17:00:00Z",
        ] {
            assert!(minutes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ladder_is_bounded() {
        let span = |text: &str| text.parse::<Span>().unwrap();
        assert!(ladder(None, Some(vec![span("31days")]), None).is_err());
        assert!(ladder(None, Some(vec![span("1m"); 21]), None).is_err());
        let own = "greylisted=99999days".parse().ok();
        assert!(ladder(None, None, own).is_err());
    }
}
