//! Keys: what a caller shows, what is kept of it, and what it may do.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What every key begins with, so that people and scanners know it when they see it.
const PREFIX: &str = "presend";
/// Letters and digits, none of which looks like another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of the part that is no secret.
const ID: usize = 10;
/// Characters of the secret, five bits each.
const SECRET: usize = 40;

/// A key as it is shown, once.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    secret: String,
}

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        let mut bytes = [0; ID + SECRET];
        OsRng.try_fill_bytes(&mut bytes)?;
        let letters = bytes
            .iter()
            .map(|byte| char::from(ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'a')));
        let mut text: String = letters.collect();
        let secret = text.split_off(ID);
        Ok(Self { id: text, secret })
    }

    /// The part that is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of the secret. It is random, so that a plain hash cannot be guessed back.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Whether the secret is the one that was hashed; takes as long for every wrong one.
    #[must_use]
    pub fn matches(&self, hash: &[u8; 32]) -> bool {
        self.hash().ct_eq(hash).into()
    }

    /// The whole key, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_...", self.id)
    }
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of presend")]
pub struct NotAKey;

impl FromStr for ApiKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.split('_');
        let (Some(PREFIX), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAKey);
        };
        let ours = |part: &str, length| part.len() == length && part.bytes().all(|byte| ALPHABET.contains(&byte));
        if ours(id, ID) && ours(secret, SECRET) {
            Ok(Self {
                id: id.to_owned(),
                secret: secret.to_owned(),
            })
        } else {
            Err(NotAKey)
        }
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scope {
    /// Ask about addresses.
    Verify,
    /// Work with lists.
    Jobs,
    /// Report what happened to mail, and keep suppressions.
    Events,
    /// See numbers about all callers.
    Admin,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Verify, Self::Jobs, Self::Events, Self::Admin];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Jobs => "jobs",
            Self::Events => "events",
            Self::Admin => "admin",
        }
    }

    /// The scopes of a kept text; names that are not known give nothing.
    pub(super) fn parse_all(text: &str) -> Vec<Self> {
        let known = |name: &str| Self::ALL.into_iter().find(|scope| scope.name() == name);
        text.split(',').filter_map(known).collect()
    }
}

/// So many in such a time: `10/s`, `10000/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub count: NonZeroU32,
    /// Within.
    pub period: Duration,
}

/// The units in which people count.
const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400)];

impl Allowance {
    /// As a limiter's quota: all at once, then one by one as time goes by.
    pub(super) fn quota(self) -> governor::Quota {
        // A period of at least a second, shared by at most 2^32, is never nothing.
        let each = (self.period / self.count.get()).max(Duration::from_nanos(1));
        governor::Quota::with_period(each)
            .unwrap_or(governor::Quota::per_second(self.count))
            .allow_burst(self.count)
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.period.as_secs());
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| *name))
    }
}

/// The text is no allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number and a unit, `10/s`; the units are `s`, `min`, `h`, `day`")]
pub struct NotAnAllowance;

impl FromStr for Allowance {
    type Err = NotAnAllowance;

    fn from_str(text: &str) -> Result<Self, NotAnAllowance> {
        let (count, unit) = text.split_once('/').ok_or(NotAnAllowance)?;
        let (_, seconds) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or(NotAnAllowance)?;
        Ok(Self {
            count: count.trim().parse().map_err(|_| NotAnAllowance)?,
            period: Duration::from_secs(*seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_no_other_matches() {
        let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let read: ApiKey = one.reveal().parse().unwrap();
        assert_eq!(read.id(), one.id());
        assert!(read.matches(&one.hash()) && !read.matches(&two.hash()));
        assert!(!format!("{one:?}").contains(&one.secret));
        let text = one.reveal();
        for wrong in [
            "",
            "presend",
            &text[..text.len() - 1],
            &format!("{text}a"),
            &format!("{text}_a"),
            &text.to_uppercase(),
            &text.replace("presend", "other"),
        ] {
            assert_eq!(wrong.parse::<ApiKey>().unwrap_err(), NotAKey, "{wrong}");
        }
    }

    #[test]
    fn allowances_are_written_as_people_say_them() {
        for (text, count, seconds) in [
            ("10/s", 10, 1),
            ("300/min", 300, 60),
            ("1/h", 1, 3_600),
            ("10000/day", 10_000, 86_400),
        ] {
            let read: Allowance = text.parse().unwrap();
            assert_eq!((read.count.get(), read.period.as_secs()), (count, seconds));
            assert_eq!(read.to_string(), text);
        }
        for wrong in ["", "10", "0/s", "-1/s", "10/year", "10/", "/s", "5000000000/s"] {
            assert_eq!(wrong.parse::<Allowance>(), Err(NotAnAllowance), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_known_by_name() {
        assert_eq!(Scope::parse_all("verify,admin,fly"), [Scope::Verify, Scope::Admin]);
        assert_eq!(Scope::parse_all(""), []);
    }
}
