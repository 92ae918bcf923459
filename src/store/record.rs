//! What is kept about an address, a domain and a mail-host group.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    dns::MailRoute,
    replies::{About, Classifier, Meaning, Persistence},
    smtp::{Reply, Stage, Transcript},
    verdict::{Evidence, Label, Observed, ProbeFailure, UnknownRecipients, Verdict},
};

/// What was observed about one address, and what is needed to go on asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The address, as sent in RCPT TO.
    pub mailbox: Arc<str>,
    /// What was observed.
    pub evidence: Evidence,
    /// When it was asked about for the first time: the retry ladder counts from there.
    pub first_asked: Option<SystemTime>,
    /// It waits for its next question until then; in this run, unlike `retry_at`.
    pub due: Option<SystemTime>,
    /// A rate or harvest reply of the same session voids the answer.
    pub throttled: bool,
    /// It was put back once already after a lost connection.
    pub requeued: bool,
    /// When asking again can help.
    pub retry_at: Option<SystemTime>,
    /// When it was observed.
    pub checked_at: SystemTime,
    /// How long the last attempt took.
    pub elapsed: Duration,
    /// The dialogues, when they are kept.
    pub transcripts: Vec<Arc<Transcript>>,
    /// Where it was observed.
    pub source: Source,
    /// What was said of it then: for the audit trail, while today's verdict follows from the evidence.
    pub judged: Option<Judged>,
}

/// What an address was called, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The label.
    pub label: Label,
    /// The reason's name.
    pub reason: Cow<'static, str>,
    /// The reply rule that decided; none where no reply did.
    #[serde(with = "shared_text")]
    pub rule: Option<Arc<str>>,
}

impl Judged {
    /// What `verdict` says of `evidence`.
    #[must_use]
    pub fn new(evidence: &Evidence, verdict: &Verdict) -> Self {
        Self {
            label: verdict.label,
            reason: Cow::Borrowed(verdict.reason.name()),
            rule: evidence.answer.known().map(|answer| Arc::clone(&answer.meaning.rule)),
        }
    }
}

/// A text that is shared in memory and written out in the database.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it")]
    pub(super) fn serialize<S: Serializer>(text: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<Box<str>>::deserialize(from)?.map(Arc::from))
    }
}

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Asked in this run.
    Live,
    /// Kept from an earlier one.
    Store,
    /// The suppression list.
    Suppression,
    /// Mail that arrived.
    Delivery,
    /// Mail that bounced.
    Bounce,
}

impl Source {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Store => "store",
            Self::Suppression => "suppression",
            Self::Delivery => "delivery",
            Self::Bounce => "bounce",
        }
    }
}

/// Turns what was said back into what it means, by the rules of today.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// The operator's own rules; `None` is the bundled classifier.
    pub classifier: Option<&'a Classifier>,
    /// For a row, which has its own address: without `mailbox` and `judged`, which take half of the time.
    pub for_row: bool,
}

impl Reading<'_> {
    pub(super) fn classify(self, stage: Stage, reply: &Reply, provider: Option<&str>) -> Meaning {
        let classifier = self.classifier.unwrap_or_else(|| Classifier::built_in());
        classifier.classify(stage, reply, provider)
    }
}

/// How far the work on an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// An answer came; its domain is not concluded, so it is no verdict yet.
    Attempted,
    /// It is answered.
    Settled,
}

/// What is known about a domain that is being asked about, so that a restart goes on where it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMemory {
    /// The local-part of the control recipient: greylisting keys on it.
    pub control: Box<str>,
    /// How many times it was asked about.
    pub attempts: u32,
    /// When first, in milliseconds since 1970.
    pub first_asked: Option<u64>,
    /// It may be asked about again then.
    pub due: Option<u64>,
    /// Another day may bring a better answer.
    pub may_mend: bool,
    /// It must be asked about again, because many were accepted since.
    pub recheck: bool,
    /// The words of a refusal that proves nothing by itself.
    pub refusal: Option<u64>,
    /// What the host does with unknown recipients.
    pub unknown: Observed<UnknownRecipients, Stage>,
    /// Acceptances since the control recipient was asked about.
    pub accepted_since_control: u32,
    /// Somebody was accepted by a host whose word counts.
    pub accepted: bool,
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// How long an answer may be shown again instead of asking (DESIGN section 8, ETIQUETTE B5): valid and catch-all a week,
/// invalid three days, a host that refused us three hours, anything else that was asked an hour. `None`: it was not asked, or
/// the operator's own lists or past mailings decided.
#[must_use]
pub fn keep_for(evidence: &Evidence, verdict: &Verdict) -> Option<Duration> {
    if evidence.list.is_some() || evidence.syntax.is_some() || evidence.told.is_some() {
        return None;
    }
    match verdict.label {
        Label::Valid | Label::CatchAll => Some(7 * DAY),
        Label::Invalid => Some(3 * DAY),
        Label::Unknown => match &evidence.answer {
            Observed::Known(answer)
                if answer.meaning.about == About::Sender && answer.meaning.persistence == Persistence::Permanent =>
            {
                Some(3 * HOUR)
            }
            // Our own fault says nothing about anybody, and may be mended the next minute.
            Observed::Failed(ProbeFailure::Proxy | ProbeFailure::Internal) => None,
            Observed::Known(_) | Observed::Failed(_) => Some(HOUR),
            Observed::NotTried(_) => matches!(
                evidence.route.known().map(|route| &**route),
                Some(MailRoute::Failure(_))
            )
            .then_some(HOUR),
        },
    }
}

/// `--refresh` does not ask again about what was refused so recently (ETIQUETTE B5).
pub const REFUSAL_REST: Duration = Duration::from_hours(3);

/// An answer that one which says less must not push out.
pub(super) fn is_good(verdict: Verdict) -> bool {
    verdict.label != Label::Unknown
}
