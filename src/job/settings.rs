//! What a run is told before it starts.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Ownership;
use crate::{
    address::Rules,
    lists::UserLists,
    net::Network,
    schedule::{Ladder, Limits},
    smtp::{Identity, Timeouts},
    store::Patience,
    verdict::Policy,
};

/// How far to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The form of the address and the lists; nothing is sent anywhere.
    Syntax,
    /// And the domain's mail route.
    Dns,
    /// And the mail host, down to RCPT TO.
    Smtp,
}

impl Level {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Dns => "dns",
            Self::Smtp => "smtp",
        }
    }
}

/// What a run is told before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How far to ask.
    pub level: Level,
    /// As whom to ask; without it no mail host is asked.
    pub identity: Option<Identity>,
    /// What the operator decides about verdicts.
    pub policy: Policy,
    /// How strictly names are taken.
    pub rules: Rules,
    /// Addresses that differ in the case of the local-part are different.
    pub exact: bool,
    /// The operator's allow and block lists.
    pub user_lists: UserLists,
    /// MX hosts or domains that the operator names as their own: no budget, PIPELINING.
    pub trusted: Vec<String>,
    /// Where mail hosts listen; 25 outside labs.
    pub smtp_port: u16,
    /// Name servers to ask; empty means the system's.
    pub nameservers: Vec<SocketAddr>,
    /// The budget of mail hosts that are not ours.
    pub limits: Limits,
    /// Deadlines of a session.
    pub timeouts: Timeouts,
    /// Delays of the retries, by reason.
    pub retry_ladder: Ladder,
    /// How this machine gets to mail hosts.
    pub network: Network,
    /// The longest wait for a retry or a spent budget; what needs longer is reported with `retry_at`.
    pub max_wait: Duration,
    /// The operator's own reply rules, tried before the bundled ones.
    pub replies: Option<std::path::PathBuf>,
    /// How old answers from the store may be.
    pub memory: Patience,
    /// JSON of whatever changes the answers, kept with a job; the same list with the same settings goes on with it.
    pub description: String,
    /// Keep the dialogues.
    pub transcript: bool,
    /// Ask providers whose published policy forbids it: all of them.
    pub probe_forbidden: bool,
    /// Domains claimed as the operator's own; proven when the engine starts.
    pub owned: Vec<Ownership>,
    /// Ask these providers though their published policy forbids it (ids of `lists/providers.toml`).
    pub probe_providers: Vec<String>,
}

impl Settings {
    /// For mail hosts on this machine: a miniature internet, a bench, a test. Nobody is trusted, nothing is asked twice, waited
    /// for or kept.
    #[must_use]
    pub fn for_lab(identity: Identity, nameservers: Vec<SocketAddr>, smtp_port: u16) -> Self {
        Self {
            level: Level::Smtp,
            identity: Some(identity),
            policy: Policy::default(),
            rules: Rules {
                allow_special_use: true,
            },
            exact: false,
            user_lists: UserLists::default(),
            trusted: Vec::new(),
            smtp_port,
            nameservers,
            limits: Limits::POLITE,
            timeouts: Timeouts::INTERACTIVE,
            retry_ladder: Vec::new().into(),
            network: Network::default(),
            max_wait: Duration::ZERO,
            replies: None,
            memory: Patience::default(),
            description: String::new(),
            transcript: false,
            probe_forbidden: false,
            owned: Vec::new(),
            probe_providers: Vec::new(),
        }
    }
}
