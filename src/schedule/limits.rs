//! How much may be asked of one mail-host group. Defaults and their sources: DESIGN section 7, ETIQUETTE B5.

use std::time::Duration;

use super::guard::GuardLimits;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The budget of a mail-host group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Gmail and Microsoft take 5 from a sender; an unknown host gets 1.
    pub connections: u32,
    /// Recipients in one session, the control recipient included. Cisco's default is 10 messages a connection.
    pub recipients_per_session: u32,
    /// Recipients in one transaction.
    pub recipients_per_transaction: u32,
    /// Refused recipients after which the session ends. MDaemon bans at 3, cPanel above 4.
    pub refusals_per_session: u32,
    /// Refused recipients a minute. Forcepoint blocks when half of more than 5 recipients are refused: of three refusals in six
    /// answers we would learn too late.
    pub refusals_per_minute: u32,
    /// Refused recipients an hour. Cisco's harvest prevention starts at 25.
    pub refusals_per_hour: u32,
    /// Of the last 20 answers, this share in percent may be refusals before the group pauses. Forcepoint blocks at 50.
    pub refused_percent: u32,
    /// How long the group pauses then.
    pub refused_pause: Duration,
    /// Between two recipients.
    pub gap: Duration,
    /// Between two connections.
    pub reconnect: Duration,
    /// RSETs in one session. Exim drops a connection after 10 commands that are not mail.
    pub resets: u32,
    /// How long the breaker stays open after a block, a 421 or a harvest reply.
    pub breaker: Duration,
    /// Trips after which the group is left alone for a day.
    pub trips: u32,
    /// Accepted recipients after which a domain's control recipient is asked again (Cisco's work-queue mode turns from
    /// refusing to accepting everything). After the last one it is asked in any case.
    pub recheck_accepts: u32,
    /// When what is asked at one domain looks like guesses.
    pub guard: GuardLimits,
    /// Say whole transactions in one write where the host offers PIPELINING.
    pub pipelining: bool,
}

impl Limits {
    /// For hosts that are not ours.
    pub const POLITE: Self = Self {
        connections: 1,
        recipients_per_session: 10,
        recipients_per_transaction: 10,
        refusals_per_session: 2,
        refusals_per_minute: 2,
        refusals_per_hour: 20,
        refused_percent: 40,
        refused_pause: Duration::from_mins(5),
        gap: Duration::from_secs(1),
        reconnect: Duration::from_secs(30),
        resets: 8,
        breaker: Duration::from_mins(90),
        trips: 3,
        recheck_accepts: 50,
        guard: GuardLimits::DEFAULT,
        pipelining: false,
    };

    /// For a few addresses asked by hand: as polite, but a second session (after a lost connection, or for a control recipient
    /// that needs its own) does not keep a person waiting for half a minute.
    pub const INTERACTIVE: Self = Self {
        reconnect: Duration::from_secs(2),
        ..Self::POLITE
    };

    /// For hosts that the operator names as his own: no budget, pipelined.
    pub const TRUSTED: Self = Self {
        connections: 2,
        recipients_per_session: 1000,
        recipients_per_transaction: 1000,
        refusals_per_session: u32::MAX,
        refusals_per_minute: u32::MAX,
        refusals_per_hour: u32::MAX,
        refused_percent: 100,
        refused_pause: Duration::ZERO,
        gap: Duration::ZERO,
        reconnect: Duration::ZERO,
        resets: u32::MAX,
        breaker: MINUTE,
        trips: 3,
        recheck_accepts: 1000,
        guard: GuardLimits::DEFAULT,
        pipelining: true,
    };

    /// The windows in which refusals are counted, longest first.
    pub(super) fn refusal_windows(&self) -> [(Duration, u32); 2] {
        [(HOUR, self.refusals_per_hour), (MINUTE, self.refusals_per_minute)]
    }
}

/// Hosts that the operator names as his own (`--trusted-host`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedHosts(Vec<Box<str>>);

impl TrustedHosts {
    /// From names, any case: `mx1.example.com` is that host and the hosts below it, so `example.com` (or `.example.com`) is
    /// every host of that domain.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let name = |name: &str| name.trim_matches('.').to_ascii_lowercase().into();
        Self(names.into_iter().map(|typed| name(typed.as_ref())).collect())
    }

    /// Whether `host` (lower-case) is one of them.
    #[must_use]
    pub fn contain(&self, host: &str) -> bool {
        let below = |name: &str| {
            host.strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.0.iter().any(|name| !name.is_empty() && below(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_names_and_suffixes() {
        let trusted = TrustedHosts::new(["MX1.example.com.", ".example.org"]);
        assert!(trusted.contain("mx1.example.com"));
        assert!(trusted.contain("mx.example.org") && trusted.contain("example.org"));
        for other in ["mx2.example.com", "evilexample.org", "mx1.example.com.evil.net"] {
            assert!(!trusted.contain(other), "{other}");
        }
    }
}
