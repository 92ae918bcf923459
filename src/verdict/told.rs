//! What past mailings and people told about an address: it decides without anybody being asked.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::replies::Class;

/// What was told about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub what: Testimony,
    /// When it happened.
    pub at: SystemTime,
    /// The same in words, with the date and the reply.
    pub text: Box<str>,
}

impl Told {
    /// Under which reason the address is reported, unless something stronger is known.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.what {
            Testimony::Suppressed(reason) => reason.verdict(),
            Testimony::Delivered => Reason::Delivered,
            Testimony::Bounced(_) => Reason::HardBounced,
        }
    }
}

/// What was told about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Testimony {
    /// It gets no more mail.
    Suppressed(SuppressionReason),
    /// Mail to it arrived lately.
    Delivered,
    /// Mail to it bounced hard lately: a permanent refusal of this class.
    Bounced(Class),
}

/// Why somebody is suppressed, the strongest first: when several hold, the first is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// The recipient reported mail as spam.
    Complained,
    /// The recipient no longer wants mail.
    Unsubscribed,
    /// A person said so.
    Manual,
    /// A list of another system said so.
    Imported,
    /// Mail bounced hard.
    HardBounce,
    /// Mail bounced hard in several separate lists.
    BouncedElsewhere,
    /// Mail bounced softly, again and again.
    SoftBounces,
    /// The mailbox was full, again and again.
    MailboxFull,
}

impl SuppressionReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Complained,
        Self::Unsubscribed,
        Self::Manual,
        Self::Imported,
        Self::HardBounce,
        Self::BouncedElsewhere,
        Self::SoftBounces,
        Self::MailboxFull,
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
            Self::Manual => "manual",
            Self::Imported => "imported",
            Self::HardBounce => "hard_bounce",
            Self::BouncedElsewhere => "bounced_elsewhere",
            Self::SoftBounces => "soft_bounces",
            Self::MailboxFull => "mailbox_full",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// What happened, for people, to go before `on DATE`.
    #[must_use]
    pub fn happened(self) -> &'static str {
        match self {
            Self::Complained => "reported our mail as spam",
            Self::Unsubscribed => "unsubscribed",
            Self::Manual => "suppressed by hand",
            Self::Imported => "imported as suppressed",
            Self::HardBounce => "hard bounced",
            Self::BouncedElsewhere => "hard bounced in several lists, last",
            Self::SoftBounces => "bounced again and again, last",
            Self::MailboxFull => "was full again and again, last",
        }
    }

    /// Under which reason an address is reported.
    #[must_use]
    pub(super) fn verdict(self) -> Reason {
        match self {
            Self::Complained => Reason::SuppressedComplained,
            Self::Unsubscribed => Reason::SuppressedUnsubscribed,
            Self::Manual => Reason::SuppressedManual,
            Self::Imported => Reason::SuppressedImported,
            Self::HardBounce => Reason::SuppressedHardBounce,
            Self::BouncedElsewhere => Reason::SuppressedBouncedElsewhere,
            Self::SoftBounces => Reason::SuppressedSoftBounces,
            Self::MailboxFull => Reason::SuppressedMailboxFull,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_names_and_those_of_the_verdicts() {
        for reason in SuppressionReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
            assert_eq!(SuppressionReason::named(reason.name()), Some(reason));
            assert_eq!(reason.verdict().name(), format!("suppressed_{}", reason.name()));
        }
    }
}
