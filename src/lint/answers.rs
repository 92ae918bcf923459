//! What was found out about addresses and domains, for the rules that need it. Knows nothing of who found it out.

use std::collections::HashMap;

use crate::{
    address::Address,
    verdict::{Label, Reason, Verdict},
};

/// What was found out about one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The label.
    pub label: Label,
    /// A reason of `presend reasons`, or `api_unreachable`.
    pub reason: &'static str,
    /// Mail to it would bounce hard.
    pub hard: bool,
}

/// The reason of addresses that a server was to tell about and did not.
pub(super) const API_UNREACHABLE: &str = "api_unreachable";

impl Answer {
    /// Nobody could tell.
    pub(super) fn unknown(reason: &'static str) -> Self {
        Self {
            label: Label::Unknown,
            reason,
            hard: false,
        }
    }

    /// The server that was to tell does not answer.
    #[must_use]
    pub fn server_gone() -> Self {
        Self::unknown(API_UNREACHABLE)
    }

    /// The run ended before.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::unknown(Reason::Interrupted.name())
    }

    /// Nobody may be asked.
    #[must_use]
    pub fn offline() -> Self {
        Self::unknown(Reason::Offline.name())
    }

    /// What the DNS said of a domain, by the name of its reason; nothing for what is true of one moment only.
    #[must_use]
    pub fn of_dns(reason: &str) -> Option<Self> {
        let dead = |reason: Reason| Self {
            label: Label::Invalid,
            reason: reason.name(),
            hard: true,
        };
        let lasting = [Reason::NoSuchDomain, Reason::NullMx, Reason::NoMailHost];
        let others = [
            Reason::LevelStop,
            Reason::MxPrivate,
            Reason::MxIsIp,
            Reason::MxUnresolvable,
        ];
        let named = |known: &&Reason| known.name() == reason;
        let other = || others.iter().find(named).map(|reason| Self::unknown(reason.name()));
        lasting.iter().find(named).map(|reason| dead(*reason)).or_else(other)
    }

    /// What a name of a label and a reason say; a reason of a newer server is one that nobody knows here.
    pub(super) fn named(label: &str, reason: &str, hard: bool) -> Option<Self> {
        let label = Label::ALL.into_iter().find(|known| known.name() == label)?;
        let reason = Reason::all().find(|known| known.name() == reason);
        Some(Self {
            label,
            reason: reason.unwrap_or(Reason::UnclassifiedReply).name(),
            hard,
        })
    }

    /// What it means, for a person.
    pub(super) fn sentence(self) -> &'static str {
        let reason = Reason::all().find(|reason| reason.name() == self.reason);
        reason.map_or("The presend server did not answer.", Reason::sentence)
    }
}

impl From<&Verdict> for Answer {
    fn from(verdict: &Verdict) -> Self {
        Self {
            label: verdict.label,
            reason: verdict.reason.name(),
            hard: verdict.bounce.kind == crate::verdict::BounceKind::Hard,
        }
    }
}

/// Everything that was found out.
#[derive(Debug, Default)]
pub struct Answers {
    by_address: HashMap<u128, Answer>,
    by_domain: HashMap<Box<str>, Answer>,
}

impl Answers {
    /// An address was answered.
    pub(super) fn of_address(&mut self, key: u128, answer: Answer) {
        self.by_address.insert(key, answer);
    }

    /// All addresses of a domain were answered.
    pub fn of_domain(&mut self, domain: &str, answer: Answer) {
        self.by_domain.insert(domain.into(), answer);
    }

    /// Whether a domain was answered.
    #[must_use]
    pub fn knows_domain(&self, domain: &str) -> bool {
        self.by_domain.contains_key(domain)
    }

    /// What is known about an address; `interrupted` if nothing.
    pub(super) fn about(&self, address: &Address) -> Answer {
        let by_domain = || self.by_domain.get(address.domain());
        let found = self.by_address.get(&address.join_hash(false)).or_else(by_domain);
        found.copied().unwrap_or(Answer::interrupted())
    }
}
