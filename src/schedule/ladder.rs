//! When to ask again after an attempt that settled nothing, by the reason under which the attempt is reported.
//!
//! Owns the profiles. Must not decide whether a retry can help at all: the reply says that.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use crate::verdict::Reason;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// ETIQUETTE B3: inside spamd's 25 min to 4 h, postgrey's two days and rspamd's one; close to what large senders do.
const POLITE: [u64; 3] = [6 * MINUTE, 31 * MINUTE, 2 * HOUR + 5 * MINUTE];
/// Mailpro's help page: a bad connection is tried again after 7 and 45 minutes.
const MAILPRO_CONNECTION: [u64; 2] = [7 * MINUTE, 45 * MINUTE];
/// HubSpot's help page: "pending" for up to 72 hours.
const PATIENT: [u64; 7] = [
    6 * MINUTE,
    31 * MINUTE,
    2 * HOUR + 5 * MINUTE,
    8 * HOUR,
    24 * HOUR,
    48 * HOUR,
    72 * HOUR,
];
/// A full mailbox is not emptied within minutes.
const PATIENT_FULL: [u64; 3] = [24 * HOUR, 48 * HOUR, 72 * HOUR];

/// No connection, or one that broke.
const CONNECTION: [Reason; 5] = [
    Reason::Unreachable,
    Reason::Timeout,
    Reason::Tarpit,
    Reason::ConnectionLost,
    Reason::ProxyFailed,
];

/// Reasons that another day may change, so that they can have delays of their own.
const MENDING: [Reason; 34] = [
    Reason::Greylisted,
    Reason::RateLimited,
    Reason::MailboxThrottled,
    Reason::MailboxFull,
    Reason::VerificationPending,
    Reason::TooManyConnections,
    Reason::TooManyRecipients,
    Reason::HarvestProtection,
    Reason::ServerTemporary,
    Reason::ServerFull,
    Reason::ServerMisconfigured,
    Reason::RoutingLoop,
    Reason::HostRefused,
    Reason::SenderBlocked,
    Reason::SenderReputation,
    Reason::SenderAuth,
    Reason::SenderDns,
    Reason::SenderRejected,
    Reason::Policy,
    Reason::AmbiguousRefusal,
    Reason::UnclassifiedReply,
    Reason::CatchAllUndetermined,
    Reason::DnsServfail,
    Reason::DnsTimeout,
    Reason::DnsRefused,
    Reason::DnsBogus,
    Reason::DnsLoop,
    Reason::DnsMalformed,
    Reason::MxUnresolvable,
    Reason::Unreachable,
    Reason::Timeout,
    Reason::Tarpit,
    Reason::ConnectionLost,
    Reason::ProxyFailed,
];

/// A named set of delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RetryProfile {
    /// After 6 min, 31 min and 2 h 05.
    #[default]
    Default,
    /// Connection faults after 7 and 45 min, the rest as `default`.
    Mailpro,
    /// As `default`, then after 8, 24, 48 and 72 h; full mailboxes after 24, 48 and 72 h.
    Patient,
}

impl RetryProfile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::Mailpro, Self::Patient];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mailpro => "mailpro",
            Self::Patient => "patient",
        }
    }
}

impl FromStr for RetryProfile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or(UnknownProfile)
    }
}

/// The text names no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retry profiles are `default`, `mailpro` and `patient`")]
pub struct UnknownProfile;

/// Delays counted from the first attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    usual: Vec<Duration>,
    /// An empty list: asking again does not help.
    own: BTreeMap<Reason, Vec<Duration>>,
}

impl Ladder {
    /// The delays of a profile.
    #[must_use]
    pub fn new(profile: RetryProfile) -> Self {
        let usual = match profile {
            RetryProfile::Default | RetryProfile::Mailpro => seconds(&POLITE),
            RetryProfile::Patient => seconds(&PATIENT),
        };
        let mut ladder = Self::from(usual);
        match profile {
            RetryProfile::Default => {}
            RetryProfile::Mailpro => {
                let connection = CONNECTION.map(|reason| (reason, seconds(&MAILPRO_CONNECTION)));
                ladder.own.extend(connection);
            }
            RetryProfile::Patient => {
                ladder.own.insert(Reason::MailboxFull, seconds(&PATIENT_FULL));
            }
        }
        ladder
    }

    /// The same with other delays for one reason; none at all means that it is not asked about again.
    #[must_use]
    pub fn with(mut self, reason: Reason, mut steps: Vec<Duration>) -> Self {
        steps.sort_unstable();
        self.own.insert(reason, steps);
        self
    }

    /// The delays for a reason; `None` where asking again does not help.
    #[must_use]
    pub fn steps(&self, reason: Reason) -> Option<&[Duration]> {
        match self.own.get(&reason) {
            Some(own) if own.is_empty() => None,
            Some(own) => Some(own),
            None => Some(&self.usual),
        }
    }

    /// The reasons that can have delays of their own.
    #[must_use]
    pub fn reasons() -> &'static [Reason] {
        &MENDING
    }
}

/// The same delays for every reason but a full mailbox, which nobody empties while a run waits.
impl From<Vec<Duration>> for Ladder {
    fn from(mut usual: Vec<Duration>) -> Self {
        usual.sort_unstable();
        let own = BTreeMap::from([(Reason::MailboxFull, Vec::new())]);
        Self { usual, own }
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new(RetryProfile::Default)
    }
}

fn seconds(steps: &[u64]) -> Vec<Duration> {
    steps.iter().map(|step| Duration::from_secs(*step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(ladder: &Ladder, reason: Reason) -> Option<Vec<u64>> {
        let steps = ladder.steps(reason)?;
        Some(steps.iter().map(|step| step.as_secs() / MINUTE).collect())
    }

    #[test]
    fn profiles_say_when() {
        let usual = Some(vec![6, 31, 125]);
        let long = Some(vec![6, 31, 125, 480, 1440, 2880, 4320]);
        let days = Some(vec![1440, 2880, 4320]);
        for (profile, reason, expected) in [
            (RetryProfile::Default, Reason::Greylisted, &usual),
            (RetryProfile::Default, Reason::Unreachable, &usual),
            (RetryProfile::Default, Reason::MailboxFull, &None),
            (RetryProfile::Mailpro, Reason::Greylisted, &usual),
            (RetryProfile::Mailpro, Reason::Timeout, &Some(vec![7, 45])),
            (RetryProfile::Mailpro, Reason::MailboxFull, &None),
            (RetryProfile::Patient, Reason::Greylisted, &long),
            (RetryProfile::Patient, Reason::ConnectionLost, &long),
            (RetryProfile::Patient, Reason::MailboxFull, &days),
        ] {
            assert_eq!(
                minutes(&Ladder::new(profile), reason),
                *expected,
                "{profile:?} {reason:?}"
            );
        }
        for profile in RetryProfile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        assert_eq!("hubspot".parse::<RetryProfile>(), Err(UnknownProfile));
    }

    #[test]
    fn one_reason_may_have_its_own_delays_or_none() {
        let step = |minutes| Duration::from_mins(minutes);
        let ladder = Ladder::default()
            .with(Reason::Greylisted, vec![step(30), step(10)])
            .with(Reason::RateLimited, Vec::new());
        assert_eq!(minutes(&ladder, Reason::Greylisted), Some(vec![10, 30]), "in order");
        assert_eq!(minutes(&ladder, Reason::RateLimited), None);
        assert_eq!(minutes(&ladder, Reason::Timeout), Some(vec![6, 31, 125]));
    }

    #[test]
    fn no_reason_is_named_twice_and_connection_faults_are_named() {
        let mut all = MENDING.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MENDING.len());
        assert!(CONNECTION.iter().all(|reason| MENDING.contains(reason)));
    }
}
