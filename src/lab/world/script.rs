//! `script`: what a host says or does instead of the usual reply, and when.

use serde::Deserialize;

use super::Hex;

/// What is said or done instead of the usual reply.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// When.
    pub on: On,
    /// From this occurrence in the session on, counted from 1.
    #[serde(default)]
    pub from: u32,
    /// To this occurrence; 0 is for ever.
    #[serde(default)]
    pub to: u32,
    /// In the first so many sessions of a client only; 0 is all.
    #[serde(default)]
    pub sessions: u32,
    /// From this session of a client on, counted from 1.
    #[serde(default)]
    pub since: u32,
    /// Only when the line has this text, whatever its case.
    pub has: Option<String>,
    /// Only inside TLS, or only in clear.
    pub tls: Option<bool>,
    /// A reply; lines are separated by `\n` and CRLF is added.
    pub reply: Option<String>,
    /// Raw bytes, sent as they are.
    pub send: Option<String>,
    /// Raw bytes that no text can hold.
    pub hex: Option<Hex>,
    /// Repeat `send` or `hex` so many times.
    #[serde(default)]
    pub repeat: u32,
    /// Send it again and again, until the client leaves.
    #[serde(default)]
    pub endless: bool,
    /// Wait before it.
    #[serde(default)]
    pub after_ms: u64,
    /// Wait before every byte of it.
    pub byte_delay_ms: Option<u64>,
    /// What happens after it.
    #[serde(default)]
    pub then: Then,
}

/// The point in a session where a script acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Instead of the greeting.
    Greeting,
    /// EHLO.
    Ehlo,
    /// HELO.
    Helo,
    /// STARTTLS.
    Starttls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
}

/// What happens after a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The session goes on; the command had no other effect.
    #[default]
    Continue,
    /// The connection is closed.
    Close,
    /// The connection is reset (RST).
    Reset,
    /// Silence, the connection stays open.
    Hang,
}
