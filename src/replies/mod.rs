//! What a reply says, and about whom. Pure: no clock, no network.
//!
//! All rules are data (`lists/replies.toml`, `lists/providers.toml`). Must not decide labels: that is `verdict`.

mod class;

use std::{sync::Arc, time::Duration};

pub use class::Class;

use crate::smtp::{Reply, Stage};

/// What one reply means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What it says.
    pub class: Class,
    /// About whom.
    pub about: About,
    /// Whether asking again later can change the answer.
    pub persistence: Persistence,
    /// What it proves about the mailbox.
    pub existence: Existence,
    /// How sure the rule is.
    pub confidence: Confidence,
    /// The rule that decided.
    pub rule: Arc<str>,
    /// How long the reply asks us to wait.
    pub retry_after: Option<Duration>,
    /// The blocklist named in the text.
    pub blocklist: Option<Box<str>>,
}

/// About whom a reply speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The recipient address or its domain.
    Recipient,
    /// Us: our IP, HELO, reverse-path, rate.
    Sender,
    /// The server: its load, configuration, protocol.
    Server,
    /// It does not say.
    Unclear,
}

/// Transient or permanent, by the basic code and the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// A retry may succeed.
    Transient,
    /// A retry will not.
    Permanent,
}

/// What a reply proves about the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existence {
    /// There is no such mailbox.
    DoesNotExist,
    /// It is known and dead: disabled, moved, or the domain takes no mail.
    Undeliverable,
    /// It exists.
    Exists,
    /// Nothing.
    None,
}

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A bare code.
    Low,
    /// Words alone.
    Medium,
    /// Words and code agree, or a provider's own documented text.
    High,
}

/// The meaning of `reply` given at `stage` by a host of `provider` (an id of `lists/providers.toml`).
#[must_use]
pub fn classify(stage: Stage, reply: &Reply, provider: Option<&str>) -> Meaning {
    let _ = (stage, provider);
    Meaning {
        class: if reply.code().is_positive() {
            Class::Accepted
        } else {
            Class::Unknown
        },
        about: About::Unclear,
        persistence: if reply.code().is_transient() {
            Persistence::Transient
        } else {
            Persistence::Permanent
        },
        existence: Existence::None,
        confidence: Confidence::Low,
        rule: Arc::from("bare"),
        retry_after: None,
        blocklist: None,
    }
}
