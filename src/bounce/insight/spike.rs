//! Days on which clearly more bounced than before, and why that may be.
//!
//! The median of the days before and their median absolute deviation: one earlier spike moves neither. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Counts, NAMELESS, OTHERS};
use crate::replies::Class;

/// Days before that a day is compared with.
pub(super) const BASELINE: u64 = 28;
/// So many days of the baseline must have had mail.
const LEAST_DAYS: usize = 5;
/// So many bounces at least: a handful is nobody's spike.
const LEAST_BOUNCES: u64 = 10;
/// Deviations above the median; 3.5 is the usual limit (Iglewicz and Hoaglin, 1993).
const LIMIT: f64 = 3.5;
/// The median absolute deviation of a normal distribution is so much smaller than its standard deviation.
const NORMAL: f64 = 1.4826;
/// A part of this size explains a spike.
const MOST: f64 = 0.5;

/// Why so much bounced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// SPF, DKIM or DMARC failed.
    Authentication,
    /// One provider refuses us.
    ProviderBlocks {
        /// Which.
        provider: String,
    },
    /// Several providers refuse us.
    Blocked,
    /// The content was refused.
    Content,
    /// One list brought recipients who do not exist.
    BadImport {
        /// Which.
        list: String,
    },
    /// Recipients who do not exist, of no list in particular.
    DeadAddresses,
    /// One provider has trouble of its own.
    ProviderTrouble {
        /// Which.
        provider: String,
    },
    /// Nothing stands out.
    Mixed,
}

impl Cause {
    /// What may have happened and what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Authentication => {
                "authentication failed: check SPF, DKIM and DMARC of your domain, and what changed that day".into()
            }
            Self::ProviderBlocks { provider } => {
                format!("{provider} is blocking us: stop mailing there, read its replies, and come back slowly")
            }
            Self::Blocked => {
                "several providers block us: look at blocklists for your addresses (`presend doctor`)".into()
            }
            Self::Content => {
                "the message was refused as spam or for its content: change it before the next mailing".into()
            }
            Self::BadImport { list } => {
                format!("a bad import: most are unknown recipients of list {list}; verify it before mailing it again")
            }
            Self::DeadAddresses => {
                "many unknown recipients: an old or bought list; verify it before mailing it again".into()
            }
            Self::ProviderTrouble { provider } => format!("{provider} has trouble of its own: wait, and mail again"),
            Self::Mixed => "no single cause stands out".into(),
        }
    }
}

/// A day that stands out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spike {
    /// The day.
    pub day: String,
    /// Of all mail, or of one provider.
    pub of: String,
    /// Bounces that day.
    pub bounced: u64,
    /// So many would have been usual.
    pub usual: f64,
    /// Deviations above the usual.
    pub score: f64,
    /// Why.
    pub cause: Cause,
    /// The same in words.
    pub likely: String,
}

/// What bounced on one day.
#[derive(Debug, Clone, Default)]
pub(super) struct Composition {
    pub(super) counts: Counts,
    pub(super) classes: BTreeMap<Class, u64>,
    pub(super) providers: BTreeMap<Box<str>, u64>,
    pub(super) lists: BTreeMap<Box<str>, u64>,
    /// By provider and class group: who refuses us.
    pub(super) blocking: BTreeMap<Box<str>, u64>,
    /// By list: recipients who do not exist.
    pub(super) dead: BTreeMap<Box<str>, u64>,
}

impl Composition {
    /// What bounced or waits; of a day on which a provider has trouble most waits.
    fn troubled(&self) -> u64 {
        self.counts.bounced() + self.counts.pending
    }
}

pub(super) fn is_blocking(class: Class) -> bool {
    matches!(
        class,
        Class::IpBlocklisted
            | Class::IpReputation
            | Class::DomainReputation
            | Class::HarvestProtection
            | Class::SenderDns
            | Class::SenderRejected
            | Class::Policy
            | Class::AuthOrTlsRequired
            | Class::RateLimited
            | Class::TooManyConnections
    )
}

fn is_trouble(class: Class) -> bool {
    matches!(
        class,
        Class::ServerTemporary
            | Class::ServerFull
            | Class::ServerMisconfigured
            | Class::RoutingLoop
            | Class::ProtocolError
            | Class::Network
            | Class::Timeout
            | Class::DnsTemporary
            | Class::QueueExpired
            | Class::Greylisted
            | Class::RecipientThrottled
    )
}

pub(super) fn is_death(class: Class) -> bool {
    matches!(
        class,
        Class::UserUnknown
            | Class::UserDisabled
            | Class::UserMoved
            | Class::DomainNotFound
            | Class::DomainNoMail
            | Class::BadAddressSyntax
    )
}

/// The days from `first` on that stand out; `days` begins with their baseline.
pub(super) fn spikes(days: &BTreeMap<u64, Composition>, first: u64, of: &str) -> Vec<Spike> {
    let mut found = Vec::new();
    for (day, today) in days.range(first..) {
        let before: Vec<&Composition> = days
            .range(day.saturating_sub(BASELINE)..*day)
            .map(|(_, day)| day)
            .collect();
        if let Some((usual, score)) = unusual(today, &before) {
            let cause = cause(today);
            found.push(Spike {
                day: super::day(*day),
                of: of.to_owned(),
                bounced: today.troubled(),
                usual,
                score,
                likely: cause.sentence(),
                cause,
            });
        }
    }
    found
}

/// What would have been usual and how many deviations the day is above it, if that is too many.
#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
fn unusual(today: &Composition, before: &[&Composition]) -> Option<(f64, f64)> {
    let sent = |day: &Composition| day.counts.ended() + day.counts.pending;
    let mailed: Vec<&&Composition> = before.iter().filter(|day| sent(day) > 0).collect();
    if mailed.len() < LEAST_DAYS || today.troubled() < LEAST_BOUNCES {
        return None;
    }
    // Where deliveries are told a day with more mail may have more bounces.
    let told =
        today.counts.delivered > 0 && mailed.iter().filter(|day| day.counts.delivered > 0).count() * 2 > mailed.len();
    let size = if told { sent(today) as f64 } else { 1.0 };
    let value = |day: &Composition| {
        let troubled = day.troubled() as f64;
        if told {
            troubled / sent(day).max(1) as f64 * size
        } else {
            troubled
        }
    };
    let mut values: Vec<f64> = mailed.iter().map(|day| value(day)).collect();
    let usual = median(&mut values)?;
    let mut deviations: Vec<f64> = values.iter().map(|value| (value - usual).abs()).collect();
    // Days that are all alike have no deviation; counts have at least that of chance.
    let chance = usual.max(1.0).sqrt();
    let scale = (median(&mut deviations)? * NORMAL).max(chance);
    let now = today.troubled() as f64;
    let score = (now - usual) / scale;
    (score > LIMIT && now > usual * 1.5).then_some((usual, score))
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values
        .get(middle.checked_sub(1)?)
        .map(|lower| f64::midpoint(*lower, upper))
}

/// What most of a day's bounces have in common.
#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
fn cause(today: &Composition) -> Cause {
    let all = today.troubled().max(1) as f64;
    let share = |wanted: fn(Class) -> bool| {
        let found: u64 = today
            .classes
            .iter()
            .filter(|(class, _)| wanted(**class))
            .map(|(_, count)| count)
            .sum();
        found as f64 / all
    };
    let most = |of: &BTreeMap<Box<str>, u64>| {
        let whole: u64 = of.values().sum();
        let (name, count) = of.iter().max_by_key(|(_, count)| **count)?;
        let named = ![OTHERS, NAMELESS].contains(&&**name);
        (named && *count as f64 > whole as f64 * MOST).then(|| name.to_string())
    };
    if share(|class| class == Class::SenderAuth) > MOST {
        return Cause::Authentication;
    }
    if share(is_blocking) > MOST {
        return most(&today.blocking).map_or(Cause::Blocked, |provider| Cause::ProviderBlocks { provider });
    }
    if share(|class| {
        matches!(
            class,
            Class::SpamContent | Class::ContentRejected | Class::MessageTooBig
        )
    }) > MOST
    {
        return Cause::Content;
    }
    if share(is_death) > MOST {
        return most(&today.dead).map_or(Cause::DeadAddresses, |list| Cause::BadImport { list });
    }
    if share(is_trouble) > MOST {
        return most(&today.providers).map_or(Cause::Mixed, |provider| Cause::ProviderTrouble { provider });
    }
    Cause::Mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composition(delivered: u64, bounces: &[(Class, &str, &str, u64)]) -> Composition {
        let mut day = Composition::default();
        day.counts.delivered = delivered;
        for (class, provider, list, count) in bounces {
            day.counts.soft += count;
            *day.classes.entry(*class).or_default() += count;
            *day.providers.entry((*provider).into()).or_default() += count;
            *day.lists.entry((*list).into()).or_default() += count;
            if is_blocking(*class) {
                *day.blocking.entry((*provider).into()).or_default() += count;
            }
            if is_death(*class) {
                *day.dead.entry((*list).into()).or_default() += count;
            }
        }
        day
    }

    fn usual(delivered: u64, bounces: u64) -> Composition {
        composition(delivered, &[(Class::UserUnknown, "google", "news", bounces)])
    }

    fn found(before: &[Composition], today: &Composition) -> Vec<Spike> {
        let days = before
            .iter()
            .chain([today])
            .cloned()
            .zip(100..)
            .map(|(day, at)| (at, day));
        spikes(&days.collect(), 100 + before.len() as u64, "all")
    }

    #[test]
    fn a_day_is_compared_with_those_before() {
        let calm: Vec<_> = (0..14).map(|day| usual(1000, 8 + day % 3)).collect();
        let mut with_an_old_spike = calm.clone();
        with_an_old_spike[3] = usual(1000, 400);
        let no_deliveries: Vec<_> = (0..14).map(|day| usual(0, 8 + day % 3)).collect();
        for (before, today, spikes, why) in [
            (&calm, usual(1000, 12), 0, "within chance"),
            (&calm, usual(1000, 60), 1, "clearly more"),
            (&calm, usual(10_000, 100), 0, "more mail, not more of it"),
            (&calm, usual(10_000, 300), 1, "more mail and more of it"),
            (&with_an_old_spike, usual(1000, 60), 1, "an old spike hides no new one"),
            (&no_deliveries, usual(0, 60), 1, "deliveries are not told"),
            (
                &no_deliveries,
                usual(0, 11),
                0,
                "deliveries are not told, and little bounced",
            ),
            (&calm[..4].to_vec(), usual(1000, 60), 0, "too few days to compare with"),
        ] {
            assert_eq!(found(before, &today).len(), spikes, "{why}");
        }
        let quiet: Vec<_> = (0..14).map(|_| usual(1000, 0)).collect();
        assert_eq!(found(&quiet, &usual(1000, 9)).len(), 0, "a handful");
        assert_eq!(found(&quiet, &usual(1000, 10)).len(), 1);
    }

    #[test]
    fn a_spike_has_a_likely_cause() {
        let calm: Vec<_> = (0..14).map(|_| usual(1000, 5)).collect();
        for (bounces, expected) in [
            (
                vec![
                    (Class::SenderAuth, "google", "news", 60),
                    (Class::SenderAuth, "microsoft", "news", 30),
                ],
                Cause::Authentication,
            ),
            (
                vec![
                    (Class::IpReputation, "microsoft", "news", 80),
                    (Class::UserUnknown, "google", "news", 10),
                ],
                Cause::ProviderBlocks {
                    provider: "microsoft".into(),
                },
            ),
            (
                vec![
                    (Class::IpBlocklisted, "microsoft", "news", 40),
                    (Class::IpBlocklisted, "google", "news", 40),
                ],
                Cause::Blocked,
            ),
            (vec![(Class::SpamContent, "google", "news", 80)], Cause::Content),
            (
                vec![
                    (Class::UserUnknown, "google", "fair", 70),
                    (Class::UserUnknown, "google", "news", 20),
                ],
                Cause::BadImport { list: "fair".into() },
            ),
            (vec![(Class::UserUnknown, "google", NAMELESS, 70)], Cause::DeadAddresses),
            (
                vec![(Class::ServerTemporary, "yahoo", "news", 70)],
                Cause::ProviderTrouble {
                    provider: "yahoo".into(),
                },
            ),
            (
                vec![
                    (Class::MailboxFull, "a", "x", 30),
                    (Class::UserUnknown, "b", "y", 30),
                    (Class::Policy, "c", "z", 30),
                ],
                Cause::Mixed,
            ),
        ] {
            let spikes = found(&calm, &composition(1000, &bounces));
            assert_eq!(spikes.len(), 1, "{bounces:?}");
            assert_eq!(spikes[0].cause, expected, "{bounces:?}");
        }
    }
}
