//! What was observed about one address, before anyone judges it.

use std::{net::IpAddr, sync::Arc};

use super::Told;
use crate::{
    address::SyntaxError,
    dns::MailRoute,
    replies::Meaning,
    smtp::{Reply, Stage},
};

/// "Not asked", "could not ask" and "the answer" are three things.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Observed<T, F> {
    /// Nobody asked, and why.
    NotTried(NotTried),
    /// We asked and could not find out.
    Failed(F),
    /// The answer.
    Known(T),
}

impl<T, F> Observed<T, F> {
    /// The answer, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::NotTried(_) | Self::Failed(_) => None,
        }
    }
}

/// Why a question was never asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum NotTried {
    /// The step before already decided, or nobody needed the answer.
    NotNeeded,
    /// `--level` stops before this step.
    Level,
    /// No HELO name or reverse-path is configured.
    NoIdentity,
    /// The provider's published policy forbids probing.
    ProviderPolicy,
    /// An entry of the operator's allow list made the question unnecessary.
    AllowListed,
    /// The run was interrupted first.
    Interrupted,
    /// The mail-host group's budget is spent or its breaker is open; later asking may succeed.
    Budget,
    /// The resolver rewrites negative answers; nothing it says is used.
    ResolverRewrites,
    /// The whole run found port 25 closed.
    PortBlocked,
    /// The row of the list could not be read.
    RowUnreadable,
    /// Nobody may be asked, and nothing is known from before.
    Offline,
    /// The whole run found that the proxy takes it nowhere.
    ProxyDead,
    /// What is asked at the domain looks like guesses.
    AbuseGuard,
}

/// The operator's own list decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ListDecision {
    /// `--allow-list`.
    Allow,
    /// `--block-list`.
    Block,
}

/// The mail host that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Provider id of `lists/providers.toml`.
    pub provider: Option<&'static str>,
    /// MX host name.
    pub name: Arc<str>,
    /// The address that was dialled.
    pub ip: Option<IpAddr>,
    /// MX preference.
    pub preference: u16,
    /// The domain has no MX and the host is the domain itself.
    pub implicit: bool,
    /// The session was encrypted; `None` before that was known.
    pub tls: Option<bool>,
    /// A host of the best preference did not answer, and this one is a backup.
    pub backup: bool,
    /// What the host says at RCPT is known not to be the truth (it accepts and bounces later).
    pub untruthful: bool,
}

/// A reply that ended the probe, with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where in the dialogue.
    pub stage: Stage,
    /// What was said.
    pub reply: Reply,
    /// What it means.
    pub meaning: Meaning,
}

/// No usable reply: the connection or the protocol failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ProbeFailure {
    /// No host could be reached: refused or unreachable.
    Unreachable,
    /// A reply did not come in time.
    Timeout,
    /// Bytes came, but too slowly to finish before the deadline.
    Tarpit,
    /// The connection broke.
    ConnectionLost,
    /// The host does not speak SMTP.
    NotSmtp,
    /// The greeting carries our own name.
    Loop,
    /// A reply broke the protocol (unknown code, mixed codes, too large).
    Protocol,
    /// Replies and commands no longer match.
    Desynchronised,
    /// Bytes were injected around STARTTLS.
    TlsInjection,
    /// The address needs SMTPUTF8 and the host does not offer it.
    NeedsSmtpUtf8,
    /// Our own fault.
    Internal,
    /// The proxy did not get us to a host; the host may be well.
    Proxy,
}

/// Does the domain's host refuse unknown recipients?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum UnknownRecipients {
    /// Yes: a control recipient or a sibling was refused as unknown.
    Refused,
    /// No: a control recipient was accepted.
    Accepted,
    /// The host's answers contradict each other (sentinel flip, two control shapes disagree).
    Contradictory,
}

/// Why the answers of a whole session prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SessionDoubt {
    /// Every recipient, the control included, got the same refusal.
    BlanketRefusal,
    /// A harvest or rate reply came earlier in the session.
    Throttled,
    /// Hosts of equal preference disagree.
    Inconsistent,
    /// The host refused the form of an address that RFC 5321 or RFC 6531 allows (quoted, UTF-8): that is its limit, not the
    /// mailbox's death.
    UnusualForm,
}

/// What another mail host of the same preference said of the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondAnswer {
    /// The host.
    pub host: Arc<HostFacts>,
    /// What it said.
    pub answer: Arc<Answer>,
}

/// Everything observed about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The address could not be parsed.
    pub syntax: Option<Box<SyntaxError>>,
    /// The operator's lists decided.
    pub list: Option<ListDecision>,
    /// What past mailings or a person told decides.
    pub told: Option<Arc<Told>>,
    /// Where the mail goes.
    pub route: Observed<Arc<MailRoute>, NotTried>,
    /// The domain is a sub-domain, and its zone answers for every name with the same route. Says nothing about mailboxes.
    pub wildcard_zone: bool,
    /// The mail host that was asked.
    pub host: Option<Arc<HostFacts>>,
    /// What it answered.
    pub answer: Observed<Arc<Answer>, ProbeFailure>,
    /// What contradicts it: another host of the same preference accepts the address.
    pub second: Option<Arc<SecondAnswer>>,
    /// Whether the domain refuses unknown recipients; `Failed` holds the stage of the control's undetermined answer.
    pub unknown_recipients: Observed<UnknownRecipients, Stage>,
    /// Why the session's refusals prove nothing.
    pub doubt: Option<SessionDoubt>,
    /// How many times the address was asked about.
    pub attempts: u32,
}

impl Evidence {
    /// Evidence about an address of which nothing is known yet, and why nobody asked.
    #[must_use]
    pub fn not_tried(why: NotTried) -> Self {
        Self {
            syntax: None,
            list: None,
            told: None,
            route: Observed::NotTried(why),
            wildcard_zone: false,
            host: None,
            answer: Observed::NotTried(why),
            second: None,
            unknown_recipients: Observed::NotTried(why),
            doubt: None,
            attempts: 0,
        }
    }

    /// Evidence that ends with a syntax fault.
    #[must_use]
    pub fn not_an_address(error: SyntaxError) -> Self {
        Self {
            // Boxed: few addresses have one, and evidence is moved often.
            syntax: Some(Box::new(error)),
            ..Self::not_tried(NotTried::NotNeeded)
        }
    }
}
