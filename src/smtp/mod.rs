//! The SMTP dialogue with a mail host, down to RCPT TO and never further: the command type has no DATA.
//!
//! Owns the bounded wire reader, the commands, the typed session and the transcript. Must not decide what a reply means.

mod command;
mod extensions;
mod reader;
mod reply;
mod session;
mod tls;
mod transcript;
mod wire;

pub use command::{Command, Identity, IdentityError, Unsayable};
pub use extensions::{Extensions, MAX_EHLO_LINES};
pub use reader::{MAX_LINE, MAX_LINES, MAX_REPLY, MalformedReply, ReplyReader};
pub use reply::{EnhancedStatusCode, Reply, ReplyCode};
pub use session::{Connected, Ended, Greeted, InTransaction, Mail, Ready, Replies, Session, Transaction, Why};
pub use transcript::{Entry, Speaker, Transcript};
pub use wire::{Fault, Tally, Timeouts, WireParts};

/// Where in the dialogue a reply was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before any byte was read.
    Connect,
    /// The 220 greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake after it.
    StartTls,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
    /// After DATA: never reached by presend, but bounces of past mailings come from there.
    Data,
}

impl Stage {
    /// Every stage, in the order of a dialogue.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Greeting,
        Self::Ehlo,
        Self::StartTls,
        Self::Mail,
        Self::Rcpt,
        Self::Rset,
        Self::Quit,
        Self::Data,
    ];

    /// The stable name, as in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::StartTls => "start_tls",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Rset => "rset",
            Self::Quit => "quit",
            Self::Data => "data",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == name)
            .ok_or(UnknownStage)
    }
}

/// The text names no stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stages are `connect`, `greeting`, `ehlo`, `start_tls`, `mail`, `rcpt`, `rset`, `quit`, `data`")]
pub struct UnknownStage;
