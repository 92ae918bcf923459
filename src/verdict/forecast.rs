//! What a mailing would get back.

use serde::{Deserialize, Serialize};

use crate::replies::Class;

/// Hard, soft, pending, or no bounce expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BounceKind {
    /// The address is dead: mail to it bounces permanently and costs reputation.
    Hard,
    /// Mail would bounce for a reason that is not the address's death.
    Soft,
    /// Mail would be queued and retried.
    Pending,
    /// No bounce is expected, or nothing is known.
    None,
}

impl BounceKind {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// The forecast: kind and class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounce {
    /// How bad.
    pub kind: BounceKind,
    /// Which class of bounce; `None` when no bounce is expected.
    pub class: Option<Class>,
}

/// The mail will arrive, or nothing is known against it.
pub(super) fn nothing_expected() -> Bounce {
    Bounce {
        kind: BounceKind::None,
        class: None,
    }
}

/// What a mailing would get back from a host that answered so, when the mailbox itself is not known to be dead.
pub(super) fn of_class(class: Class) -> Bounce {
    let kind = match class {
        Class::Unknown | Class::Accepted | Class::Forwarded | Class::CannotVerify => return nothing_expected(),
        Class::Greylisted
        | Class::RateLimited
        | Class::TooManyConnections
        | Class::TooManyRecipients
        | Class::HarvestProtection
        | Class::RecipientThrottled
        | Class::AddressVerificationPending
        | Class::ServerTemporary
        | Class::ServerFull
        | Class::Network
        | Class::Timeout
        | Class::DnsTemporary => BounceKind::Pending,
        Class::UserUnknown
        | Class::UserDisabled
        | Class::UserMoved
        | Class::BadAddressSyntax
        | Class::MailboxFull
        | Class::RecipientRestricted
        | Class::DomainNotFound
        | Class::DomainNoMail
        | Class::RelayDenied
        | Class::IpBlocklisted
        | Class::IpReputation
        | Class::DomainReputation
        | Class::SenderAuth
        | Class::SenderDns
        | Class::SenderRejected
        | Class::Policy
        | Class::AuthOrTlsRequired
        | Class::SpamContent
        | Class::ContentRejected
        | Class::MessageTooBig
        | Class::Filtered
        | Class::ServerMisconfigured
        | Class::RoutingLoop
        | Class::ProtocolError
        | Class::QueueExpired
        | Class::AmbiguousDenied => BounceKind::Soft,
    };
    Bounce {
        kind,
        class: Some(class),
    }
}
