//! What presend can say: an enum without DATA, BDAT, AUTH, VRFY or EXPN, rendered as by async-smtp's command types.
//!
//! There is no variant for DATA, so no caller can say it:
//!
//! ```compile_fail
//! let command = presend::smtp::Command::Data;
//! ```

use std::io::Write as _;

use async_smtp::{
    EmailAddress,
    commands::{EhloCommand, MailCommand, QuitCommand, RsetCommand, StarttlsCommand},
    extension::{ClientId, MailParameter},
};

use crate::address::{Address, Domain, Rules};

/// Who we say we are: the EHLO name and the reverse-path. There is no default; the operator names both.
#[derive(Debug, Clone)]
pub struct Identity {
    helo: ClientId,
    reverse_path: Address,
    mail: MailCommand,
    mail_utf8: MailCommand,
}

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The HELO name is not a full domain name.
    #[error("the HELO name `{0}` is not a fully qualified domain name such as `probe.example.com`")]
    HeloName(String),
    /// The reverse-path is not an ASCII address.
    #[error("the reverse-path `{0}` is not a plain ASCII address such as `bounces@example.com`")]
    ReversePath(String),
}

impl Identity {
    /// An identity from the EHLO name (a full domain name) and the reverse-path (an ASCII mailbox, never empty: blocklists
    /// count null-sender callouts as abuse, see ETIQUETTE B1).
    ///
    /// # Errors
    /// Which of the two cannot be used.
    pub fn new(helo_name: &str, reverse_path: &str) -> Result<Self, IdentityError> {
        // An operator may well probe from a name that only his own network knows.
        let rules = Rules {
            allow_special_use: true,
        };
        let helo = Domain::parse(helo_name, rules)
            .map_err(|_| IdentityError::HeloName(helo_name.chars().take(255).collect()))?;
        let refused = || IdentityError::ReversePath(reverse_path.chars().take(255).collect());
        let address = Address::parse(reverse_path, rules).map_err(|_| refused())?;
        let path = EmailAddress::new(address.mailbox().to_owned()).map_err(|_| refused())?;
        Ok(Self {
            helo: ClientId::Domain(helo.as_str().to_owned()),
            reverse_path: address,
            mail: MailCommand::new(Some(path.clone()), Vec::new()),
            mail_utf8: MailCommand::new(Some(path), vec![MailParameter::SmtpUtfEight]),
        })
    }

    /// The EHLO name.
    #[must_use]
    pub fn helo_name(&self) -> String {
        self.helo.to_string()
    }

    /// The reverse-path.
    #[must_use]
    pub fn reverse_path(&self) -> &Address {
        &self.reverse_path
    }
}

/// One command. The session types decide which may be said when.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    /// EHLO with our name.
    Ehlo(&'a Identity),
    /// HELO, for hosts that refuse EHLO.
    Helo(&'a Identity),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// MAIL FROM with our reverse-path.
    Mail {
        /// Who we are.
        identity: &'a Identity,
        /// Ask for SMTPUTF8 (RFC 6531), because a recipient of the transaction needs it.
        smtputf8: bool,
    },
    /// RCPT TO.
    Rcpt(&'a Address),
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

/// A command that would not be exactly one line; [`Address`] makes this impossible, and this check is the second lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command would not be one line of SMTP")]
pub struct Unsayable;

impl Command<'_> {
    /// Appends the command with its one CRLF.
    ///
    /// # Errors
    /// The rendered bytes are not one line; nothing is appended.
    pub fn render(&self, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        let start = out.len();
        // Writing into a Vec cannot fail.
        let written = match self {
            Self::Ehlo(identity) => write!(out, "{}", EhloCommand::new(identity.helo.clone())),
            Self::Helo(identity) => write!(out, "HELO {}\r\n", identity.helo),
            Self::StartTls => write!(out, "{StarttlsCommand}"),
            Self::Mail {
                identity,
                smtputf8: false,
            } => write!(out, "{}", identity.mail),
            Self::Mail {
                identity,
                smtputf8: true,
            } => write!(out, "{}", identity.mail_utf8),
            // Said a million times, so without async-smtp's copies; the tests hold it against its `RcptCommand`, which refuses
            // UTF-8 and quoted spaces, though RFC 6531 and RFC 5321 allow them.
            Self::Rcpt(address) => {
                out.extend_from_slice(b"RCPT TO:<");
                out.extend_from_slice(address.mailbox().as_bytes());
                out.extend_from_slice(b">\r\n");
                Ok(())
            }
            Self::Rset => write!(out, "{RsetCommand}"),
            Self::Quit => write!(out, "{QuitCommand}"),
        };
        let line = out.get(start..).unwrap_or_default();
        let body = line.strip_suffix(b"\r\n").unwrap_or_default();
        if written.is_err() || body.is_empty() || body.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
            out.truncate(start);
            return Err(Unsayable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_smtp::commands::RcptCommand;
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity::new("probe.example.org", "check@example.org").unwrap()
    }

    fn rendered(command: Command<'_>) -> String {
        let mut out = Vec::new();
        command.render(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_command_is_one_line() {
        let identity = identity();
        let address = Address::parse(
            "Jane.Doe@example.org",
            Rules {
                allow_special_use: true,
            },
        )
        .unwrap();
        for (command, expected) in [
            (Command::Ehlo(&identity), "EHLO probe.example.org\r\n"),
            (Command::Helo(&identity), "HELO probe.example.org\r\n"),
            (Command::StartTls, "STARTTLS\r\n"),
            (
                Command::Mail {
                    identity: &identity,
                    smtputf8: false,
                },
                "MAIL FROM:<check@example.org>\r\n",
            ),
            (
                Command::Mail {
                    identity: &identity,
                    smtputf8: true,
                },
                "MAIL FROM:<check@example.org> SMTPUTF8\r\n",
            ),
            (Command::Rcpt(&address), "RCPT TO:<Jane.Doe@example.org>\r\n"),
            (Command::Rset, "RSET\r\n"),
            (Command::Quit, "QUIT\r\n"),
        ] {
            assert_eq!(rendered(command), expected);
        }
    }

    proptest! {
        /// What async-smtp takes is said as it says it.
        #[test]
        fn a_recipient_is_named_as_async_smtp_names_it(text in "[a-zA-Z0-9.!#$%&'*+/=?^_{|}~\"\\\\ -]{1,20}@[a-z0-9-]{1,12}[.]com") {
            if let Ok(address) = Address::parse(&text, Rules::default())
                && let Ok(path) = EmailAddress::new(address.mailbox().to_owned())
            {
                let theirs = RcptCommand::new(path, Vec::new()).to_string();
                prop_assert_eq!(rendered(Command::Rcpt(&address)), theirs);
            }
        }
    }

    #[test]
    fn an_identity_needs_real_names() {
        assert!(Identity::new("localhost", "check@example.org").is_err());
        assert!(Identity::new("probe.example.org", "").is_err());
        assert!(Identity::new("probe.example.org\r\nDATA", "check@example.org").is_err());
    }
}
