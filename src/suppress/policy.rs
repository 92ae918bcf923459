//! The bounce policy as data: how many failures of which kind, over how long, end an address's place in mailings.
//!
//! Owns the profiles and what each class counts as. Must not look at events; see [`super::decide`].

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::replies::{Class, Hardness, Persistence};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What a bounce of a class counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// The address is dead.
    Hard,
    /// One failure of several that are needed.
    Soft,
    /// The mailbox is full: the same with numbers of its own.
    Full,
    /// It may pass: counts as soft when nothing else was heard for some time.
    Wait,
    /// It is about us: never counts against the address, and is reported to the sender.
    Alert,
    /// Nothing follows.
    Ignore,
}

/// How far a suppression that bounces cause reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every list of whoever was told: a dead mailbox is dead for all.
    #[default]
    AllLists,
    /// The list that bounced; [`BouncePolicy::elsewhere`] says when that becomes all.
    OneList,
}

/// Unknown-user bounces in so many separate lists or tenants suppress everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Lists, or tenants.
    pub lists: usize,
    /// Within this time.
    pub within: Duration,
}

/// Unknown users at one mail host, so many within so short a time that the host may be at fault: they wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// So many recipients.
    pub count: usize,
    /// Within this time.
    pub within: Duration,
    /// Such a share of them, in percent, was alive shortly before: took mail, or was found by a probe.
    pub alive_percent: usize,
    /// Or there are so many times more of them than on any day of the four weeks before.
    pub factor: usize,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            count: 50,
            within: HOUR,
            alive_percent: 20,
            factor: 10,
        }
    }
}

/// When failures suppress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BouncePolicy {
    /// Its name: that of the profile, with `+` if something was changed.
    pub name: String,
    /// So many hard bounces suppress: one, or two.
    pub hard_count: usize,
    /// So many soft ones in a row.
    pub soft_count: usize,
    /// And over so long at least.
    pub soft_span: Duration,
    /// So many times in a row that the mailbox was full.
    pub full_count: usize,
    /// And over so long at least.
    pub full_span: Duration,
    /// A transient refusal that says that there is no such mailbox suppresses at its second time, so much later.
    pub denied_span: Duration,
    /// What is pending, or about DNS, counts as soft after so long without any other word.
    pub wait: Duration,
    /// A gap of so long ends a row of failures.
    pub gap: Duration,
    /// How far it reaches.
    pub reach: Reach,
    /// Suppress everywhere for what happened in several lists.
    pub elsewhere: Option<Elsewhere>,
    /// Hold what looks like the fault of a mail host.
    pub outage: Option<Outage>,
    /// Decisions of low confidence wait for a person.
    pub review: bool,
    /// Events are forgotten after so long, but for those about whoever is suppressed.
    pub keep: Duration,
    /// What the operator sees otherwise.
    pub classes: BTreeMap<Class, Treatment>,
}

impl Default for BouncePolicy {
    fn default() -> Self {
        Self {
            name: "default".into(),
            hard_count: 1,
            soft_count: 4,
            soft_span: 14 * DAY,
            full_count: 4,
            full_span: 14 * DAY,
            denied_span: DAY,
            wait: 72 * HOUR,
            gap: 180 * DAY,
            reach: Reach::AllLists,
            elsewhere: None,
            outage: Some(Outage::default()),
            review: true,
            keep: 730 * DAY,
            classes: BTreeMap::new(),
        }
    }
}

/// A `[bounce_policy]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No such profile.
    #[error("`profile = \"{0}\"` is not known: say `default`, `hubspot` or `strict`")]
    Profile(String),
    /// A number that makes no sense.
    #[error("`{key} = {value}` does not work: from {least} to {most}")]
    Number {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: u32,
        /// At least.
        least: u32,
        /// At most.
        most: u32,
    },
    /// The two parts of the rule about several lists belong together.
    #[error("`elsewhere_days` needs `elsewhere_lists`")]
    Elsewhere,
}

/// `[bounce_policy]` as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    profile: Option<String>,
    hard_count: Option<u32>,
    soft_count: Option<u32>,
    soft_days: Option<u32>,
    full_count: Option<u32>,
    full_days: Option<u32>,
    denied_hours: Option<u32>,
    wait_hours: Option<u32>,
    gap_days: Option<u32>,
    reach: Option<Reach>,
    elsewhere_lists: Option<u32>,
    elsewhere_days: Option<u32>,
    outage_count: Option<u32>,
    outage_minutes: Option<u32>,
    outage_alive_percent: Option<u32>,
    outage_factor: Option<u32>,
    review: Option<bool>,
    keep_days: Option<u32>,
    #[serde(default)]
    classes: BTreeMap<Class, Treatment>,
}

impl BouncePolicy {
    /// Every profile.
    pub const PROFILES: [&str; 3] = ["default", "hubspot", "strict"];

    /// A profile by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn profile(name: &str) -> Result<Self, PolicyError> {
        let elsewhere = Some(Elsewhere {
            lists: 3,
            within: 60 * DAY,
        });
        let policy = match name {
            "default" => Self::default(),
            // Bounces count for the portal that sent; unknown users in three portals within 60 days count for all.
            "hubspot" => Self {
                reach: Reach::OneList,
                elsewhere,
                ..Self::default()
            },
            "strict" => Self {
                soft_count: 3,
                full_count: 3,
                elsewhere,
                ..Self::default()
            },
            _ => return Err(PolicyError::Profile(name.into())),
        };
        Ok(Self {
            name: name.into(),
            ..policy
        })
    }

    /// The policy that a table describes.
    ///
    /// # Errors
    /// A key has a value that makes no sense.
    pub fn of_table(table: &PolicyTable) -> Result<Self, PolicyError> {
        let profile = Self::profile(table.profile.as_deref().unwrap_or("default"))?;
        let mut policy = profile.clone();
        let count = |key, value: Option<u32>, kept: &mut usize, most| {
            let Some(value) = value else { return Ok(()) };
            *kept = number(key, value, (1, most))? as usize;
            Ok(())
        };
        count("hard_count", table.hard_count, &mut policy.hard_count, 2)?;
        count("soft_count", table.soft_count, &mut policy.soft_count, 100)?;
        count("full_count", table.full_count, &mut policy.full_count, 100)?;
        let span = |key, value: Option<u32>, unit: Duration, kept: &mut Duration| {
            let Some(value) = value else { return Ok(()) };
            *kept = unit * number(key, value, (0, 3650))?;
            Ok(())
        };
        span("soft_days", table.soft_days, DAY, &mut policy.soft_span)?;
        span("full_days", table.full_days, DAY, &mut policy.full_span)?;
        span("denied_hours", table.denied_hours, HOUR, &mut policy.denied_span)?;
        span("wait_hours", table.wait_hours, HOUR, &mut policy.wait)?;
        span("gap_days", table.gap_days, DAY, &mut policy.gap)?;
        policy.reach = table.reach.unwrap_or(policy.reach);
        policy.review = table.review.unwrap_or(policy.review);
        policy.elsewhere = match (table.elsewhere_lists, table.elsewhere_days) {
            (None, None) => policy.elsewhere,
            (Some(0), _) => None,
            (Some(lists), days) => Some(Elsewhere {
                lists: number("elsewhere_lists", lists, (2, 1000))? as usize,
                within: DAY * number("elsewhere_days", days.unwrap_or(60), (1, 3650))?,
            }),
            (None, Some(_)) => return Err(PolicyError::Elsewhere),
        };
        if let Some(days) = table.keep_days {
            // What is forgotten sooner than a rule asks for would make the rule never apply.
            let asked = policy
                .soft_span
                .max(policy.full_span)
                .max(policy.elsewhere.map_or(DAY, |rule| rule.within));
            let least = u32::try_from(asked.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
            policy.keep = DAY * number("keep_days", days, (least.max(1), 36_500))?;
        }
        policy.outage = table.outage(policy.outage.unwrap_or_default())?;
        policy.classes.clone_from(&table.classes);
        if policy != profile {
            policy.name.push('+');
        }
        Ok(policy)
    }

    /// What a bounce of this class counts as. A transient one is never hard, whoever says so.
    #[must_use]
    pub fn treatment(&self, class: Class, persistence: Persistence) -> Treatment {
        let treatment = self.classes.get(&class).copied();
        match (treatment.unwrap_or_else(|| by_default(class, persistence)), persistence) {
            (Treatment::Hard, Persistence::Transient) => Treatment::Soft,
            (treatment, _) => treatment,
        }
    }
}

impl PolicyTable {
    /// The default policy, with every key that has a default.
    #[must_use]
    pub fn written_out() -> Self {
        let policy = BouncePolicy::default();
        let count = |count: usize| u32::try_from(count).ok();
        let of = |span: Duration, unit: Duration| u32::try_from(span.as_secs() / unit.as_secs()).ok();
        let outage = policy.outage.unwrap_or_default();
        Self {
            profile: Some(policy.name),
            hard_count: count(policy.hard_count),
            soft_count: count(policy.soft_count),
            soft_days: of(policy.soft_span, DAY),
            full_count: count(policy.full_count),
            full_days: of(policy.full_span, DAY),
            denied_hours: of(policy.denied_span, HOUR),
            wait_hours: of(policy.wait, HOUR),
            gap_days: of(policy.gap, DAY),
            reach: Some(policy.reach),
            elsewhere_lists: Some(0),
            elsewhere_days: Some(60),
            outage_count: count(outage.count),
            outage_minutes: of(outage.within, HOUR / 60),
            outage_alive_percent: count(outage.alive_percent),
            outage_factor: count(outage.factor),
            review: Some(policy.review),
            keep_days: of(policy.keep, DAY),
            classes: policy.classes,
        }
    }

    /// What a key says, in a sentence; empty for a key that is not one.
    #[must_use]
    pub fn help(key: &str) -> &'static str {
        match key {
            "profile" => "What the other keys change: `default`, `hubspot` or `strict`",
            "hard_count" => "Hard bounces that suppress: 1, or 2",
            "soft_count" => {
                "Soft bounces in a row that suppress, with no delivery and no probe that found the mailbox between"
            }
            "soft_days" => "From the first of them to the last at least so many days",
            "full_count" => "The same when the mailbox was full",
            "full_days" => "And over so many days",
            "denied_hours" => "A 4xx that says `no such user` suppresses at its second time, so many hours later",
            "wait_hours" => "What is pending, or about DNS, counts as soft after so many hours without another word",
            "gap_days" => "A longer gap ends a row",
            "reach" => "How far a bounce reaches: `all_lists`, or `one_list`, the one that bounced",
            "elsewhere_lists" => {
                "Unknown users of so many separate lists or tenants are suppressed everywhere; 0 is never"
            }
            "elsewhere_days" => "Within so many days",
            "outage_count" => {
                "So many unknown users at one mail host within `outage_minutes` may be the host's fault and wait for a person, \
                 if they were alive shortly before or the host was quiet; 0 is never"
            }
            "outage_minutes" => "Within so many minutes",
            "outage_alive_percent" => "Such a share of them took mail, or was found by a probe, within 90 days before",
            "outage_factor" => "Or there are so many times more of them than on the worst day of four weeks",
            "review" => "Decisions of low confidence wait for a person",
            "keep_days" => "Events are forgotten after so many days, but for those of whoever is suppressed",
            "classes" => {
                "What a bounce of a class of `presend reasons` counts as: hard, soft, full, wait, alert, ignore"
            }
            _ => "",
        }
    }

    /// The rule about waves, where the profile says `known`.
    fn outage(&self, known: Outage) -> Result<Option<Outage>, PolicyError> {
        let mut rule = known;
        if self.outage_count == Some(0) {
            return Ok(None);
        }
        if let Some(count) = self.outage_count {
            rule.count = number("outage_count", count, (2, 1_000_000))? as usize;
        }
        if let Some(minutes) = self.outage_minutes {
            rule.within = Duration::from_mins(number("outage_minutes", minutes, (1, 1440))?.into());
        }
        if let Some(percent) = self.outage_alive_percent {
            rule.alive_percent = number("outage_alive_percent", percent, (1, 100))? as usize;
        }
        if let Some(factor) = self.outage_factor {
            rule.factor = number("outage_factor", factor, (2, 1_000))? as usize;
        }
        Ok(Some(rule))
    }
}

fn number(key: &'static str, value: u32, (least, most): (u32, u32)) -> Result<u32, PolicyError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(PolicyError::Number {
        key,
        value,
        least,
        most,
    })
}

fn by_default(class: Class, persistence: Persistence) -> Treatment {
    let said_about_us = matches!(
        class,
        Class::IpBlocklisted
            | Class::IpReputation
            | Class::DomainReputation
            | Class::HarvestProtection
            | Class::SenderAuth
            | Class::SenderDns
            | Class::SenderRejected
            | Class::Policy
            | Class::AuthOrTlsRequired
            | Class::SpamContent
            | Class::ContentRejected
            | Class::MessageTooBig
    );
    if said_about_us {
        return Treatment::Alert;
    }
    // Said for now, it is still said about the mailbox.
    let of_mailbox = matches!(class, Class::UserUnknown | Class::UserDisabled | Class::UserMoved);
    if of_mailbox && persistence == Persistence::Transient {
        return Treatment::Soft;
    }
    // A name server that fails tells every sender that the domain is gone.
    if matches!(class, Class::DomainNotFound | Class::DnsTemporary) {
        return Treatment::Wait;
    }
    match class.hardness(persistence) {
        Hardness::Hard => Treatment::Hard,
        Hardness::Soft if class == Class::MailboxFull => Treatment::Full,
        Hardness::Soft => Treatment::Soft,
        Hardness::Pending => Treatment::Wait,
        Hardness::None => Treatment::Ignore,
    }
}

/// A class whose bounces say too little to suppress somebody without a person having looked.
#[must_use]
pub fn is_unsure(class: Class) -> bool {
    matches!(
        class,
        Class::Unknown | Class::AmbiguousDenied | Class::Filtered | Class::RecipientRestricted | Class::RelayDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_us_never_counts_against_an_address() {
        for profile in BouncePolicy::PROFILES {
            let policy = BouncePolicy::profile(profile).unwrap();
            for class in [
                Class::Policy,
                Class::IpBlocklisted,
                Class::IpReputation,
                Class::DomainReputation,
                Class::SpamContent,
                Class::ContentRejected,
                Class::SenderAuth,
            ] {
                for persistence in [Persistence::Transient, Persistence::Permanent] {
                    assert_eq!(policy.treatment(class, persistence), Treatment::Alert, "{class:?}");
                }
            }
        }
    }

    #[test]
    fn a_transient_bounce_is_never_hard() {
        let classes = Class::ALL.iter().map(|class| (*class, Treatment::Hard)).collect();
        for policy in [
            BouncePolicy::default(),
            BouncePolicy {
                classes,
                ..BouncePolicy::default()
            },
        ] {
            for class in Class::ALL {
                assert_ne!(
                    policy.treatment(*class, Persistence::Transient),
                    Treatment::Hard,
                    "{class:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_written_out_is_the_default() {
        let table = PolicyTable::written_out();
        assert_eq!(BouncePolicy::of_table(&table).unwrap(), BouncePolicy::default());
        let keys = serde_json::to_value(&table).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            assert!(!value.is_null() && !PolicyTable::help(key).is_empty(), "{key}");
        }
    }

    #[test]
    fn a_table_changes_a_profile_and_says_so() {
        let read = |text: &str| BouncePolicy::of_table(&toml::from_str(text).unwrap());
        assert_eq!(read("").unwrap(), BouncePolicy::default());
        assert_eq!(read("profile = 'strict'").unwrap().soft_count, 3);
        let changed = read(
            "profile = 'hubspot'\nhard_count = 2\nsoft_days = 28\nelsewhere_lists = 0\n[classes]\ndomain_not_found = 'hard'",
        )
        .unwrap();
        assert_eq!(changed.name, "hubspot+");
        assert_eq!(
            (changed.hard_count, changed.soft_span, changed.elsewhere),
            (2, 28 * DAY, None)
        );
        assert_eq!(
            changed.treatment(Class::DomainNotFound, Persistence::Permanent),
            Treatment::Hard
        );
        assert_eq!(read("outage_count = 0").unwrap().outage, None);
        let outage = read("outage_count = 500\noutage_minutes = 30").unwrap().outage.unwrap();
        assert_eq!((outage.count, outage.within), (500, HOUR / 2));
        for (text, said) in [
            ("profile = 'mine'", "say `default`, `hubspot` or `strict`"),
            ("hard_count = 3", "`hard_count = 3` does not work: from 1 to 2"),
            ("soft_count = 0", "from 1 to 100"),
            ("elsewhere_days = 3", "needs `elsewhere_lists`"),
            (
                "outage_count = 1",
                "`outage_count = 1` does not work: from 2 to 1000000",
            ),
            ("outage_minutes = 0", "from 1 to 1440"),
            ("outage_alive_percent = 101", "from 1 to 100"),
            ("outage_factor = 1", "from 2 to 1000"),
            ("keep_days = 13", "`keep_days = 13` does not work: from 14 to 36500"),
            ("keep_days = 30\nelsewhere_lists = 3", "from 60 to 36500"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(toml::from_str::<PolicyTable>("softcount = 1").is_err());
    }
}
