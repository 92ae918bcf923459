//! As whom we ask.

use std::time::Duration;

/// The HELO name and the reverse-path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    helo_name: Box<str>,
    reverse_path: Box<str>,
}

/// The identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The HELO name is not a host name.
    #[error("`{0}` is not a fully qualified host name")]
    HeloName(String),
    /// The reverse-path is not an address.
    #[error("`{0}` is not an address")]
    ReversePath(String),
}

impl Identity {
    /// An identity from its parts.
    ///
    /// # Errors
    /// One part cannot be said in SMTP.
    pub fn new(helo: &str, mail_from: &str) -> Result<Self, IdentityError> {
        if !helo.contains('.') {
            return Err(IdentityError::HeloName(helo.into()));
        }
        if !mail_from.contains('@') {
            return Err(IdentityError::ReversePath(mail_from.into()));
        }
        Ok(Self {
            helo_name: helo.into(),
            reverse_path: mail_from.into(),
        })
    }

    /// The HELO name.
    #[must_use]
    pub fn helo_name(&self) -> &str {
        &self.helo_name
    }

    /// The reverse-path.
    #[must_use]
    pub fn reverse_path(&self) -> &str {
        &self.reverse_path
    }
}

/// Deadlines of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open the connection.
    pub connect: Duration,
    /// For each reply.
    pub reply: Duration,
    /// For the whole session.
    pub session: Duration,
}
